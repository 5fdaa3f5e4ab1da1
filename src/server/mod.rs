//! The listener, and the only rooms that name tiny_http.
//!
//! [`bind`] takes a port, [`Listener::serve`] hands each request that arrives to a
//! service as an [`Exchange`]. What tiny_http 0.12 does not do, or does wrong, is lived
//! with here and in the modules below, each of which says what and why.

mod client;
mod exchange;
mod pool;
pub(crate) mod sockets;

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

pub use client::Client;
pub use exchange::{Body, BodyLength, Exchange, Response, Sent};
pub use pool::Service;

/// Exchanges at once; beyond that clients get 503.
pub const MAX_REQUESTS: usize = 512;

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
    /// Where the first thread cannot be started.
    pub fn serve(self, service: Box<Service>) -> io::Result<()> {
        let clients = client::Clients::new(self.address.port());
        let server =
            tiny_http::Server::from_listener(self.socket, None).map_err(io::Error::other)?;
        pool::Pool::new(server, clients, service, MAX_REQUESTS).start_worker()
    }
}
