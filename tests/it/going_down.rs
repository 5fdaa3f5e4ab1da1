use std::net::TcpListener;

use crate::client::{Client, End};
use crate::fake::{EVENTS, Fake, LAST_CHUNK, chunk, json};
use crate::proxy::{ConfigFile, Proxy, limited, program};
use crate::wait::{DEADLINE, Gate, eventually};

/// Serves a stream that ends when the gate opens; responds to everything else at once.
fn upstream(gate: &Gate) -> Fake {
    let gate = gate.clone();
    Fake::scripted(move |conn| {
        while let Some(request) = conn.read_request() {
            if request.target() != "/v1/stream" {
                conn.write(json(200, "{}"));
                continue;
            }
            conn.write([EVENTS.as_bytes(), &chunk("data: 1\n\n")].concat());
            gate.opened_within(DEADLINE * 6);
            conn.write([chunk("data: 2\n\n"), LAST_CHUNK.into()].concat());
        }
    })
}

fn stream(proxy: &Proxy) -> Client {
    let mut client = Client::of(proxy);
    client.send("POST", "/v1/stream", &[], b"{}");
    client.head();
    assert_eq!(client.event().unwrap(), "data: 1\n\n");
    client
}

#[test]
fn a_stream_ends_while_a_successor_takes_the_port() {
    let gate = Gate::new();
    let fake = upstream(&gate);
    let mut proxy = Proxy::limited(&fake, "");
    let mut client = stream(&proxy);
    proxy.signal("TERM");
    proxy.wait_for_log("shutting down");
    let address = ("127.0.0.1", proxy.port());
    eventually("the port is free", || TcpListener::bind(address).is_ok());

    let config = ConfigFile::new(&limited(&fake, ""));
    let mut command = program();
    command.arg("--config").arg(config.path()).args(["--port", &proxy.port().to_string()]);
    let successor = Proxy::spawn(command);
    assert_eq!(successor.get("/v1/x").status, 200);
    successor.exchange("/v1/x");

    gate.open();
    assert_eq!(client.rest(), (b"data: 2\n\n".to_vec(), End::Complete));
    assert_eq!(proxy.exit_code(), Some(0));
    assert_eq!(proxy.alarms(), [""; 0]);
}

#[test]
fn a_client_that_only_stays_connected_holds_nothing_up() {
    for signal in ["TERM", "INT"] {
        let fake = upstream(&Gate::new());
        let mut proxy = Proxy::limited(&fake, "");
        let mut used = Client::of(&proxy);
        let mut unused = Client::of(&proxy);
        used.send("GET", "/v1/x", &[], b"");
        assert_eq!(used.response().status, 200);
        proxy.signal(signal);
        assert_eq!(proxy.exit_code(), Some(0)); // does not wait the 30 s that exchanges have
        assert!(used.is_closed() && unused.is_closed());
    }
}

#[test]
fn an_exchange_that_does_not_end_is_cut_after_shutdown_timeout() {
    let gate = Gate::new();
    let fake = upstream(&gate);
    let mut proxy = Proxy::limited(&fake, "shutdown_timeout: 1");
    let mut client = stream(&proxy);
    proxy.signal("TERM");
    assert_eq!(proxy.exit_code(), Some(0));
    assert_eq!(client.rest().1, End::Cut);
    gate.open();
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let gate = Gate::new();
        let fake = upstream(&gate);
        let mut proxy = Proxy::limited(&fake, "");
        let mut client = stream(&proxy);
        proxy.signal("TERM");
        proxy.wait_for_log("shutting down");
        proxy.signal(signal);
        assert_eq!(proxy.exit_code(), Some(code));
        assert_eq!(client.rest().1, End::Cut);
        gate.open();
    }
}
