//! The workers: threads that take requests themselves, one leader and its followers.
//!
//! The leader waits for a request, judges its framing and hands the lead to another
//! worker before it serves. So the requests of one connection are judged in the order in
//! which they came, and nothing that follows an ambiguous one is believed. Where no other
//! worker is idle a successor is started first, so that a few long streams never keep a
//! short request waiting. Limits: at most `max_requests` exchanges at once; beyond that,
//! and where no thread can be had, the leader itself answers 503.

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::client::Clients;
use super::exchange::Exchange;
use super::{Limits, giants};
use crate::error::{Code, Error};
use crate::sys::memory;

/// How long a worker waits for a request before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// How many requests of one connection may be under way. Each takes a worker, and
/// tiny_http reads them as fast as they come.
const PIPELINE: usize = 16;

/// How many more of one connection are kept meanwhile, though they will never be looked at:
/// their places in the order of answers must stay taken.
const BEHIND: usize = 48;

/// What is done with each request. It is boxed because it is handed down through functions whose
/// frames all stay for as long as a stream.
pub type Service = dyn Fn(Box<Exchange>) + Send + Sync;

/// What all generations of a listener's workers share.
pub(super) struct Shared {
    pub(super) service: Box<Service>,
    pub(super) limits: Limits,
    pub(super) clients: Arc<Clients>,
    /// Whether the listening socket is lent: another process will take it up.
    pub(super) is_lent: bool,
    /// Whether there are clients that may be about to ask, and will be answered.
    pub(super) expecting: AtomicBool,
}

/// The workers of one tiny_http server.
pub(super) struct Pool {
    shared: Arc<Shared>,
    /// Never dropped: for that it connects to itself, and waits for minutes where nobody accepts.
    server: ManuallyDrop<tiny_http::Server>,
    /// Whether the workers are to end.
    retired: AtomicBool,
    crew: Mutex<Crew>,
}

#[derive(Debug, Default)]
struct Crew {
    workers: usize,
    idle: usize,
    led: bool,
    /// Those who wait for the lead. The last came last and is called first: its memory is
    /// warm, and those that only a burst needed end.
    resting: Vec<Thread>,
    /// The one that was called to take the lead, until it is there. Whoever has done its
    /// exchange meanwhile takes it first, and need not rest.
    called: Option<Thread>,
}

impl Crew {
    fn rest(&mut self, worker: &Thread) {
        self.forget(worker);
        self.resting.push(worker.clone());
    }

    fn forget(&mut self, worker: &Thread) {
        let is_it = |other: &Thread| other.id() == worker.id();
        if self.called.take_if(|called| is_it(called)).is_none() {
            self.resting.retain(|other| !is_it(other));
        }
    }
}

impl Pool {
    /// Starts to serve what arrives at a server.
    ///
    /// # Errors
    /// Where the system has no thread to give.
    pub(super) fn start(
        shared: Arc<Shared>,
        server: tiny_http::Server,
    ) -> std::io::Result<Arc<Pool>> {
        let pool = Arc::new(Pool {
            shared,
            server: ManuallyDrop::new(server),
            retired: AtomicBool::new(false),
            crew: Mutex::default(),
        });
        pool.start_worker()?;
        Ok(pool)
    }

