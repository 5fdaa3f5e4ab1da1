//! One client connection, and all that is known of it.
//!
//! tiny_http distinguishes requests by the client's address alone and never shows a socket. So
//! there is one record for each connection. It is made when the connection is first seen, at the
//! latest when its first request arrives, and holds a duplicate of the socket until tiny_http has
//! closed its own descriptors.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use crate::config::Limits;
use crate::progress::{Progress, Seen, Tcp, Verdict};
use crate::sys::descriptors;
use crate::sys::socket::{self, TcpInfo};
use crate::wanted::Wanted;

/// Called each time a connection leaks, with how many have leaked so far.
pub type OnLeak = dyn Fn(usize) + Send + Sync;

/// State that all connections of a listener share.
pub(super) struct Common {
    /// Since when the program is about to end.
    pub(super) closing: OnceLock<Instant>,
    /// How many connections have leaked.
    pub(super) leaked: AtomicUsize,
    /// Exchanges that have switched protocols, or are about to, and the most of them.
    pub(super) upgrades: AtomicUsize,
    pub(super) max_upgrades: usize,
    pub(super) on_leak: Box<OnLeak>,
}

/// The addresses and descriptors of a connection. They never change.
#[derive(Debug)]
pub(super) struct Origin {
    /// The client's address.
    pub(super) peer: SocketAddr,
    /// Our own address.
    pub(super) local: SocketAddr,
    /// tiny_http's descriptors of the socket: one or two, which its requests share.
    pub(super) library: Vec<RawFd>,
}

/// One client connection: see the [module](self), and [`Progress`] for what changes.
pub(super) struct Connection {
    pub(super) origin: Origin,
    /// Its name in epoll.
    pub(super) token: u64,
    pub(super) common: Arc<Common>,
    /// A duplicate: options and shutdowns apply to the connection.
    pub(super) socket: TcpStream,
    pub(super) upload: Upload,
    progress: Mutex<Progress>,
    /// The last pipelined request. Its writer keeps tiny_http from writing errors of its own before
    /// the current response has ended, and its body must not be read.
    parked: Mutex<Option<tiny_http::Request>>,
}

/// How the body of the current request is read.
#[derive(Debug, Default)]
pub(super) struct Upload {
    /// Whether a worker waits for more of it.
    pub(super) awaited: AtomicBool,
    /// Bytes of content that were read, of all bodies of the connection.
    pub(super) delivered: AtomicU64,
    /// Whether the watch has ended it.
    pub(super) late: AtomicBool,
}

impl Connection {
    pub(super) fn new(
        origin: Origin,
        token: u64,
        socket: TcpStream,
        common: Arc<Common>,
    ) -> Connection {
        let (upload, parked) = (Upload::default(), Mutex::default());
        let progress = Mutex::new(Progress::new(Instant::now()));
        Connection { origin, token, common, socket, upload, progress, parked }
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("nothing panics under this lock")
    }

    /// Accepts no further request: the rest of what arrives may not be one.
    pub(super) fn end(&self) {
        self.progress().end(Instant::now());
    }

    /// Whether no further request is accepted.
    pub(super) fn is_ended(&self) -> bool {
        self.progress().ended.is_some()
    }

    /// Whether the current response should announce that it is the last one.
    pub(super) fn is_closing(&self) -> bool {
        self.common.closing.get().is_some() || self.is_ended()
    }

    /// All of its descriptors that are known, ours included. tiny_http may have closed its own.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.origin.library.iter().copied().chain([self.socket.as_raw_fd()])
    }

    /// Whether the kernel still has it. If not, its addresses may belong to a new connection.
    pub(super) fn has_peer(&self) -> bool {
        self.socket.peer_addr().is_ok()
    }

    /// Whether no byte was ever read from it. Then no request has come over it.
    pub(super) fn is_untouched(&self) -> bool {
        if self.progress().has_requests {
            return false;
        }
        // In this order: bytes that arrive in between must not make it look untouched.
        let unread = socket::unread(&self.socket);
        socket::tcp_info(&self.socket).is_none_or(|info| received(&info) <= unread)
    }

    /// Whether tiny_http still has a descriptor of the socket, be it for a request in its queue.
    pub(super) fn is_held(&self) -> bool {
        let own = descriptors::identity(self.socket.as_raw_fd()).ok();
        let is_own = |fd: &RawFd| descriptors::identity(*fd).is_ok_and(|it| Some(it) == own);
        self.origin.library.iter().any(is_own)
    }

    /// Looks at the connection, and decides what must be done about it.
    pub(super) fn judge(&self, limits: &Limits, accepts: bool, now: Instant) -> Verdict {
        let Upload { awaited, delivered, .. } = &self.upload;
        // In this order: bytes that arrive in between must not look as if they had been read.
        let info = socket::tcp_info(&self.socket);
        let unread = socket::unread(&self.socket);
        let (tcp, received, silence) = match info {
            Some(info) => (state(info.state), received(&info), info.silence),
            None => (Tcp::Closed, 0, Duration::ZERO),
        };
        let awaited = awaited.load(Ordering::Relaxed).then(|| delivered.load(Ordering::Relaxed));
        let seen = Seen { tcp, received, unread, silence, awaited };
        self.progress().judge(&seen, limits, accepts, now)
    }

    /// Parks a request behind the current response, and drops the one that was parked before:
    /// tiny_http has read its body by now.
    pub(super) fn park(&self, request: tiny_http::Request) {
        let before = self.parked().replace(request);
        // Dropping the request itself would answer it.
        drop(before.map(tiny_http::Request::into_writer));
    }

    pub(super) fn take_parked(&self) -> Option<tiny_http::Request> {
        self.parked().take()
    }

    fn parked(&self) -> MutexGuard<'_, Option<tiny_http::Request>> {
        self.parked.lock().expect("nothing panics under this lock")
    }

    /// Cuts the connection: tiny_http and the client read its end.
    pub(super) fn cut(&self) {
        self.end();
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Breaks the connection with a RST. After a shutdown, a client that goes on sending would get
    /// an error only after a minute, and tiny_http would read what still arrives.
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

// The numbers of the kernel's `tcp_states.h`.
const ESTABLISHED: u8 = 1;
const CLOSE: u8 = 7;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const CLOSING: u8 = 11;

fn state(number: u8) -> Tcp {
    match number {
        ESTABLISHED => Tcp::Open,
        CLOSE_WAIT => Tcp::ClientClosed,
        CLOSE => Tcp::Closed,
        _ => Tcp::Ending,
    }
}

/// Bytes that the client has sent. The kernel counts the end of its side (FIN) as one more.
fn received(info: &TcpInfo) -> u64 {
    let has_fin = matches!(info.state, CLOSE_WAIT | LAST_ACK | CLOSING);
    info.received.saturating_sub(u64::from(has_fin))
}

impl Wanted for Connection {
    /// `TCP_INFO` and not `POLLRDHUP`, which tiny_http's own read shutdown sets too.
    fn is_wanted(&self) -> bool {
        socket::tcp_info(&self.socket).is_some_and(|info| state(info.state) == Tcp::Open)
    }
}
