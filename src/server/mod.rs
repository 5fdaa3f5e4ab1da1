//! The listener, and the only rooms that name tiny_http.
//!
//! [`bind`] takes a port, [`Listener::serve`] hands each request that arrives to a
//! service as an [`Exchange`]. What tiny_http 0.12 does not do, or does wrong, is lived
//! with here and in the modules below, each of which says what and why.

mod client;
mod exchange;
mod framing;
mod giants;
mod pool;
mod response;
pub(crate) mod sockets;
mod watch;

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use client::Client;
pub use exchange::{Body, Exchange};
pub use framing::BodyLength;
pub use pool::Service;
pub use response::{Response, Sent};

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
                return Ok(Listener { socket, address });
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
        let closing = AtomicBool::new(false);
        let shared = Arc::new(pool::Shared { service, limits, clients, closing });
        let socket = self.socket.try_clone()?;
        watch::Watch::start(Arc::clone(&shared), self.socket)?;
        Ok(Server { shared, socket })
    }
}

/// A listener that answers.
pub struct Server {
    shared: Arc<pool::Shared>,
    socket: TcpListener,
}

impl Server {
    /// Gives the port up and waits until all exchanges have ended; says whether they did
    /// in time. Requests that still arrive over open connections get 503.
    pub fn shut_down(self, within: Duration) -> bool {
        self.shared.closing.store(true, Ordering::Relaxed);
        sockets::stop_listening(&self.socket);
        self.shared.clients.wait_until_none(within)
    }
}
