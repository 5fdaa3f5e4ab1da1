use std::io::Read;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::client::{Client, End};
use crate::fake::{EVENTS, Fake, LAST_CHUNK, chunk, json};
use crate::proxy::{ConfigFile, Proxy, limited, program};
use crate::wait::{DEADLINE, Gate, eventually};

fn upstream() -> Fake {
    Fake::answering(|_| json(200, "{}"))
}

fn assert_served(client: &mut Client) {
    client.send("GET", "/v1/x", &[], b"");
    assert_eq!(client.response().status, 200);
}

/// A client that is served all the while on one connection. Its requests fill the time that a test waits.
fn keep_asking(proxy: &Proxy, time: Duration) -> Client {
    let mut client = Client::of(proxy);
    let end = Instant::now() + time;
    while Instant::now() < end {
        assert_served(&mut client);
        // Longer than a head may be, so that the body could be mistaken for an endless head.
        client.send("POST", "/v1/x", &[], &[b'x'; 100_000]);
        assert_eq!(client.response().status, 200);
    }
    client
}

/// Asserts that a client that sends `again` endlessly is cut soon.
fn assert_is_ended(beginning: &str, again: &str) {
    const PIECES: usize = 512;
    let fake = upstream();
    let proxy = Proxy::before(&fake, "");
    assert_eq!(proxy.post("/v1/x", "{}").status, 200);
    let before = proxy.peak_memory();
    let mut client = Client::of(&proxy);
    client.send_raw(beginning);
    let piece = again.repeat(65_536 / again.len());
    let sent = (0..PIECES).take_while(|_| client.offer(&piece)).count();
    assert!(sent < PIECES, "32 MB were taken of {again:?}");
    client.wait_until_closed();
    let grown = proxy.peak_memory().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB for {again:?}");
    assert_eq!(proxy.post("/v1/x", "{}").status, 200);
}

#[test]
fn a_request_line_without_an_end_is_ended() {
    assert_is_ended("GET /v1/", "x");
}

#[test]
fn a_header_line_without_an_end_is_ended() {
    assert_is_ended("GET /v1/x HTTP/1.1\r\nX-Long: ", "x");
}

#[test]
fn headers_without_an_end_are_ended() {
    assert_is_ended("GET /v1/x HTTP/1.1\r\n", "X-Many: x\r\n");
}

/// The bytes that the kernel has buffered of each connection are read before it ends.
#[test]
fn many_heads_without_an_end_do_not_add_up() {
    let fake = upstream();
    let proxy = Proxy::before(&fake, "");
    let before = proxy.peak_memory();
    let piece = vec![b'x'; 65_536];
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::of(&proxy);
                client.send_raw("GET /v1/");
                while client.offer(&piece) {}
                client.wait_until_closed();
            });
        }
    });
    let grown = proxy.peak_memory().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
}

