//! A look at all client connections, many times a second, for what tiny_http neglects.
//!
//! - **Forgotten** connections. Its task pool counts a thread that it has already woken as
//!   idle, so of a burst of new connections some wait in its queue until a client leaves.
//!   They show as bytes on a connection of which nobody has read any. For each, we connect to
//!   ourselves and close: the extra connection makes the pool start a thread, which then
//!   takes the forgotten one from the queue.
//! - **Endless** heads and chunk headers, which it reads without a limit, and slow ones.
//! - **Idle** connections, for which it has no deadline, and more of them than are allowed.
//! - **A dead listener**: see [`super::listening`].
//!
//! Limits: a look costs some system calls for each connection, so with many of them the
//! looks are further apart, to stay near 2 % of a core.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::framing::MAX_HEAD;
use super::giants;
use super::listening::Listening;
use super::pool::Shared;
use crate::metrics::METRICS;
use crate::probe::reachable;
use crate::sys::memory;
use crate::sys::sockets::{self, ClientSocket, Identity, Sighting};

/// Between two looks while there are connections.
const INTERVAL: Duration = Duration::from_millis(50);

/// Between two looks while something happens that may need us soon: a connection is new,
/// or a head is arriving.
const HASTE: Duration = Duration::from_millis(10);

/// Between two looks while there is none.
const REST: Duration = Duration::from_millis(100);

/// The share of its time that the watch may use: one part in this many.
const SHARE: u32 = 40;

/// How much of a chunked body may be framing: so many bytes for each byte of content.
const CHUNK_OVERHEAD: u64 = 16;

/// How long our own connections, which wake tiny_http, may take. They are to this machine.
const POKE_TIMEOUT: Duration = Duration::from_millis(20);

/// How many looks pass between two full listings of the process's descriptors.
const FULL_LISTING: u32 = 20;

/// How long a thread of tiny_http's may take to notice that its connection was cut.
const STUCK: Duration = Duration::from_secs(10);

/// How many connections are rescued at once of those that broke before they had a name: what
/// tiny_http does with one ends its thread, and leaves others in the queue.
const NAMELESS: usize = 16;

/// How often it is asked whether little happens; then memory is given back.
const PERIOD: Duration = Duration::from_secs(10);

/// How many requests in that time are little.
const LITTLE: u64 = 100;

/// How many periods after the last request there is still memory that becomes free: idle workers
/// end in the second, connections at rest to an upstream by the fourth.
const PERIODS: u32 = 4;

type Requests = HashMap<SocketAddr, (Option<Arc<Client>>, u64)>;

pub(super) struct Watch {
    shared: Arc<Shared>,
    address: SocketAddr,
    listening: Listening,
    max_connections: usize,
    ending: HashMap<SocketAddr, Ending>,
    known: HashMap<SocketAddr, Connection>,
    haste: bool,
    /// Whether a request was expected at the last look.
    expected: bool,
}

/// A connection that was cut while one of tiny_http's threads had it. It is not held: others
/// may need the descriptor before that thread is done.
struct Ending {
    since: Instant,
    identity: Identity,
}

/// What is remembered of a connection between two looks.
#[derive(Debug)]
struct Connection {
    phase: Phase,
    /// When this phase began.
    since: Instant,
    /// What had been received when it began, less what was unread.
    base: u64,
    /// How many requests had ended.
    ended: u64,
    /// Whether the client had left at the last look.
    left: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Nothing was sent since the last exchange.
    Idle,
    /// A request has begun to arrive.
    Head,
    /// A request is under way.
    Busy,
    /// It was cut, and is not closed yet.
    Cut,
}

impl Watch {
    pub(super) fn start(shared: Arc<Shared>, listener: TcpListener) -> io::Result<()> {
        // Each connection has two descriptors of tiny_http's, one of ours and one upstream.
        let files = usize::try_from(sockets::raise_file_limit()).unwrap_or(usize::MAX);
        giants::allow_for(files);
        let max_connections =
            shared.limits.max_connections.min((files.saturating_sub(32) / 4).max(4));
        memory::keep_little_memory();
        let watch = Watch {
            address: listener.local_addr()?,
            listening: Listening::start(Arc::clone(&shared), listener, files)?,
            shared,
            max_connections,
            ending: HashMap::new(),
            known: HashMap::new(),
            haste: false,
            expected: true,
        };
        thread::Builder::new().name("watch".into()).spawn(move || watch.run()).map(drop)
    }

