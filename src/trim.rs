//! When freed memory is returned to the system: while few requests arrive, and for some time after.

use std::time::{Duration, Instant};

use crate::sys::memory;

/// How often the requests are counted.
const PERIOD: Duration = Duration::from_secs(10);

/// How many requests in that time are few.
const FEW: u64 = 100;

/// How many periods after the last request memory still becomes free: idle workers end in the
/// second, idle connections to an upstream by the fourth.
const PERIODS: u32 = 5;

/// Returns freed memory at the right moments.
#[derive(Debug)]
pub struct Trim {
    /// When the current period began, and how many requests had arrived by then.
    since: Instant,
    requests: u64,
    /// How many periods are left.
    left: u32,
}

impl Trim {
    /// Begins to count.
    pub fn new(now: Instant) -> Trim {
        Trim { since: now, requests: 0, left: PERIODS }
    }

    /// Returns memory if a period is over in which few requests arrived. `requests` counts all
    /// that have arrived so far.
    pub fn keep_up(&mut self, now: Instant, requests: u64) {
        let new = requests - self.requests;
        if now - self.since < PERIOD || (new == 0 && self.left == 0) {
            return;
        }
        self.left = if new == 0 { self.left - 1 } else { PERIODS };
        (self.since, self.requests) = (now, requests);
        if new <= FEW {
            memory::return_memory();
        }
    }

    /// Whether there is nothing to return before the next request.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }
}
