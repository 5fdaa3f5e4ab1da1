//! What ureq does not tell of a connection, or tells wrongly.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::call::on_call;
use super::{is_timeout, is_to_proxy};
use crate::sys::sockets::{Pending, pending};

/// How much of a request is sent before the first look whether it is answered already,
/// in bytes.
const UNANSWERED: usize = 64 * 1024;

/// How often it is read for that at a time: an upstream may send interim responses for ever.
pub(super) const LOOKS: usize = 16;

/// Opens nothing: it tells that a connection is being made, until [`Truth`] tells that it has
/// been, with all that belongs to it. An HTTP proxy has been asked by then, and TLS is spoken.
#[derive(Debug)]
pub(super) struct Beginning;

impl<In: Transport> Connector<In> for Beginning {
    type Out = In;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        on_call(|call| call.begin_connecting(&details.timeout));
        Ok(chained)
    }
}

/// Passes everything on, but for two things. Errors that ureq would take for the end of a
/// body that ends with its connection are made plain: a reset, and TLS that stops without
/// saying so. And an upstream that answers while the request is still being sent is heard:
/// once it closes, the kernel throws away what was not read.
#[derive(Debug)]
pub(super) struct Truth {
    pub(super) has_proxy: bool,
}

impl<In: Transport> Connector<In> for Truth {
    type Out = TruthfulTransport<In>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let mut socket = None;
        // What comes from a proxy itself may be TLS that it passes on.
        let is_to_proxy = is_to_proxy(details, self.has_proxy);
        on_call(|call| {
            call.end_connecting();
            call.connected.set(true);
            if !is_to_proxy {
                socket = call.socket.take();
            }
        });
        Ok(chained.map(|inner| TruthfulTransport {
            inner,
            socket,
            unanswered: 0,
            deaf: false,
            unseen: false,
        }))
    }
}

#[derive(Debug)]
pub(super) struct TruthfulTransport<T> {
    inner: T,
    /// None on the way to an HTTP proxy.
    socket: Option<Arc<TcpStream>>,
    /// Bytes that were sent since the upstream last said something.
    unanswered: usize,
    /// The request was refused before all of it was sent: nothing more is.
    deaf: bool,
    /// The answer has begun, and ureq has not looked at it yet.
    unseen: bool,
}

impl<T: Transport> TruthfulTransport<T> {
    /// What the upstream has begun to answer. Under TLS, what has arrived may be for TLS
    /// alone, and is taken in by this.
    fn early_answer(&mut self, timeout: NextTimeout) -> Early {
        let Some(socket) = self.socket.clone() else { return Early::None };
        let mut early = Early::None;
        for _ in 0..LOOKS {
            let reads = pending(&socket) == Pending::Bytes
                && matches!(self.read_arrived(timeout), Ok(true));
            early = early_answer(self.inner.buffers());
            if early != Early::None || !reads {
                break;
            }
        }
        early
    }

    fn read_arrived(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        on_call(|call| call.at_once.set(true));
        let read = self.inner.await_input(timeout);
        on_call(|call| call.at_once.set(false));
        read
    }
}

impl<T: Transport> Transport for TruthfulTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if !self.unseen && self.unanswered >= UNANSWERED {
            let early = self.early_answer(timeout);
            self.unseen = early != Early::None;
            if early == Early::Refusal {
                self.deaf = true;
                on_call(|call| call.upload_refused.set(true));
            }
        }
        if self.deaf {
            return Ok(());
        }
        self.unanswered += amount;
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.unanswered = 0;
        // What came while ureq was sending is not known to it as progress.
        if std::mem::take(&mut self.unseen) && !self.inner.buffers().input().is_empty() {
            return Ok(true);
        }
        self.inner.await_input(timeout).map_err(|error| match error {
            Error::Io(error) if ends_a_body(error.kind()) => io::Error::other(Broken(error)).into(),
            other => other,
        })
    }

    fn is_open(&mut self) -> bool {
        // What has arrived under TLS may be for TLS alone; anything else belongs to no request.
        let is_clean = !self.inner.is_tls() || {
            let read = self.read_arrived(NextTimeout::default());
            let nothing = read.is_err_and(|error| is_timeout(&error).is_some());
            nothing && self.inner.buffers().input().is_empty()
        };
        is_clean && !self.deaf && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// What an upstream says to a request that is still being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
    /// Nothing, or not enough to tell.
    None,
    /// That it succeeds. The rest of the request is wanted: who echoes or transcribes one may
    /// answer while it reads.
    Success,
    /// Anything else, for which the rest of the request is of no use.
    Refusal,
}

/// How the heads begin that announce nothing but that the answer is still to come.
const INFORMATIONAL: &[u8] = b"HTTP/1.1 1";

/// What was read of the answer itself. What comes in front of it (100, 102, 103) is dropped.
pub(super) fn early_answer(buffers: &mut dyn Buffers) -> Early {
    loop {
        let input = buffers.input();
        if input.len() < INFORMATIONAL.len() {
            return if INFORMATIONAL.starts_with(input) { Early::None } else { Early::Refusal };
        }
        if !input.starts_with(INFORMATIONAL) {
            let is_success = input[INFORMATIONAL.len() - 1] == b'2';
            return if is_success { Early::Success } else { Early::Refusal };
        }
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Early::None;
        };
        buffers.input_consume(end + 4);
    }
}

/// Whether an error says that the connection broke.
pub fn is_break(error: &Error) -> bool {
    match error {
        Error::Io(error) => {
            let broken = error.get_ref().is_some_and(|inner| inner.is::<Broken>());
            broken || ends_a_body(error.kind())
        }
        _ => false,
    }
}

fn ends_a_body(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, UnexpectedEof | ConnectionAborted | ConnectionReset)
}

/// A connection that broke while it was read.
#[derive(Debug)]
struct Broken(io::Error);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Broken {}
