use std::collections::BTreeSet;
use std::io::{Read, Write};

use crate::client::{Client, End};
use crate::fake::{CHUNKED, EVENTS, Fake, LAST_CHUNK, chunk, json, models, response};
use crate::proxy::{Proxy, plain};
use crate::wait::{DEADLINE, Gate, eventually};

/// Responds to `/v1/slow` when the gate opens, and to everything else at once.
fn slow_until(gate: &Gate) -> Fake {
    let opened = gate.clone();
    Fake::answering(move |request| {
        if request.target() == "/v1/slow" {
            opened.wait();
        }
        json(200, "{}")
    })
}

#[test]
fn a_client_may_use_its_connection_again() {
    let fake = Fake::answering(|request| json(200, request.target()));
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    for target in ["/v1/a", "/v1/b", "/v1/c"] {
        client.send("GET", target, &[], b"");
        assert_eq!(client.response().text(), target);
    }
}

/// Each request is sent the moment the last byte of the previous response has been read: it is not pipelined.
#[test]
fn ten_thousand_back_to_back_requests_are_all_answered() {
    const END: &[u8] = b"]}";
    let answer = json(200, &models(&["a"]));
    let fake = Fake::answering(move |_| answer.clone()).showing_lists();
    let proxy = Proxy::quiet(&plain(&fake.url("/v1"), "cache_ttl: 900"), "warn");
    let mut stream = Client::of(&proxy).writer();
    let mut buffer = [0; 1024];
    for number in 0..10_000 {
        // Relayed or from the cache: the two write their responses in different ways.
        let target = if number % 4 == 0 { "/v1/x" } else { "/v1/models" };
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut length = 0;
        while !buffer[..length].ends_with(END) {
            let count = stream.read(&mut buffer[length..]).unwrap();
            assert_ne!(count, 0, "closed instead of response {number}");
            length += count;
        }
        let response = std::str::from_utf8(&buffer[..length]).unwrap();
        assert!(response.starts_with("HTTP/1.1 200") && !response.contains("close"), "{response}");
    }
}

/// Sends requests back to back on one connection; a kind is method, target, status and length of the body.
fn assert_all_are_answered(proxy: &Proxy, count: usize, kinds: &[(&str, &str, u16, usize)]) {
    let mut client = Client::of(proxy);
    for (number, (method, target, status, length)) in (0..count).zip(kinds.iter().cycle()) {
        client.send(method, target, &[], b"");
        let response = client.head();
        let received = client.count();
        let context = format!("request {number}, {method} {target}");
        assert_eq!(
            (response.status, received),
            (*status, (*length as u64, End::Complete)),
            "{context}"
        );
        assert_eq!(response.header("connection"), None, "{context}");
    }
}

#[test]
fn back_to_back_requests_are_answered_however_the_last_response_ended() {
    const LONG: usize = 1_000_000;
    let long = response("200 OK\nContent-Type: text/plain", vec![b'x'; LONG]);
    let list = models(&["a"]);
    let length = list.len();
    let listing = json(200, &list);
    let fake = Fake::answering(move |request| match (request.method(), request.target()) {
        (_, "/v1/models") => listing.clone(),
        ("HEAD", _) => b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_vec(),
        (_, "/v1/nothing") => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        (_, "/v1/chunked") => {
            [CHUNKED.as_bytes(), &chunk("one"), &chunk("two"), LAST_CHUNK.as_bytes()].concat()
        }
        (_, "/v1/long") => long.clone(),
        _ => json(200, "{}"),
    });
    let fake = fake.showing_lists();
    let proxy = Proxy::before(&fake, "cache_ttl: 900");
    let list = ("GET", "/v1/models", 200, length);
    let kinds = [
        list,
        ("GET", "/v1/chunked", 200, 6),
        ("HEAD", "/v1/x", 200, 0),
        ("GET", "/v1/nothing", 204, 0),
        list,
        ("GET", "/v1/x", 200, 2),
        list,
        list,
    ];
    assert_all_are_answered(&proxy, 2_000, &kinds);
    assert_all_are_answered(&proxy, 100, &[("GET", "/v1/long", 200, LONG), list]);
}

#[test]
fn an_upstreams_connection_is_used_again() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, "");
    for _ in 0..3 {
        proxy.get("/v1/x");
        proxy.post("/v1/x", "{}");
    }
    let connections: BTreeSet<usize> = fake.requests().iter().map(|r| r.connection).collect();
    assert!(connections.len() <= 2, "{connections:?}"); // one may be left from the list that is fetched at the start
}

