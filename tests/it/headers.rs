use crate::client::Client;
use crate::fake::{EVENTS, Fake, LAST_CHUNK, chunk, json, response};
use crate::proxy::Proxy;

type Headers = Vec<(String, String)>;

/// Sorted by name, duplicates in order: case and the order of different names mean nothing (RFC 9110 §5.3).
fn by_name(headers: &[(String, String)]) -> Headers {
    let lower = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let mut sorted: Headers = lower.collect();
    sorted.sort_by(|left, right| left.0.cmp(&right.0)); // stable
    sorted
}

fn pairs(headers: &[(&str, &str)]) -> Headers {
    by_name(&headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect::<Vec<_>>())
}

/// The headers that the upstream receives if a client sends these.
fn seen_upstream(sent: &[(&str, &str)], body: &[u8]) -> (Headers, Fake) {
    let fake = Fake::answering(|_| json(200, "{}"));
    let method = if body.is_empty() { "GET" } else { "POST" };
    let answer = Proxy::before(&fake, "").ask(method, "/v1/x", sent, body);
    assert_eq!(answer.status, 200);
    (by_name(&fake.request().headers), fake)
}

const HARMLESS: &[(&str, &str)] = &[
    ("Accept", "text/event-stream"),
    ("X-Dup", "1"),
    ("X-Dup", "2, 3"),
    ("User-Agent", "curl/8"),
    ("x-dup", "1"),
    ("Accept-Language", "de, en;q=0.5"),
    ("X-Forwarded-For", "192.0.2.1"),
    ("Forwarded", "for=192.0.2.1"),
    ("Via", "1.1 other"),
    ("X-Empty", ""),
    ("OpenAI-Beta", "assistants=v2"),
];

#[test]
fn a_get_arrives_with_its_own_headers_and_no_other() {
    let (seen, fake) = seen_upstream(HARMLESS, b"");
    assert_eq!(seen, pairs(&[HARMLESS, &[("host", &fake.host())]].concat()));
}

#[test]
fn a_post_arrives_with_its_own_headers_and_no_other() {
    let (seen, fake) = seen_upstream(HARMLESS, b"12345");
    let added = [("host", fake.host()), ("content-length", "5".into())];
    let added = added.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(seen, pairs(&[HARMLESS, &added].concat()));
}

#[test]
fn a_request_with_hardly_a_header_gets_none() {
    let (seen, fake) = seen_upstream(&[], b"");
    assert_eq!(seen, pairs(&[("host", &fake.host())]));
}

#[test]
fn hop_by_hop_headers_do_not_go_up() {
    let sent = [
        ("Connection", "keep-alive, X-Hop"),
        ("connection", "x-other-hop"),
        ("X-Hop", "1"),
        ("X-Other-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authenticate", "Basic"),
        ("Proxy-Authorization", "Basic eA=="),
        ("TE", "trailers"),
        ("Trailer", "X-Sum"),
        ("X-Kept", "1"),
    ];
    let (seen, fake) = seen_upstream(&sent, b"");
    assert_eq!(seen, pairs(&[("host", &fake.host()), ("x-kept", "1")]));
}

/// CGI and WSGI write `-` as `_`, and some of their servers take the last field of a name.
#[test]
fn a_header_that_may_be_taken_for_that_of_the_body_does_not_go_up() {
    let sent = [
        ("Content_Type", "multipart/form-data; boundary=B"),
        ("CONTENT_LENGTH", "1"),
        ("Content_Encoding", "gzip"),
        ("Transfer_Encoding", "chunked"),
        ("Transfer-Encoding_", "kept"),
        ("X_HTTP_Method-Override", "GET"),
        ("x_y", "kept"),
    ];
    let (seen, fake) = seen_upstream(&sent, b"");
    let host = fake.host();
    assert_eq!(seen, pairs(&[("host", &host), ("transfer-encoding_", "kept"), ("x_y", "kept")]));
}

/// The headers that the client receives if the upstream sends these, without the framing.
fn seen_by_the_client(head: &'static str) -> Headers {
    let fake = Fake::answering(move |_| response(&format!("200 OK\n{head}"), "12"));
    let answer = Proxy::before(&fake, "").get("/v1/x");
    assert_eq!(answer.text(), "12");
    assert_eq!(answer.header("content-length"), Some("2"));
    let mut seen = by_name(&answer.headers);
    seen.retain(|header| header.0 != "content-length");
    seen
}

#[test]
fn a_response_arrives_with_its_own_headers_and_no_other() {
    let seen = seen_by_the_client(
        "Set-Cookie: a=1; Path=/\nX-Dup: 1\nset-cookie: b=2\nX-Dup: 2\nServer: gunicorn\nVia: 1.1 x
         Date: Thu, 01 Jan 1970 00:00:00 GMT\nX-Empty:\nContent-Type: text/plain; charset=latin1",
    );
    let expected = [
        ("Set-Cookie", "a=1; Path=/"),
        ("Set-Cookie", "b=2"),
        ("X-Dup", "1"),
        ("X-Dup", "2"),
        ("Server", "gunicorn"),
        ("Via", "1.1 x"),
        ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("X-Empty", ""),
        ("Content-Type", "text/plain; charset=latin1"),
    ];
    assert_eq!(seen, pairs(&expected));
}

#[test]
fn a_response_with_hardly_a_header_gets_none() {
    assert_eq!(seen_by_the_client("X-A: b"), pairs(&[("x-a", "b")]));
}

#[test]
fn hop_by_hop_headers_do_not_go_down() {
    let seen = seen_by_the_client(
        "Connection: X-Hop, keep-alive\nX-Hop: 1\nconnection: x-other-hop\nX-Other-Hop: 2
         Keep-Alive: timeout=5\nProxy-Connection: keep-alive\nProxy-Authenticate: Basic
         Trailer: X-Sum\nUpgrade: h2c\nTE: trailers\nX-Kept: 1",
    );
    assert_eq!(seen, pairs(&[("x-kept", "1")]));
}

#[test]
fn an_event_stream_tells_nginx_not_to_buffer_it() {
    let fake = Fake::answering(|_| {
        [EVENTS.as_bytes(), &chunk("data: 1\n\n"), LAST_CHUNK.as_bytes()].concat()
    });
    let answer = Proxy::before(&fake, "").get("/v1/x");
    let expected = [
        ("content-type", "text/event-stream"),
        ("transfer-encoding", "chunked"),
        ("x-accel-buffering", "no"),
    ];
    assert_eq!(by_name(&answer.headers), pairs(&expected));
}

#[test]
fn an_event_stream_is_known_by_its_media_type_alone() {
    let fake = Fake::answering(|_| response("200 OK\nContent-Type: Text/Event-Stream; a=b", ""));
    let answer = Proxy::before(&fake, "").get("/v1/x");
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
}

#[test]
fn a_long_header_passes_both_ways() {
    let fake = Fake::answering(|request| {
        let name = request.header("x-long").unwrap();
        response(&format!("200 OK\nX-Long: {name}"), "")
    });
    let long = "x".repeat(8000);
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("GET", "/v1/x", &[("X-Long", &long)], b"");
    assert_eq!(client.response().header("x-long"), Some(long.as_str()));
}
