//! Facts about a connection that ureq does not report, or reports wrongly.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::call;
use super::early::{Early, look, read_arrived};
use super::switched::{Switch, Switched};
use super::timing::timeout_of;
use super::tls::Layer;

/// How much of a request is sent before its response is first looked for, in bytes.
const UNANSWERED: usize = 64 * 1024;

/// Whether a connection is to the HTTP proxy itself: ureq opens one on the way to a tunnel.
pub(super) fn is_to_proxy(details: &ConnectionDetails<'_>, has_proxy: bool) -> bool {
    has_proxy && details.config.proxy().is_none()
}

/// Opens nothing. It notes that a connection is being established, which ends at [`Truth`]:
/// what is between them, a tunnel through a proxy and TLS, is part of that.
#[derive(Debug)]
pub(super) struct Beginning;

impl<In: Transport> Connector<In> for Beginning {
    type Out = In;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        call::begin_connecting(&details.timeout);
        Ok(chained)
    }
}

/// Corrects two faults of ureq. It takes errors for the end of a body that ends with its
/// connection: a reset, and TLS that stops without a close_notify. And it does not read while
/// it sends, so that it loses a response that comes early.
#[derive(Debug)]
pub(super) struct Truth {
    pub(super) has_proxy: bool,
}

impl<In: Transport> Connector<Layer<In>> for Truth {
    type Out = TruthfulTransport<Layer<In>>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<Layer<In>>,
    ) -> Result<Option<Self::Out>, Error> {
        call::end_connecting();
        call::set_connected();
        // A connection to a proxy has no response of its own: within it there may be TLS.
        let is_to_proxy = is_to_proxy(details, self.has_proxy);
        let socket = if is_to_proxy { None } else { call::take_socket() };
        Ok(chained.map(|inner| TruthfulTransport { inner, socket, unanswered: 0 }))
    }
}

#[derive(Debug)]
pub(super) struct TruthfulTransport<T> {
    inner: T,
    /// None on the way to an HTTP proxy.
    socket: Option<Arc<TcpStream>>,
    /// Bytes that were sent since the response was last waited for.
    unanswered: usize,
}

impl<T: Transport> Transport for TruthfulTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let is_due = self.unanswered >= UNANSWERED && !call::response_begun();
        if let Some(socket) = self.socket.as_ref().filter(|_| is_due) {
            if look(&mut self.inner, socket) == Early::Refusal {
                call::refuse_upload();
            }
        }
        if call::upload_refused() {
            return Ok(());
        }
        self.unanswered += amount;
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.unanswered = 0;
        // ureq does not know of what was read while it sent.
        if call::set_response_begun(false) && !self.inner.buffers().input().is_empty() {
            return Ok(true);
        }
        self.inner.await_input(timeout).map_err(|error| match error {
            Error::Io(error) if ends_a_body(error.kind()) => io::Error::other(Broken(error)).into(),
            other => other,
        })
    }

    fn is_open(&mut self) -> bool {
        // Under TLS, messages of its own may have arrived. Anything else belongs to no request.
        let is_clean = !self.inner.is_tls() || {
            let is_silent = |error| timeout_of(&error).is_some();
            read_arrived(&mut self.inner).is_err_and(is_silent)
                && self.inner.buffers().input().is_empty()
        };
        is_clean && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

impl<In: Transport> Switch for TruthfulTransport<Layer<In>> {
    fn switch(self) -> Option<Switched> {
        let (session, arrived) = self.inner.take_apart();
        Switched::new(self.socket?, session, arrived).ok()
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
