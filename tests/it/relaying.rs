use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::client::{Client, End};
use crate::fake::{CHUNKED, Fake, LAST_CHUNK, chunk, json, response};
use crate::proxy::Proxy;
use crate::wait::{DEADLINE, Gate, eventually};

/// This many bytes, too random for any compression or encoding to reproduce them by chance.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Echoes the request body.
fn echo() -> Fake {
    Fake::answering(|request| response("200 OK\nContent-Type: x/y", &request.body))
}

fn saying(answer: &'static str) -> Fake {
    Fake::answering(move |_| answer)
}

#[test]
fn every_method_is_relayed_with_its_body() {
    let fake = echo();
    let proxy = Proxy::before(&fake, "");
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "GET"] {
        let target = format!("/v1/{method}");
        let answer = proxy.ask(method, &target, &[], b"some body");
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"some body".as_slice()));
        let request = fake.wait_for(&target);
        assert_eq!((request.method(), request.text().as_str()), (method, "some body"));
    }
}

#[test]
fn every_method_is_relayed_without_a_body() {
    let fake = saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let proxy = Proxy::before(&fake, "");
    for method in ["GET", "DELETE", "OPTIONS", "HEAD", "PROPFIND", "POST"] {
        let target = format!("/v1/{method}");
        assert_eq!(proxy.ask(method, &target, &[], b"").status, 200);
        let request = fake.wait_for(&target);
        assert_eq!((request.method(), request.header("transfer-encoding")), (method, None));
    }
}

#[test]
fn three_megabytes_go_up_and_down_unchanged() {
    let fake = echo();
    let body = noise(3_000_000);
    let answer = Proxy::before(&fake, "").ask("POST", "/v1/x", &[], &body);
    assert!(fake.request().body == body);
    assert!(answer.body == body);
    assert_eq!(answer.header("content-length"), Some("3000000"));
}

#[test]
fn a_chunked_request_arrives_whole() {
    let fake = echo();
    let (left, right) = (noise(100_000), noise(7));
    let framed = [chunk(&left), chunk(&right), LAST_CHUNK.into()].concat();
    let headers = [("Transfer-Encoding", "chunked")];
    let answer = Proxy::before(&fake, "").ask("POST", "/v1/x", &headers, &framed);
    assert!(answer.body == [left, right].concat());
}

