//! The layers of a connection, in their order.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector};

use super::idle::Reuse;
use super::tcp::Tcp;
use super::tls::Tls;
use super::truth::{Beginning, Truth};

/// A kept connection, else a new one: through the HTTP proxy if there is one, over TCP and TLS.
/// `has_proxy`: by a tunnel; `is_absolute`: without one, so that requests need the absolute form.
pub fn connector(
    idle_timeout: Duration,
    has_proxy: bool,
    is_absolute: bool,
    config: Arc<ClientConfig>,
) -> impl Connector {
    let chain =
        ().chain(Beginning)
            .chain(ConnectProxyConnector::default())
            .chain(Tcp { idle_timeout, has_proxy, is_absolute })
            .chain(Tls { config })
            .chain(Truth { has_proxy });
    Reuse::new(chain, has_proxy)
}
