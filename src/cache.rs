//! What was fetched, for as long as it is good: a time to live, one fetch for each key
//! at a time, old values for when a refresh fails, and a rest after that.
//!
//! A fetch has a thread of its own, so that whoever waits for it may stop waiting; it goes on
//! without them, and what it gives is there for the next. Limits: a bounded number of keys and
//! of bytes; the oldest makes room, but for a value that alone is larger. Values are cloned
//! out, so they are cheap to clone. Failures are told to everybody who waited for the same
//! fetch, and kept for the rest only. A bounded number of fetches have a thread: beyond that,
//! and where none can be had, whoever asks fetches, and cannot stop.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Keys that are remembered at once.
const CAPACITY: usize = 64;

/// What is kept may take this much memory, in bytes.
const ROOM: usize = 16 * 1024 * 1024;

/// Fetches that may have a thread at once, of all caches. Clients that leave can have many under
/// way, one for each key.
const THREADS: usize = 256;

/// What something takes of a cache's memory.
pub trait Size {
    /// In bytes, about.
    fn size(&self) -> usize;
}

/// A cache of values of one kind.
#[derive(Debug)]
pub struct Cache<K, V, E> {
    time_to_live: Duration,
    stale: Duration,
    rest: Duration,
    entries: Mutex<HashMap<K, Entry<V, E>>>,
}

#[derive(Debug)]
struct Entry<V, E> {
    value: Option<(V, Instant)>,
    failure: Option<(E, Instant)>,
    fetch: Option<Arc<Fetch<V, E>>>,
}

/// A fetch that is under way: whoever comes meanwhile waits for it.
#[derive(Debug)]
struct Fetch<V, E> {
    outcome: Mutex<Outcome<V, E>>,
    settled: Condvar,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was known, or somebody else was about to fetch it.
    Cache,
    /// It is too old, but fetching a new one failed.
    Stale,
    /// It was fetched for this.
    Fetch,
}

/// An answer, and where it came from.
pub type Answer<V, E> = (Result<V, E>, Origin);

/// What was asked for, and may still be on its way.
#[derive(Debug)]
pub struct Asked<V, E>(State<V, E>);

#[derive(Debug)]
enum State<V, E> {
    Known(Answer<V, E>),
    Awaited {
        fetch: Arc<Fetch<V, E>>,
        /// Whether the fetch is for this.
        is_own: bool,
    },
}

#[derive(Debug)]
enum Outcome<V, E> {
    Pending,
    /// With what, and whether that is an old value.
    Settled(Result<V, E>, bool),
    /// The thread that fetched panicked.
    Lost,
}

