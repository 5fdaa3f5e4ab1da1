//! The facts of one exchange, for the log, the recent exchanges and the metrics.

use std::time::Duration;

/// What was sent to the client, and how long it took.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// The status of the response.
    pub status: u16,
    /// From taking the request to the first byte of the response.
    pub first_byte: Duration,
    /// From taking the request to the end of the response.
    pub total: Duration,
    /// Bytes of the request's body that were read.
    pub bytes_in: u64,
    /// Bytes of the response's body that were written.
    pub bytes_out: u64,
    /// Whether the whole response was written.
    pub complete: bool,
}
