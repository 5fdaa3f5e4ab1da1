//! Clients that leave while the proxy waits for something on their behalf: what they use is released soon.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::client::Client;
use crate::fake::{Fake, Request, json, models};
use crate::proxy::{Proxy, plain};
use crate::several::upstreams;
use crate::wait::{Gate, eventually};

/// A listener whose queue is full, so that the kernel drops every attempt to connect.
struct Silent {
    socket: Socket,
    /// The connections that fill the queue.
    _queue: Vec<TcpStream>,
}

impl Silent {
    fn new() -> Silent {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queue: Vec<TcpStream> = std::iter::from_fn(connect).take(16).collect();
        assert!(queue.len() < 16, "the queue has no end");
        Silent { socket, _queue: queue }
    }

    fn url(&self) -> String {
        format!("http://{}/v1", self.socket.local_addr().unwrap().as_socket().unwrap())
    }
}

/// Whether this many exchanges are open, not counting the one that reads the metrics.
pub fn are_open(proxy: &Proxy, count: u32) -> bool {
    let metrics = proxy.get("/-/metrics").text();
    metrics
        .lines()
        .any(|line| line == format!("model_filter_http_requests_in_flight {}", count + 1))
}

/// Asserts that the exchange of a client that sends this request and leaves ends soon.
fn assert_is_forgotten(proxy: &Proxy, method: &str, target: &str, body: &[u8]) {
    let mut client = Client::of(proxy);
    client.send(method, target, &[("Authorization", "Bearer gone")], body);
    eventually("the request is under way", || are_open(proxy, 1));
    let left = Instant::now();
    drop(client);
    eventually("nothing is under way", || are_open(proxy, 0));
    assert!(left.elapsed() < Duration::from_secs(2), "{target}: {:?}", left.elapsed());
}

/// Asserts in addition that the log says that the client left.
fn assert_is_noticed(proxy: &Proxy, method: &str, target: &str, body: &[u8]) {
    assert_is_forgotten(proxy, method, target, body);
    let line = proxy.exchange(target);
    assert_eq!(line.get("status").as_deref(), Some("499"), "{line:?}");
    assert_eq!(line.get("side").as_deref(), Some("client"), "{line:?}");
}

#[test]
fn a_client_that_leaves_while_a_connection_is_opened_is_noticed() {
    let silent = Silent::new();
    let proxy = Proxy::start(&plain(&silent.url(), "connection_timeout: 60"));
    assert_is_noticed(&proxy, "GET", "/v1/x", b"");
    assert_is_noticed(&proxy, "POST", "/v1/y", b"{}");
    assert_is_noticed(&proxy, "GET", "/v1/models/m", b"");
}

#[test]
fn a_connection_that_is_not_opened_is_504_after_connection_timeout() {
    let silent = Silent::new();
    let proxy = Proxy::start(&plain(&silent.url(), "connection_timeout: 1"));
    let begun = Instant::now();
    let message = proxy.get("/v1/x").own_error(504, "upstream_timeout");
    let took = begun.elapsed();
    assert!(message.contains("no connection"), "{message}");
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_client_that_leaves_while_its_request_goes_up_slowly_is_noticed() {
    let fake = Fake::scripted(|conn| {
        // 3 MB in a second.
        let pace = || !Gate::new().opened_within(Duration::from_millis(20));
        let _ = conn.read_head();
        while conn.skip(64 * 1024) && pace() {}
    });
    let proxy = Proxy::with_prefix(&fake, "");
    let body = format!(r#"{{"model":"my/x","pad":"{}"}}"#, "x".repeat(30_000_000));
    assert_is_noticed(&proxy, "POST", "/v1/x", body.as_bytes());
}

/// Does not respond to requests for a list.
fn silent() -> Fake {
    Fake::scripted(|conn| {
        if conn.read_request().is_some() {
            conn.wait_until_closed();
        }
    })
    .showing_lists()
}

#[test]
fn a_client_that_leaves_while_a_list_is_fetched_is_noticed() {
    let fake = silent();
    let proxy = Proxy::before(&fake, "list_timeout: 60");
    assert_is_noticed(&proxy, "GET", "/v1/models", b"");
    assert_is_noticed(&proxy, "HEAD", "/models", b"");
    assert_is_noticed(&proxy, "GET", "/v1/models/m", b"");
    for target in ["/-/models.json", "/-/ready"] {
        assert_is_forgotten(&proxy, "GET", target, b"");
    }
    let rules = format!(r#"{{"upstream":"{}","rules":{{}}}}"#, fake.host());
    assert_is_forgotten(&proxy, "POST", "/-/preview", rules.as_bytes());
}

#[test]
fn a_client_that_leaves_while_several_lists_are_fetched_is_noticed() {
    let fakes: Vec<Fake> = (0..4).map(|_| silent()).collect();
    let urls: Vec<String> = fakes.iter().map(|fake| fake.url("/v1")).collect();
    let names = ["a", "b", "c", "d"];
    let entries = names.iter().zip(&urls).map(|(name, url)| (*name, &**url, "list_timeout: 60"));
    let proxy = Proxy::start(&upstreams(&entries.collect::<Vec<_>>()));
    assert_is_noticed(&proxy, "GET", "/v1/models", b"");
}

/// Lists a model for clients with a key, when the gate opens.
fn listing_behind(gate: &Gate) -> Fake {
    let opened = gate.clone();
    Fake::answering(move |request: &Request| {
        if request.header("authorization").is_some() {
            opened.wait();
        }
        json(200, &models(&["m"]))
    })
    .showing_lists()
}

#[test]
fn who_leaves_does_not_end_the_fetch_for_others() {
    let gate = Gate::new();
    let fake = listing_behind(&gate);
    let proxy = Proxy::before(&fake, "cache_ttl: 60");
    let ask = || {
        let mut client = Client::of(&proxy);
        client.send("GET", "/v1/models", &[("Authorization", "Bearer a")], b"");
        client
    };
    let first = ask();
    eventually("the list is asked for", || fake.lists_for("Bearer a") == 1);
    let mut second = ask();
    eventually("both wait", || are_open(&proxy, 2));
    drop(first);
    eventually("one waits", || are_open(&proxy, 1));
    gate.open();
    assert_eq!(second.response().ids(), ["m"]);
    assert_eq!(ask().response().ids(), ["m"]);
    assert_eq!(fake.lists_for("Bearer a"), 1);
}

#[test]
fn a_fetch_that_nobody_waits_for_is_for_the_next() {
    let gate = Gate::new();
    let fake = listing_behind(&gate);
    let proxy = Proxy::before(&fake, "cache_ttl: 60");
    assert_is_forgotten(&proxy, "GET", "/v1/models", b"");
    gate.open();
    let list = proxy.ask("GET", "/v1/models", &[("Authorization", "Bearer gone")], b"");
    assert_eq!(list.ids(), ["m"]);
    assert_eq!(fake.lists_for("Bearer gone"), 1);
}
