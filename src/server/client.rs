//! The clients that have requests under way, one entry for each connection.
//!
//! Also those that are no longer believed: a connection whose framing was ambiguous may
//! have bytes in flight that tiny_http takes for requests. Limits: a connection without a
//! request is not known here; [`super::watch`] sees those. tiny_http tells a connection by
//! its client's address alone, and a client may use a port again at once: a connection is
//! looked up when something needs it, and from then on told from a later one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use super::giants;
use crate::sys::sockets::{self, ClientSocket, Identity};
use crate::wanted::Wanted;

/// How long a connection is remembered as not to be believed, beyond its end: until what
/// tiny_http had read of it has come through its queue, on a machine that is very busy.
const DISTRUST: Duration = Duration::from_secs(30);

/// How long another connection from the same port is not believed either, where it cannot be
/// told from the one that was meant.
const UNSURE: Duration = Duration::from_millis(250);

/// One client's connection, for as long as it has requests under way.
#[derive(Debug)]
pub struct Client {
    peer: SocketAddr,
    clients: Arc<Clients>,
    exchanges: AtomicUsize,
    socket: OnceLock<Lookup>,
    pub(super) upload: Progress,
    order: Mutex<Order>,
    cut_off: AtomicBool,
}

/// The requests of a connection, in the order in which they came.
#[derive(Default)]
struct Order {
    /// How many have been taken to be answered.
    admitted: usize,
    /// Those behind, which will not be answered. They are kept until the connection has ended:
    /// to let go of them would cut it, and another answer is on its way.
    parked: Vec<tiny_http::Request>,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} admitted, {} parked", self.admitted, self.parked.len())
    }
}

/// How the bodies of requests come in, for the watch.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Whether somebody waits for more of one.
    pub(super) awaited: AtomicBool,
    /// Bytes of all of them that were read, without what frames them.
    pub(super) delivered: AtomicU64,
    /// Whether the watch has given them up.
    pub(super) late: AtomicBool,
}

