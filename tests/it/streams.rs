use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::client::{Client, End};
use crate::fake::{CHUNKED, Conn, EVENTS, Fake, LAST_CHUNK, chunk, json};
use crate::proxy::Proxy;
use crate::wait::{DEADLINE, Gate};

/// Responds to `/v1/warm` at once; `script` handles everything else.
fn streaming(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Fake {
    Fake::scripted(move |conn| {
        while let Some(request) = conn.read_request() {
            if request.target() != "/v1/warm" {
                return script(conn);
            }
            conn.write(json(200, "{}"));
        }
    })
}

/// A client that has made one exchange. On its kept connection only the framing ends a response, and a cut could look
/// like the end.
fn kept_alive(proxy: &Proxy) -> Client {
    let mut client = Client::of(proxy);
    client.send("GET", "/v1/warm", &[], b"");
    assert_eq!(client.response().status, 200);
    client
}

#[test]
fn each_event_arrives_before_the_next_is_sent() {
    let (seen, next) = channel();
    let next = Mutex::new(next);
    let fake = streaming(move |conn| {
        conn.write(EVENTS);
        for number in 0..20 {
            conn.chunk(format!("data: {number}\n\n"));
            next.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        }
        conn.write(LAST_CHUNK);
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/chat/completions", &[], b"{}");
    client.head();
    for number in 0..20 {
        assert_eq!(client.event().unwrap(), format!("data: {number}\n\n"));
        seen.send(()).unwrap();
    }
    assert_eq!(client.rest(), (Vec::new(), End::Complete));
}

#[test]
fn the_head_arrives_before_the_first_event_is_sent() {
    let gate = Gate::new();
    let opened = gate.clone();
    let fake = streaming(move |conn| {
        conn.write(EVENTS);
        opened.wait();
        conn.write([chunk("data: 1\n\n"), LAST_CHUNK.into()].concat());
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("GET", "/v1/x", &[], b"");
    assert_eq!(client.head().status, 200);
    gate.open();
    assert_eq!(client.event().unwrap(), "data: 1\n\n");
}

#[test]
fn what_is_no_event_stream_arrives_at_once_too() {
    for head in [CHUNKED, "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"] {
        let gate = Gate::new();
        let opened = gate.clone();
        let fake = streaming(move |conn| {
            let piece = if head == CHUNKED { chunk("{\"a\":") } else { b"{\"a\":".to_vec() };
            conn.write([head.as_bytes(), &piece].concat());
            opened.wait();
        });
        let proxy = Proxy::before(&fake, "");
        let mut client = Client::of(&proxy);
        client.send("GET", "/v1/x", &[], b"");
        client.head();
        assert_eq!(client.piece().unwrap(), b"{\"a\":", "{head}");
        gate.open();
    }
}

#[test]
fn a_long_body_of_known_length_arrives_at_once_too() {
    let gate = Gate::new();
    let opened = gate.clone();
    let fake = streaming(move |conn| {
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nstart");
        opened.wait();
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("GET", "/v1/x", &[], b"");
    client.head();
    assert_eq!(client.piece().unwrap(), b"start");
    gate.open();
}

#[test]
fn an_http_1_0_client_gets_events_at_once_until_the_close() {
    let gate = Gate::new();
    let opened = gate.clone();
    let fake = streaming(move |conn| {
        conn.write([EVENTS.as_bytes(), &chunk("data: 1\n\n")].concat());
        opened.wait();
        conn.write([chunk("data: 2\n\n"), LAST_CHUNK.into()].concat());
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send_raw("GET /v1/x HTTP/1.0\r\n\r\n");
    assert_eq!(client.head().header("transfer-encoding"), None);
    assert_eq!(client.event().unwrap(), "data: 1\n\n");
    gate.open();
    assert_eq!(client.rest(), (b"data: 2\n\n".to_vec(), End::Complete));
}

#[test]
fn a_complete_stream_ends_cleanly_and_the_connection_goes_on() {
    let fake = streaming(|conn| {
        conn.write([EVENTS.as_bytes(), &chunk("data: 1\n\n"), LAST_CHUNK.as_bytes()].concat());
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = kept_alive(&proxy);
    for _ in 0..2 {
        client.send("GET", "/v1/x", &[], b"");
        let answer = client.response();
        assert_eq!((answer.text().as_str(), answer.end), ("data: 1\n\n", End::Complete));
    }
}

/// The response on a kept connection if the upstream closes after `beginning`; it must arrive within 1 s.
fn after_the_cut(settings: &str, beginning: Vec<u8>) -> (Vec<u8>, End) {
    let gate = Gate::new();
    let opened = gate.clone();
    let fake = streaming(move |conn| {
        conn.write(&beginning);
        opened.wait();
        conn.cut();
    });
    let proxy = Proxy::before(&fake, settings);
    let mut client = kept_alive(&proxy);
    client.send("GET", "/v1/x", &[], b"");
    assert_eq!(client.head().status, 200);
    client.piece().unwrap();
    let cut = Instant::now();
    gate.open();
    let (rest, end) = client.rest();
    assert!(cut.elapsed() < Duration::from_secs(1), "{:?}", cut.elapsed());
    assert!(client.is_closed());
    let line = proxy.exchange("/v1/x");
    assert_eq!(line.get("side").as_deref(), Some("upstream"), "{line:?}");
    (rest, end)
}

/// The program's own error event.
fn assert_error_event(event: &[u8], code: &str) {
    let event = String::from_utf8(event.to_vec()).unwrap();
    let data = event
        .trim_start_matches('\n')
        .strip_prefix("data: ")
        .and_then(|rest| rest.strip_suffix("\n\n"));
    let data: serde_json::Value = serde_json::from_str(data.expect(&event)).expect(&event);
    assert_eq!(data["error"]["code"], code, "{event}");
    assert_eq!(data["error"]["type"], "server_error", "{event}");
    assert!(data["error"]["message"].as_str().unwrap().contains("127.0.0.1"), "{event}");
}

#[test]
fn a_cut_event_stream_ends_with_an_error_event_and_a_cut() {
    let beginning = [EVENTS.as_bytes(), &chunk("data: 1\n\n")].concat();
    let (rest, end) = after_the_cut("", beginning);
    assert_eq!(end, End::Cut);
    assert_error_event(&rest, "upstream_invalid_response");
}

/// Chromium's `fetch` drops what the page has not read when the connection breaks.
#[test]
fn the_cut_comes_a_moment_after_the_error_event() {
    let gate = Gate::new();
    let opened = gate.clone();
    let fake = streaming(move |conn| {
        conn.write([EVENTS.as_bytes(), &chunk("data: 1\n\n")].concat());
        opened.wait();
        conn.cut();
    });
    let proxy = Proxy::before(&fake, "");
    let mut clients: Vec<Client> = (0..5).map(|_| kept_alive(&proxy)).collect();
    for client in &mut clients {
        client.send("GET", "/v1/x", &[], b"");
        client.head();
        client.piece().unwrap();
    }
    gate.open();
    for client in &mut clients {
        assert!(client.event().unwrap().contains("upstream_invalid_response"));
        let seen = Instant::now();
        assert_eq!(client.rest(), (Vec::new(), End::Cut));
        assert!(seen.elapsed() < Duration::from_millis(500), "{:?}", seen.elapsed());
    }
    // At least from the last of them: the others wait for the same moment.
    let mut client = kept_alive(&proxy);
    client.send("GET", "/v1/x", &[], b"");
    client.head();
    client.event().unwrap();
    client.event().unwrap();
    let seen = Instant::now();
    assert_eq!(client.rest().1, End::Cut);
    assert!(seen.elapsed() >= Duration::from_millis(30), "{:?}", seen.elapsed());
}

#[test]
fn an_error_event_has_the_shape_of_the_api_that_was_asked() {
    let fake = streaming(|conn| {
        conn.write([EVENTS.as_bytes(), &chunk("event: x\ndata: 1\n\n")].concat());
        conn.cut();
    });
    let proxy = Proxy::before(&fake, "");
    let event = |target| {
        let answer = proxy.post(target, "{}");
        assert_eq!(answer.end, End::Cut);
        let text = answer.text();
        let (name, data) = text.rsplit_once("data: ").unwrap();
        let data: serde_json::Value = serde_json::from_str(data).expect(&text);
        (name.rsplit("\n\n").next().unwrap().to_owned(), data)
    };
    for target in
        ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/threads/t/messages"]
    {
        let (name, data) = event(target);
        assert_eq!(
            (name.as_str(), &data["error"]["code"]),
            ("", &"upstream_invalid_response".into())
        );
    }
    for target in ["/v1/messages", "/v1/messages?beta=true", "/messages"] {
        let (name, data) = event(target);
        assert_eq!((name.as_str(), &data["type"]), ("event: error\n", &"error".into()), "{target}");
        assert_eq!(data["error"]["type"], "api_error");
        assert!(data["error"]["message"].as_str().unwrap().contains("broke off"), "{data}");
    }
    let (name, data) = event("/v1beta/models/g:streamGenerateContent?alt=sse");
    assert_eq!((name.as_str(), &data["error"]["code"]), ("", &502.into()));
    assert_eq!(data["error"]["status"], "UNAVAILABLE");
}

#[test]
fn an_error_event_does_not_become_part_of_a_half_event() {
    let beginning = [EVENTS.as_bytes(), &chunk("data: {\"half\":")].concat();
    let (rest, end) = after_the_cut("", beginning);
    assert_eq!(end, End::Cut);
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.starts_with("\n\n"), "the half event is ended first: {rest:?}");
    assert_error_event(rest.as_bytes(), "upstream_invalid_response");
}

#[test]
fn an_event_whose_end_came_in_two_pieces_is_whole() {
    let gates = [Gate::new(), Gate::new()];
    let [first, second] = gates.clone();
    let fake = streaming(move |conn| {
        conn.write([EVENTS.as_bytes(), &chunk("data: 1\n")].concat());
        first.wait();
        conn.write(chunk("\n"));
        second.wait();
        conn.cut();
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = kept_alive(&proxy);
    client.send("GET", "/v1/x", &[], b"");
    client.head();
    for gate in gates {
        client.piece().unwrap();
        gate.open();
    }
    let (rest, end) = client.rest();
    assert_eq!(end, End::Cut);
    assert!(rest.starts_with(b"data: "), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn a_cut_chunked_body_is_cut() {
    let beginning = [CHUNKED.as_bytes(), &chunk("{\"a\":1}")].concat();
    assert_eq!(after_the_cut("", beginning), (Vec::new(), End::Cut));
}

#[test]
fn a_chunked_body_cut_within_a_chunk_is_cut() {
    let beginning = [CHUNKED.as_bytes(), b"ff\r\n{\"a\":1}"].concat();
    assert_eq!(after_the_cut("", beginning).1, End::Cut);
}

#[test]
fn a_long_body_of_known_length_is_cut() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n";
    assert_eq!(after_the_cut("", [head.as_slice(), &[b'x'; 70_000]].concat()).1, End::Cut);
}

#[test]
fn an_event_stream_of_known_length_is_cut_however_near_its_end() {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 70000\r\n\r\n";
    for missing in [1, 100, 1000] {
        let beginning = [head.as_bytes(), &vec![b'x'; 70_000 - missing]].concat();
        let (rest, end) = after_the_cut("", beginning);
        assert_eq!(end, End::Cut, "{missing}");
        assert!(rest.iter().all(|byte| *byte == b'x'), "{}", String::from_utf8_lossy(&rest));
    }
}

/// For an HTTP/1.0 client the close is the end of the body, so a cut must be a reset.
#[test]
fn a_cut_breaks_the_connection_of_an_http_1_0_client() {
    let gate = Gate::new();
    let opened = gate.clone();
    let fake = streaming(move |conn| {
        conn.write([CHUNKED.as_bytes(), &chunk("{\"a\":")].concat());
        opened.wait();
        conn.cut();
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send_raw("GET /v1/x HTTP/1.0\r\n\r\n");
    client.head();
    assert_eq!(client.piece().unwrap(), b"{\"a\":");
    gate.open();
    assert_eq!(client.rest(), (Vec::new(), End::Cut));
}

#[test]
fn a_machine_that_slept_goes_on() {
    let (begun, ended) = (Gate::new(), Gate::new());
    let (opened, closed) = (begun.clone(), ended.clone());
    let fake = streaming(move |conn| {
        opened.wait();
        conn.write([EVENTS.as_bytes(), &chunk("data: 1\n\n")].concat());
        closed.wait();
        conn.write([chunk("data: 2\n\n"), LAST_CHUNK.into()].concat());
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("GET", "/v1/x", &[], b"");
    fake.wait_for("/v1/x");
    proxy.sleep();
    begun.open();
    client.head();
    assert_eq!(client.event().unwrap(), "data: 1\n\n");
    proxy.sleep();
    ended.open();
    assert_eq!(client.rest(), (b"data: 2\n\n".to_vec(), End::Complete));
    assert_eq!(proxy.get("/v1/warm").status, 200);
}

#[test]
fn a_broken_chunk_is_a_cut() {
    let fake = streaming(|conn| {
        conn.write([CHUNKED.as_bytes(), &chunk("{\"a\":1}"), b"no length\r\n"].concat());
        conn.wait_until_closed();
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = kept_alive(&proxy);
    client.send("GET", "/v1/x", &[], b"");
    assert_eq!(client.response().end, End::Cut);
}

#[test]
fn a_silence_longer_than_idle_timeout_is_a_cut() {
    let fake = streaming(|conn| {
        conn.write([EVENTS.as_bytes(), &chunk("data: 1\n\n")].concat());
        conn.wait_until_closed();
    });
    let proxy = Proxy::before(&fake, "idle_timeout: 1");
    let mut client = kept_alive(&proxy);
    client.send("GET", "/v1/x", &[], b"");
    client.head();
    assert_eq!(client.event().unwrap(), "data: 1\n\n");
    let (rest, end) = client.rest();
    assert_eq!(end, End::Cut);
    assert_error_event(&rest, "upstream_timeout");
}

#[test]
fn idle_timeout_is_about_each_silence_and_not_their_sum() {
    let fake = streaming(|conn| {
        conn.write(EVENTS);
        for number in 0..4 {
            // The pause of a slow upstream is what is tested; it does not synchronize anything.
            std::thread::sleep(Duration::from_millis(400));
            conn.chunk(format!("data: {number}\n\n"));
        }
        conn.write(LAST_CHUNK);
    });
    let answer = Proxy::before(&fake, "idle_timeout: 1\ntotal_timeout: 1").get("/v1/x");
    assert_eq!((answer.end, answer.body.len()), (End::Complete, 4 * "data: 0\n\n".len()));
}

/// Asserts that the upstream's connection is closed soon after the client leaves, and that this is logged. `begin` is
/// what the upstream sends before.
fn assert_leaving_is_noticed(method: &str, begin: impl Fn(&mut Conn) + Send + Sync + 'static) {
    let (sender, closed) = channel();
    let sender = Mutex::new(sender);
    let fake = Fake::scripted(move |conn| {
        if conn.read_request().is_some() {
            begin(conn);
            let closed = conn.wait_until_closed();
            sender.lock().unwrap().send(closed).unwrap();
        }
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send(method, "/v1/x", &[], if method == "POST" { b"{}" } else { b"" });
    fake.wait_for("/v1/x");
    if method == "POST" {
        client.head();
        client.piece().unwrap();
    }
    let left = Instant::now();
    drop(client);
    assert!(closed.recv_timeout(DEADLINE).unwrap());
    assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
    let line = proxy.exchange("/v1/x");
    assert_eq!(line.get("status").as_deref(), Some("499"), "{line:?}");
    assert_eq!(line.get("level").as_deref(), Some("info"), "{line:?}");
    assert_eq!(line.get("side").as_deref(), Some("client"), "{line:?}");
}

#[test]
fn a_client_that_leaves_a_silent_stream_ends_it() {
    assert_leaving_is_noticed("POST", |conn| {
        conn.write([EVENTS.as_bytes(), &chunk("data: 1\n\n")].concat());
    });
}

#[test]
fn a_client_that_leaves_a_busy_stream_ends_it() {
    assert_leaving_is_noticed("POST", |conn| {
        conn.write(EVENTS);
        while conn.chunk(format!("data: {}\n\n", "x".repeat(1000))) {}
    });
}

#[test]
fn a_client_that_leaves_before_the_head_ends_the_request() {
    assert_leaving_is_noticed("GET", |_| {});
}

#[test]
fn a_client_that_leaves_while_a_short_body_is_read_ends_it() {
    assert_leaving_is_noticed("GET", |conn| {
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    });
}

#[test]
fn a_client_that_leaves_in_mid_upload_ends_the_request() {
    let (sender, closed) = channel();
    let sender = Mutex::new(sender);
    let fake = Fake::scripted(move |conn| {
        if conn.read_head().is_some() {
            let closed = conn.wait_until_closed();
            sender.lock().unwrap().send(closed).unwrap();
        }
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/x", &[("Content-Length", "1000000")], b"half");
    fake.wait_for("/v1/x");
    let left = Instant::now();
    drop(client);
    assert!(closed.recv_timeout(DEADLINE).unwrap());
    assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
}

#[test]
fn a_client_that_leaves_is_noticed_though_the_upstream_goes_on_talking() {
    let fake = Fake::scripted(|conn| {
        if conn.read_request().is_some() {
            while conn.write("HTTP/1.1 102 Processing\r\n\r\n") {}
        }
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("GET", "/v1/talking", &[], b"");
    fake.wait_for("/v1/talking");
    drop(client);
    assert_eq!(proxy.exchange("/v1/talking").get("status").as_deref(), Some("499"));
}
