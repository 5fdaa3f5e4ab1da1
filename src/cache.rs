//! What was fetched, for as long as it is good: a time to live, one fetch for each key
//! at a time, old values for when a refresh fails, and a rest after that.
//!
//! Limits: a bounded number of keys and of bytes; the oldest makes room, but for a value
//! that alone is larger. Values are cloned out, so they are cheap to clone. Failures are told
//! to everybody who waited for the same fetch, and kept for the rest only.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Keys that are remembered at once.
const CAPACITY: usize = 64;

/// What is kept may take this much memory, in bytes.
const ROOM: usize = 16 * 1024 * 1024;

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

#[derive(Debug)]
enum Outcome<V, E> {
    Pending,
    Settled(Result<V, E>),
    /// The thread that fetched panicked.
    Lost,
}

impl<K: Eq + Hash + Clone, V: Clone + Size, E: Clone + Size> Cache<K, V, E> {
    /// A cache whose values are fresh for `time_to_live` (zero: never kept), and serve for
    /// `stale` longer where a refresh fails. After a failure nothing is fetched for `rest`.
    pub fn new(time_to_live: Duration, stale: Duration, rest: Duration) -> Cache<K, V, E> {
        Cache { time_to_live, stale, rest, entries: Mutex::default() }
    }

    /// What [`Cache::get`] would give without a fetch.
    pub fn known(&self, key: &K) -> Option<Answer<V, E>> {
        self.entries().get(key).and_then(|entry| self.answer(entry))
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

    /// The value of a key: from here while it is fresh, else by `fetch`; or what `fetch`
    /// failed with, where there is no old value that may still serve.
    pub fn get(&self, key: &K, fetch: impl FnOnce() -> Result<V, E>) -> Answer<V, E> {
        let mut fetch = Some(fetch);
        loop {
            let mut entries = self.entries();
            let entry = entries.entry(key.clone());
            let entry = entry.or_insert_with(|| Entry { value: None, failure: None, fetch: None });
            if let Some(answer) = self.answer(entry) {
                return answer;
            }
            if let Some(under_way) = entry.fetch.clone() {
                drop(entries);
                match under_way.wait() {
                    Some(result) => return (result, Origin::Cache),
                    None => continue,
                }
            }
            let under_way = Arc::new(Fetch::default());
            entry.fetch = Some(Arc::clone(&under_way));
            drop(entries);
            let fetch = fetch.take().expect("the loop ends with the fetch of its own");
            return self.settle(key, &under_way, fetch);
        }
    }

    fn settle(
        &self,
        key: &K,
        under_way: &Fetch<V, E>,
        fetch: impl FnOnce() -> Result<V, E>,
    ) -> Answer<V, E> {
        /// Lets those who wait go on where `fetch` panics.
        struct Lost<'a, K: Eq + Hash + Clone, V: Clone + Size, E: Clone + Size>(
            &'a Cache<K, V, E>,
            &'a K,
            &'a Fetch<V, E>,
        );
        impl<K: Eq + Hash + Clone, V: Clone + Size, E: Clone + Size> Drop for Lost<'_, K, V, E> {
            fn drop(&mut self) {
                if let Some(entry) = self.0.entries().get_mut(self.1) {
                    entry.fetch = None;
                }
                self.2.settle(Outcome::Lost);
            }
        }
        let lost = Lost(self, key, under_way);
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
        under_way.settle(Outcome::Settled(result.clone()));
        let is_old = failed && result.is_ok();
        (result, if is_old { Origin::Stale } else { Origin::Fetch })
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

    /// The result; none where there never will be one.
    fn wait(&self) -> Option<Result<V, E>> {
        let mut outcome = self.outcome.lock().expect("nothing panics under this lock");
        loop {
            match &*outcome {
                Outcome::Settled(result) => return Some(result.clone()),
                Outcome::Lost => return None,
                Outcome::Pending => {}
            }
            outcome = self.settled.wait(outcome).expect("nothing panics under this lock");
        }
    }
}