#[test]
fn a_chunk_size_without_an_end_is_ended() {
    assert_is_ended("POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "0");
}

#[test]
fn a_chunk_extension_without_an_end_is_ended() {
    assert_is_ended("POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;", "x");
}

#[test]
fn a_head_that_takes_longer_than_head_timeout_is_ended() {
    let fake = upstream();
    let proxy = Proxy::limited(&fake, "head_timeout: 1");
    let mut slow = Client::of(&proxy);
    let mut beside = Client::of(&proxy);
    slow.send_raw("GET /v1/x HTTP/1.1\r\nX-Slow: ");
    let begun = Instant::now();
    while slow.offer("x") {
        assert_served(&mut beside);
        assert!(begun.elapsed() < DEADLINE, "the slow client is still listened to");
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_served(&mut beside);
}

#[test]
fn what_is_cut_is_counted_once_and_leaves_no_descriptor() {
    let fake = upstream();
    let proxy = Proxy::limited(&fake, "head_timeout: 1");
    assert_served(&mut Client::of(&proxy));
    let mut silent = Client::of(&proxy);
    // And the one that asks.
    eventually("there is one connection", || connections(&proxy, "open") == "2");
    let before = proxy.files();
    let mut clients: Vec<Client> = (0..3).map(|_| Client::of(&proxy)).collect();
    for client in &mut clients {
        client.send_raw("GET / HT");
    }
    for client in &mut clients {
        client.wait_until_closed();
    }
    eventually("all descriptors are back", || proxy.files() <= before);
    assert_eq!(connections(&proxy, "cut_total{cause=\"head_timeout\"}"), "3");
    assert_served(&mut silent);
}

#[test]
fn who_uses_the_port_again_of_one_that_was_cut_is_cut_in_time_too() {
    let fake = upstream();
    let proxy = Proxy::limited(&fake, "head_timeout: 1");
    let mut port = 0;
    for _ in 0..3 {
        let mut client = Client::on_port(port, &proxy);
        client.send_raw("GET /v1/x HTTP/1.1\r\nX-Slow: ");
        port = client.port();
        client.wait_until_closed();
        drop(client);
        let mut another = Client::on_port(port, &proxy);
        another.send_raw("GET /v1/x HTTP/1.1\r\nX-Slow: and even slower");
        another.wait_until_closed();
    }
}

/// tiny_http distinguishes connections by their peer alone, so that one of these could escape the limits.
#[test]
fn of_two_connections_from_one_port_to_two_of_our_addresses_the_second_is_closed() {
    let fake = upstream();
    let config = ConfigFile::new(&limited(&fake, ""));
    let mut command = program();
    command.arg("--config").arg(config.path()).args(["--host", "0.0.0.0", "--port", "0"]);
    let proxy = Proxy::spawn(command);
    let mut port = 0;
    let [first, second] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(|to| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
        port = socket.local_addr().unwrap().as_socket().unwrap().port();
        socket.connect(&SocketAddr::from((to, proxy.port())).into()).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    });
    assert_eq!((&second).read(&mut [0]).unwrap(), 0);
    drop(first);
    assert_served(&mut Client::of(&proxy));
}

pub fn connections(proxy: &Proxy, what: &str) -> String {
    let metrics = proxy.get("/-/metrics").text();
    let name = format!("model_filter_connections_{what} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
    value.unwrap_or_default().to_owned()
}

#[test]
fn a_client_may_ask_for_longer_than_head_timeout() {
    let fake = upstream();
    let proxy = Proxy::limited(&fake, "head_timeout: 1");
    assert_served(&mut keep_asking(&proxy, Duration::from_secs(3)));
}

#[test]
fn a_client_may_pause_for_longer_than_head_timeout() {
    let fake = upstream();
    let proxy = Proxy::limited(&fake, "head_timeout: 1");
    let mut unused = Client::of(&proxy);
    let mut pausing = Client::of(&proxy);
    assert_served(&mut pausing);
    keep_asking(&proxy, Duration::from_secs(2));
    assert_served(&mut pausing);
    assert_served(&mut unused);
}

#[test]
fn a_connection_idle_for_longer_than_idle_connection_timeout_is_closed() {
    let fake = upstream();
    let proxy = Proxy::limited(&fake, "idle_connection_timeout: 1");
    let begun = Instant::now();
    let mut used = Client::of(&proxy);
    assert_served(&mut used);
    let mut unused = Client::of(&proxy);
    assert!(used.is_closed() && unused.is_closed());
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(proxy.alarms(), [""; 0]);
}

#[test]
fn a_silent_stream_is_neither_idle_nor_a_slow_head() {
    let gate = Gate::new();
    let opened = gate.clone();
    let fake = Fake::scripted(move |conn| {
        if conn.read_request().is_some() {
            conn.write([EVENTS.as_bytes(), &chunk("data: 1\n\n")].concat());
            opened.wait();
            conn.write([chunk("data: 2\n\n"), LAST_CHUNK.into()].concat());
        }
    });
    let proxy = Proxy::limited(&fake, "head_timeout: 1, idle_connection_timeout: 1");
    let mut client = Client::of(&proxy);
    client.send("GET", "/v1/x", &[], b"");
    client.head();
    assert_eq!(client.event().unwrap(), "data: 1\n\n");
    let mut idle = Client::of(&proxy);
    assert!(idle.is_closed()); // later than a stream would be that passes for idle
    gate.open();
    assert_eq!(client.rest(), (b"data: 2\n\n".to_vec(), End::Complete));
}

#[test]
fn beyond_max_connections_the_longest_idle_one_is_closed() {
    let fake = upstream();
    let proxy = Proxy::limited(&fake, "max_connections: 4");
    let mut clients: Vec<Client> = (0..3).map(|_| Client::of(&proxy)).collect();
    let mut idle = Client::of(&proxy);
    assert_served(&mut idle);
    // The proxy checks its connections a limited number of times per second.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(500) {
        clients.iter_mut().for_each(assert_served);
    }
    let mut newest = Client::of(&proxy);
    assert_served(&mut newest);
    assert!(idle.is_closed());
    clients.iter_mut().for_each(assert_served);
    assert_served(&mut newest);
}

#[test]
fn a_refusal_repeats_the_beginning_of_what_was_sent() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::limited(&fake, "");
    let long = "X".repeat(30_000);
    let requests = [
        format!("GET /v1/x HTTP/1.1\r\nHost: {long}\r\n\r\n"),
        format!("GET /v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {long}\r\n\r\n"),
        format!("GET /v1/x HTTP/1.1\r\nHost: localhost\r\n{long}: \u{1}\r\n\r\n"),
        format!("GET /v1/x HTTP/1.1\r\nHost: localhost\r\n{long}(: x\r\n\r\n"),
        format!("{long}( /v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET /v1/models/{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET /v1/../{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ];
    for request in requests {
        let mut client = Client::of(&proxy);
        client.send_raw(&request);
        let answer = client.response();
        assert!((400..500).contains(&answer.status), "{}", &request[..30]);
        assert!(answer.body.len() < 1000, "{}: {}", &request[..30], answer.body.len());
    }
}
