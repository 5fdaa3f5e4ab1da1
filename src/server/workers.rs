//! The workers: threads that take requests themselves, one leader and its followers.
//!
//! The leader waits for a request, judges its framing and hands the lead to another worker before
//! it serves. So the requests of one connection are judged in the order in which they arrive. If no
//! other worker is idle, a successor is started first, so that a few long streams never keep a short
//! request waiting. Limits: at most `max_requests` exchanges at once; beyond that, or if no thread
//! can be started, the leader itself answers 503.

use std::io;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::connections::Connections;
use super::exchange::Exchange;
use super::leak;
use super::progress::Taken;
use crate::config::Limits;
use crate::error::{Code, Error};
use crate::sys::memory;

/// How long a worker waits for a request before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// How long clients of a lent socket may still send requests when the program ends: each response
/// tells its client to connect anew.
const LENIENCE: Duration = Duration::from_millis(500);

/// Serves a request. It is boxed because it is passed down through functions whose frames all stay
/// for as long as a stream.
pub type Service = dyn Fn(Box<Exchange>) + Send + Sync;

/// What all workers of a listener share.
pub(super) struct Shared {
    pub(super) service: Box<Service>,
    pub(super) limits: Limits,
    pub(super) connections: Connections,
    /// Whether a service manager keeps the listening socket when this process ends.
    pub(super) is_lent: bool,
}

impl Shared {
    /// Whether clients may still begin to send requests.
    pub(super) fn accepts(&self) -> bool {
        let closing = self.connections.common.closing.get();
        closing.is_none_or(|since| self.is_lent && since.elapsed() < LENIENCE)
    }
}

/// The workers of one tiny_http server.
pub(super) struct Workers {
    shared: Arc<Shared>,
    /// Never dropped: it would connect to itself, and wait for minutes if nobody accepts.
    server: ManuallyDrop<tiny_http::Server>,
    /// Once another server accepts connections: those that this one may have.
    last: OnceLock<Vec<Weak<Connection>>>,
    crew: Mutex<Crew>,
}

#[derive(Debug, Default)]
struct Crew {
    workers: usize,
    /// Those that serve a request.
    busy: usize,
    is_led: bool,
    /// Whether all workers must end.
    is_retired: bool,
    /// Those that wait for the lead. The last is called first: its memory is warm, and those that
    /// only a burst needed end.
    waiting: Vec<Thread>,
    /// The one that was called to take the lead, until it has. A worker that finishes its exchange
    /// in between takes it first.
    called: Option<Thread>,
}

impl Crew {
    /// How many serve no request, the leader included.
    fn idle(&self) -> usize {
        self.workers - self.busy
    }

    /// Notes that a worker does not wait any more.
    fn forget(&mut self, worker: &Thread) {
        let is_it = |other: &Thread| other.id() == worker.id();
        if self.called.take_if(|called| is_it(called)).is_none() {
            self.waiting.retain(|other| !is_it(other));
        }
    }
}

