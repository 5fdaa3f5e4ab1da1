//! A TTL cache with single-flight fetches, stale-on-error and back-off after a failure.
//!
//! A fetch runs on a thread of its own. A caller that waits for it may stop waiting; the fetch
//! goes on, and its result serves the next caller. Values and failures are cloned for each
//! caller, so they must be cheap to clone. Limits: 64 keys and 16 MiB, of which the oldest make
//! room; a single larger value is kept. Beyond 256 threads, or if no thread can be started, the
//! caller itself fetches.

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// The most keys.
const CAPACITY: usize = 64;

/// The most memory that values and failures take, in bytes.
const ROOM: usize = 16 * 1024 * 1024;

/// The most threads that fetch at once, for all caches together. Clients that come and leave
/// could start any number of fetches, one per key.
const THREADS: usize = 256;

/// The memory that a cached value takes.
pub trait Size {
    /// In bytes, roughly.
    fn size(&self) -> usize;
}

/// A cache of values of one kind.
#[derive(Debug)]
pub struct Cache<K, V, E> {
    time_to_live: Duration,
    stale: Duration,
    back_off: Duration,
    entries: Mutex<HashMap<K, Entry<V, E>>>,
}

#[derive(Debug)]
struct Entry<V, E> {
    value: Option<(V, Instant)>,
    failure: Option<(E, Instant)>,
    fetch: Option<Arc<Fetch<V, E>>>,
}

/// A running fetch. All callers that ask for its key meanwhile share it.
#[derive(Debug)]
struct Fetch<V, E> {
    outcome: Mutex<Option<Outcome<V, E>>>,
    ended: Condvar,
}

#[derive(Debug)]
enum Outcome<V, E> {
    Done { result: Result<V, E>, is_stale: bool },
    Panicked,
}

/// The origin of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The cache, or a fetch that another caller began.
    Cache,
    /// The cache, though it is too old: fetching a new value failed.
    Stale,
    /// A fetch that this caller began.
    Fetch,
}

/// A value or a failure, and its origin.
pub type Answer<V, E> = (Result<V, E>, Origin);

/// A question to the cache, whose fetch may still be running.
#[derive(Debug)]
pub struct Asked<V, E>(State<V, E>);

#[derive(Debug)]
enum State<V, E> {
    Known(Answer<V, E>),
    Awaited {
        fetch: Arc<Fetch<V, E>>,
        /// Whether this question began the fetch.
        is_own: bool,
    },
}

