//! The last exchanges, and how the last minutes were: for the page.
//!
//! Limits: kept in memory only, 50 exchanges and 15 minutes; no bodies and no credentials.
//! Of very many exchanges in a quarter of a minute, the first byte's median is that of the
//! first some hundred.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::logging::Record;
use crate::text::{cut, loggable, milliseconds};

/// How many exchanges are remembered.
const EXCHANGES: usize = 50;

/// How long a bucket lasts, in seconds.
const SECONDS: u64 = 15;

/// How many buckets there are.
const BUCKETS: usize = 60;

/// How many times a bucket holds.
const SAMPLES: usize = 256;

/// What is remembered.
pub static RECENT: Recent =
    Recent(Mutex::new(State { exchanges: VecDeque::new(), buckets: VecDeque::new(), newest: 0 }));

/// The last exchanges and minutes.
#[derive(Debug)]
pub struct Recent(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The newest in front.
    exchanges: VecDeque<Exchange>,
    /// The newest at the end.
    buckets: VecDeque<Bucket>,
    /// The number of the newest bucket since 1970.
    newest: u64,
}

#[derive(Debug, Clone, Serialize)]
struct Exchange {
    /// Milliseconds since 1970.
    time: u64,
    method: String,
    path: String,
    model: Option<String>,
    upstream: Option<String>,
    status: u16,
    first_byte_ms: f64,
    total_ms: f64,
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    requests: u64,
    first_byte_ms: Vec<f64>,
}

/// All of it, as the page gets it.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    exchanges: VecDeque<Exchange>,
    buckets: Buckets,
}

#[derive(Debug, Serialize)]
struct Buckets {
    seconds: u64,
    requests: Vec<u64>,
    first_byte_ms: Vec<Option<f64>>,
}

impl Recent {
    /// Remembers an exchange that has ended.
    pub fn add(&self, record: &Record<'_>) {
        let time = now();
        let short = |text: &str| cut(text).into_owned();
        let exchange = Exchange {
            time,
            method: short(record.method),
            path: short(loggable(record.target)),
            model: record.model.map(short),
            upstream: record.upstream.map(short),
            status: record.status(),
            first_byte_ms: milliseconds(record.sent.first_byte),
            total_ms: milliseconds(record.sent.total),
        };
        let mut state = self.state();
        state.advance(time);
        if let Some(bucket) = state.buckets.back_mut() {
            bucket.requests += 1;
            if bucket.first_byte_ms.len() < SAMPLES {
                bucket.first_byte_ms.push(exchange.first_byte_ms);
            }
        }
        state.exchanges.truncate(EXCHANGES - 1);
        state.exchanges.push_front(exchange);
    }

    /// What is remembered at this moment.
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
    /// Makes room for what happens now.
    fn advance(&mut self, time: u64) {
        let number = time / 1000 / SECONDS;
        // A clock that was put back changes nothing.
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
