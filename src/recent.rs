//! The last exchanges and the load of the last minutes, for the page.
//!
//! Limits: in memory only, 50 exchanges and 15 minutes; no bodies and no credentials. The median
//! time to first byte is that of the first 256 exchanges in 15 seconds.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::record::Record;
use crate::text::{cut, milliseconds};

/// The number of exchanges that are kept.
const EXCHANGES: usize = 50;

/// The span of a bucket, in seconds.
const SECONDS: u64 = 15;

/// The number of buckets.
const BUCKETS: usize = 60;

/// The most times to first byte that a bucket holds.
const SAMPLES: usize = 256;

/// The one instance.
pub static RECENT: Recent =
    Recent(Mutex::new(State { exchanges: VecDeque::new(), buckets: VecDeque::new(), newest: 0 }));

/// The last exchanges and the buckets of the last minutes.
#[derive(Debug)]
pub struct Recent(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Newest first.
    exchanges: VecDeque<Entry>,
    /// Newest last.
    buckets: VecDeque<Bucket>,
    /// The number of the newest bucket since 1970.
    newest: u64,
}

#[derive(Debug, Clone, Serialize)]
struct Entry {
    /// Milliseconds since 1970.
    time: u64,
    method: String,
    path: String,
    model: Option<String>,
    /// The model that it points to, if it is an alias.
    target: Option<String>,
    upstream: Option<String>,
    status: u16,
    /// Why it failed, or the rule that hid the model.
    failure: Option<String>,
    first_byte_ms: f64,
    total_ms: f64,
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    requests: u64,
    first_byte_ms: Vec<f64>,
}

/// A copy, in the shape that the page reads.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    exchanges: VecDeque<Entry>,
    buckets: Buckets,
}

#[derive(Debug, Serialize)]
struct Buckets {
    seconds: u64,
    requests: Vec<u64>,
    first_byte_ms: Vec<Option<f64>>,
}

impl Recent {
    /// Adds an exchange that has ended.
    pub fn add(&self, record: &Record) {
        let time = now();
        let short = |text: &str| cut(text).into_owned();
        let entry = Entry {
            time,
            method: short(&record.method),
            path: short(&record.path),
            model: record.model.as_deref().map(short),
            target: record.target.as_deref().map(short),
            upstream: record.upstream.as_deref().map(short),
            status: record.status(),
            failure: record.failure().map(|failure| short(&failure)),
            first_byte_ms: milliseconds(record.sent.first_byte),
            total_ms: milliseconds(record.sent.total),
        };
        let mut state = self.state();
        state.advance(time);
        if let Some(bucket) = state.buckets.back_mut() {
            bucket.requests += 1;
            if bucket.first_byte_ms.len() < SAMPLES {
                bucket.first_byte_ms.push(entry.first_byte_ms);
            }
        }
        state.exchanges.truncate(EXCHANGES - 1);
        state.exchanges.push_front(entry);
    }

    /// The state of this moment.
    pub fn snapshot(&self) -> Snapshot {
        let mut state = self.state();
        state.advance(now());
        let buckets = Buckets {
            seconds: SECONDS,
            requests: state.buckets.iter().map(|bucket| bucket.requests).collect(),
            first_byte_ms: state.buckets.iter().map(Bucket::median).collect(),
        };
        Snapshot { exchanges: state.exchanges.clone(), buckets }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl State {
    /// Adds the buckets up to this time, in milliseconds since 1970, and drops the oldest.
    fn advance(&mut self, time: u64) {
        let number = time / 1000 / SECONDS;
        // If the clock was put back, the newest bucket stays.
        let passed = number.saturating_sub(self.newest).min(BUCKETS as u64);
        self.newest = self.newest.max(number);
        for _ in 0..passed {
            self.buckets.push_back(Bucket::default());
        }
        let surplus = self.buckets.len().saturating_sub(BUCKETS);
        self.buckets.drain(..surplus);
    }
}

impl Bucket {
    fn median(&self) -> Option<f64> {
        let mut times = self.first_byte_ms.clone();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied()
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
