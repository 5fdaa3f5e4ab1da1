//! The life of the listener: tiny_http's servers on one socket, one after another.
//!
//! Any error of `accept`, and any thread that cannot be had, ends tiny_http's accept thread
//! for good. Then a new server is made on the same socket, and the connections that the last
//! one has go on.

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::pool::{Pool, Shared};
use crate::sys::sockets;

/// How long a server that gave up waits for another in its place, at least.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long a server accepts that counts as steady.
const STEADY: Duration = Duration::from_secs(10);

/// How long one that gave up sooner than that waits for another in its place, at most, in
/// milliseconds: one for each file that may be open. Each of them leaves as many threads as it
/// had connections, and where those are few it must not take long until all have had their turn.
const IMPATIENCE: RangeInclusive<u64> = 250..=1000;

/// How long clients may go on asking where nobody shall notice that the program ends: each
/// answer tells its client to connect anew.
const LENIENCE: Duration = Duration::from_millis(500);

pub(super) struct Listening {
    shared: Arc<Shared>,
    listener: TcpListener,
    port: u16,
    /// tiny_http's own descriptor of the listening socket: closed once it has given up.
    accepting: RawFd,
    pool: Option<Arc<Pool>>,
    retiring: Vec<Retiring>,
    /// When the server was made that accepts now.
    opened: Instant,
    /// How long it is left alone at least, though it may have given up: each one that is made
    /// leaves threads behind for some seconds.
    patience: Duration,
    /// How long that becomes at most.
    impatience: Duration,
    /// When the port was given up.
    closed: Option<Instant>,
}

/// A server that accepts no more, and the connections that it has left.
struct Retiring {
    pool: Arc<Pool>,
    connections: HashSet<SocketAddr>,
}

impl Listening {
    /// Makes the first server; so many files may be open.
    ///
    /// # Errors
    /// Where the system has no thread or descriptor to give.
    pub(super) fn start(
        shared: Arc<Shared>,
        listener: TcpListener,
        files: usize,
    ) -> io::Result<Listening> {
        let impatience = (files as u64).clamp(*IMPATIENCE.start(), *IMPATIENCE.end());
        let mut listening = Listening {
            shared,
            port: listener.local_addr()?.port(),
            listener,
            accepting: -1,
            pool: None,
            retiring: Vec::new(),
            opened: Instant::now(),
            patience: Duration::ZERO,
            impatience: Duration::from_millis(impatience),
            closed: None,
        };
        listening.open()?;
        Ok(listening)
    }

    /// Makes another server where the last one has given up.
    pub(super) fn keep_up(&mut self) {
        if !self.accepts() && self.opened.elapsed() >= self.patience {
            self.reopen();
        }
    }

    /// Whether tiny_http still has its listening socket, and has not given up.
    pub(super) fn accepts(&self) -> bool {
        sockets::listens(self.accepting, self.port)
    }

    /// Whether the port has not been given up.
    pub(super) fn is_open(&self) -> bool {
        self.accepting >= 0
    }

    /// Whether clients that are connected may still ask, though the program is about to end.
    pub(super) fn is_lenient(&self) -> bool {
        let since = self.closed.map_or(Duration::ZERO, |closed| closed.elapsed());
        self.shared.is_lent && since < LENIENCE
    }

    /// Ends the workers of servers whose last connection is closed.
    pub(super) fn retire(&mut self, is_open: impl Fn(&SocketAddr) -> bool) {
        self.retiring.retain_mut(|server| {
            server.connections.retain(&is_open);
            if server.connections.is_empty() {
                server.pool.retire();
            }
            !server.connections.is_empty()
        });
    }

    /// Makes a tiny_http server on the listening socket.
    fn open(&mut self) -> io::Result<()> {
        let listener = self.listener.try_clone()?;
        self.accepting = listener.as_raw_fd();
        let server = catch_unwind(|| tiny_http::Server::from_listener(listener, None));
        let server = match server {
            Ok(server) => server.map_err(io::Error::other)?,
            Err(_) => return Err(io::Error::other("no thread can be had")),
        };
        let pool = Pool::start(Arc::clone(&self.shared), server).inspect_err(|_| {
            // It would accept what nobody serves.
            let _ = sockets::replace(std::mem::replace(&mut self.accepting, -1));
        });
        self.pool = Some(pool?);
        Ok(())
    }

    /// Takes the place of a server whose accept thread has ended. Its connections go on.
    fn reopen(&mut self) {
        if !self.has_room() {
            return;
        }
        let lasted = self.opened.elapsed();
        self.patience = match lasted < STEADY {
            true => (2 * self.patience).clamp(INTERVAL, self.impatience),
            false => INTERVAL,
        };
        self.opened = Instant::now();
        let retired = self.pool.take();
        // Nobody accepts at this moment: these are all that the servers so far have.
        let left = sockets::connections(self.port).into_iter().map(|seen| seen.peer);
        let is_older = |peer: &SocketAddr| {
            self.retiring.iter().any(|server| server.connections.contains(peer))
        };
        let connections = left.filter(|peer| !is_older(peer)).collect();
        match catch_unwind(AssertUnwindSafe(|| self.open())) {
            Ok(Ok(())) => {
                log::warn!("msg=\"the listener had given up and was started anew\"");
                if let Some(pool) = retired {
                    self.retiring.push(Retiring { pool, connections });
                }
            }
            _ => self.pool = retired,
        }
    }

    /// Whether a new server has a chance: some descriptors and some threads.
    fn has_room(&self) -> bool {
        let files: Vec<_> = (0..8).map_while(|_| self.listener.try_clone().ok()).collect();
        let threads = (0..8).map_while(|_| thread::Builder::new().spawn(thread::park).ok());
        let threads: Vec<_> = threads.collect();
        let room = files.len() == 8 && threads.len() == 8;
        for thread in threads {
            thread.thread().unpark();
            // It did nothing but wait.
            let _ = thread.join();
        }
        room
    }

    /// Gives the port up; says whether that takes another connection to come about.
    pub(super) fn close(&mut self) -> bool {
        if self.accepting < 0 {
            return false;
        }
        let accepting = std::mem::replace(&mut self.accepting, -1);
        self.closed = Some(Instant::now());
        if !self.shared.is_lent {
            sockets::stop_listening(&self.listener);
        } else if let Err(error) = sockets::replace(accepting) {
            log::error!("msg=\"the listener cannot be given up\" error=\"{error}\"");
        } else {
            return true;
        }
        false
    }
}
