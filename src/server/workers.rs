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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::connections::Connections;
use super::exchange::Exchange;
use super::leak;
use crate::config::Limits;
use crate::crew::{Crew, Lead, PATIENCE};
use crate::error::{Code, Error};
use crate::progress::Taken;
use crate::sys::memory;

/// How long clients of a lent socket may still send requests when the program ends: each response
/// closes its connection.
const LENIENCE: Duration = Duration::from_millis(500);

/// Serves a request. It is boxed because it is passed down through functions whose frames all stay
/// for as long as a stream.
pub type Service = dyn Fn(Box<Exchange>) + Send + Sync;

/// State that all workers of a listener share.
pub(super) struct Shared {
    pub(super) service: Box<Service>,
    pub(super) limits: Limits,
    pub(super) connections: Connections,
    /// Whether a service manager keeps the listening socket when this process ends.
    pub(super) is_lent: bool,
    /// Whether nothing is accepted any more, and all that was accepted has a record.
    pub(super) has_stopped: AtomicBool,
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
    /// Never dropped: it would connect to itself, and wait for minutes if no server accepts.
    server: ManuallyDrop<tiny_http::Server>,
    /// Once another server accepts connections: those that this one may have.
    last: OnceLock<Vec<Weak<Connection>>>,
    crew: Crew,
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
        let workers = Arc::new(Workers { shared, server, last, crew: Crew::default() });
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
        self.crew.join();
        let workers = Arc::clone(self);
        let work = move || {
            workers.work();
            // The C library keeps the stack for another thread.
            memory::release_stack();
        };
        let worker = thread::Builder::new().name("worker".into());
        worker.spawn(work).map(drop).inspect_err(|_| self.crew.leave())
    }

    fn work(self: &Arc<Self>) {
        while let Some(lead) = self.crew.take_lead() {
            if let Some((exchange, connection)) = self.next_request() {
                self.serve(exchange, &connection, lead);
                continue;
            }
            drop(lead);
            let is_over =
                |last: &Vec<Weak<Connection>>| last.iter().all(|one| one.strong_count() == 0);
            if self.last.get().is_some_and(is_over) {
                self.crew.retire();
            }
            if self.crew.leave_if_spare() {
                return;
            }
        }
    }

    /// Waits for a request that must be answered; none if none came for a while.
    #[inline(never)] // its stack must not be taken for as long as the exchange lasts
    fn next_request(&self) -> Option<(Box<Exchange>, Arc<Connection>)> {
        let connections = &self.shared.connections;
        loop {
            // The last idle worker wakes up for nothing but a request.
            let waits = self.crew.idle() == 1 && !self.is_superseded();
            let received = match waits {
                true => self.server.recv().map(Some),
                false => self.server.recv_timeout(PATIENCE),
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
                leak::discard(request);
                continue;
            };
            // Counted before it is accepted: then `shut_down` does not miss it.
            connections.exchanges.fetch_add(1, Ordering::SeqCst);
            let (taken, is_busy) = {
                let mut progress = connection.progress();
                (progress.take(Instant::now()), progress.open > 0)
            };
            match taken {
                Taken::Accepted => {
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
            connections.exchanges.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn serve(
        self: &Arc<Self>,
        mut exchange: Box<Exchange>,
        connection: &Arc<Connection>,
        lead: Lead<'_>,
    ) {
        let Shared { connections, limits, is_lent, service, .. } = &*self.shared;
        self.crew.begin_work();
        // Upgrades have a limit of their own.
        let upgrades = || connections.common.upgrades.load(Ordering::Relaxed);
        let has_room = || self.crew.size() <= limits.max_requests.saturating_add(upgrades());
        let has_successor = self.crew.idle() > 0 || (has_room() && self.start_worker().is_ok());
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
        self.crew.end_work();
        drop(lead);
    }
}