impl Workers {
    /// Starts to serve what arrives at a server.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(
        shared: Arc<Shared>,
        server: tiny_http::Server,
    ) -> io::Result<Arc<Workers>> {
        let (server, last) = (ManuallyDrop::new(server), OnceLock::new());
        let workers = Arc::new(Workers { shared, server, last, crew: Mutex::default() });
        workers.start_worker()?;
        Ok(workers)
    }

    /// Notes that another server accepts connections from now on: the workers end with the last
    /// of these connections.
    pub(super) fn supersede(&self, last: Vec<Weak<Connection>>) {
        let _ = self.last.set(last);
        self.server.unblock();
    }

    fn is_superseded(&self) -> bool {
        self.last.get().is_some()
    }

    fn start_worker(self: &Arc<Self>) -> io::Result<()> {
        self.crew().workers += 1;
        let workers = Arc::clone(self);
        let work = move || {
            workers.work();
            // The C library keeps the stack for another thread.
            memory::release_stack();
        };
        let worker = thread::Builder::new().name("worker".into());
        worker.spawn(work).map(drop).inspect_err(|_| self.crew().workers -= 1)
    }

    fn work(self: &Arc<Self>) {
        while self.take_lead() {
            let lead = Lead(self);
            match self.next_request() {
                Some((exchange, connection)) => self.serve(exchange, &connection, lead),
                None => {
                    drop(lead);
                    if self.is_superfluous() {
                        return;
                    }
                }
            }
        }
    }

    /// Waits for the lead; false if this worker was not needed for a while, and ends.
    fn take_lead(&self) -> bool {
        let (worker, since) = (thread::current(), Instant::now());
        loop {
            let mut crew = self.crew();
            crew.forget(&worker);
            if !crew.is_led && !crew.is_retired {
                crew.is_led = true;
                return true;
            }
            // One idle worker stays: the leader may be about to drop the lead.
            if crew.is_retired || (since.elapsed() >= IDLE && crew.idle() > 1) {
                crew.workers -= 1;
                return false;
            }
            crew.waiting.push(worker.clone());
            drop(crew);
            thread::park_timeout(IDLE);
        }
    }

    /// Whether a leader that got no request ends, and all others with it if the server has no
    /// connection left.
    fn is_superfluous(&self) -> bool {
        let is_over = |last: &Vec<Weak<Connection>>| last.iter().all(|one| one.strong_count() == 0);
        let is_retired = self.last.get().is_some_and(is_over);
        let mut crew = self.crew();
        if is_retired {
            crew.is_retired = true;
            crew.waiting.iter().chain(&crew.called).for_each(Thread::unpark);
        }
        let is_superfluous = is_retired || crew.idle() > 1;
        crew.workers -= usize::from(is_superfluous);
        is_superfluous
    }

    /// Waits for a request that is to be answered; none if none came for a while.
    #[inline(never)] // its stack must not be taken for as long as the exchange lasts
    fn next_request(&self) -> Option<(Box<Exchange>, Arc<Connection>)> {
        let connections = &self.shared.connections;
        loop {
            // The last idle worker wakes up for nothing but a request.
            let waits = self.crew().idle() == 1 && !self.is_superseded();
            let received = match waits {
                true => self.server.recv().map(Some),
                false => self.server.recv_timeout(IDLE),
            };
            let received = received.unwrap_or_else(|error| {
                if !connections.are_closing() && !self.is_superseded() {
                    log::warn!("msg=\"cannot accept a connection\" error=\"{error}\"");
                }
                None
            });
            let request = received?;
            let peer = *request.remote_addr()?;
            let Some(connection) = connections.of_request(peer) else {
                leak::discard(request, &connections.common, peer);
                continue;
            };
            let (taken, is_busy) = {
                let mut progress = connection.progress();
                (progress.take(Instant::now()), progress.open > 0)
            };
            match taken {
                Taken::Accepted => {
                    connections.exchanges.fetch_add(1, Ordering::SeqCst);
                    let exchange = Exchange::new(request, Arc::clone(&connection));
                    return Some((Box::new(exchange), connection));
                }
                Taken::Pipelined => {
                    log::debug!("msg=\"dropped a pipelined request\" client={peer}");
                    connection.park(request);
                }
                Taken::Refused if is_busy => connection.park(request),
                Taken::Refused => leak::release(request, &connection),
            }
        }
    }

    fn serve(
        self: &Arc<Self>,
        mut exchange: Box<Exchange>,
        connection: &Arc<Connection>,
        lead: Lead<'_>,
    ) {
        let Shared { connections, limits, is_lent, service, .. } = &*self.shared;
        let has_successor = {
            let mut crew = self.crew();
            crew.busy += 1;
            let (has_idle, has_room) = (crew.idle() > 0, crew.workers <= limits.max_requests);
            drop(crew);
            has_idle || (has_room && self.start_worker().is_ok())
        };
        let mut lead = Some(lead);
        if has_successor {
            lead = None;
        } else {
            let most = limits.max_requests;
            let what = format!("all workers are busy, or the limit of {most} is reached");
            exchange.turn_away(Error::proxy(Code::Overloaded, what));
        }
        // While a service manager keeps the socket, the client could not ask anybody else.
        if connections.are_closing() && !is_lent {
            exchange.turn_away(Error::proxy(Code::ShuttingDown, "model-filter is shutting down"));
        }
        // An exchange that is dropped by a panic answers for itself.
        if catch_unwind(AssertUnwindSafe(|| service(exchange))).is_err() {
            let peer = connection.origin.peer;
            log::error!("msg=\"a panic ended an exchange\" client={peer} side=proxy");
        }
        if connection.progress().is_over() {
            connections.remove(connection);
        }
        connections.exchanges.fetch_sub(1, Ordering::SeqCst);
        self.crew().busy -= 1;
        drop(lead);
    }

    fn crew(&self) -> MutexGuard<'_, Crew> {
        self.crew.lock().expect("nothing panics under this lock")
    }
}

/// The right to take the next request. Dropped, it is free for another worker.
struct Lead<'a>(&'a Workers);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut crew = self.0.crew();
        crew.is_led = false;
        if crew.called.is_none() {
            crew.called = crew.waiting.pop();
            let called = crew.called.clone();
            drop(crew);
            called.iter().for_each(Thread::unpark);
        }
    }
}
