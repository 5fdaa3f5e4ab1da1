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
use crate::sys::{descriptors, socket};

/// How long a server is left alone before another one takes its place: each one that is made
/// leaves threads behind for 5 s.
const PAUSE: Duration = Duration::from_millis(250);

/// How long clients of a lent socket may go on asking when the program ends: each response
/// tells its client to connect anew.
const LENIENCE: Duration = Duration::from_millis(500);

pub(super) struct Acceptor {
    shared: Arc<Shared>,
    listener: TcpListener,
    /// tiny_http's descriptor of the listening socket, which its accept thread closes.
    accepting: RawFd,
    workers: Option<Arc<Workers>>,
    /// When the last server was made.
    opened: Instant,
    /// When the port was given up.
    closed: Option<Instant>,
}

impl Acceptor {
    /// Makes the first server.
    ///
    /// # Errors
    /// No thread or descriptor can be had.
    pub(super) fn start(shared: Arc<Shared>, listener: TcpListener) -> io::Result<Acceptor> {
        let (opened, accepting) = (Instant::now(), -1);
        let mut acceptor =
            Acceptor { shared, listener, accepting, workers: None, opened, closed: None };
        acceptor.open()?;
        Ok(acceptor)
    }

    /// Whether the accept thread runs: it closes its descriptor when it ends.
    pub(super) fn accepts(&self) -> bool {
        socket::is_listening(&self.accepting)
    }

    /// Makes another server if the last one accepts no more. Returns when to ask again, if that
    /// is not to be done before.
    pub(super) fn keep_up(&mut self) -> Option<Instant> {
        if self.closed.is_some() || self.accepts() {
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
        // Nobody accepts at this moment: all connections so far are of older generations.
        let generation = self.shared.connections.next_generation();
        let server = match catch_unwind(|| tiny_http::Server::from_listener(listener, None)) {
            Ok(server) => server.map_err(io::Error::other)?,
            Err(_) => return Err(io::Error::other("no thread can be started")),
        };
        let workers = Workers::start(Arc::clone(&self.shared), server, generation);
        let workers = workers.inspect_err(|_| {
            // It would accept what nobody serves.
            let _ = replace(accepting);
        })?;
        self.accepting = accepting;
        if let Some(superseded) = self.workers.replace(workers) {
            superseded.supersede();
        }
        Ok(())
    }

    /// Gives the port up. True if the accept thread needs one more connection to notice.
    pub(super) fn close(&mut self) -> bool {
        if self.closed.is_some() {
            return false;
        }
        self.closed = Some(Instant::now());
        if !self.shared.is_lent {
            stop_listening(&self.listener);
            return false;
        }
        let replaced = replace(self.accepting);
        if let Err(error) = &replaced {
            log::error!("msg=\"cannot stop accepting\" error=\"{error}\"");
        }
        replaced.is_ok()
    }

    /// Whether connected clients may still ask, though the program is about to end.
    pub(super) fn is_lenient(&self) -> bool {
        let since = self.closed.map_or(Duration::ZERO, |closed| closed.elapsed());
        self.shared.is_lent && since < LENIENCE
    }
}

/// Has the thread that accepts from this descriptor get an error from its next call on, while
/// another process goes on using the socket.
fn replace(accepting: RawFd) -> io::Result<()> {
    descriptors::replace(accepting, &UnixDatagram::unbound()?)
}

/// Ends listening: the port is free for another process, and `accept` returns an error.
pub(super) fn stop_listening(listener: &TcpListener) {
    if let Ok(listener) = listener.try_clone() {
        let socket = std::net::TcpStream::from(std::os::fd::OwnedFd::from(listener));
        let _ = socket.shutdown(std::net::Shutdown::Both);
    }
}
