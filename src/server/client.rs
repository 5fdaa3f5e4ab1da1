//! The clients that have requests under way, one entry for each connection.
//!
//! Limits: a connection without a request is not known here.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::sockets::ClientSocket;

/// One client's connection, for as long as it has requests under way.
#[derive(Debug)]
pub struct Client {
    peer: SocketAddr,
    local_port: u16,
    exchanges: AtomicUsize,
    socket: OnceLock<Lookup>,
}

#[derive(Debug)]
enum Lookup {
    Found(ClientSocket),
    /// The connection is closed already.
    Gone,
    /// This system does not show a process its own descriptors.
    Unknown,
}

impl Client {
    /// The address the client calls from.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether the client closed its connection, or its side of it.
    pub fn left(&self) -> bool {
        match self.lookup() {
            Lookup::Found(socket) => socket.left(),
            Lookup::Gone => true,
            Lookup::Unknown => false,
        }
    }

    pub(super) fn socket(&self) -> Option<&ClientSocket> {
        match self.lookup() {
            Lookup::Found(socket) => Some(socket),
            Lookup::Gone | Lookup::Unknown => None,
        }
    }

    /// How many requests of this connection are under way: more than one where the
    /// client pipelines.
    pub(super) fn exchanges(&self) -> usize {
        self.exchanges.load(Ordering::Relaxed)
    }

    fn lookup(&self) -> &Lookup {
        self.socket.get_or_init(|| match ClientSocket::find(self.peer, self.local_port) {
            Ok(Some(socket)) => Lookup::Found(socket),
            Ok(None) => Lookup::Gone,
            Err(error) => {
                log::warn!("msg=\"client connections cannot be watched\" error=\"{error}\"");
                Lookup::Unknown
            }
        })
    }
}

/// All clients with requests under way.
#[derive(Debug)]
pub(super) struct Clients {
    local_port: u16,
    by_peer: Mutex<HashMap<SocketAddr, Arc<Client>>>,
}

impl Clients {
    pub(super) fn new(local_port: u16) -> Clients {
        Clients { local_port, by_peer: Mutex::default() }
    }

    /// Counts one more request of this client.
    pub(super) fn enter(&self, peer: SocketAddr) -> Arc<Client> {
        let mut by_peer = self.by_peer.lock().expect("nothing panics under this lock");
        let client = by_peer.entry(peer).or_insert_with(|| {
            Arc::new(Client {
                peer,
                local_port: self.local_port,
                exchanges: AtomicUsize::new(0),
                socket: OnceLock::new(),
            })
        });
        client.exchanges.fetch_add(1, Ordering::Relaxed);
        Arc::clone(client)
    }

    /// Counts one request less; the last one takes the entry with it, so that a later
    /// connection from the same port is not mistaken for this one.
    pub(super) fn leave(&self, client: &Client) {
        let mut by_peer = self.by_peer.lock().expect("nothing panics under this lock");
        if client.exchanges.fetch_sub(1, Ordering::Relaxed) == 1 {
            by_peer.remove(&client.peer);
        }
    }
}
