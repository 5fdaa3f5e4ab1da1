//! The listener, and the only rooms that name tiny_http.
//!
//! [`bind`] takes a port, [`Listener::serve`] hands each request that arrives to a
//! service as an [`Exchange`]. What tiny_http 0.12 does not do, or does wrong, is lived
//! with here and in the modules below, each of which says what and why.

mod client;
mod exchange;
mod framing;
mod giants;
mod listening;
mod pool;
mod response;
mod watch;

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use self::pool::Shared;
use crate::sys::sockets;

pub use client::Client;
pub use exchange::{Body, Exchange};
pub use framing::BodyLength;
pub use pool::Service;
pub use response::Response;

/// What clients may take, in time and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a whole head to arrive.
    pub head_timeout: Duration,
    /// For a connection to stay open without a request.
    pub idle_timeout: Duration,
    /// For a body to make progress.
    pub body_timeout: Duration,
    /// Connections at once; beyond that the longest idle one is closed.
    pub max_connections: usize,
    /// Exchanges at once; beyond that clients get 503.
    pub max_requests: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
            max_connections: 1024,
            max_requests: 512,
        }
    }
}

/// A port that is taken, on which nothing is answered yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    is_lent: bool,
}

/// Takes the socket that a service manager has bound, and keeps when this process ends.
///
/// # Errors
/// Where it passed none on.
pub fn inherit() -> io::Result<Listener> {
    let socket = sockets::inherited()?;
    let address = socket.local_addr()?;
    Ok(Listener { socket, address, is_lent: true })
}

/// Takes a port; 0 takes any that is free.
///
/// # Errors
/// Where the host has no address, or the port is in use or not allowed.
pub fn bind(host: &str, port: u16) -> io::Result<Listener> {
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match sockets::listen(address) {
            Ok(socket) => {
                let address = socket.local_addr()?;
                return Ok(Listener { socket, address, is_lent: false });
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

impl Listener {
    /// The address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to answer, on threads of its own.
    ///
    /// # Errors
    /// Where the first threads cannot be started.
    pub fn serve(self, limits: Limits, service: Box<Service>) -> io::Result<Server> {
        let clients = Arc::new(client::Clients::new(self.address.port()));
        let (is_lent, expecting) = (self.is_lent, AtomicBool::new(true));
        let shared = Arc::new(pool::Shared { service, limits, clients, is_lent, expecting });
        let socket = self.socket.try_clone()?;
        watch::Watch::start(Arc::clone(&shared), self.socket)?;
        Ok(Server { shared, socket })
    }
}

/// How often it is looked whether the last clients have asked.
const LOOK: Duration = Duration::from_millis(20);

/// A listener that answers.
pub struct Server {
    shared: Arc<pool::Shared>,
    socket: TcpListener,
}

impl Server {
    /// Gives the port up and waits until all exchanges have ended; says whether they did
    /// in time. Requests that still arrive over open connections get 503, but where the
    /// socket was lent: those are served.
    pub fn shut_down(self, within: Duration) -> bool {
        let Shared { clients, is_lent, expecting, .. } = &*self.shared;
        let deadline = Instant::now() + within;
        clients.close();
        if *is_lent {
            // The watch tells when nobody is about to ask any more.
            while expecting.load(Ordering::Relaxed) && Instant::now() < deadline {
                thread::sleep(LOOK);
            }
        } else {
            sockets::stop_listening(&self.socket);
        }
        clients.wait_until_none(deadline.saturating_duration_since(Instant::now()))
    }
}
