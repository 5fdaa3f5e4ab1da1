//! All client connections of a listener, and how they are found.
//!
//! A search goes through the process's descriptors for sockets with our local port, and makes
//! a record for each that has none. Limits: a search costs a system call for each open
//! descriptor. Of two connections from one client address and port to two addresses of this
//! machine, which tiny_http cannot tell apart, the second is cut.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::connection::{Common, Connection, Origin};
use crate::metrics::METRICS;
use crate::sys::descriptors::{self, Side};

/// The token under which the listening socket is watched.
pub(super) const LISTENER: u64 = 0;

/// How many free descriptors in a row are taken for the end.
const GAP: RawFd = 64;

/// All client connections of a listener.
pub(super) struct Connections {
    port: u16,
    pub(super) common: Arc<Common>,
    table: Mutex<Table>,
    /// Signalled when the last exchange has ended.
    idle: Condvar,
    /// Exchanges under way, until their line is in the log; and requests that have arrived.
    exchanges: AtomicUsize,
    requests: AtomicU64,
    /// Which tiny_http server accepts now.
    generation: AtomicU64,
    /// The highest descriptor that was ever seen.
    highest: AtomicI32,
}

#[derive(Default)]
struct Table {
    by_peer: HashMap<SocketAddr, Arc<Connection>>,
    by_token: HashMap<u64, Arc<Connection>>,
    last_token: u64,
}

impl Connections {
    pub(super) fn new(port: u16, common: Common) -> Connections {
        Connections {
            port,
            common: Arc::new(common),
            table: Mutex::default(),
            idle: Condvar::new(),
            exchanges: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            highest: AtomicI32::new(0),
        }
    }

    /// The connection over which a request of this client has come. None if it has ended: what
    /// is known by the address now is another one.
    pub(super) fn of_request(&self, peer: SocketAddr) -> Option<Arc<Connection>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let known = || self.table().by_peer.get(&peer).filter(|known| known.has_peer()).cloned();
        let searched = || {
            self.search();
            known()
        };
        let listed = || {
            // Behind a wide gap between the descriptors, perhaps.
            self.find_highest();
            searched()
        };
        let found = known().or_else(searched).or_else(listed);
        found.filter(|connection| !connection.is_untouched())
    }

    /// The connection with this token.
    pub(super) fn get(&self, token: u64) -> Option<Arc<Connection>> {
        self.table().by_token.get(&token).cloned()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Connection>> {
        self.table().by_token.values().cloned().collect()
    }

    pub(super) fn count(&self) -> usize {
        self.table().by_token.len()
    }

    /// Whether there may be connections that a server of this generation has accepted.
    pub(super) fn has_generation(&self, generation: u64) -> bool {
        self.table().by_token.values().any(|known| known.origin.generation <= generation)
    }

    /// Says that another tiny_http server is about to accept connections.
    pub(super) fn next_generation(&self) -> u64 {
        self.search();
        self.generation.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Forgets a connection that tiny_http has closed, or is about to.
    pub(super) fn remove(&self, connection: &Arc<Connection>) {
        let mut table = self.table();
        table.by_token.remove(&connection.token);
        let peer = connection.origin.peer;
        if table.by_peer.get(&peer).is_some_and(|known| Arc::ptr_eq(known, connection)) {
            table.by_peer.remove(&peer);
        }
        METRICS.connections(table.by_token.len());
    }

    /// Searches for connections that have no record yet, and makes them.
    ///
    /// It probes every number: listing `/proc/self/fd` takes several times as long. The kernel
    /// gives the lowest free number, so a new one is below the highest that was seen, or close
    /// behind it.
    pub(super) fn search(&self) -> Vec<Arc<Connection>> {
        let mut origins: HashMap<SocketAddr, Origin> = HashMap::new();
        let generation = self.generation.load(Ordering::Relaxed);
        let (mut fd, mut highest) = (-1, self.highest.load(Ordering::Relaxed));
        while fd < highest + GAP {
            fd += 1;
            let local = match descriptors::address(fd, Side::Local) {
                Err(error) if error.raw_os_error() == Some(libc::EBADF) => continue,
                local => local.ok().filter(|local| local.port() == self.port),
            };
            highest = highest.max(fd);
            let peer = local.and_then(|_| descriptors::address(fd, Side::Peer).ok());
            let Some((local, peer)) = local.zip(peer) else { continue };
            let origin = Origin { peer, local, library: Vec::new(), generation };
            let origin = origins.entry(peer).or_insert(origin);
            match origin.local == local {
                true => origin.library.push(fd),
                false => descriptors::cut(fd),
            }
        }
        self.highest.fetch_max(highest, Ordering::Relaxed);
        origins.into_values().filter_map(|origin| self.adopt(origin)).collect()
    }

    /// Makes the record of a connection if there is none.
    fn adopt(&self, origin: Origin) -> Option<Arc<Connection>> {
        let mut table = self.table();
        if let Some(known) = table.by_peer.get(&origin.peer).filter(|known| known.has_peer()) {
            if known.origin.local != origin.local {
                origin.library.iter().for_each(|fd| descriptors::cut(*fd));
            }
            return None;
        }
        let fd = *origin.library.first()?;
        let (peer, token) = (origin.peer, table.last_token + 1);
        let socket = match descriptors::duplicate(fd).map(TcpStream::from) {
            // The number may have been given to another file meanwhile.
            Ok(socket) if socket.peer_addr().ok() != Some(peer) => return None,
            Ok(socket) => self.common.epoll.add(&socket, token).map(|()| socket),
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => return None,
            Err(error) => Err(error),
        };
        let Ok(socket) = socket else {
            // Out of descriptors. Nobody is served who cannot be held to the limits.
            descriptors::cut(fd);
            return None;
        };
        let connection = Arc::new(Connection::new(origin, token, socket, Arc::clone(&self.common)));
        table.last_token = token;
        table.by_peer.insert(peer, Arc::clone(&connection));
        table.by_token.insert(token, Arc::clone(&connection));
        METRICS.connections(table.by_token.len());
        Some(connection)
    }

    fn find_highest(&self) {
        let listed = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
        let numbers = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        self.highest.fetch_max(numbers.max().unwrap_or(0), Ordering::Relaxed);
    }

    /// How many requests have arrived in all.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn are_closing(&self) -> bool {
        self.common.closing.load(Ordering::SeqCst)
    }

    /// Counts an exchange as under way.
    pub(super) fn begin_exchange(&self) {
        self.exchanges.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts an exchange as ended, with its line in the log.
    pub(super) fn end_exchange(&self) {
        if self.exchanges.fetch_sub(1, Ordering::SeqCst) == 1 && self.are_closing() {
            drop(self.table());
            self.idle.notify_all();
        }
    }

    /// Waits until no exchange is under way; false if one still is.
    pub(super) fn wait_until_idle(&self, within: Duration) -> bool {
        let is_busy = |_: &mut Table| self.exchanges.load(Ordering::SeqCst) > 0;
        let waited = self.idle.wait_timeout_while(self.table(), within, is_busy);
        !waited.expect("nothing panics under this lock").1.timed_out()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nothing panics under this lock")
    }
}
