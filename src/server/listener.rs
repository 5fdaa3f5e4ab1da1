//! The listening socket: bound or inherited, served, and closed.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{io, thread};

use super::connection::{Common, Connection, OnLeak};
use super::connections::Connections;
use super::watch::Watch;
use super::workers::{Service, Shared};
use crate::config::Limits;
use crate::probe::reachable;
use crate::sys::epoll::Epoll;
use crate::sys::{descriptors, socket};

/// Connections that may wait for `accept`; the standard library's 128 are too few for a burst.
const BACKLOG: i32 = 1024;

/// How long a client may accept no bytes of a response before it counts as gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(300);

/// The kernel's receive buffer of a client connection, in bytes. By default it grows to 6 MB, and
/// tiny_http reads all of that into a header line that does not end.
const RECEIVE_BUFFER: i32 = 64 * 1024;

/// How often [`Server::shut_down`] checks whether all has ended.
const POLL: Duration = Duration::from_millis(20);

/// A listening socket on which nothing is answered yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    /// Whether a service manager keeps the socket when this process ends.
    is_lent: bool,
}

/// Takes the listening socket that a service manager passed on as descriptor 3.
///
/// # Errors
/// Descriptor 3 is not a listening TCP socket.
pub fn inherit() -> io::Result<Listener> {
    /// `SD_LISTEN_FDS_START` of sd_listen_fds(3).
    const FIRST: i32 = 3;
    let socket = descriptors::duplicate(FIRST).map(TcpListener::from);
    let socket = socket.ok().filter(|it| socket::is_listening(it) && it.local_addr().is_ok());
    let socket = socket.ok_or_else(|| {
        let what = "the service manager passed no listening TCP socket on";
        io::Error::new(io::ErrorKind::NotFound, what)
    })?;
    // systemd's sockets do not block, and tiny_http's `accept` must.
    socket.set_nonblocking(false)?;
    Listener::new(socket, true)
}

/// Binds a port; 0 binds any that is free.
///
/// # Errors
/// The host has no address, or the port is in use or not allowed.
pub fn bind(host: &str, port: u16) -> io::Result<Listener> {
    let socket = TcpListener::bind((host, port))?;
    socket::set_backlog(&socket, BACKLOG)?;
    Listener::new(socket, false)
}

impl Listener {
    /// Sets what accepted sockets inherit: `TCP_NODELAY` (no token is held back), keep-alive
    /// probes, a bounded send, a small receive buffer. Never a receive timeout: `accept` obeys
    /// it, and tiny_http takes that for an error.
    fn new(listener: TcpListener, is_lent: bool) -> io::Result<Listener> {
        let socket = descriptors::socket(listener.as_raw_fd());
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        socket::set_keep_alive(&socket, 60, 20)?;
        socket::set_receive_buffer(&socket, RECEIVE_BUFFER)?;
        let address = listener.local_addr()?;
        Ok(Listener { socket: listener, address, is_lent })
    }

    /// The address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to answer, on threads of its own. `on_leak` is called each time a connection leaks
    /// (see `server/leak.rs`), with the number of leaks so far.
    ///
    /// # Errors
    /// No thread can be started, or no file descriptor is free.
    pub fn serve(
        self,
        limits: Limits,
        service: Box<Service>,
        on_leak: Box<OnLeak>,
    ) -> io::Result<Server> {
        let common = Common {
            closing: OnceLock::new(),
            leaked: AtomicUsize::new(0),
            upgrades: AtomicUsize::new(0),
            max_upgrades: limits.max_upgrades,
            on_leak,
        };
        let (port, first) = (self.address.port(), self.socket.as_raw_fd());
        let connections = Connections::new(port, first, Epoll::new()?, common);
        let is_lent = self.is_lent;
        let has_stopped = AtomicBool::new(false);
        let shared = Arc::new(Shared { service, limits, connections, is_lent, has_stopped });
        Watch::start(Arc::clone(&shared), self.socket.try_clone()?)?;
        Ok(Server { shared, listener: self })
    }
}

/// A listener that answers.
pub struct Server {
    shared: Arc<Shared>,
    listener: Listener,
}

impl Server {
    /// Stops listening and waits until all exchanges have ended; false if one has not in time.
    /// Requests that still arrive over open connections get 503, unless the socket was lent:
    /// those are served.
    pub fn shut_down(self, within: Duration) -> bool {
        let Server { shared, listener: Listener { socket, address, is_lent } } = self;
        let (connections, deadline) = (&shared.connections, Instant::now() + within);
        let _ = connections.common.closing.set(Instant::now());
        if is_lent {
            // Wakes the watch, which stops accepting.
            let _ = TcpStream::connect_timeout(&reachable(address), POLL);
        } else {
            // The port is free for another process, and `accept` returns an error.
            let _ = descriptors::socket(socket.as_raw_fd()).shutdown(Shutdown::Both);
        }
        let asks = |one: &Arc<Connection>| {
            let idle = one.progress().idle_since();
            idle.is_some_and(|(arrives, _)| arrives || shared.accepts())
        };
        loop {
            thread::sleep(POLL);
            let has_stopped = shared.has_stopped.load(Ordering::SeqCst);
            let is_expecting = is_lent && (!has_stopped || connections.all().iter().any(asks));
            if !is_expecting && connections.exchanges.load(Ordering::SeqCst) == 0 {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
        }
    }
}
