//! The clients that have requests under way, one entry for each connection.
//!
//! Also those that are no longer believed: a connection whose framing was ambiguous may
//! have bytes in flight that tiny_http takes for requests. Limits: a connection without a
//! request is not known here; [`super::watch`] sees those.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use super::sockets::ClientSocket;

/// How long a connection is remembered as not to be believed, at the least.
const DISTRUST: Duration = Duration::from_secs(10);

/// One client's connection, for as long as it has requests under way.
#[derive(Debug)]
pub struct Client {
    peer: SocketAddr,
    local_port: u16,
    exchanges: AtomicUsize,
    socket: OnceLock<Lookup>,
    pub(super) upload: Progress,
}

/// How the body of a request comes in, for the watch.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Whether somebody waits for more of it.
    pub(super) awaited: AtomicBool,
    /// Bytes of it that were read, without what frames them.
    pub(super) delivered: AtomicU64,
    /// Whether the watch has given it up.
    pub(super) late: AtomicBool,
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

    /// The port that the client is connected to.
    pub(super) fn local_port(&self) -> u16 {
        self.local_port
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
                log::warn!("msg=\"a client's connection cannot be looked up\" error=\"{error}\"");
                Lookup::Unknown
            }
        })
    }
}

/// All clients with requests under way.
#[derive(Debug)]
pub(super) struct Clients {
    local_port: u16,
    present: Mutex<Present>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Present {
    by_peer: HashMap<SocketAddr, Arc<Client>>,
    distrusted: HashMap<SocketAddr, Instant>,
}

impl Clients {
    pub(super) fn new(local_port: u16) -> Clients {
        Clients { local_port, present: Mutex::default(), changed: Condvar::new() }
    }

    /// Counts one more request of this client.
    pub(super) fn enter(&self, peer: SocketAddr) -> Arc<Client> {
        let mut present = self.present();
        let client = present.by_peer.entry(peer).or_insert_with(|| {
            Arc::new(Client {
                peer,
                local_port: self.local_port,
                exchanges: AtomicUsize::new(0),
                socket: OnceLock::new(),
                upload: Progress::default(),
            })
        });
        client.exchanges.fetch_add(1, Ordering::Relaxed);
        let client = Arc::clone(client);
        let first = present.by_peer.len() == 1;
        drop(present);
        if first {
            self.changed.notify_all();
        }
        client
    }

    /// Counts one request less; the last one takes the entry with it, so that a later
    /// connection from the same port is not mistaken for this one.
    pub(super) fn leave(&self, client: &Client) {
        let mut present = self.present();
        if client.exchanges.fetch_sub(1, Ordering::Relaxed) == 1 {
            present.by_peer.remove(&client.peer);
            if present.by_peer.is_empty() {
                drop(present);
                self.changed.notify_all();
            }
        }
    }

    /// The entry of a connection, where it has requests under way.
    pub(super) fn get(&self, peer: SocketAddr) -> Option<Arc<Client>> {
        self.present().by_peer.get(&peer).cloned()
    }

    /// Believes nothing more of what comes over this connection.
    pub(super) fn distrust(&self, peer: SocketAddr) {
        self.present().distrusted.insert(peer, Instant::now());
    }

    pub(super) fn is_distrusted(&self, peer: SocketAddr) -> bool {
        self.present().distrusted.contains_key(&peer)
    }

    /// Forgets the distrust of connections that are no more.
    pub(super) fn trust_all_but(&self, connected: impl Fn(&SocketAddr) -> bool) {
        let mut present = self.present();
        if !present.distrusted.is_empty() {
            present.distrusted.retain(|peer, since| since.elapsed() < DISTRUST || connected(peer));
        }
    }

    /// Waits until no request is under way; says whether that came about.
    pub(super) fn wait_until_none(&self, within: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.present(), within, |present| !present.by_peer.is_empty());
        waited.expect("nothing panics under this lock").0.by_peer.is_empty()
    }

    /// Waits for a while, but no longer than until a request comes where there was none.
    pub(super) fn wait_for_first(&self, within: Duration) {
        let waited = self
            .changed
            .wait_timeout_while(self.present(), within, |present| present.by_peer.is_empty());
        drop(waited.expect("nothing panics under this lock"));
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().expect("nothing panics under this lock")
    }
}
