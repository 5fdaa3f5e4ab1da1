use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::client::{Client, End, Response};
use crate::fake::{Conn, EVENTS, Fake, LAST_CHUNK, chunk, json, response};
use crate::proxy::{Proxy, plain};
use crate::wait::{DEADLINE, Gate};

/// A proxy that trusts the upstream's self-made authority.
fn trusting(fake: &Fake) -> Proxy {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
    Proxy::before(fake, &format!("tls:\n  ca_file: {folder}/ca.pem"))
}

/// Echoes each request body.
fn echo() -> Fake {
    Fake::scripted_tls(|conn| {
        while let Some(request) = conn.read_request() {
            conn.write(response("200 OK\nContent-Type: x/y", &request.body));
        }
    })
}

#[test]
fn an_upstream_whose_authority_is_in_ca_file_is_spoken_to() {
    let fake = echo();
    let proxy = trusting(&fake);
    let body: Vec<u8> = (0..1_000_000_u32).map(|number| (number / 7) as u8).collect();
    for _ in 0..2 {
        let answer = proxy.ask("POST", "/v1/x", &[], &body);
        assert_eq!((answer.status, answer.end), (200, End::Complete));
        assert!(answer.body == body);
    }
}

#[test]
fn an_upstream_whose_authority_is_unknown_is_502() {
    let fake = echo();
    let message = Proxy::before(&fake, "").get("/v1/x").own_error(502, "upstream_unreachable");
    assert!(message.contains("certificate"), "{message}");
    assert!(fake.requests().is_empty());
}

#[test]
fn an_upstream_with_a_certificate_for_another_name_is_502() {
    let fake = Fake::scripted_tls_at("127.0.0.2", |conn| drop(conn.read_request()));
    let message = trusting(&fake).get("/v1/x").own_error(502, "upstream_unreachable");
    assert!(message.contains("certificate"), "{message}");
    assert!(fake.requests().is_empty());
}

/// The response to a request to an upstream with this certificate, if `tls.ca_file` is that one.
fn trusted(certificate: &str, ca_file: &str, ip: &str) -> Response {
    let fake = Fake::scripted_tls_as(certificate, ip, |conn| {
        while conn.read_request().is_some() {
            conn.write(json(200, "{}"));
        }
    });
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
    Proxy::before(&fake, &format!("tls:\n  ca_file: {folder}/{ca_file}")).get("/v1/x")
}

/// `openssl req -x509` makes certificates with `CA:TRUE`.
#[test]
fn a_self_signed_certificate_in_ca_file_is_that_of_the_upstream() {
    assert_eq!(trusted("self.pem", "self.pem", "127.0.0.1").status, 200);
    assert_eq!(trusted("upstream.pem", "upstream.pem", "127.0.0.1").status, 200);
    for (certificate, ca_file, ip, what) in [
        ("self.pem", "self.pem", "127.0.0.2", "is for 127.0.0.1, localhost, not for 127.0.0.2"),
        ("expired.pem", "expired.pem", "127.0.0.1", "expired on 2020-12-31"),
        ("self.pem", "ca.pem", "127.0.0.1", "of an unknown authority: put it into tls.ca_file"),
        ("upstream.pem", "self.pem", "127.0.0.1", "signed by an unknown authority: put it into"),
    ] {
        let answer = trusted(certificate, ca_file, ip);
        let message = answer.own_error(502, "upstream_unreachable");
        assert!(message.contains(what), "{message}");
    }
}

#[test]
fn each_event_arrives_before_the_next_is_sent() {
    let (seen, next) = channel();
    let next = Mutex::new(next);
    let fake = Fake::scripted_tls(move |conn| {
        if conn.read_request().is_some() {
            conn.write(EVENTS);
            for number in 0..5 {
                conn.chunk(format!("data: {number}\n\n"));
                next.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            }
            conn.write(LAST_CHUNK);
        }
    });
    let proxy = trusting(&fake);
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/x", &[], b"{}");
    client.head();
    for number in 0..5 {
        assert_eq!(client.event().unwrap(), format!("data: {number}\n\n"));
        seen.send(()).unwrap();
    }
    assert_eq!(client.rest(), (Vec::new(), End::Complete));
}

