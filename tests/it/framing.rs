use crate::client::Client;
use crate::fake::{Fake, LAST_CHUNK, chunk, json};
use crate::proxy::Proxy;
use crate::wait::{Gate, eventually};

/// A whole request that must not reach the upstream.
const HIDDEN: &str = "GET /v1/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn upstream() -> Fake {
    Fake::answering(|request| json(200, request.target()))
}

/// Asserts that the process is alive and that the upstream has received no smuggled request.
fn assert_nothing_was_relayed(proxy: &Proxy, fake: &Fake) {
    let before = fake.requests().len();
    assert_eq!(proxy.get("/v1/after").text(), "/v1/after");
    let seen: Vec<String> = fake.requests().iter().map(|r| r.target().to_string()).collect();
    assert_eq!(seen, vec!["/v1/after"; before + 1]);
    assert!(proxy.log().iter().all(|line| !line.contains("hidden")), "{:#?}", proxy.log());
}

/// Asserts that a request of this version with these fields is refused, and that nothing that follows on its connection
/// is taken for a request, wherever its body may seem to end.
fn assert_refused(proxy: &Proxy, fake: &Fake, request: &str, status: u16, code: &str) {
    let mut client = Client::of(proxy);
    let (version, fields) = request.split_once(' ').unwrap();
    let head = format!("POST /v1/x {version}\r\nHost: localhost\r\n{fields}\r\n\r\n");
    client.send_raw([&head, LAST_CHUNK, HIDDEN, HIDDEN].concat());
    client.response().own_error(status, code);
    client.offer(HIDDEN);
    assert!(client.is_closed(), "{request}");
    assert_nothing_was_relayed(proxy, fake);
}

#[test]
fn an_ambiguous_body_is_refused_and_ends_the_connection() {
    let fake = upstream();
    let proxy = Proxy::before(&fake, "");
    for request in [
        "HTTP/1.1 Content-Length: 5\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 Transfer-Encoding: chunked\r\nContent-Length: 5",
        "HTTP/1.1 Content-Length: 5\r\nContent-Length: 6",
        "HTTP/1.1 Content-Length: 6\r\ncontent-length: 5",
        "HTTP/1.1 Content-Length: +5",
        "HTTP/1.1 Content-Length: -5",
        "HTTP/1.1 Content-Length: 5, 5",
        "HTTP/1.1 Content-Length: 0x5",
        "HTTP/1.1 Content-Length: 5 5",
        "HTTP/1.1 Content-Length:",
        "HTTP/1.1 Transfer-Encoding: gzip, chunked",
        "HTTP/1.1 Transfer-Encoding: identity",
        "HTTP/1.1 Transfer-Encoding: xchunked",
        "HTTP/1.1 Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "HTTP/1.0 Connection: keep-alive\r\nTransfer-Encoding: chunked",
    ] {
        assert_refused(&proxy, &fake, request, 400, "bad_request");
    }
}

/// nginx sends `Connection: upgrade` with every request if it is configured for WebSockets; Java's HttpClient offers
/// HTTP/2 with its first request.
#[test]
fn a_body_beside_an_offer_to_upgrade_is_read_as_any_other() {
    let fake = Fake::answering(|request| json(200, &request.text()));
    let proxy = Proxy::with_prefix(&fake, "");
    let model = r#"{"model":"my/a","x":"NEXT"}"#;
    let long = model.replace("NEXT", &"long ".repeat(50_000));
    for body in [model, &long] {
        let (first, second) = body.split_at(20);
        let chunks = [chunk(first), chunk(second), LAST_CHUNK.into()].concat();
        let length = format!("Content-Length: {}", body.len());
        for fields in [
            "Connection: upgrade",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        ] {
            for (framing, sent) in
                [(length.as_str(), body.as_bytes()), ("Transfer-Encoding: chunked", &chunks)]
            {
                let mut client = Client::of(&proxy);
                let head = format!(
                    "POST /v1/x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{framing}\r\n\r\n"
                );
                client.send_raw([head.as_bytes(), sent].concat());
                let answer = client.response();
                assert_eq!(answer.status, 200, "{fields}: {}", answer.text());
                assert!(
                    answer.text() == body.replace("my/a", "a"),
                    "{fields} {framing}: {}",
                    answer.body.len()
                );
                client.offer(HIDDEN);
                assert!(client.is_closed());
            }
        }
    }
    assert!(proxy.log().iter().all(|line| !line.contains("hidden")));
}

