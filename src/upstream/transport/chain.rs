//! The layers of a connection, in their order.

use std::time::Duration;

use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector};

use super::idle::Reuse;
use super::tcp::Tcp;
use super::truth::{Beginning, Truth};

/// A kept connection, else a new one: to the HTTP proxy if there is one, over TCP and TLS.
pub fn connector(idle_timeout: Duration, has_proxy: bool) -> impl Connector {
    let chain =
        ().chain(Beginning)
            .chain(ConnectProxyConnector::default())
            .chain(Tcp { idle_timeout, has_proxy })
            .chain(RustlsConnector::default())
            .chain(Truth { has_proxy });
    Reuse::new(chain, has_proxy)
}