#[derive(Debug)]
enum Lookup {
    Found(ClientSocket),
    /// The connection is closed already.
    Gone,
    /// It is there, but there is no descriptor left to hold it with.
    OutOfReach,
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
            Lookup::OutOfReach => false,
        }
    }

    /// Whether it was us who ended the connection: more requests came than there is room for.
    pub fn was_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed)
    }

    pub(super) fn socket(&self) -> Option<&ClientSocket> {
        match self.lookup() {
            Lookup::Found(socket) => Some(socket),
            Lookup::Gone | Lookup::OutOfReach => None,
        }
    }

    /// Cuts the connection, whatever it takes.
    pub(super) fn cut(&self) {
        match self.lookup() {
            Lookup::Found(socket) => socket.cut(),
            Lookup::OutOfReach => sockets::cut(self.peer, self.clients.local_port),
            // What comes from this port now is another's.
            Lookup::Gone => {}
        }
    }

    /// Tells that the connection was reset: it has lost its name, and is not to be looked up by it.
    pub(super) fn has_reset(&self) {
        let _ = self.socket.set(Lookup::Gone);
    }

    /// Cuts the connection of a client that sends more requests than there is room for.
    pub(super) fn cut_off(&self) {
        self.cut_off.store(true, Ordering::Relaxed);
        self.cut();
    }

    /// Breaks the connection, see [`ClientSocket::reset`].
    pub(super) fn reset(&self) {
        match self.socket() {
            Some(socket) => socket.reset(),
            None => self.cut(),
        }
    }

    /// Ends the connection after what was sent; the client may go on sending.
    pub(super) fn finish(&self) {
        match self.socket() {
            Some(socket) => socket.finish(),
            None => self.cut(),
        }
    }

    /// How many requests of this connection are under way: more than one where the
    /// client pipelines.
    pub(super) fn exchanges(&self) -> usize {
        self.exchanges.load(Ordering::Relaxed)
    }

    /// Believes nothing more of what comes over this connection.
    pub(super) fn distrust(&self) {
        let distrusted = (Instant::now(), self.identity());
        self.clients.present().distrusted.insert(self.peer, distrusted);
    }

    /// Whether nothing more of this connection is believed. One that was opened since then
    /// from the same port is another.
    pub(super) fn is_distrusted(&self) -> bool {
        let distrusted = self.clients.present().distrusted.get(&self.peer).copied();
        let Some((since, identity)) = distrusted else { return false };
        match (self.identity(), identity) {
            // What is left of a connection that has ended.
            (None, _) => true,
            (Some(own), Some(identity)) => own == identity,
            // It had ended then, or could not be held.
            (Some(_), None) => since.elapsed() < UNSURE,
        }
    }

    fn identity(&self) -> Option<Identity> {
        self.socket().and_then(ClientSocket::identity)
    }

    /// Counts one request less: its response has ended. The last one takes the entry with
    /// it, so that a later connection from the same port is not mistaken for this one.
    pub(super) fn leave(&self) {
        let mut present = self.clients.present();
        *present.ended.entry(self.peer).or_default() += 1;
        let is_last = self.exchanges.fetch_sub(1, Ordering::Relaxed) == 1;
        let entry = present.by_peer.get(&self.peer);
        if is_last && entry.is_some_and(|entry| std::ptr::eq(&raw const **entry, self)) {
            present.by_peer.remove(&self.peer);
        }
    }

    /// Whether the connection is known to have ended: what comes from the same port now comes
    /// over another.
    fn is_over(&self) -> bool {
        match self.socket.get() {
            Some(Lookup::Found(socket)) => socket.has_ended(),
            Some(Lookup::Gone) => true,
            Some(Lookup::OutOfReach) | None => false,
        }
    }

    /// Counts one request more that is to be answered, and tells its number; none behind one
    /// that is parked.
    pub(super) fn admit(&self) -> Option<usize> {
        let mut order = self.order();
        let comes_in_turn = order.parked.is_empty();
        order.admitted += usize::from(comes_in_turn);
        comes_in_turn.then_some(order.admitted)
    }

    /// Whether the connection ends with the answer to the request of this number: it is the
    /// last, and the program is about to end, or those behind it are parked.
    pub(super) fn ends_with(&self, number: usize) -> bool {
        let order = self.order();
        (self.clients.are_closing() || !order.parked.is_empty()) && order.admitted == number
    }

    /// Whether there are requests that will not be answered, which the client may still be sending.
    pub(super) fn has_parked(&self) -> bool {
        !self.order().parked.is_empty()
    }

    /// Keeps a request that is not believed until the answers in front of it are out; tells
    /// how many there are of those.
    pub(super) fn park(&self, request: tiny_http::Request) -> usize {
        let mut order = self.order();
        order.parked.push(request);
        order.parked.len()
    }

    /// Keeps a request that was admitted and cannot be answered; gives it back where others
    /// are behind it, which would wait for it.
    pub(super) fn park_last(
        &self,
        number: usize,
        request: tiny_http::Request,
    ) -> Option<tiny_http::Request> {
        let mut order = self.order();
        if order.admitted != number || number == 1 {
            return Some(request);
        }
        order.admitted -= 1;
        order.parked.push(request);
        None
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().expect("nothing panics under this lock")
    }

    fn lookup(&self) -> &Lookup {
        self.socket.get_or_init(|| match ClientSocket::find(self.peer, self.clients.local_port) {
            Ok(Some(socket)) => Lookup::Found(socket),
            Ok(None) => Lookup::Gone,
            Err(error) => {
                log::warn!("msg=\"a client's connection cannot be held\" error=\"{error}\"");
                Lookup::OutOfReach
            }
        })
    }
}

impl Wanted for Client {
    fn is_wanted(&self) -> bool {
        !self.left()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let order = std::mem::take(&mut *self.order());
        for request in order.parked {
            giants::let_go(request, self);
        }
    }
}

/// All clients with requests under way.
#[derive(Debug)]
pub(super) struct Clients {
    local_port: u16,
    present: Mutex<Present>,
    changed: Condvar,
    /// Whether the program is about to end.
    closing: AtomicBool,
}