    /// Ends the workers: another server has taken this one's place, and its last
    /// connection is closed.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.server.unblock();
    }

    fn start_worker(self: &Arc<Self>) -> std::io::Result<()> {
        {
            let mut crew = self.crew();
            crew.workers += 1;
            crew.idle += 1;
        }
        let pool = Arc::clone(self);
        let worker = thread::Builder::new().name("worker".into());
        worker.spawn(move || pool.work()).map(drop).inspect_err(|_| {
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
            let Some(exchange) = self.next_request() else {
                drop(lead);
                if self.is_superfluous() {
                    return;
                }
                continue;
            };
            self.serve(exchange, lead);
        }
    }

    /// Waits for the lead; false where this worker was not needed for a while, and ends.
    fn take_lead(&self) -> bool {
        let (worker, since) = (thread::current(), Instant::now());
        loop {
            let mut crew = self.crew();
            if !crew.led {
                crew.led = true;
                crew.forget(&worker);
                return true;
            }
            // The last idle one is counted on: whoever leads may be about to give the lead up.
            if since.elapsed() >= IDLE && crew.idle > 1 {
                crew.idle -= 1;
                crew.workers -= 1;
                crew.forget(&worker);
                return false;
            }
            crew.rest(&worker);
            drop(crew);
            thread::park_timeout(IDLE);
        }
    }

    fn is_superfluous(&self) -> bool {
        let mut crew = self.crew();
        let retired = self.retired.load(Ordering::Relaxed);
        let superfluous = retired || crew.idle > 1;
        if superfluous {
            crew.idle -= 1;
            crew.workers -= 1;
        }
        if retired {
            // So that the next one to lead ends too.
            self.server.unblock();
        }
        superfluous
    }

    #[inline(never)] // what it needs of the stack is not for as long as the exchange lasts
    fn next_request(&self) -> Option<Box<Exchange>> {
        let clients = &self.shared.clients;
        let request = match self.server.recv_timeout(IDLE) {
            Ok(request) => request?,
            Err(_) if clients.are_closing() => return None,
            Err(error) => {
                // The watch starts another server.
                log::warn!("msg=\"no connection could be accepted\" error=\"{error}\"");
                return None;
            }
        };
        let &peer = request.remote_addr()?;
        let client = clients.enter(peer);
        let in_front = client.exchanges() - 1;
        let is_one_too_many = in_front >= PIPELINE && !client.is_distrusted();
        if is_one_too_many {
            client.distrust();
        }
        let number = if client.is_distrusted() { None } else { client.admit() };
        let Some(number) = number else {
            if in_front == 0 {
                giants::let_go(request, &client);
            } else if client.park(request) > BEHIND {
                client.cut_off();
            }
            if is_one_too_many {
                let what = "more requests at once than are answered: the connection is to end";
                log::info!("msg=\"{what}\" client={peer}");
            }
            client.leave();
            clients.served();
            return None;
        };
        let exchange = Exchange::new(request, Arc::clone(&client), number);
        if exchange.refusal().is_some() {
            client.distrust();
        }
        Some(Box::new(exchange))
    }

    fn serve(self: &Arc<Self>, mut exchange: Box<Exchange>, lead: Lead<'_>) {
        let peer = exchange.peer();
        let lacks_successor = {
            let mut crew = self.crew();
            crew.idle -= 1;
            let needed = crew.idle == 0;
            let room = crew.workers <= self.shared.limits.max_requests;
            drop(crew);
            needed && !(room && self.start_worker().is_ok())
        };
        let lead = if lacks_successor {
            let most = self.shared.limits.max_requests;
            let what = format!("all workers are busy, or the limit of {most} is reached");
            exchange.turn_away(Error::proxy(Code::Overloaded, what));
            Some(lead)
        } else {
            drop(lead);
            None
        };
        // Where another process takes the socket up, nobody is turned away for it.
        if self.shared.clients.are_closing() && !self.shared.is_lent {
            exchange.turn_away(Error::proxy(Code::ShuttingDown, "model-filter is shutting down"));
        }
        // The exchange answers for itself when it is dropped in a panic.
        let served = catch_unwind(AssertUnwindSafe(|| (self.shared.service)(exchange)));
        if served.is_err() {
            log::error!("msg=\"a panic ended an exchange\" client={peer} side=proxy");
        }
        self.shared.clients.served();
        self.crew().idle += 1;
        drop(lead);
    }

    fn crew(&self) -> MutexGuard<'_, Crew> {
        self.crew.lock().expect("nothing panics under this lock")
    }
}

/// The right to take the next request. Dropped, it is free for another worker.
struct Lead<'a>(&'a Pool);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut crew = self.0.crew();
        crew.led = false;
        if crew.called.is_some() {
            return;
        }
        crew.called = crew.resting.pop();
        let called = crew.called.clone();
        drop(crew);
        if let Some(worker) = called {
            worker.unpark();
        }
    }
}
