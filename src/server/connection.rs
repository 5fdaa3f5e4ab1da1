//! One client connection, and all that is known of it.
//!
//! tiny_http tells requests apart by the client's address alone and never shows a socket. So
//! there is one record for each connection. It is made when the connection is first seen, at
//! the latest when its first request arrives, and holds a duplicate of the socket until
//! tiny_http has closed its own descriptors.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::progress::{Progress, Seen, Tcp, Verdict};
use crate::config::Limits;
use crate::sys::epoll::Epoll;
use crate::sys::{descriptors, socket};
use crate::wanted::Wanted;

/// Called each time a connection leaks, with how many have leaked so far.
pub type OnLeak = dyn Fn(usize) + Send + Sync;

/// What all connections of a listener share.
pub(super) struct Common {
    pub(super) epoll: Epoll,
    /// Whether the program is about to end.
    pub(super) closing: AtomicBool,
    /// How many connections have leaked: see [`super::leak`].
    pub(super) leaked: AtomicUsize,
    pub(super) on_leak: Box<OnLeak>,
}

/// Where a connection was found; none of it ever changes.
#[derive(Debug)]
pub(super) struct Origin {
    /// The addresses of the client and of ours.
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    /// tiny_http's descriptors of the socket, one or two. Its requests hold one of them too.
    pub(super) library: Vec<RawFd>,
    /// Which tiny_http server may have accepted it; or an earlier one.
    pub(super) generation: u64,
}

/// One client connection: see the [module](self), and [`Progress`] for what changes.
pub(super) struct Connection {
    pub(super) origin: Origin,
    /// What it is called in epoll.
    pub(super) token: u64,
    pub(super) common: Arc<Common>,
    /// A duplicate: what is done to it happens to the connection.
    pub(super) socket: TcpStream,
    /// How the body of the request under way comes in.
    pub(super) upload: Upload,
    progress: Mutex<Progress>,
    /// The last pipelined request. Its writer keeps tiny_http from writing errors of its own in
    /// front of the response under way, and its body must not be read.
    behind: Mutex<Option<tiny_http::Request>>,
}

/// How the body of the request under way comes in.
#[derive(Debug, Default)]
pub(super) struct Upload {
    /// Whether a worker waits for more of it.
    pub(super) awaited: AtomicBool,
    /// Bytes of content that were read, of all bodies of this connection.
    pub(super) delivered: AtomicU64,
    /// Whether the watch has given it up.
    pub(super) late: AtomicBool,
}

impl Connection {
    pub(super) fn new(
        origin: Origin,
        token: u64,
        socket: TcpStream,
        common: Arc<Common>,
    ) -> Connection {
        let (upload, behind) = (Upload::default(), Mutex::default());
        let progress = Mutex::new(Progress::new(Instant::now()));
        Connection { origin, token, common, socket, upload, progress, behind }
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("nothing panics under this lock")
    }

    /// Accepts no further request: what follows on the connection is not trusted.
    pub(super) fn end(&self) {
        self.progress().end(Instant::now());
    }

    /// Whether no further request is accepted.
    pub(super) fn is_ended(&self) -> bool {
        self.progress().ended.is_some()
    }

    /// Whether the response under way should say that it is the last one.
    pub(super) fn is_closing(&self) -> bool {
        self.common.closing.load(Ordering::Relaxed) || self.is_ended()
    }

    /// Whether the kernel still knows it by its addresses. If not, they may be another's.
    pub(super) fn has_peer(&self) -> bool {
        self.socket.peer_addr().is_ok()
    }

    /// Whether no byte was ever read from it. Then no request has come over it.
    pub(super) fn is_untouched(&self) -> bool {
        if self.progress().has_requests {
            return false;
        }
        // In this order: bytes that arrive meanwhile must not look as if none had been read.
        let unread = socket::unread(&self.socket);
        socket::tcp_info(&self.socket).is_none_or(|info| info.received <= unread)
    }

    /// Whether tiny_http still has a descriptor of the socket. While one of its requests waits to
    /// be taken it has.
    pub(super) fn is_held(&self) -> bool {
        let own = descriptors::identity(self.socket.as_raw_fd()).ok();
        let is_own = |fd: &RawFd| match descriptors::identity(*fd) {
            Ok(identity) => Some(identity) == own,
            // Out of descriptors: unknown, and asked again later.
            Err(error) => error.raw_os_error() != Some(libc::EBADF),
        };
        self.origin.library.iter().any(is_own)
    }

    /// Looks at the connection, and says what is to be done about it.
    pub(super) fn judge(&self, limits: &Limits, accepts: bool, now: Instant) -> Verdict {
        let Upload { awaited, delivered, .. } = &self.upload;
        let (tcp, received, silence) = match socket::tcp_info(&self.socket) {
            Some(info) => (state(info.state), info.received, info.silence),
            None => (Tcp::Closed, 0, Duration::ZERO),
        };
        let seen = Seen {
            tcp,
            received,
            unread: socket::unread(&self.socket),
            silence,
            awaited: awaited.load(Ordering::Relaxed).then(|| delivered.load(Ordering::Relaxed)),
        };
        self.progress().judge(&seen, limits, accepts, now)
    }

    /// Parks a request behind a response that is under way, and drops the one that was parked
    /// before: tiny_http has read its body by now.
    pub(super) fn park(&self, request: tiny_http::Request) {
        let before = self.behind().replace(request);
        // Dropping the request itself would answer it.
        drop(before.map(tiny_http::Request::into_writer));
    }

    pub(super) fn take_behind(&self) -> Option<tiny_http::Request> {
        self.behind().take()
    }

    fn behind(&self) -> MutexGuard<'_, Option<tiny_http::Request>> {
        self.behind.lock().expect("nothing panics under this lock")
    }

    /// Cuts the connection: tiny_http and the client read its end.
    pub(super) fn cut(&self) {
        self.end();
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Breaks the connection with a RST: the client gets an error.
    pub(super) fn reset(&self) {
        self.end();
        socket::reset(&self.socket);
    }

    /// Closes our side after what was sent; the client may go on sending.
    pub(super) fn finish(&self) {
        self.end();
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

fn state(number: u8) -> Tcp {
    // The numbers of the kernel's `tcp_states.h`.
    match number {
        1 => Tcp::Open,
        8 => Tcp::ClientClosed,
        7 => Tcp::Closed,
        _ => Tcp::Ending,
    }
}

impl Wanted for Connection {
    /// `TCP_INFO` and not `POLLRDHUP`, which tiny_http's own read shutdown sets too.
    fn is_wanted(&self) -> bool {
        socket::tcp_info(&self.socket).is_some_and(|info| state(info.state) == Tcp::Open)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.origin.fmt(f)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // tiny_http may have descriptors that would keep it in the set.
        self.common.epoll.remove(&self.socket);
    }
}