impl<K, V, E> Cache<K, V, E>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Size + Send + 'static,
    E: Clone + Size + Send + 'static,
{
    /// A cache whose values are fresh for `time_to_live` (zero: never kept), and serve for
    /// `stale` longer where a refresh fails. After a failure nothing is fetched for `rest`.
    pub fn new(time_to_live: Duration, stale: Duration, rest: Duration) -> Cache<K, V, E> {
        Cache { time_to_live, stale, rest, entries: Mutex::default() }
    }

    fn answer(&self, entry: &Entry<V, E>) -> Option<Answer<V, E>> {
        let within = |since: &Instant, time: Duration| since.elapsed() < time;
        match (&entry.value, &entry.failure) {
            (Some((value, since)), _) if within(since, self.time_to_live) => {
                Some((Ok(value.clone()), Origin::Cache))
            }
            (value, Some((error, failed))) if within(failed, self.rest) => Some(match value {
                Some((old, since)) if within(since, self.time_to_live + self.stale) => {
                    (Ok(old.clone()), Origin::Stale)
                }
                _ => (Err(error.clone()), Origin::Cache),
            }),
            _ => None,
        }
    }

    /// Asks for the value of a key: from here while it is fresh, else by `fetch`; or for what
    /// `fetch` fails with, where there is no old value that may still serve.
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
        if let Some(under_way) = &entry.fetch {
            return Asked(State::Awaited { fetch: Arc::clone(under_way), is_own: false });
        }
        let under_way = Arc::new(Fetch::default());
        entry.fetch = Some(Arc::clone(&under_way));
        drop(entries);
        let (cache, key, settled) = (Arc::clone(self), key.clone(), Arc::clone(&under_way));
        on_a_thread(move || cache.settle(&key, &settled, fetch));
        Asked(State::Awaited { fetch: under_way, is_own: true })
    }

    fn settle(&self, key: &K, under_way: &Fetch<V, E>, fetch: impl FnOnce() -> Result<V, E>) {
        /// Lets those who wait go on where `fetch` panics.
        struct Lost<'a, F: FnMut()>(&'a mut F);
        impl<F: FnMut()> Drop for Lost<'_, F> {
            fn drop(&mut self) {
                (self.0)();
            }
        }
        let mut lose = || {
            if let Some(entry) = self.entries().get_mut(key) {
                entry.fetch = None;
            }
            under_way.settle(Outcome::Lost);
        };
        let lost = Lost(&mut lose);
        let fetched = fetch();
        std::mem::forget(lost);

        let mut entries = self.entries();
        let known = entries.remove(key).and_then(|entry| entry.value);
        let now = Instant::now();
        let (value, failure) = match fetched {
            Ok(value) => (Some((value, now)), None),
            Err(error) => (known, Some((error, now))),
        };
        let failed = failure.is_some();
        let entry = Entry { value, failure, fetch: None };
        let result = entry.result(self.time_to_live + self.stale);
        let keeps_value = entry.value.is_some() && !(self.time_to_live + self.stale).is_zero();
        if keeps_value || (entry.failure.is_some() && !self.rest.is_zero()) {
            self.make_room(&mut entries, entry.size());
            entries.insert(key.clone(), entry);
        }
        drop(entries);
        let is_old = failed && result.is_ok();
        under_way.settle(Outcome::Settled(result, is_old));
    }

    fn make_room(&self, entries: &mut HashMap<K, Entry<V, E>>, size: usize) {
        let kept = self.time_to_live + self.stale;
        entries.retain(|_, entry| {
            entry.fetch.is_some()
                || entry.value.as_ref().is_some_and(|(_, since)| since.elapsed() < kept)
                || entry.failure.as_ref().is_some_and(|(_, since)| since.elapsed() < self.rest)
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

    /// What a fetch has come to: its value, or after a failure one that is not too old.
    fn result(&self, useful: Duration) -> Result<V, E> {
        match (&self.value, &self.failure) {
            (Some((value, _)), None) => Ok(value.clone()),
            (Some((old, since)), Some(_)) if since.elapsed() < useful => Ok(old.clone()),
            (_, Some((error, _))) => Err(error.clone()),
            (None, None) => unreachable!("a fetch gives a value or a failure"),
        }
    }

    /// When the entry was last of use.
    fn age(&self) -> Option<Instant> {
        let value = self.value.as_ref().map(|(_, since)| *since);
        value.max(self.failure.as_ref().map(|(_, since)| *since))
    }
}

impl<V, E> Default for Fetch<V, E> {
    fn default() -> Fetch<V, E> {
        Fetch { outcome: Mutex::new(Outcome::Pending), settled: Condvar::new() }
    }
}

impl<V: Clone, E: Clone> Fetch<V, E> {
    fn settle(&self, outcome: Outcome<V, E>) {
        *self.outcome.lock().expect("nothing panics under this lock") = outcome;
        self.settled.notify_all();
    }
}

impl<V: Clone, E: Clone> Asked<V, E> {
    /// The answer, where it is there within this time.
    ///
    /// # Panics
    /// Where the fetch did.
    pub fn within(&self, time: Duration) -> Option<Answer<V, E>> {
        let (fetch, is_own) = match &self.0 {
            State::Known(answer) => return Some(answer.clone()),
            State::Awaited { fetch, is_own } => (fetch, *is_own),
        };
        let outcome = fetch.outcome.lock().expect("nothing panics under this lock");
        let is_pending = |outcome: &mut Outcome<V, E>| matches!(outcome, Outcome::Pending);
        let waited = fetch.settled.wait_timeout_while(outcome, time, is_pending);
        let (outcome, _) = waited.expect("nothing panics under this lock");
        let (result, is_old) = match &*outcome {
            Outcome::Pending => return None,
            Outcome::Settled(result, is_old) => (result.clone(), *is_old),
            Outcome::Lost => {
                drop(outcome);
                panic!("what was waited for ended in a panic");
            }
        };
        let origin = match (is_own, is_old) {
            (false, _) => Origin::Cache,
            (true, true) => Origin::Stale,
            (true, false) => Origin::Fetch,
        };
        Some((result, origin))
    }
}

/// Does some work on a thread of its own; here, where none is to be had.
fn on_a_thread(work: impl FnOnce() + Send + 'static) {
    static THREADED: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            THREADED.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let before = THREADED.fetch_add(1, Ordering::Relaxed);
    let counted = Counted;
    if before >= THREADS {
        drop(counted);
        return work();
    }
    // A thread that cannot be started takes with it what it was to do.
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
