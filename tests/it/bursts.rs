use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::client::{Client, End};
use crate::fake::{EVENTS, Fake, LAST_CHUNK, chunk, json, models};
use crate::proxy::Proxy;
use crate::wait::{DEADLINE, Gate, crowd};

/// Serves an event stream at `/v1/stream`, which ends when the gate opens, and a list of models.
fn upstream(gate: &Gate) -> Fake {
    let gate = gate.clone();
    Fake::scripted(move |conn| {
        while let Some(request) = conn.read_request() {
            if request.target() == "/v1/stream" {
                conn.write([EVENTS.as_bytes(), &chunk("data: 1\n\n")].concat());
                gate.opened_within(DEADLINE * 6);
                conn.write(LAST_CHUNK);
            } else {
                conn.write(json(200, &models(&["a"])));
            }
        }
    })
    .showing_lists()
}

/// Asks for the list, which the proxy has cached: a burst does not depend on the upstream.
fn ask(client: &mut Client) {
    client.send("GET", "/v1/models", &[], b"");
}

/// Clients that connect while the proxy is stopped, so that it sees all of them at once.
fn burst(proxy: &Proxy, count: usize) -> Vec<Client> {
    proxy.while_stopped(|| {
        let connected = |_| {
            let mut client = Client::of(proxy);
            ask(&mut client);
            client
        };
        (0..count).map(connected).collect()
    })
}

fn assert_all_are_answered(clients: &mut [Client]) {
    for client in clients {
        assert_eq!(client.response().ids(), ["a"]);
    }
}

#[test]
fn of_a_burst_of_clients_that_stay_none_is_forgotten() {
    let _turn = crowd();
    for count in [8, 16, 64, 200] {
        let gate = Gate::new();
        let fake = upstream(&gate);
        let proxy = Proxy::before(&fake, "cache_ttl: 60");
        assert_eq!(proxy.get("/v1/models").ids(), ["a"]);
        // Fewer than tiny_http has threads at the start: those that are left take the burst, and
        // each of them may be counted for many.
        let mut streams = [Client::of(&proxy), Client::of(&proxy)];
        for client in &mut streams {
            client.send("POST", "/v1/stream", &[], b"{}");
            client.head();
            assert_eq!(client.event().unwrap(), "data: 1\n\n");
        }
        let mut clients = burst(&proxy, count);
        assert_all_are_answered(&mut clients);
        // They stay connected while a second burst arrives.
        let mut more = burst(&proxy, 8);
        assert_all_are_answered(&mut more);
        clients.iter_mut().for_each(ask);
        assert_all_are_answered(&mut clients);
        gate.open();
        for client in &mut streams {
            assert_eq!(client.rest(), (Vec::new(), End::Complete));
        }
    }
}

/// If the listen queue is full, the kernel does not refuse a client but lets it retry: here until the deadline, because
/// the stopped proxy accepts no connection.
#[test]
fn three_hundred_clients_may_connect_before_the_first_is_looked_at() {
    let _turn = crowd();
    let fake = Fake::listing(&models(&["a"]));
    let proxy = Proxy::before(&fake, "cache_ttl: 60");
    assert_eq!(proxy.get("/v1/models").ids(), ["a"]);
    assert_all_are_answered(&mut burst(&proxy, 300));
}

/// Without TCP_NODELAY the kernel holds an event back until the client has acknowledged the previous one, which may
/// take 40 ms (delayed ACK). The fastest of many rounds counts, because a slow machine may delay any of them.
#[test]
fn no_event_is_held_back_until_the_last_one_is_acknowledged() {
    let (seen, next) = channel();
    let next = Mutex::new(next);
    let fake = Fake::scripted(move |conn| {
        while let Some(request) = conn.read_request() {
            if request.target() != "/v1/stream" {
                conn.write(json(200, "{}"));
                continue;
            }
            conn.write(EVENTS);
            for _ in 0..3 {
                conn.chunk("data: 1\n\n");
                next.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            }
            conn.write(LAST_CHUNK);
        }
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    let mut round = || {
        for _ in 0..5 {
            client.send("GET", "/v1/x", &[], b"");
            assert_eq!(client.response().status, 200);
        }
        let begun = Instant::now();
        client.send("GET", "/v1/stream", &[], b"");
        client.head();
        for _ in 0..3 {
            assert_eq!(client.event().unwrap(), "data: 1\n\n");
            seen.send(()).unwrap();
        }
        let time = begun.elapsed();
        assert_eq!(client.rest(), (Vec::new(), End::Complete));
        time
    };
    let fastest = (0..20).map(|_| round()).min().unwrap();
    assert!(fastest < Duration::from_millis(35), "{fastest:?}");
}
