//! Limits for clients, in time and number.

use std::time::Duration;

/// Limits for clients, in time and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a whole head to arrive.
    pub head_timeout: Duration,
    /// For a connection to stay open without a request.
    pub idle_timeout: Duration,
    /// For a body to make progress.
    pub body_timeout: Duration,
    /// Connections at once; beyond that the longest idle one is closed.
    pub max_connections: usize,
    /// Exchanges at once; beyond that clients get 503.
    pub max_requests: usize,
    /// Upgraded connections (WebSockets) at once, in addition to `max_requests`.
    pub max_upgrades: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
            max_connections: 1024,
            max_requests: 512,
            max_upgrades: 128,
        }
    }
}
