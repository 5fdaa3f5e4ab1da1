//! The state that an exchange shares with the transport it uses.
//!
//! ureq cannot hand a value to a transport that was kept for reuse. Both run on the same
//! thread, so a thread-local variable connects them.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ureq::unversioned::transport::NextTimeout;
use ureq::{Error, Timeout};

use super::switched::Switched;
use super::timing::{SLICE, deadline};
use crate::wanted::Wanted;

/// One request and its response, as the transport sees them.
pub struct Call {
    client: Option<Arc<dyn Wanted>>,
    room: Room,
    /// How many connections are being established: to a proxy, and through it.
    connecting: Cell<u32>,
    /// ureq restarts this timeout for each read.
    connect_deadline: Cell<Option<Deadline>>,
    has_connected: Cell<bool>,
    client_left: Cell<bool>,
    /// Whether the upstream refused the request before all of it was sent, or no longer reads.
    upload_refused: Cell<bool>,
    /// Whether the response began while the request was sent, and ureq has not seen that yet.
    response_begun: Cell<bool>,
    /// Whether only a new connection will do.
    renewed: Cell<bool>,
    /// Whether reads return only what has arrived.
    at_once: Cell<bool>,
    /// When the client was last checked.
    checked: Cell<Instant>,
    /// The socket of the connection that is being established.
    socket: RefCell<Option<Arc<TcpStream>>>,
    /// Whether the connection is to be kept if it switches to another protocol.
    switches: bool,
    /// That connection.
    switched: RefCell<Option<Box<Switched>>>,
}

#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    reason: Timeout,
}

/// The buffers that a request needs, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    /// For its head and as much of its body as is sent at once.
    pub output: usize,
    /// For a body that is sent in chunks.
    pub scratch: usize,
    /// Whether the whole request is in memory, so that its head is sent together with its body.
    pub holds: bool,
}

thread_local! {
    static CALL: RefCell<Option<Rc<Call>>> = const { RefCell::new(None) };
}

impl Call {
    pub fn new(client: Option<Arc<dyn Wanted>>, room: Room, switches: bool) -> Rc<Call> {
        Rc::new(Call {
            client,
            room,
            connecting: Cell::new(0),
            connect_deadline: Cell::new(None),
            has_connected: Cell::new(false),
            client_left: Cell::new(false),
            upload_refused: Cell::new(false),
            response_begun: Cell::new(false),
            renewed: Cell::new(false),
            at_once: Cell::new(false),
            checked: Cell::new(Instant::now()),
            socket: RefCell::default(),
            switches,
            switched: RefCell::default(),
        })
    }

    /// Does some work with this call as the current one of the thread.
    pub fn during<T>(self: &Rc<Self>, work: impl FnOnce() -> T) -> T {
        struct Restore(Option<Rc<Call>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CALL.set(self.0.take());
            }
        }
        let _restore = Restore(CALL.replace(Some(Rc::clone(self))));
        self.connecting.set(0);
        work()
    }

    /// The same, but a read times out at once if nothing has arrived.
    pub fn without_waiting<T>(self: &Rc<Self>, work: impl FnOnce() -> T) -> T {
        self.during(|| at_once(work))
    }

    /// The connection that has switched to another protocol.
    pub fn take_switched(&self) -> Option<Box<Switched>> {
        self.switched.take()
    }

    /// Whether a connection was being established when the work ended.
    pub fn is_connecting(&self) -> bool {
        self.connecting.get() > 0
    }

    /// Whether a new connection was established, and none reused.
    pub fn has_connected(&self) -> bool {
        self.has_connected.get()
    }

    /// Starts over with a new connection, since a kept one broke.
    pub fn renew(&self) {
        self.renewed.set(true);
        self.upload_refused.set(false);
        self.response_begun.set(false);
    }

    /// Whether the work ended because the client left.
    pub fn client_left(&self) -> bool {
        self.client_left.get()
    }

    /// Whether the rest of the request is not sent.
    pub fn upload_refused(&self) -> bool {
        self.upload_refused.get()
    }
}

/// Reads or changes the current call of this thread. There is one whenever ureq works.
fn current<T: Default>(ask: impl FnOnce(&Call) -> T) -> T {
    CALL.with_borrow(|call| call.as_deref().map(ask).unwrap_or_default())
}

pub(super) fn begin_connecting(timeout: &NextTimeout) {
    current(|call| {
        if !call.is_connecting() {
            let reason = timeout.reason;
            call.connect_deadline.set(deadline(timeout).map(|at| Deadline { at, reason }));
        }
        call.connecting.set(call.connecting.get() + 1);
    });
}

pub(super) fn end_connecting() {
    current(|call| call.connecting.set(call.connecting.get().saturating_sub(1)));
}

pub(super) fn set_connected() {
    current(|call| call.has_connected.set(true));
}

/// Keeps the socket of a connection that is being established for the layers above TCP.
pub(super) fn put_socket(socket: Arc<TcpStream>) {
    current(|call| call.socket.replace(Some(socket)));
}

pub(super) fn take_socket() -> Option<Arc<TcpStream>> {
    current(|call| call.socket.take())
}

/// Whether a connection that ureq drops may have switched to another protocol.
pub(super) fn switches() -> bool {
    current(|call| call.switches)
}

pub(super) fn put_switched(switched: Box<Switched>) {
    current(|call| call.switched.replace(Some(switched)));
}

/// Whether kept connections must not be used.
pub(super) fn is_renewed() -> bool {
    current(|call| call.renewed.get())
}

/// The buffers that the request needs.
pub(super) fn room() -> Room {
    current(|call| call.room)
}

/// Whether reads return only what has arrived.
pub(super) fn is_at_once() -> bool {
    current(|call| call.at_once.get())
}

/// Does some work during which reads return only what has arrived.
pub(super) fn at_once<T>(work: impl FnOnce() -> T) -> T {
    current(|call| call.at_once.set(true));
    let done = work();
    current(|call| call.at_once.set(false));
    done
}

/// Drops the rest of the request, so that ureq goes on to read the response.
pub(super) fn refuse_upload() {
    current(|call| call.upload_refused.set(true));
}

pub(super) fn upload_refused() -> bool {
    current(Call::upload_refused)
}

/// Sets whether the response has begun; returns what was set before.
pub(super) fn set_response_begun(begun: bool) -> bool {
    current(|call| call.response_begun.replace(begun))
}

pub(super) fn response_begun() -> bool {
    current(|call| call.response_begun.get())
}

/// Fails once establishing a connection has taken too long: a proxy, or a server that speaks
/// TLS, may send one byte at a time.
pub(super) fn check_connect_deadline() -> Result<(), Error> {
    let deadline = current(|call| call.connect_deadline.get().filter(|_| call.is_connecting()));
    match deadline {
        Some(Deadline { at, reason }) if at <= Instant::now() => Err(Error::Timeout(reason)),
        _ => Ok(()),
    }
}

/// [`check_client`], if a slice has passed since the last check: an upstream may go on sending
/// for ever.
pub(super) fn check_client_now_and_then() -> Result<(), Error> {
    let is_due = current(|call| call.checked.get().elapsed() >= SLICE);
    if is_due { check_client() } else { Ok(()) }
}

/// Fails once the client has left.
pub(super) fn check_client() -> Result<(), Error> {
    let left = current(|call| {
        call.checked.set(Instant::now());
        let left = call.client.as_ref().is_some_and(|client| !client.is_wanted());
        call.client_left.set(left);
        left
    });
    if left { Err(io::Error::other("the client left").into()) } else { Ok(()) }
}
