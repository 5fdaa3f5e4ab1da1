use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use socket2::SockRef;

use crate::client::{Client, Response};
use crate::fake::{Conn, Fake, json, models};
use crate::proxy::Proxy;
use crate::wait::DEADLINE;

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: yes\r\n\r\n";

/// The fields of a client that asks for a WebSocket.
const FIELDS: [(&str, &str); 4] = [
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// A client behind a 101.
struct Socket {
    head: Response,
    stream: TcpStream,
    client: Client,
}

impl Socket {
    /// Asks for an upgrade, with `early` behind the head, and expects it.
    fn open(proxy: &Proxy, target: &str, early: &[u8]) -> Socket {
        let mut client = Client::of(proxy);
        let fields = FIELDS.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        client.send_raw([head.as_bytes(), early].concat());
        let head = client.any_head();
        assert_eq!(head.status, 101, "{head:?}");
        Socket { head, stream: client.writer(), client }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = self.client.unread();
        let have = bytes.len();
        bytes.resize(count, 0);
        self.stream.read_exact(&mut bytes[have..]).unwrap();
        bytes
    }

    /// Reads to the end: whether it was orderly.
    fn ends(&mut self) -> bool {
        match self.stream.read(&mut [0; 64]) {
            Ok(0) => true,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            other => panic!("{other:?}"),
        }
    }
}

/// Switches, and sends back what it receives.
fn echo(conn: &mut Conn) {
    if conn.read_request().is_some() {
        conn.write(SWITCHING);
        while let Some(bytes) = conn.take_some() {
            conn.write(bytes);
        }
    }
}

fn ask(proxy: &Proxy, target: &str, more: &[(&str, &str)]) -> Response {
    proxy.ask("GET", target, &[&FIELDS, more].concat(), b"")
}

#[test]
fn bytes_flow_both_ways_after_the_upstream_has_switched() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
    for fake in [Fake::scripted(echo), Fake::scripted_tls(echo)] {
        let proxy = Proxy::before(&fake, &format!("tls:\n  ca_file: {folder}/ca.pem"));
        let mut socket = Socket::open(&proxy, "/v1/realtime?model=a&x=1", b"early");
        assert_eq!(socket.head.header("upgrade"), Some("websocket"));
        assert_eq!(socket.head.header("connection"), Some("Upgrade"));
        assert_eq!(socket.head.header("sec-websocket-accept"), Some("yes"));
        let request = fake.wait_for("/v1/realtime?model=a&x=1");
        assert_eq!(request.header("upgrade"), Some("websocket"));
        assert_eq!(request.header("connection"), Some("Upgrade"));
        assert_eq!(request.header("sec-websocket-key"), Some(FIELDS[3].1));
        assert_eq!(socket.receive(5), b"early");
        for length in [1, 100, 5_000, 1_000_000] {
            let bytes: Vec<u8> = (0..length).map(|number: u32| (number / 7) as u8).collect();
            let mut writer = socket.stream.try_clone().unwrap();
            let sent = bytes.clone();
            let sending = std::thread::spawn(move || writer.write_all(&sent).unwrap());
            assert!(socket.receive(bytes.len()) == bytes);
            sending.join().unwrap();
        }
        socket.stream.shutdown(Shutdown::Write).unwrap();
        assert!(socket.ends());
        let line = proxy.exchange("/v1/realtime");
        assert_eq!(line.get("status").as_deref(), Some("101"), "{line:?}");
        assert_eq!((line.number("in"), line.number("out")), (1_005_106.0, 1_005_106.0));
        assert_eq!(line.get("model").as_deref(), Some("a"));
        assert_eq!(line.get("error"), None);
    }
}

#[test]
fn what_comes_with_the_head_of_the_upstream_arrives() {
    let fake = Fake::scripted(|conn| {
        if conn.read_request().is_some() {
            conn.write([SWITCHING.as_bytes(), b"hello"].concat());
            conn.take_some();
        }
    });
    let proxy = Proxy::before(&fake, "");
    assert_eq!(Socket::open(&proxy, "/v1/x", b"").receive(5), b"hello");
}

#[test]
fn one_direction_may_end_before_the_other() {
    let fake = Fake::scripted(|conn| {
        if conn.read_request().is_some() {
            conn.write(SWITCHING);
            let mut all = Vec::new();
            while let Some(bytes) = conn.take_some() {
                all.extend(bytes);
            }
            conn.write(all);
        }
    });
    let proxy = Proxy::before(&fake, "");
    let mut socket = Socket::open(&proxy, "/v1/x", b"");
    socket.send("all of it");
    socket.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(socket.receive(9), b"all of it");
    assert!(socket.ends());
}

