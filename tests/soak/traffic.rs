//! Well-behaved clients: each exchange must succeed to the last byte, or end with an error if the upstream was ordered
//! to fail.

use std::io;
use std::time::{Duration, Instant};

use crate::client::{Answer, Client, Request};
use crate::content::{Order, Rng, Task, bytes, events, letters, shown_models};
use crate::ledger::{Expected, Ledger};
use crate::program::Program;
use crate::upstream::{Upstream, verdict};

/// One period of mixed traffic, and what takes part in it.
pub struct Traffic<'a> {
    pub program: &'a Program,
    pub upstream: &'a Upstream,
    pub ledger: &'a Ledger,
    pub end: Instant,
}

/// A client that makes several exchanges on each connection.
pub struct Caller<'a> {
    pub traffic: &'a Traffic<'a>,
    pub rng: Rng,
    client: Option<Client>,
    /// How many more exchanges this connection is used for.
    left: u64,
}

const JSON: &[&str] = &["Content-Type: application/json"];
const BINARY: &[&str] = &["Content-Type: application/octet-stream"];
const CHAT: &str = "/v1/chat/completions";

impl Traffic<'_> {
    pub fn over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Sleeps, but not beyond the end of the traffic.
    pub fn pause(&self, milliseconds: u64) {
        let left = self.end.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(Duration::from_millis(milliseconds)));
    }
}

impl<'a> Caller<'a> {
    pub fn new(traffic: &'a Traffic<'a>, seed: u64) -> Caller<'a> {
        Caller { traffic, rng: Rng::new(seed), client: None, left: 0 }
    }

    /// Makes one exchange and judges it.
    fn ask(&mut self, kind: &'static str, request: &Request<'_>, expected: &Expected<'_>) {
        let (epoch, since) = (self.traffic.upstream.epoch(), Instant::now());
        let result = self.exchange(request);
        let steady = self.traffic.upstream.steady_since(epoch);
        let port = self.client.as_ref().map_or(0, Client::port);
        let what = || {
            let Request { method, target, body, .. } = request;
            format!("{method} {target} ({} bytes) from port {port}", body.len())
        };
        let outcome = (result, expected);
        let goes_on = self.traffic.ledger.judge(kind, what, since, steady, outcome);
        if !goes_on || self.left == 0 {
            self.client = None;
        }
    }

    fn exchange(&mut self, request: &Request<'_>) -> io::Result<Answer> {
        let client = self.connected()?;
        let sent = client.send(request);
        // If the program refuses a request, it responds before it has read all of it.
        match (sent, client.answer(request.method == "HEAD")) {
            (Err(error), Err(_)) => Err(error),
            (_, answer) => answer,
        }
    }

    fn connected(&mut self) -> io::Result<&mut Client> {
        let client = match self.client.take() {
            Some(client) => client,
            None => {
                self.left = self.rng.between(1, 80);
                Client::connect(self.traffic.program.port())?
            }
        };
        self.left -= 1;
        Ok(self.client.insert(client))
    }

    /// The length of a small response, or, one time in ten, a length of up to 200 KB.
    fn length(&mut self) -> usize {
        let end = if self.rng.one_in(10) { 200_000 } else { 3_000 };
        self.rng.between(0, end) as usize
    }
}

pub fn short(mut caller: Caller<'_>) {
    while !caller.traffic.over() {
        let (seed, size) = (caller.rng.next(), caller.length());
        let order = Order { size, chunked: seed % 3 == 0, ..Order::new(Task::Body, seed) };
        let mut request = Request::get(order.target("/v1/short"));
        if seed % 16 == 0 {
            request.method = "HEAD";
            caller.ask("short, HEAD", &request, &Expected::Whole(b""));
        } else {
            caller.ask("short, kept connection", &request, &Expected::Whole(&bytes(seed, size)));
        }
        caller.traffic.pause(2);
    }
}

pub fn short_once(mut caller: Caller<'_>) {
    while !caller.traffic.over() {
        let (seed, size) = (caller.rng.next(), caller.length());
        let order = Order { size, chunked: seed % 3 == 0, ..Order::new(Task::Body, seed) };
        let mut request = Request::get(order.target("/v1/short"));
        if seed % 2 == 0 {
            request.headers = &["Connection: close"];
        }
        caller.client = None;
        caller.ask("short, new connection", &request, &Expected::Whole(&bytes(seed, size)));
        caller.traffic.pause(15);
    }
}

/// Clients that send several requests at once on one connection: the responses arrive in order, and the connection is
/// closed behind the first that has another request behind it.
pub fn pipelined(mut caller: Caller<'_>) {
    let traffic = caller.traffic;
    while !traffic.over() {
        let (epoch, since) = (traffic.upstream.epoch(), Instant::now());
        let count = caller.rng.between(2, 6);
        let orders: Vec<Order> = (0..count)
            .map(|_| Order { size: caller.length(), ..Order::new(Task::Body, caller.rng.next()) })
            .collect();
        let request = |order: &Order| Request::get(order.target("/v1/short")).head();
        let requests: String = orders.iter().map(request).collect();
        let mut client = match Client::connect(traffic.program.port()) {
            Ok(client) => client,
            Err(error) => {
                traffic.ledger.failed("pipelined", &format!("no connection: {error}"));
                continue;
            }
        };
        let sent = client.wire().write(requests.as_bytes());
        for (index, order) in orders.iter().enumerate() {
            let answer = client.answer(false);
            if index > 0 && answer.is_err() {
                break;
            }
            let answer = if let (Err(error), Err(_)) = (&sent, &answer) {
                Err(error.kind().into())
            } else {
                answer
            };
            let steady = traffic.upstream.steady_since(epoch);
            let what = || format!("{order:?} of {count} from port {}", client.port());
            let body = bytes(order.seed, order.size);
            let outcome = (answer, &Expected::Whole(&body));
            if !traffic.ledger.judge("pipelined", what, since, steady, outcome) {
                break;
            }
        }
        traffic.pause(40);
    }
}

