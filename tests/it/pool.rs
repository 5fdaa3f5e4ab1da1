use crate::client::{Client, End, Response};
use crate::fake::{EVENTS, Fake, LAST_CHUNK, chunk, json, models};
use crate::proxy::Proxy;
use crate::wait::{Gate, eventually};

/// Streams at `/v1/stream`: one event at once, the end when the gate opens.
fn streams(gate: &Gate) -> Fake {
    let gate = gate.clone();
    Fake::scripted(move |conn| {
        while let Some(request) = conn.read_request() {
            if request.target() == "/v1/stream" {
                conn.write([EVENTS.as_bytes(), &chunk("data: 1\n\n")].concat());
                gate.opened_within(crate::wait::DEADLINE * 6);
                conn.write(LAST_CHUNK);
            } else {
                conn.write(json(200, &models(&["a"])));
            }
        }
    })
}

/// Opens a stream and reads its first event; if it is refused, returns the response.
fn try_stream(proxy: &Proxy) -> Result<Client, Response> {
    let mut client = Client::of(proxy);
    client.send("POST", "/v1/stream", &[], b"{}");
    let head = client.head();
    if head.status != 200 {
        let (body, end) = client.rest();
        return Err(Response { body, end, ..head });
    }
    assert_eq!(client.event().unwrap(), "data: 1\n\n");
    Ok(client)
}

fn stream(proxy: &Proxy) -> Client {
    try_stream(proxy).unwrap()
}

fn assert_ends(clients: Vec<Client>) {
    for mut client in clients {
        assert_eq!(client.rest(), (Vec::new(), End::Complete));
    }
}

#[test]
fn many_streams_do_not_hold_up_the_list() {
    let gate = Gate::new();
    let fake = streams(&gate);
    let proxy = Proxy::before(&fake, "");
    let clients: Vec<Client> = (0..100).map(|_| stream(&proxy)).collect();
    assert_eq!(proxy.get("/v1/models?x").ids(), ["a"]);
    gate.open();
    assert_ends(clients);
}

#[test]
fn workers_that_are_not_needed_end() {
    let gate = Gate::new();
    let fake = streams(&gate);
    let proxy = Proxy::before(&fake, "");
    let before = proxy.threads();
    let clients: Vec<Client> = (0..50).map(|_| stream(&proxy)).collect();
    assert!(proxy.threads() >= before + 50);
    gate.open();
    assert_ends(clients);
    // Idle workers end after 10 s, which is as long as `eventually` waits, so wait twice.
    let fewer = || proxy.threads() < before + 25;
    let patience = std::time::Instant::now() + crate::wait::DEADLINE;
    while !fewer() && std::time::Instant::now() < patience {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    eventually("idle workers end", fewer);
}

#[test]
fn beyond_max_requests_the_answer_is_503() {
    let gate = Gate::new();
    let fake = streams(&gate);
    let proxy = Proxy::limited(&fake, "max_requests: 4");
    let clients: Vec<Client> = (0..4).map(|_| stream(&proxy)).collect();
    for _ in 0..3 {
        let refused = try_stream(&proxy).err().expect("a fifth exchange is refused");
        assert!(refused.own_error(503, "overloaded").contains('4'));
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    assert_eq!(fake.requests().len(), 4, "a refused request is not relayed");
    // The program's own paths still respond.
    assert_eq!(proxy.get("/-/health").text(), "ok\n");
    assert!(proxy.get("/-/metrics").text().contains("{code=\"overloaded\"} 3"));
    proxy.get("/-/ready").own_error(503, "overloaded");
    gate.open();
    assert_ends(clients);
    eventually("there is room again", || proxy.get("/v1/x").status == 200);
}
