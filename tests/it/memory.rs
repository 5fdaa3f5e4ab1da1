use std::io::Write;

use crate::client::{Client, End};
use crate::fake::{EVENTS, Fake, LAST_CHUNK, chunk, json};
use crate::proxy::Proxy;
use crate::several::upstreams;
use crate::wait::{DEADLINE, Gate};

const MEGABYTE: usize = 1024 * 1024;
/// How much the process may grow, in KiB.
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

/// A body that must be held, sent in pieces of a megabyte.
struct Long(usize);

impl Long {
    const HEAD: &str = r#"{"model":"my/a","text":""#;

    /// Sends the request up to the last two bytes of its body.
    fn send_most(&self, proxy: &Proxy) -> Client {
        let mut client = Client::of(proxy);
        let length = (Long::HEAD.len() + self.0 * MEGABYTE + 2).to_string();
        let headers = [("Content-Type", "application/json"), ("Content-Length", length.as_str())];
        client.send("POST", "/v1/x", &headers, Long::HEAD.as_bytes());
        let piece = vec![b'x'; MEGABYTE];
        let _ = (0..self.0).all(|_| client.offer(&piece));
        client
    }

    fn send(&self, proxy: &Proxy) -> Client {
        let mut client = self.send_most(proxy);
        client.offer(r#""}"#);
        client
    }
}

/// Held bodies may take 256 MiB, and some megabytes may still be in socket buffers.
#[test]
fn bodies_that_are_held_do_not_add_up() {
    let gate = Gate::new();
    let opened = gate.clone();
    let fake = Fake::scripted(move |conn| {
        while let Some(request) = conn.read_head() {
            let length: usize = request.header("content-length").unwrap().parse().unwrap();
            if !conn.skip(length) {
                return;
            }
            conn.write([EVENTS.as_bytes(), &chunk("data: 1\n\n")].concat());
            // Until the others have sent 240 MB, which takes long on a busy machine.
            opened.opened_within(12 * DEADLINE);
            conn.write(LAST_CHUNK);
        }
    });
    let proxy = Proxy::with_prefix(&fake, "");
    let mut held: Vec<Client> = (0..4).map(|_| Long(60).send_most(&proxy)).collect();

    let refused = Long(60).send(&proxy).response();
    let message = refused.own_error(503, "overloaded");
    assert!(message.contains("268435456"), "{message}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // There is always room for a short body.
    let mut short = Client::of(&proxy);
    short.send("POST", "/v1/x", &[], br#"{"model":"my/a"}"#);
    assert_eq!(short.head().status, 200);

    // A body that was sent is released, however long the response takes.
    for client in &mut held {
        client.more(r#""}"#);
        assert_eq!(client.head().status, 200);
    }
    let mut another = Long(60).send(&proxy);
    assert_eq!(another.head().status, 200);
    gate.open();
    for mut client in held.into_iter().chain([short, another]) {
        assert_eq!(client.rest(), (b"data: 1\n\n".to_vec(), End::Complete));
    }
    let peak = proxy.peak_memory();
    assert!(peak < 320 * 1024, "{peak} KiB");
}

#[test]
fn a_long_name_is_not_copied() {
    let length = 12 * MEGABYTE;
    let escaped = format!("\\u0061{}", "a".repeat(length));
    let form = "--B\r\nContent-Disposition: form-data; name=model\r\n\r\n";
    let kinds = ["application/json", "multipart/form-data; boundary=B", "text/plain"];
    let cases = [
        (kinds[0], r#"{"model":""#, "a".repeat(length).into_bytes(), r#""}"#),
        (kinds[0], r#"{"model":""#, escaped.clone().into_bytes(), r#""}"#),
        (kinds[0], r#"{""#, escaped.into_bytes(), r#"":1,"model":"x"}"#),
        (kinds[1], form, vec![1; length], "\r\n--B--"),
        (kinds[2], r#"{"model":""#, vec![0xff; length], r#""}"#),
    ];
    let fake = Fake::answering(|_| json(200, "{}"));
    for (case, (kind, before, long, after)) in cases.into_iter().enumerate() {
        let proxy = Proxy::before(&fake, "simple: [kept]\nhidden: reject");
        // The pages of the program itself, of which a debug build has many.
        let at_start = proxy.peak_memory();
        let body = [before.as_bytes(), &long, after.as_bytes()].concat();
        let answer = proxy.ask("POST", "/v1/x", &[("Content-Type", kind)], &body);
        assert!((400..500).contains(&answer.status), "{case}: {}", answer.status);
        let peak = proxy.peak_memory();
        // A buffer grows by half; a copy would take twice the length.
        assert!(peak < at_start + (length / 1024) as u64 * 5 / 3, "{case}: {peak} KiB");
    }
}

/// Two long lists, and many short ones.
#[test]
fn clients_that_do_not_read_share_the_list_of_several_upstreams() {
    for (count, length) in [(2, 8 * MEGABYTE), (128, 60 * 1024)] {
        let object = format!(r#"{{"id":"a","text":"{}"}}"#, "x".repeat(length));
        let fake = Fake::listing(&format!(r#"{{"data":[{object}]}}"#));
        let (url, names) = (fake.url("/v1"), (0..count).map(|n| format!("n{n}")));
        let names: Vec<String> = names.collect();
        let all: Vec<_> = names.iter().map(|name| (&**name, &*url, "cache_ttl: 60")).collect();
        let proxy = Proxy::start(&upstreams(&all));
        let list = proxy.get("/v1/models");
        assert_eq!(list.ids(), names.iter().map(|name| format!("{name}/a")).collect::<Vec<_>>());
        let before = proxy.peak_memory();
        let mut clients: Vec<Client> = (0..20).map(|_| Client::of(&proxy)).collect();
        for client in &mut clients {
            client.send("GET", "/v1/models", &[], b"");
            assert_eq!(client.head().status, 200);
        }
        let grown = proxy.peak_memory() - before;
        assert!(grown < GROWTH, "{count}: {grown} KiB");
        assert_eq!(clients[0].count(), (list.body.len() as u64, End::Complete));
    }
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
    // Long enough for a proxy that reads ahead to have read everything.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let grown = proxy.peak_memory() - before;
    assert!(grown < GROWTH, "{grown} KiB");
    assert_eq!(client.count(), (30 * MEGABYTE as u64, End::Complete));
}

/// The address space of a 32-bit system has no room for a thousand stacks of 2 MiB.
#[test]
fn all_threads_have_stacks_of_half_a_megabyte() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, "");
    let mut clients: Vec<Client> = (0..20).map(|_| Client::of(&proxy)).collect();
    for client in &mut clients {
        client.send("GET", "/v1/x", &[], b"");
        assert_eq!(client.response().status, 200);
    }
    let threads = proxy.threads() - 1;
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", proxy.id())).unwrap();
    let is_stack = |line: &&str| {
        let address = |text| usize::from_str_radix(text, 16).unwrap();
        let (range, rest) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        rest.starts_with("rw-p") && address(end) - address(start) == MEGABYTE / 2
    };
    let stacks = maps.lines().filter(is_stack).count() as u64;
    assert!(threads > 20 && stacks >= threads, "{stacks} stacks, {threads} threads\n{maps}");
}
