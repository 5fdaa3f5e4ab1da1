//! All client connections of a listener, and how they are found.
//!
//! A search probes the process's descriptors for sockets with our local port, and makes a record
//! for each connection that has none. Limits: a search costs a system call for each open
//! descriptor. Of two connections from one client address and port to two addresses of this
//! machine, which tiny_http cannot distinguish, one is cut.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::connection::{Common, Connection, Origin};
use crate::metrics::METRICS;
use crate::sys::descriptors;
use crate::sys::epoll::Epoll;

/// The token of the listening socket in epoll.
pub(super) const LISTENER: u64 = 0;

/// How many free descriptors in a row count as the end of those in use, behind the last one of a
/// connection.
const GAP: usize = 8;

/// All client connections of a listener.
pub(super) struct Connections {
    port: u16,
    /// The listening socket and all connections.
    pub(super) epoll: Epoll,
    pub(super) common: Arc<Common>,
    /// Exchanges under way, until their line is in the log.
    pub(super) exchanges: AtomicUsize,
    /// Requests that have arrived.
    pub(super) requests: AtomicU64,
    /// The descriptors below are older than all connections. One of them may be closed and its
    /// number be used again, for a connection that only a search from 0 finds.
    first: RawFd,
    /// The highest descriptor of a connection at the last search.
    highest: AtomicI32,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_peer: HashMap<SocketAddr, Arc<Connection>>,
    by_token: HashMap<u64, Arc<Connection>>,
    last_token: u64,
}

impl Connections {
    pub(super) fn new(port: u16, first: RawFd, epoll: Epoll, common: Common) -> Connections {
        Connections {
            port,
            first,
            epoll,
            common: Arc::new(common),
            exchanges: AtomicUsize::default(),
            requests: AtomicU64::default(),
            highest: AtomicI32::default(),
            table: Mutex::default(),
        }
    }

    /// The connection over which a request of this client has come; none if it has ended, and
    /// the address belongs to a new connection.
    pub(super) fn of_request(&self, peer: SocketAddr) -> Option<Arc<Connection>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let known = || self.table().by_peer.get(&peer).filter(|known| known.has_peer()).cloned();
        let search = || {
            self.search_but(&self.known(), self.first, Some(peer));
            known()
        };
        let search_all = || {
            self.search_all();
            known()
        };
        let found = known().or_else(search).or_else(search_all);
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

    pub(super) fn are_closing(&self) -> bool {
        self.common.closing.get().is_some()
    }

    /// Forgets a connection that tiny_http has closed, or is about to.
    pub(super) fn remove(&self, connection: &Arc<Connection>) {
        let mut table = self.table();
        table.by_token.remove(&connection.token);
        // tiny_http may have descriptors that would keep it in the set.
        self.epoll.remove(&connection.socket);
        let peer = connection.origin.peer;
        if table.by_peer.get(&peer).is_some_and(|known| Arc::ptr_eq(known, connection)) {
            table.by_peer.remove(&peer);
        }
        METRICS.connections(table.by_token.len());
    }

    /// Makes records of the connections that have none, and returns those.
    ///
    /// It probes the numbers of no known connection, since listing `/proc/self/fd` takes several
    /// times as long. The kernel gives the lowest free number, so a new one is below the highest
    /// one of a connection, or close behind it. An inherited descriptor may be far above.
    pub(super) fn search(&self) -> Vec<Arc<Connection>> {
        self.search_but(&self.known(), 0, None)
    }

    /// The descriptors of the connections that have records, sorted.
    fn known(&self) -> Vec<RawFd> {
        let table = self.table();
        let all = table.by_token.values().flat_map(|connection| connection.descriptors());
        let mut known: Vec<_> = all.collect();
        known.sort_unstable();
        known
    }

    /// [`Connections::search`] that probes all numbers: tiny_http may have closed one of a known
    /// connection, and another connection have got it.
    pub(super) fn search_all(&self) -> Vec<Arc<Connection>> {
        let listed = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
        let numbers = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        if let Some(highest) = numbers.max() {
            self.highest.store(highest, Ordering::Relaxed);
        }
        self.search_but(&[], 0, None)
    }

    /// Probes all numbers from `first` on but those in `known`, or fewer if the connection of
    /// `wanted` was found.
    fn search_but(
        &self,
        known: &[RawFd],
        first: RawFd,
        wanted: Option<SocketAddr>,
    ) -> Vec<Arc<Connection>> {
        let mut origins: HashMap<SocketAddr, Origin> = HashMap::new();
        let mut highest = known.last().copied().unwrap_or(0);
        let before = self.highest.load(Ordering::Relaxed);
        let mut free = 0;
        for fd in first.. {
            if free >= GAP && fd > highest.max(before) {
                self.highest.store(highest, Ordering::Relaxed);
                break;
            }
            if known.binary_search(&fd).is_ok() {
                free = 0;
                continue;
            }
            let socket = descriptors::socket(fd);
            let local = match socket.local_addr() {
                Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
                    free += 1;
                    continue;
                }
                local => local.ok().filter(|local| local.port() == self.port),
            };
            free = 0;
            let Some(local) = local else { continue };
            highest = highest.max(fd);
            let Ok(peer) = socket.peer_addr() else { continue };
            let origin = Origin { peer, local, library: Vec::new() };
            let origin = origins.entry(peer).or_insert(origin);
            match origin.local == local {
                true => origin.library.push(fd),
                false => cut(fd, peer),
            }
            if wanted == Some(peer) && origin.library.len() == 2 {
                self.highest.fetch_max(highest, Ordering::Relaxed);
                break;
            }
        }
        origins.into_values().filter_map(|origin| self.adopt(origin)).collect()
    }

    /// Makes the record of a connection if there is none.
    fn adopt(&self, mut origin: Origin) -> Option<Arc<Connection>> {
        let mut table = self.table();
        if let Some(known) = table.by_peer.get(&origin.peer).filter(|known| known.has_peer()) {
            if known.origin.local != origin.local {
                origin.library.iter().for_each(|fd| cut(*fd, origin.peer));
            }
            return None;
        }
        let (peer, token) = (origin.peer, table.last_token + 1);
        // tiny_http closes one of the two behind the last request, while the other is in use. The number
        // may belong to another file by now.
        let duplicate = |fd: &RawFd| match descriptors::duplicate(*fd).map(TcpStream::from) {
            Ok(socket) if socket.peer_addr().ok() != Some(peer) => None,
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => None,
            duplicated => Some(duplicated),
        };
        let socket = origin.library.iter().find_map(duplicate)?;
        let added = socket.and_then(|socket| self.epoll.add(&socket, token).map(|()| socket));
        let Ok(socket) = added else {
            // Out of file descriptors. Without a record no limit would hold for it.
            origin.library.iter().for_each(|fd| cut(*fd, peer));
            return None;
        };
        // tiny_http may have closed one of its own in between, whose number is ours by now.
        origin.library.retain(|fd| *fd != socket.as_raw_fd());
        let connection = Arc::new(Connection::new(origin, token, socket, Arc::clone(&self.common)));
        table.last_token = token;
        table.by_peer.insert(peer, Arc::clone(&connection));
        table.by_token.insert(token, Arc::clone(&connection));
        METRICS.connections(table.by_token.len());
        Some(connection)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nothing panics under this lock")
    }
}

/// Cuts a connection that has no record, if the descriptor is still one of it.
fn cut(fd: RawFd, peer: SocketAddr) {
    let socket = descriptors::socket(fd);
    if socket.peer_addr().ok() == Some(peer) {
        let _ = socket.shutdown(Shutdown::Both);
    }
}
