//! The listening socket: bound or inherited, served, and given up.

use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use super::accept;
use super::connection::{Common, OnLeak};
use super::connections::Connections;
use super::watch::Watch;
use super::workers::{Service, Shared};
use crate::config::Limits;
use crate::probe::reachable;
use crate::sys::epoll::Epoll;
use crate::sys::{descriptors, memory, process, socket};

/// Connections that may wait for `accept`; the standard library's 128 are too few for a burst.
const BACKLOG: i32 = 1024;

/// How long a client may accept no bytes of a response before it counts as gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(300);

/// The kernel's receive buffer of a client connection, in bytes. By default it grows to 6 MB,
/// all of which tiny_http reads into a header line that does not end.
const RECEIVE_BUFFER: i32 = 64 * 1024;

/// Descriptors that are not for connections.
const OTHER_FILES: usize = 32;

/// Descriptors of each connection: two of tiny_http's, one of ours, one to the upstream.
const FILES_EACH: usize = 4;

/// The least connections that are allowed however few files may be open.
const LEAST_CONNECTIONS: usize = 4;

/// How often [`Server::shut_down`] asks whether the last clients have asked.
const POLL: Duration = Duration::from_millis(20);

/// A port that is taken, on which nothing is answered yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    is_lent: bool,
}

/// Takes the listening socket that a service manager passed on as descriptor 3, and keeps when
/// this process ends.
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
    prepare(&socket)?;
    let address = socket.local_addr()?;
    Ok(Listener { socket, address, is_lent: true })
}

/// Takes a port; 0 takes any that is free.
///
/// # Errors
/// The host has no address, or the port is in use or not allowed.
pub fn bind(host: &str, port: u16) -> io::Result<Listener> {
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        let listening = TcpListener::bind(address).and_then(|socket| {
            prepare(&socket)?;
            socket::set_backlog(&socket, BACKLOG)?;
            let address = socket.local_addr()?;
            Ok(Listener { socket, address, is_lent: false })
        });
        match listening {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Sets what accepted sockets inherit: `TCP_NODELAY` (no token is held back), keep-alive probes,
/// a bounded send, a small receive buffer. Never a receive timeout: `accept` obeys it, and
/// tiny_http takes that for an error.
fn prepare(listener: &TcpListener) -> io::Result<()> {
    let socket = TcpStream::from(OwnedFd::from(listener.try_clone()?));
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    socket::set_keep_alive(&socket)?;
    socket::set_receive_buffer(&socket, RECEIVE_BUFFER)
}

impl Listener {
    /// The address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to answer, on threads of its own. `on_leak` is called each time a connection
    /// leaks (see `server/leak.rs`), with how many have leaked so far.
    ///
    /// # Errors
    /// The first threads cannot be started.
    pub fn serve(
        self,
        limits: Limits,
        service: Box<Service>,
        on_leak: Box<OnLeak>,
    ) -> io::Result<Server> {
        memory::keep_little_memory();
        let most = process::raise_file_limit().saturating_sub(OTHER_FILES) / FILES_EACH;
        let max_connections = limits.max_connections.min(most.max(LEAST_CONNECTIONS));
        let common = Common {
            epoll: Epoll::new()?,
            closing: AtomicBool::new(false),
            leaked: AtomicUsize::new(0),
            on_leak,
        };
        let shared = Arc::new(Shared {
            service,
            limits,
            connections: Connections::new(self.address.port(), common),
            is_lent: self.is_lent,
            expecting: AtomicBool::new(true),
        });
        let socket = self.socket.try_clone()?;
        Watch::start(Arc::clone(&shared), self.socket, max_connections)?;
        Ok(Server { shared, socket, address: self.address })
    }
}

/// A listener that answers.
pub struct Server {
    shared: Arc<Shared>,
    socket: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Gives the port up and waits until all exchanges have ended; false if one has not in time.
    /// Requests that still arrive over open connections get 503, unless the socket was lent:
    /// those are served.
    pub fn shut_down(self, within: Duration) -> bool {
        let Shared { connections, is_lent, expecting, .. } = &*self.shared;
        let deadline = Instant::now() + within;
        connections.common.closing.store(true, Ordering::SeqCst);
        if *is_lent {
            // Wakes the watch, which gives the socket up.
            let _ = TcpStream::connect_timeout(&reachable(self.address), POLL);
            while expecting.load(Ordering::Relaxed) && Instant::now() < deadline {
                thread::sleep(POLL);
            }
        } else {
            accept::stop_listening(&self.socket);
        }
        connections.wait_until_idle(deadline.saturating_duration_since(Instant::now()))
    }
}
