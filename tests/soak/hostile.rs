//! Clients that leave, and hostile clients.
//!
//! When a client leaves, the program must close its connection to the upstream. A hostile client must get an error or
//! a closed connection within a deadline, and never a response to a request that it smuggled in.

use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};

use crate::client::{Client, Request};
use crate::content::{Order, Rng, Task, bytes};
use crate::traffic::Traffic;
use crate::wire::Framing;

/// The program promises 1 s. The rest allows for a busy machine.
const NOTICE: Duration = Duration::from_secs(2);

/// The longest wait for a request to arrive at the upstream, or for its connection to be closed.
const PATIENCE: Duration = Duration::from_secs(10);

/// `head_timeout` is 10 s; the rest allows for a busy machine.
const HEAD_DEADLINE: Duration = Duration::from_secs(15);

/// The program allows 60 s without progress in a body.
const BODY_DEADLINE: Duration = Duration::from_secs(75);

const STALLED: &str = "stalled body";

/// How long a hostile client keeps sending while the program does not read.
const STUBBORN: Duration = Duration::from_secs(2);

/// A request that must never reach the upstream, named after the request that carries it.
fn smuggled(by: &str) -> String {
    format!("GET /v1/smuggled/{by} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Clients that leave before the head of the response, or in mid-stream.
pub fn leave(traffic: &Traffic<'_>, seed: u64, task: Task) {
    let kind = if task == Task::Silence { "left before the head" } else { "left in mid-stream" };
    let mut rng = Rng::new(seed);
    while !traffic.over() {
        let epoch = traffic.upstream.epoch();
        let order = Order { size: 5, ..Order::new(task, rng.next()) };
        let delay = leave_once(traffic, order, rng.between(0, 300));
        let steady = traffic.upstream.steady_since(epoch);
        match delay {
            Ok(delay) if delay <= NOTICE => {
                traffic.ledger.noticed_after(delay);
                traffic.ledger.good(kind, delay);
            }
            _ if !steady => traffic.ledger.excused(kind),
            Ok(delay) => {
                traffic.ledger.failed(kind, &format!("noticed after {delay:.1?}: {order:?}"));
            }
            Err(error) => traffic.ledger.failed(kind, &format!("{error}: {order:?}")),
        }
        traffic.pause(50);
    }
}

/// Returns how long the program took to close its connection to the upstream.
fn leave_once(traffic: &Traffic<'_>, order: Order, stay: u64) -> io::Result<Duration> {
    let mut client = Client::connect(traffic.program.port())?;
    let target = order.target("/v1/chat/completions");
    let body = br#"{"model":"my/chat-2","stream":true}"#;
    let request = match order.seed % 2 {
        0 => Request::get(target),
        _ => Request::post(target, &["Content-Type: application/json"], body),
    };
    client.send(&request)?;
    let port = client.port();
    if !traffic.upstream.sees(order.seed, PATIENCE) {
        let what = format!("the request from port {port} never reached the upstream");
        return Err(io::Error::other(what));
    }
    if order.task == Task::Endless {
        let mut head = [0; 100];
        client.wire().stream().read_exact(&mut head)?;
    }
    std::thread::sleep(Duration::from_millis(stay));
    drop(client);
    let left = Instant::now();
    let closed = traffic.upstream.sees_closed(order.seed, PATIENCE);
    let unnoticed = || io::Error::other(format!("the leaving of port {port} was not noticed"));
    closed.map(|at| at.saturating_duration_since(left)).ok_or_else(unnoticed)
}

/// Clients that leave at once, after half a head, half a body, or a whole request.
pub fn leave_at_once(traffic: &Traffic<'_>, seed: u64) {
    let mut rng = Rng::new(seed);
    while !traffic.over() {
        let order = Order { size: 100_000, ..Order::new(Task::Body, rng.next()) };
        let (target, body) = (order.target("/v1/short"), bytes(1, 1_000_000));
        let request = Request::post(target, &["Content-Type: application/octet-stream"], &body);
        let sent = [request.head().as_bytes(), &body].concat();
        let part = rng.pick(&[30, 100, 200, 1_000, 400_000, sent.len()]);
        if let Ok(mut client) = Client::connect(traffic.program.port()) {
            // The program may respond and close before everything is sent.
            let _ = client.wire().write(&sent[..part]);
        }
        traffic.ledger.good("left at once", Duration::ZERO);
        traffic.pause(60);
    }
}

/// A hundred connections at once, some silent, some with a request or half of one, that all close together.
pub fn burst(traffic: &Traffic<'_>, seed: u64) {
    let mut rng = Rng::new(seed);
    while !traffic.over() {
        let connect = |_| Client::connect(traffic.program.port()).ok();
        let mut clients: Vec<Client> = (0..100).filter_map(connect).collect();
        let order = Order { size: 2_000, ..Order::new(Task::Body, 1) };
        let request = Request::get(order.target("/v1/short")).head();
        for client in &mut clients {
            let part = rng.pick(&[0, 0, 25, request.len()]);
            // Fails if the program closes first.
            let _ = client.wire().write(&request.as_bytes()[..part]);
        }
        traffic.pause(rng.between(0, 500));
        for _ in clients.drain(..) {
            traffic.ledger.good("burst of 100 that leaves", Duration::ZERO);
        }
        traffic.pause(rng.between(2_000, 4_000));
    }
}

/// Requests with ambiguous framing, each with a smuggled request behind it.
pub fn misframed(traffic: &Traffic<'_>, seed: u64) {
    const FIELDS: [&str; 13] = [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 5, 5",
        "Content-Length: 0x5",
        "Content-Length:",
        "Content-Length: 5\r\nX-Letters: \u{e4}\u{f6}\u{fc}",
        "No colon here",
    ];
    let mut rng = Rng::new(seed);
    while !traffic.over() {
        let fields = rng.pick(&FIELDS);
        let target = Order::new(Task::Echo, rng.next()).target("/v1/chat/completions");
        let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n");
        let request = format!("{head}0\r\n\r\n{}", smuggled("bad-framing"));
        provoke(traffic, "bad framing", request.as_bytes(), HEAD_DEADLINE, "HTTP/1.1 4");
        traffic.pause(50);
    }
}

/// Invalid chunks: only the request that they belong to may reach the upstream.
pub fn bad_chunks(traffic: &Traffic<'_>, seed: u64) {
    const CHUNKS: [&str; 5] =
        ["FFFFFFFFFFFFFFFFF\r\n", "-1\r\n", "five\r\n", "\r\n\r\n", "3\r\nabcdef\r\n0\r\n\r\n"];
    let mut rng = Rng::new(seed);
    while !traffic.over() {
        let kind = rng.pick(&["application/json", "application/octet-stream"]);
        let target = Order::new(Task::Echo, rng.next()).target("/v1/chat/completions");
        let framing = format!("Content-Type: {kind}\r\nTransfer-Encoding: chunked");
        let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n");
        let request = format!("{head}{}{}", rng.pick(&CHUNKS), smuggled("bad-chunks"));
        provoke(traffic, "bad chunks", request.as_bytes(), HEAD_DEADLINE, "HTTP/1.1 4");
        traffic.pause(100);
    }
}

pub fn noise(traffic: &Traffic<'_>, seed: u64) {
    let mut rng = Rng::new(seed);
    while !traffic.over() {
        let mut noise = bytes(rng.next(), rng.between(1, 5_000) as usize);
        if rng.one_in(2) {
            noise.extend_from_slice(b"\r\n\r\n");
        }
        provoke(traffic, "random bytes", &noise, HEAD_DEADLINE, "HTTP/1.1 4");
        traffic.pause(50);
    }
}

/// Ten thousand header fields, and bodies over `max_body`, with and without `Content-Length`.
pub fn oversized(traffic: &Traffic<'_>, seed: u64) {
    let mut rng = Rng::new(seed);
    let start = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n";
    let fields: String = (0..10_000).map(|number| format!("X-{number}: {number}\r\n")).collect();
    while !traffic.over() {
        match rng.between(0, 3) {
            0 => {
                let request = format!("{start}{fields}\r\n");
                provoke(traffic, "10,000 fields", request.as_bytes(), HEAD_DEADLINE, "HTTP/1.1 4");
            }
            1 => {
                let json = "Content-Type: application/json";
                let request = format!("{start}{json}\r\nContent-Length: 9000000\r\n\r\n{{");
                let (bytes, status) = (request.as_bytes(), "HTTP/1.1 413");
                provoke(traffic, "body over max_body", bytes, HEAD_DEADLINE, status);
            }
            _ => {
                let json = "Content-Type: application/json";
                let mut request = format!("{start}{json}\r\nTransfer-Encoding: chunked\r\n\r\n");
                for _ in 0..180 {
                    request += &format!("c350\r\n{:50000}\r\n", "");
                }
                let (bytes, status) = (request.as_bytes(), "HTTP/1.1 413");
                provoke(traffic, "body over max_body", bytes, HEAD_DEADLINE, status);
            }
        }
        traffic.pause(300);
    }
}

/// Impossible values of `Content-Length`. Each leaks a thread and some memory, by design, so only a few are sent.
pub fn giants(traffic: &Traffic<'_>, count: usize) {
    let lengths = ["1000000000000", "9223372036854775808", "18446744073709551615"];
    for length in lengths.iter().cycle().take(count) {
        let target = Order::new(Task::Echo, 0).target("/v1/files");
        let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n");
        let request = format!("{head}Content-Length: {length}\r\n\r\n{}", smuggled("giant"));
        let (bytes, status) = (request.as_bytes(), "HTTP/1.1 413");
        provoke(traffic, "giant Content-Length", bytes, HEAD_DEADLINE, status);
        traffic.pause(5_000);
    }
}

/// Heads that take longer than `head_timeout`, although lines keep arriving.
pub fn slow_head(traffic: &Traffic<'_>) {
    let kind = "slow head";
    while !traffic.over() {
        match slow_head_once(traffic) {
            Ok(took) => traffic.ledger.good(kind, took),
            Err(error) => traffic.ledger.failed(kind, &error.to_string()),
        }
    }
}

fn slow_head_once(traffic: &Traffic<'_>) -> io::Result<Duration> {
    let mut client = Client::connect(traffic.program.port())?;
    let since = Instant::now();
    let wire = client.wire();
    wire.write(b"GET /v1/smuggled HTTP/1.1\r\n")?;
    while since.elapsed() < HEAD_DEADLINE {
        if wire.write(b"X-Slow: yes\r\n").is_err() {
            return Ok(since.elapsed());
        }
        wire.stream().set_read_timeout(Some(Duration::from_millis(500)))?;
        match wire.stream().read(&mut [0; 1000]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return Ok(since.elapsed()),
            Ok(_) => {}
        }
    }
    let port = client.port();
    Err(io::Error::other(format!("port {port} is still open after {HEAD_DEADLINE:?}")))
}

/// A header field of 100 MB.
pub fn endless_field(traffic: &Traffic<'_>) {
    let mut request = b"GET /v1/smuggled HTTP/1.1\r\nX-Endless: ".to_vec();
    request.resize(100_000_000, b'x');
    while !traffic.over() {
        provoke(traffic, "endless header line", &request, HEAD_DEADLINE, "HTTP/1.1 4");
        traffic.pause(1_000);
    }
}

/// Bodies that stop arriving. They are too long for tiny_http to read with the head. None is sent if the run would end
/// before its deadline.
pub fn stalled_body(traffic: &Traffic<'_>) {
    while Instant::now() + BODY_DEADLINE < traffic.end {
        let json = "Content-Type: application/json\r\nContent-Length: 90000";
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n{json}");
        let request = format!("{head}\r\n\r\n{{\"model\":");
        provoke(traffic, STALLED, request.as_bytes(), BODY_DEADLINE, "HTTP/1.1 408");
    }
}

/// Sends bytes that must be refused: with a closed connection, after one response that starts with `wanted` or none.
fn provoke(
    traffic: &Traffic<'_>,
    kind: &'static str,
    bytes: &[u8],
    deadline: Duration,
    wanted: &str,
) {
    let (epoch, since) = (traffic.upstream.epoch(), Instant::now());
    let mut port = 0;
    let mut received = Vec::new();
    let mut exchange = || {
        let mut client = Client::connect(traffic.program.port())?;
        port = client.port();
        let wire = client.wire();
        wire.limit(deadline)?;
        // Reading notices a closed connection; writing may block for long if the program has stopped reading.
        wire.stream().set_write_timeout(Some(STUBBORN))?;
        let _ = wire.write(bytes);
        wire.body(Framing::UntilClose, |part| received.extend_from_slice(part))
    };
    let late = exchange().is_err_and(|error| error.kind() == ErrorKind::TimedOut);
    let text = String::from_utf8_lossy(&received);
    let answers = text.matches("HTTP/1.1 ").count();
    let steady = traffic.upstream.steady_since(epoch);
    // A stalled body is not an attack: its client must get the 408.
    let silently = text.is_empty() && kind != STALLED;
    let just = silently || (text.starts_with(wanted) && answers == 1);
    if just && !late {
        traffic.ledger.good(kind, since.elapsed());
        return;
    }
    // The program may have failed to reach the upstream before it saw what is wrong with the request.
    if !steady && !late && text.starts_with("HTTP/1.1 502") && answers == 1 {
        traffic.ledger.excused(kind);
        return;
    }
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    let took = since.elapsed();
    let what = format!("port {port} after {took:.1?}, late: {late}: {start:?} gave {text:?}");
    traffic.ledger.failed(kind, &what);
}