#[test]
fn a_client_that_asks_for_it_gets_the_connection_closed() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("GET", "/v1/x", &[("Connection", "close")], b"");
    assert_eq!((client.response().end, client.is_closed()), (End::Complete, true));
}

#[test]
fn an_upstream_that_closes_does_not_close_the_clients_connection() {
    let fake = Fake::scripted(|conn| {
        if conn.read_request().is_some() {
            conn.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}");
        }
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    for _ in 0..3 {
        client.send("POST", "/v1/x", &[], b"{}");
        assert_eq!(client.response().text(), "{}");
    }
}

#[test]
fn a_connection_that_the_upstream_closed_while_idle_is_not_used() {
    let shut = Gate::new();
    let shutting = shut.clone();
    let fake = Fake::scripted(move |conn| {
        while let Some(request) = conn.read_request() {
            conn.write(json(200, "{}"));
            if request.target() == "/v1/last" {
                conn.cut();
                shutting.open();
            }
        }
    });
    let proxy = Proxy::before(&fake, "");
    assert_eq!(proxy.post("/v1/last", "{}").status, 200);
    shut.wait();
    assert_eq!(proxy.post("/v1/x", "{}").status, 200);
    assert_eq!(fake.requests().len(), 2, "a POST is never sent twice");
}

#[test]
fn a_get_survives_several_idle_connections_that_are_dead() {
    let all = Gate::new();
    let opened = all.clone();
    let fake = Fake::scripted(move |conn| {
        let mut was_used = false;
        while let Some(request) = conn.read_request() {
            if request.target() == "/v1/idle" {
                opened.wait();
                was_used = true;
            } else if was_used {
                return;
            }
            conn.write(json(200, "{}"));
        }
    });
    let proxy = Proxy::before(&fake, "");
    proxy.wait_for_log("msg=\"models\""); // the connection of that fetch is idle now
    let mut clients: Vec<Client> = (0..4).map(|_| Client::of(&proxy)).collect();
    for client in &mut clients {
        client.send("GET", "/v1/idle", &[], b"");
    }
    assert!(fake.counts_within("/v1/idle", 4, DEADLINE));
    all.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    assert_eq!(proxy.get("/v1/x").status, 200);
    let asked = fake.requests().iter().filter(|request| request.target() == "/v1/x").count();
    assert_eq!(asked, 2, "once over one that was dead, and once over a new one");
}

/// The requests behind the first are dropped, and their client sends them again: RFC 9112, 9.3.2.
#[test]
fn of_pipelined_requests_the_first_is_answered_and_the_connection_closed() {
    let gate = Gate::new();
    let fake = gated(&gate, 10);
    let proxy = Proxy::debugging(&fake);
    let mut client = Client::of(&proxy);
    client.send_raw(gets(40));
    proxy.wait_for_log(DROPPED);
    gate.open();
    let answer = client.response();
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("/v1/1", Some("close")));
    assert!(client.is_closed());
    drop(client);
    proxy.exchange("/v1/1");
    assert_eq!(fake.requests().len(), 1);
    assert!(proxy.log().iter().all(|line| !line.contains("side=")), "{:#?}", proxy.log());
    assert_eq!(proxy.get("/v1/x").status, 200);
}

