//! The watch: one thread that does for all connections what tiny_http neglects.
//!
//! - **Forgotten** connections. tiny_http's task pool counts a thread that it has already woken as
//!   idle, so of a burst of new connections some wait in its queue until a client leaves. They show
//!   as unread bytes on a connection from which no byte was read. For each, we connect to ourselves
//!   and close: the extra connection makes the pool start a thread, which takes the forgotten one.
//! - **Endless** and slow heads and chunk headers, which it reads without a limit.
//! - **Idle** connections, for which it has no deadline, and more of them than are allowed.
//! - **A dead accept thread**: see [`super::accept`].
//!
//! It waits in epoll on the listener and on all connections. 10 ms after an edge it searches for
//! new connections, and looks at those that have edges by then. Once a second it looks at all that
//! are not settled: deadlines pass without an edge, and epoll drops the edge of the listener if
//! tiny_http has accepted the connection before this thread has woken up. While there is no
//! connection it waits without a limit: see [`super::arrivals`].

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{io, thread};

use super::accept::Acceptor;
use super::arrivals::Arrivals;
use super::connection::Connection;
use super::connections::LISTENER;
use super::leak;
use super::workers::Shared;
use crate::metrics::METRICS;
use crate::probe::reachable;
use crate::progress::{Cause, Verdict};
use crate::trim::Trim;

/// Between an edge and the look that follows, so that many edges cost one look; and between two
/// looks while a connection is new, or about to end.
const HASTE: Duration = Duration::from_millis(10);

/// Between two looks at all connections.
const SWEEP: Duration = Duration::from_secs(1);

/// One in so many looks at all connections searches all descriptors.
const SEARCHES: u32 = 16;

/// The pause before a look is longer by this for each connection, if no head is known to arrive:
/// so the watch takes 2 % of a core at most.
const PAUSE_EACH: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How long our own connections, which wake tiny_http, may take. They are to this machine.
const POKE_TIMEOUT: Duration = Duration::from_millis(20);

pub(super) struct Watch {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Acceptor,
    trim: Trim,
    /// Connections to look at again soon, whether or not they have edges.
    unsettled: Vec<Arc<Connection>>,
    /// Whether the last look found new connections: tiny_http may be about to accept more.
    is_growing: bool,
    /// When all connections were last looked at, and how often so far.
    swept: Instant,
    sweeps: u32,
    /// The time between the next edge and the look that follows.
    pause: Duration,
    /// When a server that accepts no more can be replaced.
    reopens: Option<Instant>,
    arrivals: Arrivals,
    rest: Rest,
}

/// Whether there is anything to do before the next connection arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// There may be.
    No,
    /// There is not, and signals are asked for. A connection may have come just before that.
    Signals,
    /// The search since then has found none.
    Complete,
}

impl Watch {
    /// Starts the watch, and the server that it watches.
    ///
    /// # Errors
    /// No thread can be started, or no file descriptor is free.
    pub(super) fn start(shared: Arc<Shared>, listener: TcpListener) -> io::Result<()> {
        let (address, now) = (listener.local_addr()?, Instant::now());
        let epoll = &shared.connections.epoll;
        epoll.add(&listener, LISTENER)?;
        let arrivals = Arrivals::new(&listener, epoll)?;
        let watch = Watch {
            acceptor: Acceptor::start(Arc::clone(&shared), listener)?,
            shared,
            address,
            trim: Trim::new(now),
            unsettled: Vec::new(),
            is_growing: false,
            swept: now,
            sweeps: 0,
            pause: HASTE,
            reopens: None,
            arrivals,
            rest: Rest::No,
        };
        thread::Builder::new().name("watch".into()).spawn(move || watch.run()).map(drop)
    }

    fn run(mut self) {
        let mut edges = Vec::new();
        loop {
            edges.clear();
            self.wait(&mut edges);
            let now = Instant::now();
            self.look(now, &edges);
            self.reopens = self.acceptor.keep_up();
            let requests = self.shared.connections.requests.load(Ordering::Relaxed);
            self.trim.keep_up(now, requests);
            self.keep_rest();
        }
    }

    /// Decides whether the next wait needs a limit.
    fn keep_rest(&mut self) {
        let connections = &self.shared.connections;
        let is_idle = connections.count() == 0 && !connections.are_closing();
        let is_done = is_idle && self.reopens.is_none() && self.trim.is_done();
        self.rest = match (self.rest, is_done) {
            (Rest::No, true) if self.arrivals.signal().is_ok() => Rest::Signals,
            (Rest::No, _) => Rest::No,
            (_, true) => Rest::Complete,
            (_, false) => {
                self.arrivals.rest();
                Rest::No
            }
        };
    }

    /// Waits until it is time to look, and collects the edges since the last look.
    fn wait(&self, edges: &mut Vec<u64>) {
        let epoll = &self.shared.connections.epoll;
        if self.unsettled.is_empty() && !self.is_growing {
            let pause = if self.shared.connections.are_closing() { HASTE } else { SWEEP };
            let at = self.reopens.map_or(self.swept + pause, |at| at.min(self.swept + pause));
            let within = at.saturating_duration_since(Instant::now());
            epoll.wait((self.rest != Rest::Complete).then_some(within), edges);
            if edges.is_empty() {
                return;
            }
        }
        // Not in epoll, so that further edges do not wake this thread.
        thread::sleep(self.pause);
        epoll.wait(Some(Duration::ZERO), edges);
    }

