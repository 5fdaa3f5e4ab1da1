use std::io::Write;

use crate::client::{Client, End};
use crate::fake::{Fake, chunk, json};
use crate::proxy::Proxy;

const MEGABYTE: usize = 1024 * 1024;
/// The most that the process may grow, in KiB.
const GROWTH: u64 = 8 * 1024;

#[test]
fn a_hundred_megabytes_go_down_in_constant_memory() {
    let fake = Fake::scripted(|conn| {
        while let Some(request) = conn.read_request() {
            let chunked = request.target() == "/v1/chunked";
            let (piece, head) = if chunked {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_string();
                (chunk(vec![7; MEGABYTE]), head)
            } else {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 50 * MEGABYTE);
                (vec![7; MEGABYTE], head)
            };
            conn.write(head);
            (0..50).all(|_| conn.write(&piece));
            if chunked {
                conn.write("0\r\n\r\n");
            }
        }
    });
    let proxy = Proxy::before(&fake, "");
    let before = proxy.peak_memory();
    for target in ["/v1/chunked", "/v1/length"] {
        let mut client = Client::of(&proxy);
        client.send("GET", target, &[], b"");
        client.head();
        assert_eq!(client.count(), (50 * MEGABYTE as u64, End::Complete), "{target}");
    }
    let grown = proxy.peak_memory() - before;
    assert!(grown < GROWTH, "{grown} KiB");
}

#[test]
fn fifty_megabytes_go_up_in_constant_memory() {
    let length = 50 * MEGABYTE;
    let fake = Fake::scripted(move |conn| {
        if conn.read_head().is_some() && conn.skip(length) {
            conn.write(json(200, "{}"));
        }
    });
    let proxy = Proxy::before(&fake, "");
    let before = proxy.peak_memory();
    let mut client = Client::of(&proxy);
    let headers = [("Content-Length", length.to_string())];
    client.send("POST", "/v1/x", &headers.each_ref().map(|(n, v)| (*n, v.as_str())), b"");
    let mut writer = client.writer();
    let piece = vec![7; MEGABYTE];
    (0..50).for_each(|_| writer.write_all(&piece).unwrap());
    assert_eq!(client.response().status, 200);
    let grown = proxy.peak_memory() - before;
    assert!(grown < GROWTH, "{grown} KiB");
}

#[test]
fn a_client_that_does_not_read_slows_the_upstream_down() {
    let fake = Fake::scripted(|conn| {
        if conn.read_request().is_some() {
            conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let piece = chunk(vec![7; MEGABYTE]);
            (0..30).all(|_| conn.write(&piece));
            conn.write("0\r\n\r\n");
        }
    });
    let proxy = Proxy::before(&fake, "");
    let before = proxy.peak_memory();
    let mut client = Client::of(&proxy);
    client.send("GET", "/v1/x", &[], b"");
    client.head();
    // The time in which a proxy that reads ahead would have read it all.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let grown = proxy.peak_memory() - before;
    assert!(grown < GROWTH, "{grown} KiB");
    assert_eq!(client.count(), (30 * MEGABYTE as u64, End::Complete));
}