fn gets(count: usize) -> String {
    let get = |number| format!("GET /v1/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    (1..=count).map(get).collect()
}

/// Answers once the gate is open, the first request at length.
fn gated(gate: &Gate, length: usize) -> Fake {
    let (gate, long) = (gate.clone(), "x".repeat(length));
    Fake::answering(move |request| {
        gate.wait();
        json(200, if length > 10 { &long } else { request.target() })
    })
}

const DROPPED: &str = "dropped a pipelined request";

/// A connection that is closed with unread bytes is reset, and what was on its way is
/// lost.
#[test]
fn a_client_that_still_sends_gets_its_answer_whole() {
    const LENGTH: usize = 8_000_000;
    let gate = Gate::new();
    let fake = gated(&gate, LENGTH);
    let proxy = Proxy::debugging(&fake);
    let mut client = Client::of(&proxy);
    client.send_raw(gets(2));
    proxy.wait_for_log(DROPPED);
    let mut writer = client.writer();
    let sending = std::thread::spawn(move || while writer.write_all(b"x").is_ok() {});
    gate.open();
    let answer = client.response();
    assert_eq!((answer.body.len(), answer.end), (LENGTH, End::Complete));
    assert!(client.is_closed());
    sending.join().unwrap(); // until the proxy reads no more
}

#[test]
fn a_pipelined_request_behind_a_body_is_no_part_of_that_body() {
    let gate = Gate::new();
    let opened = gate.clone();
    let fake = Fake::answering(move |request| {
        opened.wait();
        json(200, &format!("{} ", request.text()))
    });
    let proxy = Proxy::debugging(&fake);
    let mut client = Client::of(&proxy);
    let post =
        |body| format!("POST /v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n{body}");
    client.send_raw(["one", "two"].map(post).concat());
    proxy.wait_for_log(DROPPED);
    gate.open();
    assert_eq!(client.response().text(), "one ");
    assert!(client.is_closed());
    assert_eq!(fake.requests().len(), 1);
}

#[test]
fn a_client_that_sends_slowly_is_waited_for() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send_raw("GET /v1/x HT");
    assert_eq!(proxy.get("/v1/other").status, 200); // the rest is sent after this response
    client.more("TP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert!(fake.counts_within("/v1/x", 1, DEADLINE));
}

#[test]
fn a_port_that_is_used_again_is_another_client() {
    let fake = Fake::scripted(|conn| {
        while let Some(request) = conn.read_request() {
            if request.target() == "/v1/endless" {
                conn.write(EVENTS);
                while conn.chunk("data: 1\n\n") {}
            } else {
                conn.write(json(200, request.target()));
            }
        }
    });
    let proxy = Proxy::before(&fake, "");
    let assert_another_is_served = |former: Client| {
        let port = former.port();
        drop(former);
        let mut client = Client::on_port(port, &proxy);
        for _ in 0..3 {
            client.send("GET", "/v1/x", &[], b"");
            assert_eq!(client.response().text(), "/v1/x");
        }
        port
    };
    let (mut refused, mut leaving) = (0, 0);
    for _ in 0..10 {
        let mut client = Client::on_port(refused, &proxy);
        client.send("POST", "/v1/x", &[("Content-Length", "+1")], b"x");
        assert_eq!(client.response().status, 400);
        refused = assert_another_is_served(client);

        let mut client = Client::on_port(leaving, &proxy);
        client.send("GET", "/v1/endless", &[], b"");
        client.head();
        client.event().unwrap();
        leaving = assert_another_is_served(client);
    }
}

#[test]
fn a_port_that_is_used_again_after_half_an_upload_is_another_client() {
    let fake = Fake::scripted(|conn| {
        while let Some(request) = conn.read_head() {
            if request.target() == "/v1/upload" {
                conn.wait_until_closed();
                return;
            }
            conn.write(json(200, request.target()));
        }
    });
    let proxy = Proxy::before(&fake, "");
    let mut port = 0;
    for count in 1..=10 {
        let mut client = Client::on_port(port, &proxy);
        client.send("POST", "/v1/upload", &[("Content-Length", "900000")], b"the beginning");
        assert!(fake.counts_within("/v1/upload", count, DEADLINE));
        port = client.port();
        drop(client);
        let mut client = Client::on_port(port, &proxy);
        client.send("GET", "/v1/x", &[], b"");
        assert_eq!(client.response().text(), "/v1/x");
    }
}

#[test]
fn a_pipelined_request_does_not_cost_the_answer_in_front_of_it() {
    let gate = Gate::new();
    let fake = slow_until(&gate);
    let proxy = Proxy::debugging(&fake);
    let long = "POST /v1/../x HTTP/1.1\r\nContent-Length: 900000\r\n\r\n".to_owned();
    let long = long + &"x".repeat(900_000);
    let refused = [
        long.as_str(),
        "POST /v1/y HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        "POST /v1/y HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ];
    let mut clients: Vec<Client> = refused.map(|_| Client::of(&proxy)).into();
    for (client, refused) in clients.iter_mut().zip(refused) {
        client.send("GET", "/v1/slow", &[], b"");
        client.offer(refused);
    }
    eventually("all have been dropped", || {
        proxy.log().iter().filter(|line| line.contains(DROPPED)).count() == refused.len()
    });
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
        client.wait_until_closed();
    }
}

#[test]
fn a_client_that_has_closed_its_side_gets_no_answer_before_its_turn() {
    let gate = Gate::new();
    let fake = slow_until(&gate);
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("GET", "/v1/slow", &[], b"");
    fake.wait_for("/v1/slow");
    client.send("POST", "/v1/../x", &[("Content-Length", "900000")], b"the beginning");
    client.writer().shutdown(std::net::Shutdown::Write).unwrap();
    // The first is aborted because its client seems to have left; the second is not served.
    assert!(client.answer_or_close().is_none_or(|answer| answer.status != 400));
    gate.open();
}