    /// Looks at the connections that have edges, or at all of them, and does what must be done.
    fn look(&mut self, now: Instant, edges: &[u64]) {
        let shared = Arc::clone(&self.shared);
        let connections = &shared.connections;
        let is_closing = connections.are_closing();
        let has_stopped = is_closing && !self.acceptor.close();
        if is_closing && !has_stopped {
            // Its thread is still in the `accept` that it began before.
            self.poke();
        }
        let mut seen = std::mem::take(&mut self.unsettled);
        let sweeps = is_closing || now - self.swept >= SWEEP;
        self.sweeps += u32::from(sweeps);
        let new = match sweeps && self.sweeps % SEARCHES == 0 {
            true => connections.search_all(),
            false => connections.search(),
        };
        self.is_growing = !new.is_empty() || edges.contains(&LISTENER);
        shared.has_stopped.fetch_or(has_stopped, Ordering::SeqCst);
        seen.extend(new);
        seen.extend(edges.iter().filter_map(|token| connections.get(*token)));
        let accepts = shared.accepts();
        if sweeps {
            self.swept = now;
            let mut all = connections.all();
            all.retain(|one| !accepts || !one.progress().is_settled(&shared.limits, now));
            seen.extend(all);
        }
        seen.sort_unstable_by_key(|connection| connection.token);
        seen.dedup_by_key(|connection| connection.token);
        let (mut forgotten, mut arriving) = (0, false);
        for connection in &seen {
            let verdict = connection.judge(&shared.limits, accepts, now);
            forgotten += usize::from(verdict == Verdict::Forgotten);
            arriving |= connection.progress().idle_since().is_some_and(|(arrives, _)| arrives);
            self.enforce(verdict, connection);
        }
        let all = u32::try_from(connections.count()).unwrap_or(u32::MAX);
        self.pause = match arriving {
            true => HASTE,
            false => PAUSE_EACH.saturating_mul(all).clamp(HASTE, LONGEST_PAUSE),
        };
        self.end_surplus();
        // If one attempt fails, no server accepts, and more of them would only fill the queue.
        let pokes = forgotten > 0 && self.acceptor.accepts();
        let poked = (0..forgotten).take_while(|_| pokes && self.poke()).count();
        METRICS.rescued(poked as u64);
    }

    fn enforce(&mut self, verdict: Verdict, connection: &Arc<Connection>) {
        match verdict {
            Verdict::Fine => {}
            Verdict::New => self.unsettled.push(Arc::clone(connection)),
            Verdict::Ended(cause) => {
                METRICS.cut(cause.as_str());
                match cause {
                    Cause::HeadTooLong => connection.reset(),
                    Cause::Idle | Cause::HeadTimeout => connection.cut(),
                }
            }
            Verdict::StopUpload => {
                connection.upload.late.store(true, Ordering::Relaxed);
                let _ = connection.socket.shutdown(Shutdown::Read);
            }
            Verdict::BreakUpload => {
                connection.upload.late.store(true, Ordering::Relaxed);
                connection.reset();
            }
            Verdict::Forgotten | Verdict::Closing | Verdict::Overdue | Verdict::Stuck => {
                self.conclude(verdict, connection);
            }
        }
    }

    /// Removes a connection that tiny_http has closed, and hurries one that it should have.
    fn conclude(&mut self, verdict: Verdict, connection: &Arc<Connection>) {
        let connections = &self.shared.connections;
        leak::drop_parked(connection);
        if !connection.is_held() {
            return connections.remove(connection);
        }
        match verdict {
            Verdict::Overdue => connection.cut(),
            Verdict::Stuck => leak::count(connection),
            // A thread of tiny_http's takes it from the queue later: the sweep checks again.
            Verdict::Forgotten if connection.is_ended() => {}
            _ => self.unsettled.push(Arc::clone(connection)),
        }
    }

    /// Ends the longest idle connections beyond `max_connections`, those on which a head arrives
    /// last.
    fn end_surplus(&self) {
        let Shared { connections, limits, .. } = &*self.shared;
        if connections.count() <= limits.max_connections {
            return;
        }
        let mut open = connections.all();
        open.retain(|connection| !connection.is_ended());
        let surplus = open.len().saturating_sub(limits.max_connections);
        let idle = open.iter().filter_map(|one| Some((one.progress().idle_since()?, one)));
        let mut idle: Vec<_> = idle.collect();
        idle.sort_unstable_by_key(|(since, _)| *since);
        for (since, connection) in idle.into_iter().take(surplus) {
            let mut progress = connection.progress();
            // A request may have come in between.
            if progress.idle_since() == Some(since) {
                progress.end(Instant::now());
                drop(progress);
                METRICS.cut("too_many");
                connection.cut();
            }
        }
    }

    /// Makes tiny_http start a thread, which takes a connection out of its queue.
    fn poke(&self) -> bool {
        TcpStream::connect_timeout(&reachable(self.address), POKE_TIMEOUT).is_ok()
    }
}