/// Asserts that the upstream's connection is closed soon after the client leaves. `begin` is what the client gets
/// before.
fn assert_leaving_is_noticed(begin: &'static str) {
    let (sender, closed) = channel();
    let sender = Mutex::new(sender);
    let fake = Fake::scripted_tls(move |conn| {
        if conn.read_request().is_some() {
            conn.write(begin);
            let closed = conn.wait_until_closed();
            sender.lock().unwrap().send(closed).unwrap();
        }
    });
    let proxy = trusting(&fake);
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/x", &[], b"{}");
    fake.wait_for("/v1/x");
    if !begin.is_empty() {
        client.head();
    }
    let left = Instant::now();
    drop(client);
    assert!(closed.recv_timeout(DEADLINE).unwrap());
    assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
    let line = proxy.exchange("/v1/x");
    assert_eq!(line.get("status").as_deref(), Some("499"), "{line:?}");
    assert_eq!(line.get("level").as_deref(), Some("info"), "{line:?}");
}

#[test]
fn a_client_that_leaves_a_silent_stream_ends_it() {
    assert_leaving_is_noticed(EVENTS);
}

#[test]
fn a_client_that_leaves_before_the_head_ends_the_request() {
    assert_leaving_is_noticed("");
}

/// The response of a body that ends with its connection.
fn until_the_end(end: impl Fn(&mut Conn) + Send + Sync + 'static) -> End {
    let gate = Gate::new();
    let opened = gate.clone();
    let fake = Fake::scripted_tls(move |conn| {
        if conn.read_request().is_some() {
            conn.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it?");
            opened.wait();
            end(conn);
        }
    });
    let proxy = trusting(&fake);
    let mut client = Client::of(&proxy);
    client.send("GET", "/v1/x", &[], b"");
    client.head();
    assert_eq!(client.piece().unwrap(), b"all of it?");
    gate.open();
    client.rest().1
}

#[test]
fn a_body_that_ends_with_its_connection_is_whole_where_tls_says_so() {
    assert_eq!(until_the_end(Conn::close_notify), End::Complete);
}

#[test]
fn a_body_that_ends_with_its_connection_is_cut_where_tls_does_not_say_so() {
    assert_eq!(until_the_end(|conn| conn.cut()), End::Cut);
}

#[test]
fn a_stream_that_is_cut_is_cut() {
    let fake = Fake::scripted_tls(|conn| {
        if conn.read_request().is_some() {
            conn.write([EVENTS.as_bytes(), &chunk("data: 1\n\n")].concat());
            conn.cut();
        }
    });
    let answer = trusting(&fake).get("/v1/x");
    assert_eq!(answer.end, End::Cut);
    assert!(answer.text().contains("upstream_invalid_response"), "{}", answer.text());
}

#[test]
fn an_upstreams_connection_is_used_again() {
    let fake = Fake::scripted_tls(|conn| {
        while conn.read_request().is_some() {
            conn.write(json(200, "{}"));
        }
    });
    let proxy = trusting(&fake);
    (0..4).for_each(|_| assert_eq!(proxy.post("/v1/x", "{}").status, 200));
    let connections: BTreeSet<usize> = fake.requests().iter().map(|r| r.connection).collect();
    assert!(connections.len() <= 2, "{connections:?}"); // one may be left from the list that is fetched at the start
}

#[test]
fn new_keys_behind_an_answer_do_not_cost_the_connection() {
    // With its record's 22 bytes more it is what is taken in at once, and the keys come later.
    let head = json(200, &"x".repeat(4074)).len() - 4074;
    let answer = json(200, &"x".repeat(4074 - head));
    let fake = Fake::scripted_tls(move |conn| {
        while let Some(request) = conn.read_request() {
            match request.target() {
                "/v1/long" => drop(conn.write(json(200, &"x".repeat(400_000)))),
                "/v1/keys" => conn.write_with_new_keys(&answer),
                target => drop(conn.write(json(200, target))),
            }
        }
    });
    let proxy = trusting(&fake);
    proxy.wait_for_log("msg=\"models\""); // its connection is idle by then
    for target in ["/v1/long", "/v1/keys", "/v1/next"] {
        assert_eq!(proxy.get(target).status, 200);
    }
    let connections: BTreeSet<usize> = fake.requests().iter().map(|r| r.connection).collect();
    assert_eq!(connections.len(), 1, "{connections:?}");
}

#[test]
fn an_early_answer_arrives_though_the_upstream_reads_no_more() {
    let seen = Gate::new();
    let opened = seen.clone();
    let fake = Fake::scripted_tls(move |conn| {
        if conn.read_head().is_some() {
            conn.write(json(413, "{\"early\":1}"));
            opened.wait();
        }
    });
    let proxy = trusting(&fake);
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/x", &[("Content-Length", "50000000")], b"");
    let mut writer = client.writer();
    // More than the socket buffers between client and upstream hold.
    let upload = std::thread::spawn(move || {
        let _ = writer.write_all(&[b'x'; 20_000_000]);
    });
    assert_eq!(client.response().text(), "{\"early\":1}");
    seen.open();
    drop((client, proxy));
    upload.join().unwrap();
}

