//! Connections to an upstream that keep an eye on the client.
//!
//! ureq waits for an upstream until a deadline; the client of an exchange may leave long
//! before. So sockets are waited for in slices, and between them the exchange is asked
//! whether it is still wanted. Two more things that ureq does not tell are told here: a
//! connection that breaks is never taken for the end of a body, and an upstream that
//! answers without reading the whole request (413) is heard. Limits: a look-up of a name
//! that nobody waits for goes on to its end; `ureq::unversioned` is not covered by semver,
//! hence the pinned version.

mod buffers;
mod call;
mod connect;
mod idle;
mod names;
mod tcp;
mod truth;

use std::time::{Duration, Instant};

use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector,
};
use ureq::{Error, Timeout};

use self::idle::Reuse;
use self::tcp::Tcp;
use self::truth::{Beginning, Truth};

pub(super) use self::call::{Call, Room};
pub(super) use self::names::Addresses;
pub(super) use self::truth::is_break;

/// How long the socket is waited for before the exchange is asked again.
const SLICE: Duration = Duration::from_millis(500);

/// The chain of connectors: an HTTP proxy where one is set, TCP, TLS, and the truth; before
/// all of them, what is open already.
pub(super) fn connector(idle_timeout: Duration, has_proxy: bool) -> impl Connector {
    let chain =
        ().chain(Beginning)
            .chain(ConnectProxyConnector::default())
            .chain(Tcp { idle_timeout, has_proxy })
            .chain(RustlsConnector::default())
            .chain(Truth { has_proxy });
    Reuse::new(chain, has_proxy)
}

/// Whether a connection is to the HTTP proxy itself: ureq asks for one on the way to a tunnel.
fn is_to_proxy(details: &ConnectionDetails<'_>, has_proxy: bool) -> bool {
    has_proxy && details.config.proxy().is_none()
}

/// When a timeout will be over; none where it never is.
fn deadline(timeout: &NextTimeout) -> Option<Instant> {
    if timeout.after.is_not_happening() { None } else { Instant::now().checked_add(*timeout.after) }
}

/// Whether an error of ureq's is that of a deadline, and not of something that broke.
pub(super) fn is_timeout(error: &Error) -> Option<Timeout> {
    match error {
        Error::Timeout(timeout) => Some(*timeout),
        _ => None,
    }
}
