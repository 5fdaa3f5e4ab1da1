//! What the transport and the exchange whose thread it works on tell each other.
//!
//! ureq has no way to hand a value through to a transport that it has kept, so the thread
//! is what connects the two.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ureq::unversioned::transport::NextTimeout;
use ureq::{Error, Timeout};

use super::{SLICE, deadline};
use crate::elastic;
use crate::wanted::Wanted;

/// What the transport and the exchange whose thread it works on tell each other.
#[derive(Debug)]
pub struct Call {
    pub(super) client: Option<Arc<dyn Wanted>>,
    pub(super) room: Room,
    /// How many connections are being made: behind an HTTP proxy there is one within the other.
    pub(super) connecting: Cell<u32>,
    /// By when, and which deadline that is. ureq tells each read anew how long all may take.
    pub(super) connects_until: Cell<Option<(Instant, Timeout)>>,
    pub(super) connected: Cell<bool>,
    pub(super) client_left: Cell<bool>,
    pub(super) upload_refused: Cell<bool>,
    /// Whether only a new connection will do.
    pub(super) renewed: Cell<bool>,
    /// Whether a read is only for what has arrived already.
    pub(super) at_once: Cell<bool>,
    /// When it was last asked whether the client is still there.
    pub(super) asked: Cell<Instant>,
    /// The socket of the connection that is being made.
    pub(super) socket: RefCell<Option<Arc<TcpStream>>>,
}

/// What a request needs of the buffers, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// For its head, and as much of its body as is sent at once.
    pub output: usize,
    /// For a body that is put into chunks.
    pub scratch: usize,
    /// Whether all of it is there: then its head waits for its body.
    pub holds: bool,
}

thread_local! {
    /// The call that this thread works on. ureq has no way to hand a value through to a
    /// transport that it took from its pool.
    static CALL: RefCell<Option<Rc<Call>>> = const { RefCell::new(None) };
}

impl Call {
    pub fn new(client: Option<Arc<dyn Wanted>>, room: Room) -> Rc<Call> {
        Rc::new(Call {
            client,
            room,
            connecting: Cell::new(0),
            connects_until: Cell::new(None),
            connected: Cell::new(false),
            client_left: Cell::new(false),
            upload_refused: Cell::new(false),
            renewed: Cell::new(false),
            at_once: Cell::new(false),
            asked: Cell::new(Instant::now()),
            socket: RefCell::default(),
        })
    }

    /// Does some work of this call: the transport knows it by the thread.
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

    /// The same, where reads are only for what has arrived: else they time out at once.
    pub fn without_waiting<T>(self: &Rc<Self>, work: impl FnOnce() -> T) -> T {
        self.at_once.set(true);
        let done = self.during(work);
        self.at_once.set(false);
        done
    }

    /// Whether a failure came while the connection was being made.
    pub fn connecting(&self) -> bool {
        self.connecting.get() > 0
    }

    pub(super) fn begin_connecting(&self, timeout: &NextTimeout) {
        if !self.connecting() {
            self.connects_until.set(deadline(timeout).map(|until| (until, timeout.reason)));
        }
        self.connecting.set(self.connecting.get() + 1);
    }

    pub(super) fn end_connecting(&self) {
        self.connecting.set(self.connecting.get().saturating_sub(1));
    }

    /// Whether a connection was made for this call, and none taken from the pool.
    pub fn connected(&self) -> bool {
        self.connected.get()
    }

    /// Asks for a new connection: one that was open already has broken.
    pub fn renew(&self) {
        self.renewed.set(true);
    }

    /// Whether the transport gave up because the client had left.
    pub fn client_left(&self) -> bool {
        self.client_left.get()
    }

    /// Whether the upstream no longer reads the request: nothing more of it is sent.
    pub fn upload_refused(&self) -> bool {
        self.upload_refused.get()
    }
}

/// Whether the request that is being sent needs a new connection.
pub(super) fn is_renewed() -> bool {
    let mut renewed = false;
    on_call(|call| renewed = call.renewed.get());
    renewed
}

/// What the request that is being sent needs of the buffers.
pub(super) fn room() -> Room {
    let mut room = Room { output: elastic::LEAST, scratch: 0, holds: true };
    on_call(|call| room = call.room);
    room
}

/// Tells the call that this thread works on something, or asks it.
pub(super) fn on_call(tell: impl FnOnce(&Call)) {
    CALL.with_borrow(|call| call.as_deref().map(tell));
}

/// Whether the connection that is being made, if there is one, may still take time: a proxy, or
/// a server that speaks TLS, may drip.
pub(super) fn connects_in_time() -> Result<(), Error> {
    let mut late = None;
    on_call(|call| {
        let until = call.connects_until.get().filter(|_| call.connecting());
        late = until.filter(|(until, _)| *until <= Instant::now());
    });
    late.map_or(Ok(()), |(_, reason)| Err(Error::Timeout(reason)))
}

/// Asks, where that was not done for a slice, whether the exchange is still wanted: an
/// upstream may drip for ever.
pub(super) fn still_wanted_now_and_then() -> Result<(), Error> {
    let mut is_due = false;
    on_call(|call| is_due = call.asked.get().elapsed() >= SLICE);
    if is_due { still_wanted() } else { Ok(()) }
}

/// Asks whether the exchange is still wanted.
pub(super) fn still_wanted() -> Result<(), Error> {
    let mut left = false;
    on_call(|call| {
        call.asked.set(Instant::now());
        left = call.client.as_ref().is_some_and(|client| !client.is_wanted());
        call.client_left.set(left);
    });
    if left { Err(io::Error::other("the client left").into()) } else { Ok(()) }
}
