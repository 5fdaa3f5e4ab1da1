//! Clients that leave while something is waited for in their name: they take no room for long.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::client::Client;
use crate::proxy::{Proxy, plain};
use crate::wait::eventually;

/// Somebody who neither accepts nor refuses: the kernel drops what asks for a connection.
struct Silent {
    socket: Socket,
    /// What fills the queue of those that wait to be accepted.
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

/// Asserts that who asks for this and leaves is soon forgotten.
fn assert_is_noticed(proxy: &Proxy, method: &str, target: &str, body: &[u8]) {
    let mut client = Client::of(proxy);
    client.send(method, target, &[], body);
    let open = |count: u32| {
        let metrics = proxy.get("/-/metrics").text();
        // The one who asks for this is among them.
        metrics.lines().any(|line| line == format!("model_filter_exchanges_open {}", count + 1))
    };
    eventually("the request is under way", || open(1));
    let left = Instant::now();
    drop(client);
    let line = proxy.exchange(target);
    assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
    assert_eq!(line.get("status").as_deref(), Some("499"), "{line:?}");
    assert_eq!(line.get("side").as_deref(), Some("client"), "{line:?}");
    eventually("nothing is under way", || open(0));
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
