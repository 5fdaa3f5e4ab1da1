//! The upstream: does what the target of each request orders, records when the program closes a connection, and goes
//! down now and then.
//!
//! An exchange must succeed if the [`Epoch`] is the same before and after it, and the upstream is up in it.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::content::{Order, Rng, Task, bytes, events, models};
use crate::ledger::Ledger;
use crate::wire::Wire;

/// For how long after the upstream is back an exchange may still fail.
const GRACE: Duration = Duration::from_millis(300);

/// The deadline for all connections of the upstream to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The interval between events of an endless stream.
const PULSE: Duration = Duration::from_millis(20);

pub struct Upstream {
    port: u16,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    ledger: Arc<Ledger>,
    /// Even while the upstream is up.
    epoch: AtomicU64,
    away: AtomicBool,
    open: Mutex<HashMap<u64, TcpStream>>,
    closed: Condvar,
    watched: Mutex<HashMap<u64, Watched>>,
    changed: Condvar,
}

/// The state of a request that the upstream never finishes.
#[derive(Clone, Copy)]
enum Watched {
    Arrived,
    Closed(Instant),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Epoch(u64);

impl Upstream {
    pub fn start(ledger: Arc<Ledger>) -> Upstream {
        // Below the range of ephemeral ports: while the upstream is down, a client could get one of those.
        let mut ports = Rng::new(u64::from(std::process::id()));
        let bound = (0..100).find_map(|_| {
            let port = ports.between(20_000, 30_000) as u16;
            TcpListener::bind(("127.0.0.1", port)).ok()
        });
        let listener = bound.expect("one of a hundred ports is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared {
            ledger,
            epoch: AtomicU64::new(0),
            away: AtomicBool::new(false),
            open: Mutex::default(),
            closed: Condvar::new(),
            watched: Mutex::default(),
            changed: Condvar::new(),
        });
        let upstream = Upstream { port, shared, accepting: Mutex::default() };
        upstream.accept(listener);
        upstream
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn epoch(&self) -> Epoch {
        Epoch(self.shared.epoch.load(Ordering::SeqCst))
    }

    /// Whether the upstream has been up all the time since then.
    pub fn steady_since(&self, epoch: Epoch) -> bool {
        epoch.0 % 2 == 0 && epoch == self.epoch()
    }

    /// Closes the listener and all connections.
    pub fn go_away(&self) {
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        self.shared.away.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes `accept`
        let accepting = self.accepting.lock().expect("nothing panics under this lock").take();
        if let Some(accepting) = accepting {
            let _ = accepting.join();
        }
        let open = self.shared.open();
        for stream in open.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let ended = self.shared.closed.wait_timeout_while(open, PATIENCE, |open| !open.is_empty());
        let left = ended.expect("nothing panics under this lock").0.len();
        assert_eq!(left, 0, "connections of the upstream that do not end");
    }

    pub fn come_back(&self) {
        let end = Instant::now() + PATIENCE;
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", self.port)) {
                Ok(listener) => break listener,
                Err(error) => assert!(Instant::now() < end, "the upstream's port: {error}"),
            }
            std::thread::sleep(PULSE);
        };
        self.shared.away.store(false, Ordering::SeqCst);
        self.accept(listener);
        // Exchanges that share the failure of an earlier one (a list that is fetched once) are excused too.
        std::thread::sleep(GRACE);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether the request with this seed arrives. Only one caller may wait for each.
    pub fn sees(&self, seed: u64, limit: Duration) -> bool {
        self.shared.wait(limit, |watched| watched.contains_key(&seed).then_some(())).is_some()
    }

    /// When the program closed the connection of the request with this seed.
    pub fn sees_closed(&self, seed: u64, limit: Duration) -> Option<Instant> {
        self.shared.wait(limit, |watched| match watched.get(&seed)? {
            Watched::Arrived => None,
            Watched::Closed(at) => {
                let at = *at;
                watched.remove(&seed);
                Some(at)
            }
        })
    }