    fn run(mut self) {
        let mut looks = 0_u32;
        let mut calm = Calm::new();
        loop {
            if self.shared.clients.are_closing() {
                if self.listening.close() {
                    // The thread is still in the `accept` that it began before.
                    self.poke();
                }
            } else {
                self.listening.keep_up();
            }
            looks = looks.wrapping_add(1);
            if looks % FULL_LISTING == 0 {
                let nameless = sockets::nameless(self.address.port());
                self.give_up_stuck();
                // There are two descriptors of each, and those that were given up stay.
                let waiting = nameless.div_ceil(2).saturating_sub(giants::given_up());
                self.rescue(waiting.min(NAMELESS));
            }
            let started = Instant::now();
            let requests = self.shared.clients.snapshot();
            let sightings = sockets::connections(self.address.port());
            let cost = started.elapsed();
            self.look(&requests, &sightings);
            if calm.is_due(self.shared.clients.entered(), self.known.len()) {
                memory::return_memory();
            }
            let pause = if self.haste { HASTE } else { INTERVAL };
            if self.known.is_empty() {
                self.shared.clients.wait_for_request(REST);
            } else {
                // Heads that never end grow between two looks.
                let share = if self.haste { Duration::ZERO } else { cost * SHARE };
                thread::sleep(pause.max(share.min(2 * INTERVAL)));
            }
        }
    }

    /// Judges what was seen. The requests were asked for first: one that ended after that is
    /// told of at the next look, by when all of it will have been seen to arrive.
    fn look(&mut self, requests: &Requests, sightings: &[Sighting]) {
        let mut forgotten = 0;
        let mut idle = Vec::new();
        let mut known = std::mem::take(&mut self.known);
        self.haste = false;
        for seen in sightings {
            let (client, ended) = requests.get(&seen.peer).cloned().unwrap_or_default();
            let before = known.remove(&seen.peer);
            // Fewer than before, or open though it was cut: the port has been used again.
            let before = before.filter(|connection| {
                connection.base <= seen.received && (connection.phase != Phase::Cut || seen.left)
            });
            if seen.is_doubled {
                // Only one of them could be watched, and neither be told from the other.
                METRICS.cut("doubled");
                self.cut(seen.peer);
            }
            let is_new = before.is_none();
            let mut connection = before.unwrap_or_else(Connection::new);
            connection.update(seen, client.is_some(), ended);
            self.haste |= connection.phase == Phase::Head || is_new;
            match client {
                Some(client) => self.watch_upload(&client, seen, &connection),
                None => {
                    // Where some was read, a thread has it. One that has just left is about
                    // to be noticed by tiny_http itself.
                    let waits = seen.unread > 0 || (seen.left && connection.left);
                    if waits && seen.unread == seen.received {
                        forgotten += 1;
                    }
                    connection.left = seen.left;
                    // A request may have begun since the snapshot: its body is no head.
                    if let Some(cause) = self.is_over(&connection, seen) {
                        if self.shared.clients.is_idle_since(seen.peer, ended) {
                            METRICS.cut(cause);
                            self.end(seen, cause == "head_too_long");
                            connection.phase = Phase::Cut;
                        }
                    }
                    if !seen.left && connection.phase != Phase::Cut {
                        // Whoever has begun to ask goes last.
                        idle.push((connection.phase, connection.since, seen, ended));
                    }
                }
            }
            self.known.insert(seen.peer, connection);
        }
        let heads = || self.known.values().any(|connection| connection.phase == Phase::Head);
        let open = sightings.iter().any(|seen| !seen.left);
        let expecting =
            self.listening.is_open() || (open && self.listening.is_lenient()) || heads();
        // Two looks without.
        let expected = std::mem::replace(&mut self.expected, expecting);
        self.shared.expecting.store(expecting || expected, Ordering::Relaxed);
        let open = |connection: &&Connection| connection.phase != Phase::Cut;
        METRICS.connections(self.known.values().filter(open).count());
        // Our own, which wake tiny_http, are among those that have left.
        let open = sightings.iter().filter(|seen| !seen.left).count();
        let over = open.saturating_sub(self.max_connections);
        idle.sort_unstable_by_key(|(phase, since, ..)| (*phase, *since));
        for (.., seen, ended) in idle.into_iter().take(over) {
            // It may have asked since.
            if !seen.has_changed() && self.shared.clients.is_idle_since(seen.peer, ended) {
                METRICS.cut("too_many");
                self.cut(seen.peer);
            }
        }
        self.listening.retire(|peer| self.known.contains_key(peer));
        let gone = |peer: &_| requests.contains_key(peer) && !self.known.contains_key(peer);
        self.shared.clients.forget(gone, |peer| self.known.contains_key(peer));
        self.rescue(forgotten);
    }

    /// Has tiny_http start threads, each of which takes a connection out of its queue.
    fn rescue(&self, connections: usize) {
        // One failure means that nobody accepts, and more would only fill the queue.
        let accepts = self.listening.accepts();
        let poked = (0..connections).take_while(|_| accepts && self.poke()).count();
        METRICS.rescued(poked as u64);
    }