impl<K, V, E> Cache<K, V, E>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Size + Send + 'static,
    E: Clone + Size + Send + 'static,
{
    /// A cache whose values are fresh for `time_to_live` (zero: never kept), and serve for
    /// `stale` longer if a refresh fails. After a failure nothing is fetched for `back_off`.
    pub fn new(time_to_live: Duration, stale: Duration, back_off: Duration) -> Cache<K, V, E> {
        Cache { time_to_live, stale, back_off, entries: Mutex::default() }
    }

    fn answer(&self, entry: &Entry<V, E>) -> Option<Answer<V, E>> {
        let within = |since: &Instant, time: Duration| since.elapsed() < time;
        match (&entry.value, &entry.failure) {
            (Some((value, since)), _) if within(since, self.time_to_live) => {
                Some((Ok(value.clone()), Origin::Cache))
            }
            (value, Some((error, failed))) if within(failed, self.back_off) => Some(match value {
                Some((old, since)) if within(since, self.time_to_live + self.stale) => {
                    (Ok(old.clone()), Origin::Stale)
                }
                _ => (Err(error.clone()), Origin::Cache),
            }),
            _ => None,
        }
    }

    /// Asks for the value of a key, and begins to `fetch` it unless it is fresh or a fetch of
    /// it is running.
    pub fn ask(
        self: &Arc<Self>,
        key: &K,
        fetch: impl FnOnce() -> Result<V, E> + Send + 'static,
    ) -> Asked<V, E> {
        let mut entries = self.entries();
        let entry = entries.entry(key.clone());
        let entry = entry.or_insert_with(|| Entry { value: None, failure: None, fetch: None });
        if let Some(answer) = self.answer(entry) {
            return Asked(State::Known(answer));
        }
        if let Some(running) = &entry.fetch {
            return Asked(State::Awaited { fetch: Arc::clone(running), is_own: false });
        }
        let running = Arc::new(Fetch::default());
        entry.fetch = Some(Arc::clone(&running));
        drop(entries);
        let (cache, key, settled) = (Arc::clone(self), key.clone(), Arc::clone(&running));
        on_a_thread(move || cache.settle(&key, &settled, fetch));
        Asked(State::Awaited { fetch: running, is_own: true })
    }

    /// Fetches, stores what came of it, and wakes the callers that wait for it.
    fn settle(&self, key: &K, running: &Fetch<V, E>, fetch: impl FnOnce() -> Result<V, E>) {
        let Ok(fetched) = catch_unwind(AssertUnwindSafe(fetch)) else {
            if let Some(entry) = self.entries().get_mut(key) {
                entry.fetch = None;
            }
            return running.end(Outcome::Panicked);
        };
        let mut entries = self.entries();
        let known = entries.remove(key).and_then(|entry| entry.value);
        let (now, useful) = (Instant::now(), self.time_to_live + self.stale);
        let (value, failure, result) = match (fetched, known) {
            (Ok(value), _) => (Some((value.clone(), now)), None, Ok(value)),
            (Err(error), Some((old, since))) if since.elapsed() < useful => {
                (Some((old.clone(), since)), Some((error, now)), Ok(old))
            }
            (Err(error), _) => (None, Some((error.clone(), now)), Err(error)),
        };
        let is_stale = failure.is_some() && result.is_ok();
        let entry = Entry { value, failure, fetch: None };
        let keeps_value = entry.value.is_some() && !useful.is_zero();
        if keeps_value || (entry.failure.is_some() && !self.back_off.is_zero()) {
            self.make_room(&mut entries, entry.size());
            entries.insert(key.clone(), entry);
        }
        drop(entries);
        running.end(Outcome::Done { result, is_stale });
    }

    fn make_room(&self, entries: &mut HashMap<K, Entry<V, E>>, size: usize) {
        let kept = self.time_to_live + self.stale;
        entries.retain(|_, entry| {
            entry.fetch.is_some()
                || entry.value.as_ref().is_some_and(|(_, since)| since.elapsed() < kept)
                || entry.failure.as_ref().is_some_and(|(_, since)| since.elapsed() < self.back_off)
        });
        let taken = |entries: &HashMap<K, Entry<V, E>>| -> usize {
            entries.values().map(Entry::size).sum::<usize>() + size
        };
        while entries.len() >= CAPACITY || taken(entries) > ROOM {
            let values = entries.iter().filter(|(_, entry)| entry.fetch.is_none());
            let oldest = values.min_by_key(|(_, entry)| entry.age());
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { return };
            entries.remove(&key);
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<K, Entry<V, E>>> {
        self.entries.lock().expect("nothing panics under this lock")
    }
}

impl<V: Clone + Size, E: Clone + Size> Entry<V, E> {
    fn size(&self) -> usize {
        let value = self.value.as_ref().map_or(0, |(value, _)| value.size());
        value + self.failure.as_ref().map_or(0, |(error, _)| error.size())
    }

    /// When the entry was last written.
    fn age(&self) -> Option<Instant> {
        let value = self.value.as_ref().map(|(_, since)| *since);
        value.max(self.failure.as_ref().map(|(_, since)| *since))
    }
}

impl<V, E> Default for Fetch<V, E> {
    fn default() -> Fetch<V, E> {
        Fetch { outcome: Mutex::new(None), ended: Condvar::new() }
    }
}

impl<V: Clone, E: Clone> Fetch<V, E> {
    fn end(&self, outcome: Outcome<V, E>) {
        *self.outcome.lock().expect("nothing panics under this lock") = Some(outcome);
        self.ended.notify_all();
    }
}

impl<V: Clone, E: Clone> Asked<V, E> {
    /// Waits for the answer; none if the fetch takes longer than this.
    ///
    /// # Panics
    /// If the fetch did.
    pub fn within(&self, time: Duration) -> Option<Answer<V, E>> {
        let (fetch, is_own) = match &self.0 {
            State::Known(answer) => return Some(answer.clone()),
            State::Awaited { fetch, is_own } => (fetch, *is_own),
        };
        let outcome = fetch.outcome.lock().expect("nothing panics under this lock");
        let waited = fetch.ended.wait_timeout_while(outcome, time, |outcome| outcome.is_none());
        let (outcome, _) = waited.expect("nothing panics under this lock");
        let (result, is_stale) = match outcome.as_ref()? {
            Outcome::Done { result, is_stale } => (result.clone(), *is_stale),
            Outcome::Panicked => {
                drop(outcome);
                panic!("the fetch of a value panicked");
            }
        };
        let origin = match (is_own, is_stale) {
            (false, _) => Origin::Cache,
            (true, true) => Origin::Stale,
            (true, false) => Origin::Fetch,
        };
        Some((result, origin))
    }
}

/// Runs some work on a thread of its own, or on this one if no thread can be started.
fn on_a_thread(work: impl FnOnce() + Send + 'static) {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            RUNNING.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let before = RUNNING.fetch_add(1, Ordering::Relaxed);
    let counted = Counted;
    if before >= THREADS {
        drop(counted);
        return work();
    }
    // A thread that cannot be started drops its closure: keep the work outside.
    let work = Arc::new(Mutex::new(Some(work)));
    let offered = Arc::clone(&work);
    let take =
        |work: &Mutex<Option<_>>| work.lock().expect("nothing panics under this lock").take();
    let threaded = thread::Builder::new().name("fetch".into()).spawn(move || {
        let _counted = counted;
        if let Some(work) = take(&offered) {
            work();
        }
    });
    if threaded.is_err() {
        if let Some(work) = take(&work) {
            work();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Size for u8 {
        fn size(&self) -> usize {
            1
        }
    }

    #[test]
    fn a_panic_reaches_the_waiting_caller_and_the_next_one_fetches_again() {
        let cache =
            Arc::new(Cache::<u8, u8, u8>::new(Duration::MAX, Duration::ZERO, Duration::ZERO));
        let lost = cache.ask(&1, || panic!("this panic is part of the test"));
        let waited = catch_unwind(AssertUnwindSafe(|| lost.within(Duration::from_secs(60))));
        assert!(waited.is_err());
        let asked = cache.ask(&1, || Ok(2));
        assert_eq!(asked.within(Duration::from_secs(60)), Some((Ok(2), Origin::Fetch)));
        let asked = cache.ask(&1, || Ok(3));
        assert_eq!(asked.within(Duration::ZERO), Some((Ok(2), Origin::Cache)));
    }
}
