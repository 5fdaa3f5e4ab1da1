//! The workers: threads that take requests themselves, one leader and its followers.
//!
//! The leader waits for a request, judges its framing and hands the lead to another worker
//! before it serves. So the requests of one connection are judged in the order in which they
//! arrive. If no other worker is idle, a successor is started first, so that a few long streams
//! never keep a short request waiting. Limits: at most `max_requests` exchanges at once; beyond
//! that, and if no thread can be started, the leader itself answers 503.

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
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

/// Serves a request. It is boxed because it is handed down through functions whose frames all
/// stay for as long as a stream.
pub type Service = dyn Fn(Box<Exchange>) + Send + Sync;

/// What all workers of a listener share.
pub(super) struct Shared {
    pub(super) service: Box<Service>,
    pub(super) limits: Limits,
    pub(super) connections: Connections,
    /// Whether another process takes the listening socket up when this one ends.
    pub(super) is_lent: bool,
    /// Whether clients may be about to ask that will still be answered.
    pub(super) expecting: AtomicBool,
}

/// The workers of one tiny_http server.
pub(super) struct Workers {
    shared: Arc<Shared>,
    /// Never dropped: for that it connects to itself, and waits for minutes if nobody accepts.
    server: ManuallyDrop<tiny_http::Server>,
    /// Connections of this generation, and of older ones, may be the server's.
    generation: u64,
    /// Whether the server accepts no more connections.
    is_superseded: AtomicBool,
    crew: Mutex<Crew>,
}

#[derive(Debug, Default)]
struct Crew {
    workers: usize,
    /// Those that serve no request, the leader included.
    idle: usize,
    is_led: bool,
    /// Whether all workers are to end.
    is_retired: bool,
    /// Those that wait for the lead, called last in, first out: the memory of the last is warm,
    /// and those that only a burst needed end.
    waiting: Vec<Thread>,
    /// The one that was called to take the lead, until it has. A worker that finishes its
    /// exchange meanwhile takes it first.
    called: Option<Thread>,
}

/// What the leader got when it waited for a request.
enum Arrival {
    Request(Box<Exchange>, Arc<Connection>),
    /// A request that is not served.
    Refused,
    /// None has come.
    Quiet,
}

impl Crew {
    fn wait(&mut self, worker: &Thread) {
        self.forget(worker);
        self.waiting.push(worker.clone());
    }

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
        generation: u64,
    ) -> std::io::Result<Arc<Workers>> {
        let workers = Arc::new(Workers {
            shared,
            server: ManuallyDrop::new(server),
            generation,
            is_superseded: AtomicBool::new(false),
            crew: Mutex::default(),
        });
        workers.start_worker()?;
        Ok(workers)
    }

    /// Says that another server accepts the connections from now on: the workers end with the
    /// last connection that this one may have.
    pub(super) fn supersede(&self) {
        self.is_superseded.store(true, Ordering::Relaxed);
        self.server.unblock();
    }

    fn start_worker(self: &Arc<Self>) -> std::io::Result<()> {
        {
            let mut crew = self.crew();
            crew.workers += 1;
            crew.idle += 1;
        }
        let workers = Arc::clone(self);
        let worker = thread::Builder::new().name("worker".into());
        worker.spawn(move || workers.work()).map(drop).inspect_err(|_| {
            let mut crew = self.crew();
            crew.workers -= 1;
            crew.idle -= 1;
        })
    }

    fn work(self: Arc<Self>) {
        self.work_while_needed();
        // The C library keeps the stack for another thread.
        memory::release_stack();
    }

    fn work_while_needed(self: &Arc<Self>) {
        while self.take_lead() {
            let lead = Lead(self);
            match self.next_request() {
                Arrival::Request(exchange, connection) => self.serve(exchange, &connection, lead),
                Arrival::Refused => {}
                Arrival::Quiet => {
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
            if !crew.is_led && !crew.is_retired {
                crew.is_led = true;
                crew.forget(&worker);
                return true;
            }
            // One idle worker stays: the leader may be about to give the lead up.
            if crew.is_retired || (since.elapsed() >= IDLE && crew.idle > 1) {
                crew.idle -= 1;
                crew.workers -= 1;
                crew.forget(&worker);
                return false;
            }
            crew.wait(&worker);
            drop(crew);
            thread::park_timeout(IDLE);
        }
    }

    /// Whether a leader that got no request ends, and all others with it if the server has no
    /// connection left.
    fn is_superfluous(&self) -> bool {
        let is_retired = self.is_superseded.load(Ordering::Relaxed)
            && !self.shared.connections.has_generation(self.generation);
        let mut crew = self.crew();
        let is_superfluous = is_retired || crew.idle > 1;
        if is_superfluous {
            crew.idle -= 1;
            crew.workers -= 1;
        }
        if is_retired {
            crew.is_retired = true;
            crew.waiting.iter().chain(&crew.called).for_each(Thread::unpark);
        }
        is_superfluous
    }

    #[inline(never)] // its stack must not be taken for as long as the exchange lasts
    fn next_request(&self) -> Arrival {
        // The last idle worker wakes up for nothing but a request.
        let waits = self.crew().idle == 1 && !self.is_superseded.load(Ordering::Relaxed);
        let received = match waits {
            true => self.server.recv().map(Some),
            false => self.server.recv_timeout(IDLE),
        };
        let connections = &self.shared.connections;
        let request = match received {
            Ok(Some(request)) => request,
            Ok(None) => return Arrival::Quiet,
            Err(error) => {
                if !connections.are_closing() && !self.is_superseded.load(Ordering::Relaxed) {
                    log::warn!("msg=\"cannot accept a connection\" error=\"{error}\"");
                }
                return Arrival::Quiet;
            }
        };
        let Some(&peer) = request.remote_addr() else { return Arrival::Refused };
        let Some(connection) = connections.of_request(peer) else {
            leak::discard(request, &connections.common, peer);
            return Arrival::Refused;
        };
        let taken = connection.progress().take(Instant::now());
        match taken {
            Taken::Accepted => {
                connections.begin_exchange();
                let exchange = Exchange::new(request, Arc::clone(&connection));
                return Arrival::Request(Box::new(exchange), connection);
            }
            Taken::Pipelined => {
                log::debug!("msg=\"dropped a pipelined request\" client={peer}");
                connection.park(request);
            }
            Taken::Refused if connection.progress().open > 0 => connection.park(request),
            Taken::Refused => leak::release(request, &connection),
        }
        Arrival::Refused
    }

    fn serve(
        self: &Arc<Self>,
        mut exchange: Box<Exchange>,
        connection: &Arc<Connection>,
        lead: Lead<'_>,
    ) {
        let Shared { connections, limits, is_lent, service, .. } = &*self.shared;
        let lacks_successor = {
            let mut crew = self.crew();
            crew.idle -= 1;
            let needed = crew.idle == 0;
            let room = crew.workers <= limits.max_requests;
            drop(crew);
            needed && !(room && self.start_worker().is_ok())
        };
        let lead = if lacks_successor {
            let most = limits.max_requests;
            let what = format!("all workers are busy, or the limit of {most} is reached");
            exchange.turn_away(Error::proxy(Code::Overloaded, what));
            Some(lead)
        } else {
            drop(lead);
            None
        };
        // If another process takes the socket up, a request is not turned away for it.
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
        connections.end_exchange();
        self.crew().idle += 1;
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
        if crew.called.is_some() {
            return;
        }
        crew.called = crew.waiting.pop();
        let called = crew.called.clone();
        drop(crew);
        if let Some(worker) = called {
            worker.unpark();
        }
    }
}