#[test]
fn an_upstream_that_succeeds_before_it_has_read_the_request_gets_all_of_it() {
    let fake = Fake::scripted_tls(crate::relaying::counts);
    let proxy = trusting(&fake);
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/x", &[], &[b'x'; 5_000_000]);
    assert_eq!(client.response().text(), "at once, 5000000 bytes");
}

#[test]
fn an_upstream_that_takes_no_more_is_504_after_idle_timeout() {
    let seen = Gate::new();
    let opened = seen.clone();
    let fake = Fake::scripted_tls(move |conn| {
        conn.read_head();
        opened.wait();
    });
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
    let settings = format!("tls:\n  ca_file: {folder}/ca.pem\nidle_timeout: 3");
    let proxy = Proxy::before(&fake, &settings);
    let body = vec![b'x'; 20_000_000];
    let begun = Instant::now();
    let answer = proxy.ask("POST", "/v1/x", &[], &body);
    let message = answer.own_error(504, "upstream_timeout");
    assert!(message.contains("no progress") && message.contains("for 3 s"), "{message}");
    // TLS does not say that it failed, and would be waited for once more.
    assert!(begun.elapsed() < Duration::from_millis(5500), "{:?}", begun.elapsed());
    seen.open();
}

#[test]
fn what_is_left_of_one_answer_is_not_the_answer_to_the_next_request() {
    const LEFT_OVER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nleft";
    // A record has 22 bytes more, and 4096 are taken in at once: it ends with them, is a little
    // shorter, or both are among them.
    for length in [4074, 4060, 1000] {
        let head = json(200, &"x".repeat(length)).len() - length;
        let answer = json(200, &"x".repeat(length - head));
        let fake = Fake::scripted_tls(move |conn| {
            while let Some(request) = conn.read_request() {
                match request.target() {
                    "/v1/long" => drop(conn.write(json(200, &"x".repeat(400_000)))),
                    "/v1/two" => conn.write_records([&answer, LEFT_OVER]),
                    target => drop(conn.write(json(200, target))),
                }
            }
        });
        let proxy = trusting(&fake);
        proxy.wait_for_log("msg=\"models\""); // its connection is idle by then
        assert_eq!(proxy.get("/v1/long").body.len(), 400_000);
        assert_eq!(proxy.get("/v1/two").status, 200);
        assert_eq!(proxy.get("/v1/next").text(), "/v1/next", "{length}");
        let (long, two) = (fake.wait_for("/v1/long"), fake.wait_for("/v1/two"));
        assert_eq!(long.connection, two.connection);
    }
}

#[test]
fn an_interim_response_does_not_end_a_long_upload() {
    let goes_on = Gate::new();
    let opened = goes_on.clone();
    let fake = Fake::scripted_tls(move |conn| {
        if let Some(request) = conn.read_head() {
            conn.write("HTTP/1.1 102 Processing\r\n\r\n");
            opened.open();
            if let Some(body) = conn.read_body(&request) {
                conn.write(json(200, &body.len().to_string()));
            }
        }
    });
    let proxy = trusting(&fake);
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/x", &[("Content-Length", "1000000")], b"");
    goes_on.wait();
    client.more(vec![b'x'; 1_000_000]);
    let answer = client.response();
    assert_eq!((answer.status, answer.text().as_str()), (200, "1000000"));
}

/// The session tickets of TLS come while it is sent over a new connection, and are no answer.
#[test]
fn a_long_upload_through_the_tunnel_of_an_http_proxy_arrives_whole() {
    let fake = Fake::scripted_tls(|conn| {
        let Some(request) = conn.read_head() else { return };
        if request.target() == "/v1/models" {
            conn.write(response("200 OK\nConnection: close", r#"{"data":[]}"#));
        } else if let Some(body) = conn.read_body(&request) {
            conn.write(json(200, &body.len().to_string()));
        }
    })
    .showing_lists();
    let upstream = fake.host();
    let between = Fake::scripted(move |conn| {
        if conn.read_request().is_some() {
            conn.write("HTTP/1.1 200 Connection established\r\n\r\n");
            conn.tunnel_to(&upstream);
        }
    });
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
    let base_url = fake.url("/v1").replace("127.0.0.1", "upstream.test");
    let yaml = plain(&base_url, &format!("tls:\n  ca_file: {folder}/ca.pem"));
    let proxy = Proxy::start_with(&yaml, &[], &[("HTTPS_PROXY", &between.url(""))]);
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/x", &[("Content-Length", "1000000")], b"");
    fake.wait_for("/v1/x");
    client.more(vec![b'x'; 1_000_000]);
    let answer = client.response();
    assert_eq!((answer.status, answer.text().as_str()), (200, "1000000"));
}