pub fn list(mut caller: Caller<'_>) {
    let models = shown_models();
    while !caller.traffic.over() {
        let path = caller.rng.pick(&["/v1/models", "/models"]);
        let request = Request::get(path.to_owned());
        caller.ask("list", &request, &Expected::Whole(models.as_bytes()));
        caller.traffic.pause(10);
    }
}

/// The upstream echoes the body, from which the program has removed the prefix.
pub fn chat(mut caller: Caller<'_>) {
    while !caller.traffic.over() {
        let seed = caller.rng.next();
        let large = caller.rng.one_in(60);
        let length = if large { 500_000 + seed as usize % 2_000_000 } else { caller.length() };
        let order = Order { chunked: seed % 2 == 0, ..Order::new(Task::Echo, seed) };
        let (model, text) = (seed % 40, letters(seed, length));
        let body = |prefix: &str| {
            let messages = format!("[{{\"role\":\"user\",\"content\":\"{text}\"}}]");
            format!("{{\"model\":\"{prefix}chat-{model}\",\"messages\":{messages}}}")
        };
        let (sent, wanted) = (body("my/"), body(""));
        let mut request = Request::post(order.target(CHAT), JSON, sent.as_bytes());
        request.chunk = (seed % 5 == 0).then_some(5_000);
        let kind = if large { "chat, 0.5 to 2.5 MB" } else { "chat" };
        caller.ask(kind, &request, &Expected::Whole(wanted.as_bytes()));
        caller.traffic.pause(10);
    }
}

pub fn stream(mut caller: Caller<'_>) {
    while !caller.traffic.over() {
        let seed = caller.rng.next();
        let size = if seed % 10 == 0 { 300 } else { seed as usize / 16 % 60 };
        let gap = caller.rng.pick(&[0, 1, 5, 20]);
        let order = Order { size, gap, ..Order::new(Task::Stream, seed) };
        let request = Request::post(order.target(CHAT), JSON, STREAMED.as_bytes());
        let wanted = events(seed, size).concat();
        caller.ask("stream", &request, &Expected::Whole(wanted.as_bytes()));
        caller.traffic.pause(50);
    }
}

const STREAMED: &str = r#"{"stream":true,"model":"my/chat-1","messages":[]}"#;

pub fn upload(mut caller: Caller<'_>) {
    while !caller.traffic.over() {
        let seed = caller.rng.next();
        let size = caller.rng.between(1_000_000, 6_000_000) as usize;
        let order = Order { size, ..Order::new(Task::Upload, seed) };
        let body = bytes(seed, size);
        let mut request = Request::post(order.target("/v1/files"), BINARY, &body);
        request.chunk = (seed % 2 == 0).then_some(30_000);
        caller.ask("upload, 1 to 6 MB", &request, &Expected::Whole(verdict(size, true).as_bytes()));
        caller.traffic.pause(200);
    }
}

pub fn download(mut caller: Caller<'_>) {
    while !caller.traffic.over() {
        let seed = caller.rng.next();
        let size = caller.rng.between(1_000_000, 6_000_000) as usize;
        let order = Order { size, chunked: seed % 2 == 0, ..Order::new(Task::Body, seed) };
        let request = Request::get(order.target("/v1/files/1"));
        caller.ask("download, 1 to 6 MB", &request, &Expected::Whole(&bytes(seed, size)));
        caller.traffic.pause(200);
    }
}

/// The upstream fails: the response must not look complete.
pub fn failing(mut caller: Caller<'_>, tasks: &[Task]) {
    while !caller.traffic.over() {
        let (task, seed) = (caller.rng.pick(tasks), caller.rng.next());
        let size = match task {
            Task::CutLong => seed as usize % 300_000,
            Task::CutShort => seed as usize % 3_000,
            _ => seed as usize % 30,
        };
        let order = Order { size, ..Order::new(task, seed) };
        let request = if seed % 2 == 0 {
            Request::get(order.target("/v1/short"))
        } else {
            Request::post(order.target(CHAT), JSON, STREAMED.as_bytes())
        };
        let (body, all) = (bytes(seed, size), events(seed, size));
        let sent = all[..size.min(all.len())].concat();
        let (kind, expected) = match task {
            Task::Silence => ("upstream silent: 504", Expected::Refusal(504)),
            Task::Stall => {
                ("upstream silent in a stream: error and cut", Expected::CutEvents(sent.as_bytes()))
            }
            Task::CutShort => ("upstream cuts a short body: 502", Expected::Refusal(502)),
            Task::CutLong => ("upstream cuts a long body: cut", Expected::Cut(&body)),
            Task::CutStream => {
                ("upstream cuts a stream: error and cut", Expected::CutEvents(sent.as_bytes()))
            }
            _ => ("upstream talks garbage: 502", Expected::Refusal(502)),
        };
        caller.ask(kind, &request, &expected);
        caller.traffic.pause(20);
    }
}