#[test]
fn a_reset_is_passed_on() {
    let (sender, ended) = channel();
    let sender = Mutex::new(sender);
    let fake = Fake::scripted(move |conn| {
        let Some(request) = conn.read_request() else { return };
        conn.write(SWITCHING);
        if request.target() == "/v1/upstream" {
            conn.take_some();
            conn.reset();
        } else {
            while conn.take_some().is_some() {}
            sender.lock().unwrap().send(conn.was_reset()).unwrap();
        }
    });
    let proxy = Proxy::before(&fake, "");
    let mut socket = Socket::open(&proxy, "/v1/upstream", b"");
    socket.send("x");
    assert!(!socket.ends());
    let line = proxy.wait_for_log("path=/v1/upstream");
    assert!(line.contains("the connection broke off"), "{line}");

    let mut socket = Socket::open(&proxy, "/v1/client", b"");
    socket.send("x");
    SockRef::from(&socket.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(socket);
    assert!(ended.recv_timeout(DEADLINE).unwrap());
    assert_eq!(proxy.exchange("/v1/client").get("status").as_deref(), Some("499"));
}

#[test]
fn a_refusal_is_passed_on_as_any_response() {
    let fake = Fake::answering(|_| json(403, r#"{"no":1}"#));
    let proxy = Proxy::before(&fake, "");
    let answer = ask(&proxy, "/v1/realtime?model=x", &[]);
    assert_eq!((answer.status, answer.text().as_str()), (403, r#"{"no":1}"#));
}

/// Codex asks six times over unless the status is 426.
#[test]
fn an_ignored_offer_is_426() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, "");
    ask(&proxy, "/v1/responses", &[]).own_error(426, "unsupported");
}

#[test]
fn an_alias_in_the_query_is_replaced_by_its_target_though_that_is_hidden() {
    let (a, b) = (Fake::scripted(echo), Fake::scripted(echo));
    let proxy = Proxy::start(&two(&a, &b, "aliases: {odd: 'a/x+y&z', secret: b/other}\n"));
    for (target, fake, relayed) in [
        ("/v1/realtime?model=odd&y=1", &a, "/v1/realtime?model=x%2By%26z&y=1"),
        ("/v1/realtime?model=secret", &b, "/v1/realtime?model=other"),
    ] {
        Socket::open(&proxy, target, b"");
        assert_eq!(fake.request().target(), relayed);
    }
    ask(&proxy, "/v1/realtime?model=b/other", &[]).own_error(404, "model_not_found");
}

#[test]
fn a_switch_that_was_not_asked_for_is_no_answer() {
    let fake = Fake::answering(|_| SWITCHING);
    Proxy::before(&fake, "").get("/v1/x").own_error(502, "upstream_invalid_response");
}

/// RFC 9110 §7.8: a server may ignore an offer.
#[test]
fn offers_beside_a_body_or_of_http_2_are_ignored() {
    let fake = Fake::answering(|request| json(200, request.header("upgrade").unwrap_or("none")));
    let proxy = Proxy::before(&fake, "");
    assert_eq!(proxy.ask("POST", "/v1/x", &FIELDS, b"{}").text(), "none");
    assert_eq!(proxy.ask("HEAD", "/v1/x", &FIELDS, b"").status, 200);
    let h2c = [("Connection", "Upgrade"), ("Upgrade", "h2c")];
    assert_eq!(proxy.ask("GET", "/v1/x", &h2c, b"").text(), "none");
    assert!(proxy.ask("GET", "/v1/models", &FIELDS, b"").status == 200);
}

fn two(a: &Fake, b: &Fake, more: &str) -> String {
    let (a, b) = (a.url("/v1"), b.url("/v1"));
    format!(
        "model_filter:\n  a: {{base_url: '{a}', api_key: key-of-a}}\n  \
         b: {{base_url: '{b}', regexp: ['gpt.*'], hidden: reject}}\n{more}"
    )
}

#[test]
fn the_model_in_the_query_chooses_the_upstream() {
    let (a, b) = (Fake::scripted(echo), Fake::scripted(echo));
    let proxy = Proxy::start(&two(&a, &b, ""));
    for (target, fake, relayed) in [
        ("/v1/realtime?model=a/x&y=%2f", &a, "/v1/realtime?model=x&y=%2f"),
        ("/v1/realtime?y&model=b%2Fgpt-4", &b, "/v1/realtime?y&model=gpt-4"),
        ("/openai/realtime?deployment=a%2fx", &a, "/openai/realtime?deployment=x"),
        ("/b/v1/realtime?model=gpt-5", &b, "/v1/realtime?model=gpt-5"),
        ("/a/v1/responses", &a, "/v1/responses"),
    ] {
        let mut socket = Socket::open(&proxy, target, b"x");
        assert_eq!(socket.receive(1), b"x");
        assert!(fake.requests().iter().any(|request| request.target() == relayed), "{target}");
    }
    let authorization = a.wait_for("/v1/responses");
    assert_eq!(authorization.header("authorization"), Some("Bearer key-of-a"));
    let answer = ask(&proxy, "/v1/responses", &[]);
    answer.own_error(426, "unsupported");
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    ask(&proxy, "/b/v1/responses", &[]).own_error(426, "unsupported");
    ask(&proxy, "/v1/realtime?model=x", &[]).own_error(404, "model_not_found");
    ask(&proxy, "/v1/realtime?model=b/hidden", &[]).own_error(404, "model_not_found");
    for query in ["model=a/x&model=b/hidden", "model=a/x;b", "model=a/x&Deployment=y"] {
        ask(&proxy, &format!("/v1/realtime?{query}"), &[]).own_error(400, "bad_request");
    }
}

#[test]
fn a_key_in_a_subprotocol_is_a_credential() {
    let protocols =
        |key: &str| format!("realtime, openai-insecure-api-key.{key}, openai-beta.realtime-v1");
    let fake =
        Fake::answering(|request| json(403, &request.all("sec-websocket-protocol").join("|")));
    let asked = |settings: &str, key: &str| {
        let proxy = Proxy::before(&fake, settings);
        ask(&proxy, "/v1/realtime?model=x", &[("Sec-WebSocket-Protocol", &protocols(key))])
    };
    assert_eq!(asked("", "sk-1").text(), protocols("sk-1"));
    assert_eq!(asked("api_key: ours", "sk-1").text(), "realtime, openai-beta.realtime-v1");
    let keyed = |key: &str| {
        let proxy = Proxy::limited(&fake, "client_keys: [house-key]");
        ask(&proxy, "/v1/realtime?model=x", &[("Sec-WebSocket-Protocol", &protocols(key))])
    };
    assert_eq!(keyed("house-key").text(), "realtime, openai-beta.realtime-v1");
    keyed("wrong-key").own_error(401, "invalid_api_key");
}

#[test]
fn a_page_whose_origin_is_not_allowed_gets_no_socket() {
    let fake = Fake::scripted(echo);
    let proxy = Proxy::before(&fake, "");
    let origin = [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")];
    ask(&proxy, "/v1/realtime?model=x", &origin).own_error(403, "forbidden_host");
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn upgrades_have_a_limit_of_their_own() {
    let fake = Fake::scripted(echo);
    let proxy = Proxy::limited(&fake, "max_upgrades: 2, max_requests: 3");
    let sockets: Vec<Socket> = (0..2).map(|_| Socket::open(&proxy, "/v1/x", b"")).collect();
    ask(&proxy, "/v1/x", &[]).own_error(503, "overloaded");
    // An upgrade is counted after its client has the head.
    crate::wait::eventually("both are counted", || {
        proxy.get("/-/metrics").text().contains("\nmodel_filter_upgrades_open 2\n")
    });
    drop(sockets);
    proxy.exchange("/v1/x");
    crate::wait::eventually("a permit is returned", || {
        let mut client = Client::of(&proxy);
        client.send("GET", "/v1/x", &FIELDS, b"");
        client.any_head().status == 101
    });
}

#[test]
fn a_shutdown_waits_for_sockets_until_its_timeout() {
    let fake = Fake::scripted(echo);
    for closes in [true, false] {
        let mut proxy = Proxy::limited(&fake, "shutdown_timeout: 2");
        let mut socket = Socket::open(&proxy, "/v1/x", b"");
        proxy.signal("TERM");
        proxy.wait_for_log("shutting down");
        socket.send("still");
        assert_eq!(socket.receive(5), b"still");
        if closes {
            socket.stream.shutdown(Shutdown::Write).unwrap();
        }
        socket.ends();
        assert_eq!(proxy.exit_code(), Some(0));
        let expected = if closes { "all exchanges have ended" } else { "exchanges were cut" };
        assert!(proxy.log().iter().any(|line| line.contains(expected)), "{:?}", proxy.log());
    }
}

#[test]
fn a_model_is_judged_by_the_list_where_there_are_no_rules() {
    let fake = Fake::scripted(|conn| {
        while let Some(request) = conn.read_request() {
            match request.target() {
                "/v1/models" => drop(conn.write(json(200, &models(&["kept"])))),
                _ => drop(conn.write(json(403, "{}"))),
            }
        }
    })
    .showing_lists();
    let proxy = Proxy::before(&fake, "hidden: reject");
    assert_eq!(ask(&proxy, "/v1/realtime?model=kept", &[]).status, 403);
    ask(&proxy, "/v1/realtime?model=other", &[]).own_error(404, "model_not_found");
}
