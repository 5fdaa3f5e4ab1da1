//! tiny_http's servers on the listening socket, one after another.
//!
//! Any error of `accept`, and any thread that cannot be started, ends tiny_http's accept thread
//! for good. Then a new server is made on the same socket, [`PAUSE`] after the last one. The
//! connections of the last one go on, and its workers end with them.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::workers::{Shared, Workers};
use crate::sys::descriptors;

/// The least time between two servers: each leaves threads behind for 5 s.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Acceptor {
    shared: Arc<Shared>,
    listener: TcpListener,
    /// tiny_http's descriptor of the listening socket, which its accept thread closes.
    accepting: RawFd,
    workers: Option<Arc<Workers>>,
    /// When the last server was made.
    opened: Instant,
}

impl Acceptor {
    /// Makes the first server.
    ///
    /// # Errors
    /// No thread can be started, or no file descriptor is free.
    pub(super) fn start(shared: Arc<Shared>, listener: TcpListener) -> io::Result<Acceptor> {
        let opened = Instant::now();
        let mut acceptor = Acceptor { shared, listener, accepting: -1, workers: None, opened };
        acceptor.open()?;
        Ok(acceptor)
    }

    /// Whether the accept thread runs: it closes its descriptor when it ends.
    pub(super) fn accepts(&self) -> bool {
        // Another listening socket may have got the number.
        let identity = |fd| descriptors::identity(fd).ok();
        let own = identity(self.listener.as_raw_fd());
        self.accepting >= 0 && own.is_some() && identity(self.accepting) == own
    }

    /// Makes another server if the last one accepts no more. Returns when to call this again, if
    /// it is waiting for that.
    pub(super) fn keep_up(&mut self) -> Option<Instant> {
        if self.shared.connections.are_closing() || self.accepts() {
            return None;
        }
        if self.opened.elapsed() >= PAUSE {
            self.opened = Instant::now();
            match self.open() {
                Ok(()) => log::warn!("msg=\"restarted the listener after an accept error\""),
                Err(error) => {
                    log::debug!("msg=\"cannot restart the listener\" error=\"{error}\"");
                }
            }
        }
        Some(self.opened + PAUSE)
    }

    /// Makes a tiny_http server on the listening socket.
    fn open(&mut self) -> io::Result<()> {
        let listener = self.listener.try_clone()?;
        let accepting = listener.as_raw_fd();
        // No server accepts at this moment, so all connections so far are the older servers'.
        let connections = &self.shared.connections;
        connections.search_all();
        let last = connections.all().iter().map(Arc::downgrade).collect();
        let server = match catch_unwind(|| tiny_http::Server::from_listener(listener, None)) {
            Ok(server) => server.map_err(io::Error::other)?,
            Err(_) => return Err(io::Error::other("no thread can be started")),
        };
        let workers = Workers::start(Arc::clone(&self.shared), server);
        let workers = workers.inspect_err(|_| {
            // Its connections would have no workers.
            let _ = stop(accepting);
        })?;
        self.accepting = accepting;
        if let Some(superseded) = self.workers.replace(workers) {
            superseded.supersede(last);
        }
        Ok(())
    }

    /// Stops accepting from a lent socket; any other is shut down by `Server::shut_down`. True if
    /// the accept thread needs one more connection to notice.
    pub(super) fn close(&mut self) -> bool {
        if !self.shared.is_lent || !self.accepts() {
            return false;
        }
        let stopped = stop(self.accepting);
        if let Err(error) = &stopped {
            log::debug!("msg=\"cannot stop accepting\" error=\"{error}\"");
        }
        stopped.is_ok()
    }
}

/// Makes `accept` fail in the thread that uses this descriptor, from its next call on, while
/// another process goes on using the socket.
fn stop(accepting: RawFd) -> io::Result<()> {
    descriptors::replace(accepting, &UnixDatagram::unbound()?)
}
