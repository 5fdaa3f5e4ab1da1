//! The workers: threads that take requests themselves, one leader and its followers.
//!
//! A worker that takes a request while no other is idle starts a successor first, so
//! that a few long streams never keep a short request waiting. Idle workers end after a
//! while. Limits: at most `max_requests` exchanges at once; the worker beyond them
//! answers 503, and so does one whose successor cannot be started.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use super::client::Clients;
use super::exchange::Exchange;
use crate::error::{Code, Error};
use crate::reply::Reply;

/// How long a worker waits for a request before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// A worker's stack. The address space of a 32-bit Raspberry Pi does not hold the
/// default of 2 MiB for every worker.
const STACK: usize = 512 * 1024;

/// What is done with each request.
pub type Service = dyn Fn(Exchange) + Send + Sync;

pub(super) struct Pool {
    server: tiny_http::Server,
    clients: Clients,
    service: Box<Service>,
    max_requests: usize,
    count: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    workers: usize,
    idle: usize,
}

impl Pool {
    pub(super) fn new(
        server: tiny_http::Server,
        clients: Clients,
        service: Box<Service>,
        max_requests: usize,
    ) -> Arc<Pool> {
        Arc::new(Pool { server, clients, service, max_requests, count: Mutex::default() })
    }

    /// Starts one more worker.
    ///
    /// # Errors
    /// Where the system has no thread to give.
    pub(super) fn start_worker(self: &Arc<Self>) -> std::io::Result<()> {
        {
            let mut count = self.count();
            count.workers += 1;
            count.idle += 1;
        }
        let pool = Arc::clone(self);
        let worker = thread::Builder::new().name("worker".into()).stack_size(STACK);
        worker.spawn(move || pool.work()).map(drop).inspect_err(|_| {
            let mut count = self.count();
            count.workers -= 1;
            count.idle -= 1;
        })
    }

    fn work(self: Arc<Self>) {
        loop {
            match self.server.recv_timeout(IDLE) {
                Ok(Some(request)) => self.take(request),
                Ok(None) => {
                    let mut count = self.count();
                    if count.idle > 1 {
                        count.idle -= 1;
                        count.workers -= 1;
                        return;
                    }
                }
                Err(error) => log::error!("msg=\"no more connections\" error=\"{error}\""),
            }
        }
    }

    fn take(self: &Arc<Self>, request: tiny_http::Request) {
        let has_successor = {
            let mut count = self.count();
            count.idle -= 1;
            let needs_successor = count.idle == 0;
            let room = count.workers <= self.max_requests;
            drop(count);
            !needs_successor || (room && self.start_worker().is_ok())
        };
        let Some(&peer) = request.remote_addr() else { return };
        let client = self.clients.enter(peer);
        let exchange = Exchange::new(request, Arc::clone(&client));
        let work = || {
            if has_successor {
                (self.service)(exchange);
            } else {
                let error = Error::proxy(
                    Code::Overloaded,
                    format!("all {} workers are busy", self.max_requests),
                );
                log::warn!("client={peer} status=503 side=proxy error=\"{error}\"");
                exchange.respond(&Reply::error(&error));
            }
        };
        // The exchange answers for itself when it is dropped in a panic.
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            log::error!("client={peer} side=proxy error=\"a panic in an exchange\"");
        }
        self.clients.leave(&client);
        self.count().idle += 1;
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().expect("nothing panics under this lock")
    }
}