#[derive(Debug, Default)]
struct Present {
    by_peer: HashMap<SocketAddr, Arc<Client>>,
    /// How many requests of each connection have ended.
    ended: HashMap<SocketAddr, u64>,
    /// How many requests are being served.
    serving: usize,
    /// How many requests have come in all.
    entered: u64,
    /// Since when, and which socket.
    distrusted: HashMap<SocketAddr, (Instant, Option<Identity>)>,
}

impl Clients {
    pub(super) fn new(local_port: u16) -> Clients {
        Clients {
            local_port,
            present: Mutex::default(),
            changed: Condvar::new(),
            closing: AtomicBool::new(false),
        }
    }

    /// Says that the program is about to end.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub(super) fn are_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Counts one more request of this client.
    pub(super) fn enter(self: &Arc<Self>, peer: SocketAddr) -> Arc<Client> {
        let mut present = self.present();
        if present.by_peer.get(&peer).is_some_and(|client| client.is_over()) {
            present.by_peer.remove(&peer);
        }
        let client = present.by_peer.entry(peer).or_insert_with(|| {
            Arc::new(Client {
                peer,
                clients: Arc::clone(self),
                exchanges: AtomicUsize::new(0),
                socket: OnceLock::new(),
                upload: Progress::default(),
                order: Mutex::default(),
                cut_off: AtomicBool::new(false),
            })
        });
        client.exchanges.fetch_add(1, Ordering::Relaxed);
        let client = Arc::clone(client);
        let first = present.by_peer.len() == 1;
        present.entered += 1;
        present.serving += 1;
        drop(present);
        if first {
            self.changed.notify_all();
        }
        client
    }

    /// Tells that a request has been served to the end, with its line in the log.
    pub(super) fn served(&self) {
        let mut present = self.present();
        present.serving -= 1;
        let none = present.serving == 0;
        drop(present);
        if none {
            self.changed.notify_all();
        }
    }

    /// What is known of each connection's requests: the one under way, and how many have
    /// ended.
    pub(super) fn snapshot(&self) -> HashMap<SocketAddr, (Option<Arc<Client>>, u64)> {
        let present = self.present();
        let under_way = present.by_peer.iter().map(|(peer, client)| (peer, Some(client)));
        let ended = present.ended.keys().map(|peer| (peer, None));
        let mut snapshot = HashMap::new();
        for (peer, client) in ended.chain(under_way) {
            let ended = present.ended.get(peer).copied().unwrap_or_default();
            snapshot.insert(*peer, (client.cloned(), ended));
        }
        snapshot
    }

    /// How many requests have come in all.
    pub(super) fn entered(&self) -> u64 {
        self.present().entered
    }

    /// Whether a connection has no request under way and none has ended since the snapshot.
    pub(super) fn is_idle_since(&self, peer: SocketAddr, ended: u64) -> bool {
        let present = self.present();
        let now = present.ended.get(&peer).copied().unwrap_or_default();
        !present.by_peer.contains_key(&peer) && now == ended
    }

    /// Forgets what is kept of connections: the counts of those that are `gone`, and the
    /// distrust of all that are not `open`.
    pub(super) fn forget(
        &self,
        gone: impl Fn(&SocketAddr) -> bool,
        open: impl Fn(&SocketAddr) -> bool,
    ) {
        let mut present = self.present();
        present.ended.retain(|peer, _| !gone(peer));
        present.distrusted.retain(|peer, (since, _)| open(peer) || since.elapsed() < DISTRUST);
    }

    /// Waits until no request is under way; says whether that came about.
    pub(super) fn wait_until_none(&self, within: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.present(), within, |present| !present.by_peer.is_empty());
        waited.expect("nothing panics under this lock").0.by_peer.is_empty()
    }

    /// Waits for a while, but no longer than until a request comes.
    pub(super) fn wait_for_request(&self, within: Duration) {
        let present = self.present();
        let before = present.entered;
        let waited =
            self.changed.wait_timeout_while(present, within, |present| present.entered == before);
        drop(waited.expect("nothing panics under this lock"));
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().expect("nothing panics under this lock")
    }
}
