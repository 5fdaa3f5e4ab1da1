//! Timeouts as ureq has them.

use std::time::{Duration, Instant};

use ureq::unversioned::transport::NextTimeout;
use ureq::{Error, Timeout};

/// How long a socket is waited for between two checks of the client.
pub(super) const SLICE: Duration = Duration::from_millis(500);

/// When a timeout is over; none if it never is.
pub(super) fn deadline(timeout: &NextTimeout) -> Option<Instant> {
    if timeout.after.is_not_happening() { None } else { Instant::now().checked_add(*timeout.after) }
}

/// The timeout that an error reports; none for any other error.
pub fn timeout_of(error: &Error) -> Option<Timeout> {
    match error {
        Error::Timeout(timeout) => Some(*timeout),
        _ => None,
    }
}