    fn accept(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let accepting = std::thread::spawn(move || {
            for id in 0.. {
                let (stream, _) = listener.accept().expect("the upstream can accept");
                if shared.away.load(Ordering::SeqCst) {
                    return;
                }
                let handle = stream.try_clone().expect("a descriptor is left");
                shared.open().insert(id, handle);
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // Ends when the program or the upstream closes the connection.
                    let _ = shared.serve(stream);
                    shared.open().remove(&id);
                    shared.closed.notify_all();
                });
            }
        });
        *self.accepting.lock().expect("nothing panics under this lock") = Some(accepting);
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.open.lock().expect("nothing panics under this lock")
    }

    fn wait<R>(
        &self,
        limit: Duration,
        mut find: impl FnMut(&mut HashMap<u64, Watched>) -> Option<R>,
    ) -> Option<R> {
        let end = Instant::now() + limit;
        let mut watched = self.watched.lock().expect("nothing panics under this lock");
        loop {
            if let Some(found) = find(&mut watched) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            let waited = self.changed.wait_timeout(watched, left);
            watched = waited.expect("nothing panics under this lock").0;
        }
    }

    fn note(&self, seed: u64, what: Watched) {
        self.watched.lock().expect("nothing panics under this lock").insert(seed, what);
        self.changed.notify_all();
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut wire = Wire::new(stream)?;
        loop {
            let head = match wire.head() {
                Ok(Some(head)) => head,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.ledger.failed("upstream", &format!("got what is no request: {error}"));
                    return Err(error);
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(error),
            };
            let target = head.line.split(' ').nth(1).unwrap_or_default();
            if target == "/v1/models" {
                wire.write(&whole("application/json", models().as_bytes()))?;
                continue;
            }
            let Some(order) = Order::of(target) else {
                self.ledger.failed("upstream", &format!("got a forged request: {}", head.line));
                return Ok(());
            };
            let mut body = Vec::new();
            if let Some(framing) = head.framing() {
                wire.body(framing, |part| body.extend_from_slice(part))?;
            }
            if !self.obey(order, &mut wire, &head.line, &body)? {
                return Ok(());
            }
        }
    }

    /// Carries out an order. Returns whether the connection can be used again.
    fn obey(&self, order: Order, wire: &mut Wire, line: &str, body: &[u8]) -> io::Result<bool> {
        let Order { seed, size, chunked, .. } = order;
        let binary = "application/octet-stream";
        match order.task {
            Task::Body if line.starts_with("HEAD ") => {
                wire.write(&head(&format!("{binary}\r\nContent-Length: {size}")))?;
            }
            Task::Body => wire.write(&answer(binary, &bytes(seed, size), chunked))?,
            Task::Echo => wire.write(&answer("application/json", body, chunked))?,
            Task::Upload => {
                let same = body == bytes(seed, size);
                wire.write(&whole("application/json", verdict(size, same).as_bytes()))?;
            }
            Task::Stream => {
                self.send_events(order, wire)?;
                wire.write(b"0\r\n\r\n")?;
            }
            Task::Silence => {
                self.watch(seed, |_| wire.body(crate::wire::Framing::UntilClose, |_| {}))?;
            }
            Task::Stall => {
                self.send_events(order, wire)?;
                self.watch(seed, |_| wire.body(crate::wire::Framing::UntilClose, |_| {}))?;
            }
            Task::Endless => self.watch(seed, |shared| {
                shared.send_events(order, wire)?;
                loop {
                    wire.write_chunk(b"data: {}\n\n")?;
                    std::thread::sleep(PULSE);
                }
            })?,
            Task::CutShort | Task::CutLong => {
                let promised = format!("{binary}\r\nContent-Length: {}", promised(order));
                wire.write(&[head(&promised), bytes(seed, size)].concat())?;
            }
            Task::CutStream => self.send_events(order, wire)?,
            Task::Garbage => wire.write(&garbage(seed))?,
        }
        Ok(matches!(order.task, Task::Body | Task::Echo | Task::Upload | Task::Stream))
    }

    fn send_events(&self, order: Order, wire: &mut Wire) -> io::Result<()> {
        let all = events(order.seed, order.size);
        // Only a complete stream has the last event.
        let count = if order.task == Task::Stream { all.len() } else { order.size };
        let mut rng = Rng::new(order.seed);
        wire.write(&head("text/event-stream\r\nTransfer-Encoding: chunked"))?;
        for event in &all[..count] {
            // Chunks need not end where events end.
            let at = rng.between(0, event.len() as u64) as usize;
            let (one, other) = event.as_bytes().split_at(if rng.one_in(4) { at } else { 0 });
            if !one.is_empty() {
                wire.write_chunk(one)?;
            }
            wire.write_chunk(other)?;
            if order.gap > 0 {
                std::thread::sleep(Duration::from_millis(order.gap));
            }
        }
        Ok(())
    }

    /// Runs `lasting`, which returns when the program closes the connection, and records when it began and ended.
    fn watch(&self, seed: u64, lasting: impl FnOnce(&Shared) -> io::Result<()>) -> io::Result<()> {
        self.note(seed, Watched::Arrived);
        let ended = lasting(self);
        self.note(seed, Watched::Closed(Instant::now()));
        ended
    }
}

/// The response to an upload.
pub fn verdict(size: usize, same: bool) -> String {
    format!("{{\"size\":{size},\"same\":{same}}}")
}

/// The announced length of a body that is cut.
pub fn promised(order: Order) -> usize {
    // The program reads a body of up to 64 KiB whole before it sends the head.
    let rest = if order.task == Task::CutShort { 100 } else { 100_000 };
    order.size + rest
}

fn head(content_type: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n").into_bytes()
}

fn whole(content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = head(&format!("{content_type}\r\nContent-Length: {}", body.len()));
    [&head, body].concat()
}

fn answer(content_type: &str, body: &[u8], chunked: bool) -> Vec<u8> {
    if !chunked {
        return whole(content_type, body);
    }
    let mut answer = head(&format!("{content_type}\r\nTransfer-Encoding: chunked"));
    for part in body.chunks(10_000) {
        answer.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        answer.extend_from_slice(part);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\n\r\n");
    answer
}

fn garbage(seed: u64) -> Vec<u8> {
    match seed % 5 {
        0 => Vec::new(),
        1 => b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        2 => b"HTTP/1.1 fine, thanks\r\n\r\n".to_vec(),
        3 => b"HTTP/1.1 200 OK\r\nContent-Len".to_vec(),
        _ => [bytes(seed, 200), b"\r\n\r\n".to_vec()].concat(),
    }
}
