//! How long a cache keeps values and failures, and when it fetches again.

use std::time::{Duration, Instant};

/// How long an empty value is fresh at most: a server that is still starting may have sent it.
pub(super) const EMPTY_TTL: Duration = Duration::from_secs(2);

/// The times that a cache keeps values and failures for.
pub trait Cached {
    /// The memory that it takes, in bytes, roughly.
    fn size(&self) -> usize;

    /// Whether it is a value that says nothing. It never replaces a useful one.
    fn is_empty(&self) -> bool {
        false
    }
}

/// How long a cache keeps what it has.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How long a value is fresh; zero: never.
    pub time_to_live: Duration,
    /// How much longer it is returned while a new one is fetched, or if that fails.
    pub stale: Duration,
    /// Whether a fresh value is fetched again before it expires.
    pub refreshes_ahead: bool,
    /// The pauses after failures.
    pub back_off: BackOff,
    /// Whether a failure is returned again during that pause, without a fetch.
    pub keeps_failures: bool,
}

/// The pauses after failures, in which nothing is fetched in the background.
#[derive(Debug, Clone, Copy)]
pub struct BackOff {
    /// After the first failure. It doubles with each further one.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
    /// How long after a failure it is still returned while the next fetch runs.
    pub memory: Duration,
}

impl BackOff {
    /// The pause after this many failures in a row.
    pub(super) fn after(&self, failures: u32) -> Duration {
        self.first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.most)
    }
}

/// A value, when it was fetched, and how long that took.
#[derive(Debug, Clone)]
pub(super) struct Kept<V> {
    pub(super) value: V,
    pub(super) since: Instant,
    pub(super) took: Duration,
}

impl Terms {
    /// How long a value is fresh.
    pub(super) fn freshness(&self, value: &impl Cached) -> Duration {
        if value.is_empty() { self.time_to_live.min(EMPTY_TTL) } else { self.time_to_live }
    }

    /// Whether a value may be returned although it is not fresh.
    pub(super) fn is_useful<V: Cached>(&self, kept: &Kept<V>) -> bool {
        !kept.value.is_empty() && kept.since.elapsed() < self.time_to_live + self.stale
    }

    /// The age at which a value is fetched again: early enough that the new one is there before
    /// the old one expires.
    pub(super) fn lead<V: Cached>(&self, kept: &Kept<V>) -> Duration {
        let fresh = self.freshness(&kept.value);
        (fresh / 5 * 4).min(fresh.saturating_sub(2 * kept.took)).max(fresh / 10)
    }
}