    /// Why a connection without a request must end: it has used up its time or its room.
    fn is_over(&self, connection: &Connection, seen: &Sighting) -> Option<&'static str> {
        let limits = &self.shared.limits;
        let arrived = seen.received.saturating_sub(connection.base);
        match connection.phase {
            Phase::Idle => {
                let idle = connection.since.elapsed();
                let closing = self.shared.clients.are_closing() && !self.listening.is_lenient();
                (closing || idle > limits.idle_timeout).then_some("idle")
            }
            // The body may come with the head, so what is unread does not count.
            Phase::Head if connection.since.elapsed() > limits.head_timeout => Some("head_timeout"),
            Phase::Head => {
                (arrived.saturating_sub(seen.unread) > MAX_HEAD as u64).then_some("head_too_long")
            }
            Phase::Busy | Phase::Cut => None,
        }
    }

    /// Ends a body that has stopped coming, or that is framing and little else.
    fn watch_upload(&self, client: &Client, seen: &Sighting, connection: &Connection) {
        let upload = &client.upload;
        if !upload.awaited.load(Ordering::Relaxed) {
            return;
        }
        let consumed = seen.received.saturating_sub(connection.base).saturating_sub(seen.unread);
        let delivered = upload.delivered.load(Ordering::Relaxed);
        // Heads and bodies may be of several requests, none of which has ended yet.
        let heads = 1 + client.exchanges() as u64;
        let allowed = heads * MAX_HEAD as u64 + delivered.saturating_mul(CHUNK_OVERHEAD);
        let silent = seen.silence > self.shared.limits.body_timeout && seen.unread == 0;
        if consumed > allowed {
            // The kernel would go on to take what comes, and tiny_http to read it.
            upload.late.store(true, Ordering::Relaxed);
            client.reset();
        } else if silent {
            upload.late.store(true, Ordering::Relaxed);
            if let Some(socket) = client.socket() {
                socket.stop_reading();
            }
        }
    }

    /// Ends a connection that nobody serves. A client that goes on to send must be told so: once
    /// nobody reads, the kernel takes no more of it, and says nothing for a minute.
    fn end(&mut self, seen: &Sighting, sends: bool) {
        match ClientSocket::of(seen) {
            Ok(Some(socket)) => {
                if sends {
                    socket.reset();
                } else {
                    socket.cut();
                }
                // Where nothing was read it waits in the queue, and no thread has it yet.
                if let Some(identity) = socket.identity().filter(|_| seen.received > seen.unread) {
                    self.ending.insert(seen.peer, Ending { since: Instant::now(), identity });
                }
            }
            Ok(None) => {}
            Err(_) => self.cut(seen.peer),
        }
    }

    /// Gives up connections that were cut long ago, and whose threads have not noticed:
    /// they hang, and will never touch their descriptors again.
    fn give_up_stuck(&mut self) {
        let is_due = |(_, ending): &(_, Ending)| ending.since.elapsed() > STUCK;
        let due: HashMap<_, _>;
        (due, self.ending) = std::mem::take(&mut self.ending).into_iter().partition(is_due);
        if due.is_empty() {
            return;
        }
        let open = sockets::open_identities();
        for (peer, ending) in due {
            if open.contains(&ending.identity) {
                giants::give_up(peer);
            }
        }
    }

    fn cut(&self, peer: SocketAddr) {
        sockets::cut(peer, self.address.port());
    }

    /// Makes tiny_http start a thread, which takes a forgotten connection.
    fn poke(&self) -> bool {
        let address = reachable(self.address);
        TcpStream::connect_timeout(&address, POKE_TIMEOUT).is_ok()
    }
}

/// When little happens.
struct Calm {
    since: Instant,
    entered: u64,
    connections: usize,
    /// Periods in a row in which nothing happened.
    periods: u32,
}

impl Calm {
    fn new() -> Calm {
        Calm { since: Instant::now(), entered: 0, connections: 0, periods: 0 }
    }

    /// Whether there is memory to give back, and time for it; told once in a period.
    fn is_due(&mut self, entered: u64, connections: usize) -> bool {
        if self.since.elapsed() < PERIOD {
            return false;
        }
        let requests = entered - self.entered;
        let is_still = requests == 0 && connections == self.connections;
        let periods = if is_still { self.periods.saturating_add(1) } else { 0 };
        *self = Calm { since: Instant::now(), entered, connections, periods };
        requests <= LITTLE && periods <= PERIODS
    }
}

impl Connection {
    fn new() -> Connection {
        Connection { phase: Phase::Idle, since: Instant::now(), base: 0, ended: 0, left: false }
    }

    fn update(&mut self, seen: &Sighting, busy: bool, ended: u64) {
        let has_ended = ended != self.ended;
        if has_ended {
            // What is unread belongs to the next request.
            self.ended = ended;
            self.base = seen.received.saturating_sub(seen.unread);
        }
        let now = match (self.phase, busy) {
            (Phase::Busy, true) | (Phase::Cut, false) => return,
            (_, true) => Phase::Busy,
            (_, false) if has_ended => {
                if seen.unread > 0 {
                    Phase::Head
                } else {
                    Phase::Idle
                }
            }
            (Phase::Idle, false) if seen.received > self.base => Phase::Head,
            (_, false) => return,
        };
        self.phase = now;
        self.since = Instant::now();
    }
}