#[test]
fn a_broken_chunk_beside_an_offer_to_upgrade_is_refused() {
    let fake = upstream();
    let proxy = Proxy::with_prefix(&fake, "");
    for (body, status, code) in
        [("x\r\n", 400, "bad_request"), ("2\r\n{}0\r\n", 400, "bad_request")]
    {
        let mut client = Client::of(&proxy);
        let fields = [("Connection", "upgrade"), ("Transfer-Encoding", "chunked")];
        client.send("POST", "/v1/x", &fields, body.as_bytes());
        client.response().own_error(status, code);
        assert!(client.is_closed());
    }
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn a_giant_length_is_refused_and_ends_the_connection_but_not_the_process() {
    let fake = upstream();
    let proxy = Proxy::before(&fake, "");
    for length in [
        "1000000000000",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999",
    ] {
        let request = format!("HTTP/1.1 Content-Length: {length}");
        assert_refused(&proxy, &fake, &request, 413, "request_too_large");
    }
}

#[test]
fn giant_lengths_leave_little_memory_behind() {
    let fake = upstream();
    let proxy = Proxy::before(&fake, "");
    let memory = proxy.peak_memory();
    for _ in 0..50 {
        let answer = proxy.ask("POST", "/v1/x", &[("Content-Length", "1000000000000")], b"");
        answer.own_error(413, "request_too_large");
    }
    let grown = proxy.peak_memory().saturating_sub(memory);
    assert!(grown < 16 * 1024, "{grown} KiB");
}

/// The limit simulates a machine with less memory.
#[test]
fn a_length_beyond_this_machines_memory_does_not_end_the_process() {
    let fake = upstream();
    let yaml = crate::proxy::limited(&fake, "");
    let proxy = Proxy::by_shell(r#"ulimit -v 900000; exec "$0" "$@""#, &yaml);
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/../x", &[("Content-Length", "1073741824")], b"{");
    client.response().own_error(400, "bad_request");
    drop(client);
    proxy.wait_for_log("leaked a connection");
    assert_eq!(proxy.get("/v1/after").text(), "/v1/after");
}

/// Their leaks cannot be released, so the process ends after a number of them.
#[test]
fn before_giant_lengths_have_taken_all_files_the_program_ends() {
    let fake = upstream();
    let yaml = crate::proxy::limited(&fake, "");
    let mut proxy = Proxy::by_shell(r#"ulimit -n 128; exec "$0" "$@""#, &yaml);
    let giant = "POST /v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n\r\n";
    let mut answered = 0;
    // The process may end at any moment: before a client has connected, sent or read.
    while answered < 100 {
        let Ok(mut client) = Client::try_of(&proxy) else { break };
        if !client.offer(giant) || client.is_closed() {
            break;
        }
        answered += 1;
    }
    assert_eq!(proxy.exit_code(), Some(1));
    // One in eight of the files, and what comes while the log is written.
    assert!(answered <= 40, "{answered}");
}

/// The proxy drains such a request for at most 2 s after its response, then cuts the connection.
#[test]
fn a_client_that_stays_after_its_giant_length_was_refused_harms_nobody() {
    let fake = upstream();
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/x", &[("Content-Length", "1000000000000")], b"start");
    client.response().own_error(413, "request_too_large");
    eventually("the connection is cut", || !client.offer("x"));
    (0..10).for_each(|_| assert_eq!(proxy.get("/v1/after").text(), "/v1/after"));
}

/// Asserts that the unread body of a refused request is skipped to its real end.
fn assert_the_next_request_is_seen(framing: &str, body: &[u8]) {
    let fake = upstream();
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    let head = format!("POST /v1/../x HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n");
    let next = "GET /v1/next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    client.send_raw([head.as_bytes(), body].concat());
    client.response().own_error(400, "bad_request");
    client.send_raw(next);
    assert_eq!(client.response().text(), "/v1/next");
    assert!(client.is_closed());
    assert_eq!(fake.request().target(), "/v1/next");
}

#[test]
fn an_unread_body_of_known_length_is_no_request() {
    let body = HIDDEN.repeat(100);
    let framing = format!("Content-Length: {}", body.len());
    assert_the_next_request_is_seen(&framing, body.as_bytes());
}

#[test]
fn an_unread_chunked_body_is_no_request() {
    let body = [chunk(HIDDEN), chunk(HIDDEN), LAST_CHUNK.into()].concat();
    assert_the_next_request_is_seen("Transfer-Encoding: chunked", &body);
}

/// The size line of this chunk, with its extension, looks like a request line.
#[test]
fn an_unread_chunk_is_no_request() {
    let body = "13;x /v1/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n0\r\n\r\n";
    assert_the_next_request_is_seen("Transfer-Encoding: chunked", body.as_bytes());
}

/// Asserts that a request is answered although its body is too long to be drained, and that none of the body becomes a
/// request.
fn assert_answered_and_ended(framing: &str, body: &[u8], later: &[u8]) -> (Fake, Proxy, Client) {
    let fake = upstream();
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/../x", &[framing.split_once(": ").unwrap()], b"");
    let mut writer = client.writer();
    let body = body.to_vec();
    // Fails if the proxy has stopped reading.
    let upload = std::thread::spawn(move || {
        let _ = std::io::Write::write_all(&mut writer, &body);
    });
    client.response().own_error(400, "bad_request");
    client.offer(later);
    assert!(client.is_closed());
    upload.join().unwrap();
    assert_nothing_was_relayed(&proxy, &fake);
    (fake, proxy, client)
}

#[test]
fn a_long_unread_body_of_known_length_is_no_request() {
    let body = HIDDEN.repeat(50_000);
    let framing = format!("Content-Length: {}", body.len());
    let (_fake, _proxy, mut client) =
        assert_answered_and_ended(&framing, body.as_bytes(), HIDDEN.as_bytes());
    eventually("the connection is cut", || !client.offer("x"));
}

#[test]
fn a_long_unread_chunked_body_is_no_request() {
    let body = [chunk(HIDDEN.repeat(50_000)), LAST_CHUNK.into()].concat();
    assert_answered_and_ended("Transfer-Encoding: chunked", &body, HIDDEN.as_bytes());
}

#[test]
fn a_refusal_does_not_overtake_the_answer_in_front_of_it() {
    let gate = Gate::new();
    let opened = gate.clone();
    let fake = Fake::answering(move |request| {
        opened.wait();
        json(200, request.target())
    });
    let proxy = Proxy::debugging(&fake);
    let mut client = Client::of(&proxy);
    let slow = "GET /v1/slow HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let refused = "POST /v1/../x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n";
    client.send_raw([slow, refused].concat());
    proxy.wait_for_log("dropped a pipelined request");
    gate.open();
    assert_eq!(client.response().text(), "/v1/slow");
    assert!(client.is_closed());
    assert_eq!(proxy.get("/v1/after").text(), "/v1/after");
}

#[test]
fn an_answer_does_not_wait_for_the_rest_of_a_body() {
    // tiny_http hands out a request with a body of up to 1,024 bytes when it has all of it.
    let late = HIDDEN.repeat(50);
    let framing = format!("Content-Length: {}", late.len() + 5);
    assert_answered_and_ended(&framing, b"start", late.as_bytes());
    let later = [chunk(HIDDEN), LAST_CHUNK.into()].concat();
    assert_answered_and_ended("Transfer-Encoding: chunked", &chunk("start"), &later);
}

#[test]
fn a_chunk_that_cannot_be_understood_ends_the_connection() {
    let fake = upstream();
    let proxy = Proxy::before(&fake, "");
    for size in ["ffffffffffffffffff", "10000000000000000", "-1", "+1", "0x1", "", "z"] {
        let mut client = Client::of(&proxy);
        let head =
            "POST /v1/../x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send_raw(format!("{head}{size}\r\n\r\n\r\n{HIDDEN}{HIDDEN}"));
        client.response().own_error(400, "bad_request");
        assert!(client.is_closed(), "{size}");
    }
    assert_nothing_was_relayed(&proxy, &fake);
}

/// Other servers respond with 400; tiny_http closes the connection without a response.
#[test]
fn a_header_that_is_not_ascii_closes_the_connection_without_an_answer() {
    let fake = upstream();
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send_raw(format!("GET /v1/x HTTP/1.1\r\nX-Name: Z\u{fc}rich\r\n\r\n{HIDDEN}"));
    assert!(client.is_closed());
    assert_nothing_was_relayed(&proxy, &fake);
}