#[test]
fn a_request_streams_up_as_it_comes() {
    let fake = Fake::scripted(|conn| {
        if conn.read_head().is_some() && conn.skip(100_000) {
            conn.write(json(200, "{}"));
        }
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/x", &[("Content-Length", "100000")], b"half");
    let request = fake.wait_for("/v1/x"); // before the client has sent the rest
    assert_eq!(request.all("content-length"), ["100000"]);
    client.more(noise(100_000 - 4));
    assert_eq!(client.response().status, 200);
}

/// Asserts that the upstream gets the head of such an upload before its client has sent any of the body, over a new
/// connection and over a kept one.
fn assert_the_head_comes_first(framing: (&str, &str), body: &[u8]) {
    let fake = Fake::scripted(|conn| {
        while let Some(request) = conn.read_head() {
            let Some(body) = conn.read_body(&request) else { return };
            conn.write(response("200 OK\nContent-Type: x/y", body));
        }
    });
    let proxy = Proxy::before(&fake, "");
    for target in ["/v1/first", "/v1/second"] {
        let mut client = Client::of(&proxy);
        client.send("POST", target, &[framing], b"");
        fake.wait_for(target);
        client.more(body);
        assert!(client.response().body == noise(100_000));
    }
}

#[test]
fn the_head_of_a_chunked_upload_does_not_wait_for_its_first_chunk() {
    let body = [chunk(noise(100_000)), LAST_CHUNK.into()].concat();
    assert_the_head_comes_first(("Transfer-Encoding", "chunked"), &body);
}

#[test]
fn the_head_of_a_long_upload_does_not_wait_for_its_first_byte() {
    assert_the_head_comes_first(("Content-Length", "100000"), &noise(100_000));
}

#[test]
fn a_chunked_response_arrives_whole() {
    let fake = Fake::answering(|_| {
        let pieces = [chunk(noise(70_000)), chunk("b"), chunk(noise(9000))].concat();
        [CHUNKED.as_bytes(), &pieces, LAST_CHUNK.as_bytes()].concat()
    });
    let answer = Proxy::before(&fake, "").get("/v1/x");
    assert_eq!(answer.end, End::Complete);
    assert!(answer.body == [noise(70_000), b"b".to_vec(), noise(9000)].concat());
}

#[test]
fn a_compressed_body_is_not_touched() {
    let packed = [b"\x1f\x8b\x08\x00".as_slice(), &noise(500)].concat();
    let body = packed.clone();
    let fake = Fake::answering(move |_| response("200 OK\nContent-Encoding: gzip", &body));
    let proxy = Proxy::before(&fake, "");
    let answer = proxy.ask("GET", "/v1/x", &[("Accept-Encoding", "gzip")], b"");
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.body, packed);
    assert_eq!(fake.request().header("accept-encoding"), Some("gzip"));
}

#[test]
fn statuses_are_mirrored() {
    let fake = Fake::answering(|request| {
        json(request.target().trim_start_matches("/v1/").parse().unwrap(), "{\"x\":1}")
    });
    let proxy = Proxy::before(&fake, "");
    for status in [201, 206, 299, 400, 401, 404, 418, 429, 500, 502, 503, 504, 529, 599] {
        let answer = proxy.get(&format!("/v1/{status}"));
        assert_eq!((answer.status, answer.text().as_str()), (status, "{\"x\":1}"));
        assert_eq!(answer.header("x-model-filter-error"), None);
    }
}

#[test]
fn redirects_are_passed_on() {
    let fake = Fake::answering(|_| response("307 Moved\nLocation: /v1/other", ""));
    let answer = Proxy::before(&fake, "").get("/v1/x");
    assert_eq!((answer.status, answer.header("location")), (307, Some("/v1/other")));
    assert_eq!(fake.request().target(), "/v1/x");
}

#[test]
fn responses_without_a_body_leave_the_connection_usable() {
    let fake = Fake::answering(|request| match request.target() {
        "/v1/204" => "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
        "/v1/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n",
        "/v1/304-long" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 999\r\n\r\n",
        "/v1/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
        "/v1/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    for (method, target, status) in [
        ("GET", "/v1/204", 204),
        ("GET", "/v1/304", 304),
        ("GET", "/v1/304-long", 304),
        ("HEAD", "/v1/head", 200),
        ("HEAD", "/v1/chunked", 200),
        ("GET", "/v1/0", 200),
    ] {
        client.send(method, target, &[], b"");
        let answer = client.response();
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{target}");
        match target {
            "/v1/204" => assert_eq!(answer.header("x-a"), Some("b")),
            "/v1/304" => assert_eq!(answer.header("etag"), Some("\"e\"")),
            "/v1/head" => assert_eq!(answer.header("content-length"), Some("1234")),
            _ => {}
        }
    }
}

#[test]
fn interim_responses_do_not_stand_for_the_final_one() {
    let fake = saying(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal",
    );
    let answer = Proxy::before(&fake, "").post("/v1/x", "{}");
    assert_eq!((answer.status, answer.text().as_str()), (200, "final"));
    assert_eq!(answer.header("link"), None);
}

/// Sends an interim response to each upload, notifies the test, and responds with the length of the body.
fn going_on(interim: &'static str) -> (Fake, Receiver<()>) {
    let (sender, goes_on) = channel();
    let sender = Mutex::new(sender);
    let fake = Fake::scripted(move |conn| {
        while let Some(request) = conn.read_head() {
            conn.write(interim);
            sender.lock().unwrap().send(()).unwrap();
            let Some(body) = conn.read_body(&request) else { return };
            conn.write(json(200, &body.len().to_string()));
        }
    });
    (fake, goes_on)
}

const INTERIM: [&str; 3] = [
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
];

#[test]
fn interim_responses_do_not_end_a_long_upload() {
    let whole = noise(1_000_000);
    let chunked: Vec<u8> = whole.chunks(50_000).flat_map(chunk).chain(*b"0\r\n\r\n").collect();
    for interim in INTERIM {
        let (fake, goes_on) = going_on(interim);
        let proxy = Proxy::before(&fake, "");
        for (target, framing, body) in [
            ("/v1/known", ("Content-Length", "1000000"), &whole),
            ("/v1/chunked", ("Transfer-Encoding", "chunked"), &chunked),
        ] {
            let mut client = Client::of(&proxy);
            client.send("POST", target, &[framing], b"");
            goes_on.recv_timeout(DEADLINE).unwrap();
            client.more(body);
            let answer = client.response();
            assert_eq!((answer.status, answer.text().as_str()), (200, "1000000"), "{interim}");
        }
    }
}

#[test]
fn an_interim_response_does_not_end_an_upload_that_stands_still() {
    let still = Gate::new();
    let opened = still.clone();
    let fake = Fake::scripted(move |conn| {
        if let Some(request) = conn.read_head() {
            opened.wait();
            conn.write("HTTP/1.1 102 Processing\r\n\r\n");
            // The pause of a slow upstream, longer than the proxy waits without checking the client.
            std::thread::sleep(Duration::from_millis(1200));
            if let Some(body) = conn.read_body(&request) {
                conn.write(json(200, &body.len().to_string()));
            }
        }
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/x", &[("Content-Length", "20000000")], b"");
    let mut writer = client.writer();
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let upload = std::thread::spawn(move || {
        for _ in 0..1000 {
            writer.write_all(&[b'x'; 20_000]).unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let (mut before, mut since) = (0, Instant::now());
    eventually("the upload stands still", || {
        let now = sent.load(Ordering::SeqCst);
        if now != before {
            (before, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(200)
    });
    assert!(before < 1000, "all of it was taken");
    still.open();
    let answer = client.response();
    assert_eq!((answer.status, answer.text().as_str()), (200, "20000000"));
    upload.join().unwrap();
}

#[test]
fn trailers_are_dropped() {
    let fake = saying(
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    for _ in 0..2 {
        client.send("GET", "/v1/x", &[], b"");
        let answer = client.response(); // panics if there are trailers
        assert_eq!((answer.text().as_str(), answer.end), ("abc", End::Complete));
        assert_eq!(answer.header("trailer"), None);
    }
}

#[test]
fn chunk_extensions_are_dropped() {
    let fake =
        saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n");
    assert_eq!(Proxy::before(&fake, "").get("/v1/x").text(), "abc");
}

#[test]
fn an_http_1_0_upstream_may_end_its_body_by_closing() {
    let fake = Fake::scripted(|conn| {
        if conn.read_request().is_some() {
            conn.write("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n");
            conn.write(noise(200_000));
        }
    });
    let answer = Proxy::before(&fake, "").get("/v1/x");
    assert_eq!((answer.version.as_str(), answer.end), ("HTTP/1.1", End::Complete));
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert!(answer.body == noise(200_000));
}

#[test]
fn an_http_1_1_upstream_may_end_its_body_by_closing() {
    let fake = Fake::scripted(|conn| {
        if conn.read_request().is_some() {
            conn.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end");
        }
    });
    let answer = Proxy::before(&fake, "").get("/v1/x");
    assert_eq!((answer.text().as_str(), answer.end), ("until the end", End::Complete));
}

#[test]
fn an_http_1_0_client_gets_no_chunks() {
    let fake = Fake::answering(|_| {
        [CHUNKED.as_bytes(), &chunk("one "), &chunk("two"), LAST_CHUNK.as_bytes()].concat()
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send_raw("GET /v1/x HTTP/1.0\r\n\r\n");
    let answer = client.response();
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(answer.text(), "one two");
    assert!(client.is_closed());
}

#[test]
fn a_client_that_expects_100_continue_gets_it_before_it_sends_the_body() {
    let fake = echo();
    let proxy = Proxy::before(&fake, "");
    for length in [4, 100_000] {
        let mut client = Client::of(&proxy);
        let text = length.to_string();
        let headers = [("Expect", "100-continue"), ("Content-Length", text.as_str())];
        client.send("POST", "/v1/x", &headers, b"");
        assert_eq!(client.any_head().status, 100);
        client.more(noise(length));
        let answer = client.response();
        assert_eq!(answer.status, 200);
        assert!(answer.body == noise(length));
        assert!(answer.interim.is_empty(), "{:?}", answer.interim); // not a second one
    }
}

/// Responds with 413 before the body has arrived, then runs `after`.
fn refusing(after: impl Fn(&mut crate::fake::Conn) + Send + Sync + 'static) -> Fake {
    Fake::scripted(move |conn| {
        if conn.read_head().is_some() {
            conn.write(json(413, "{\"early\":1}"));
            after(conn);
        }
    })
}

fn assert_early_answer_arrives(fake: &Fake) {
    let proxy = Proxy::before(fake, "");
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/x", &[("Content-Length", "5000000")], b"");
    let mut writer = client.writer();
    // Fails as soon as the proxy stops reading.
    let upload = std::thread::spawn(move || {
        let _ = writer.write_all(&noise(5_000_000));
    });
    let answer = client.response();
    assert_eq!((answer.status, answer.text().as_str()), (413, "{\"early\":1}"));
    drop((client, proxy));
    upload.join().unwrap();
}

#[test]
fn an_early_answer_arrives_though_the_upstream_reads_no_more() {
    let seen = Gate::new();
    let opened = seen.clone();
    let fake = refusing(move |_| opened.wait());
    assert_early_answer_arrives(&fake);
    seen.open();
}

#[test]
fn an_early_answer_arrives_where_the_upstream_reads_the_rest_away() {
    assert_early_answer_arrives(&refusing(|conn| {
        conn.skip(5_000_000);
    }));
}

#[test]
fn an_early_answer_arrives_where_the_upstream_closes() {
    assert_early_answer_arrives(&refusing(|conn| conn.cut()));
}

#[test]
fn an_early_answer_arrives_though_the_client_stops_sending() {
    let seen = Gate::new();
    let opened = seen.clone();
    let fake = refusing(move |_| opened.wait());
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/x", &[("Content-Length", "50000000")], b"");
    let mut writer = client.writer();
    // More than the socket buffers between client and upstream hold.
    let upload = std::thread::spawn(move || {
        let _ = writer.write_all(&[b'x'; 20_000_000]);
    });
    assert_eq!(client.response().status, 413);
    seen.open();
    drop((client, proxy));
    upload.join().unwrap();
}

/// Responds with 200 at once, and sends the length of the request as its body when the request ends.
pub fn counts(conn: &mut crate::fake::Conn) {
    while let Some(request) = conn.read_head() {
        conn.write([CHUNKED.as_bytes(), &chunk("at once,")].concat());
        let body = conn.read_body(&request).unwrap_or_default();
        conn.write([chunk(format!(" {} bytes", body.len())), LAST_CHUNK.into()].concat());
    }
}

#[test]
fn an_upstream_that_succeeds_before_it_has_read_the_request_gets_all_of_it() {
    let fake = Fake::scripted(counts);
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/x", &[], &noise(5_000_000));
    assert_eq!(client.response().text(), "at once, 5000000 bytes");
    client.send("POST", "/v1/x", &[("Transfer-Encoding", "chunked")], b"");
    for part in noise(5_000_000).chunks(100_000) {
        client.more(chunk(part));
    }
    client.more(LAST_CHUNK);
    assert_eq!(client.response().text(), "at once, 5000000 bytes");
}

/// The proxy once made room for the upload's chunks behind the start of the response.
#[test]
fn an_early_answer_to_a_chunked_upload_with_a_chunk_size_without_end_is_cut() {
    let (answered, sent) = (Gate::new(), Gate::new());
    let (answering, opened) = (answered.clone(), sent.clone());
    let fake = Fake::scripted(move |conn| {
        if conn.read_head().is_some() {
            conn.write([CHUNKED, "55555555555555555555"].concat());
            answering.open();
            opened.wait();
            while conn.write([b'5'; 3000]) {}
        }
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/x", &[("Transfer-Encoding", "chunked")], b"");
    answered.wait();
    for _ in 0..100 {
        client.more(chunk([b'x'; 6000]));
    }
    sent.open();
    client.more(LAST_CHUNK);
    assert_eq!(client.response().end, End::Cut);
    assert_eq!(proxy.exchange("/v1/x").get("side").as_deref(), Some("upstream"));
    assert!(!proxy.log().iter().any(|line| line.contains("panic")), "{:#?}", proxy.log());
}
