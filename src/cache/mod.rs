//! A TTL cache with single-flight fetches, stale-while-revalidate and back-off after a failure.
//!
//! A fetch runs on a thread of its own. A caller that waits for it may stop waiting; the fetch
//! goes on, and its result serves the next caller. If a value or a failure can be returned at once,
//! it is, and the fetch runs in the background (RFC 5861): at most one such fetch for a cache, so
//! that a silent server holds one thread. Values and failures are cloned for each caller, so they
//! must be cheap to clone. Limits: 64 keys and 16 MiB, of which the oldest make room; a single
//! larger value is kept. Beyond 256 threads, or if no thread can be started, a caller that has to
//! wait fetches itself.

mod terms;
mod threads;

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub use self::terms::{BackOff, Cached, Terms};

use self::terms::{EMPTY_TTL, Kept};
use self::threads::on_a_thread;

/// The most keys.
const CAPACITY: usize = 64;

/// The most memory that values and failures take, in bytes.
const ROOM: usize = 16 * 1024 * 1024;

/// A cache of values of one kind.
#[derive(Debug)]
pub struct Cache<K, V, E> {
    terms: Terms,
    state: Mutex<Contents<K, V, E>>,
}

#[derive(Debug)]
struct Contents<K, V, E> {
    entries: HashMap<K, Entry<V, E>>,
    /// Whether a fetch runs in the background.
    is_refreshing: bool,
}

#[derive(Debug)]
struct Entry<V, E> {
    value: Option<Kept<V>>,
    failure: Option<Failure<E>>,
    /// When a fetch in the background may begin.
    pause_end: Instant,
    fetch: Option<Arc<Fetch<V, E>>>,
    /// When a client last asked.
    asked: Option<Instant>,
}

#[derive(Debug)]
struct Failure<E> {
    error: E,
    at: Instant,
    /// How many in a row.
    times: u32,
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

/// On whose behalf a value is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A client: for an hour, its value is worth a refresh.
    Client,
    /// A client whose request is judged by the value: it waits for one that is fresh, and gets a
    /// stale one only if fetching it fails.
    Judge,
    /// The program.
    Program,
}

/// The source of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The cache, or a fetch that another caller began.
    Cache,
    /// The cache, though it is no longer fresh.
    Stale,
    /// A fetch that this caller began.
    Fetch,
}

/// A value or a failure, and its source.
pub type Answer<V, E> = (Result<V, E>, Origin);

/// The state of a value in the cache.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// How long ago it was fetched.
    pub age: Duration,
    /// Whether it is no longer fresh.
    pub is_stale: bool,
}

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

/// The state of an entry for a question.
enum Ready<V, E> {
    Answer(Answer<V, E>),
    /// It may be returned, and a fetch should run in the background.
    Due(Answer<V, E>),
    Nothing,
}

impl<K, V, E> Cache<K, V, E>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Cached + Send + 'static,
    E: Clone + Cached + Send + 'static,
{
    /// An empty cache.
    pub fn new(terms: Terms) -> Cache<K, V, E> {
        let contents = Contents { entries: HashMap::new(), is_refreshing: false };
        Cache { terms, state: Mutex::new(contents) }
    }

    /// Asks for the value of a key, and begins to `fetch` it unless it is fresh or a fetch of
    /// it is running. `fetch` gets the last value, if there still is one.
    pub fn ask(
        self: &Arc<Self>,
        key: &K,
        asker: Asker,
        fetch: impl FnOnce(Option<V>) -> Result<V, E> + Send + 'static,
    ) -> Asked<V, E> {
        let mut contents = self.contents();
        let Contents { entries, is_refreshing } = &mut *contents;
        let entry = entries.entry(key.clone()).or_insert_with(Entry::new);
        if asker != Asker::Program {
            entry.asked = Some(Instant::now());
        }
        let known = match self.ready(entry, asker) {
            Ready::Answer(answer) => return Asked(State::Known(answer)),
            Ready::Due(answer) if *is_refreshing || entry.fetch.is_some() => {
                return Asked(State::Known(answer));
            }
            Ready::Due(answer) => Some(answer),
            Ready::Nothing => None,
        };
        if let Some(running) = &entry.fetch {
            return Asked(State::Awaited { fetch: Arc::clone(running), is_own: false });
        }
        let running = Arc::new(Fetch::default());
        entry.fetch = Some(Arc::clone(&running));
        let is_waited_for = known.is_none();
        *is_refreshing |= !is_waited_for;
        let last = entry.value.as_ref().map(|kept| kept.value.clone());
        drop(contents);
        let work = {
            let (cache, key, running) = (Arc::clone(self), key.clone(), Arc::clone(&running));
            move || {
                cache.settle(&key, &running, || fetch(last));
                if !is_waited_for {
                    cache.contents().is_refreshing = false;
                }
            }
        };
        match (known, on_a_thread(work)) {
            (Some(answer), Ok(())) => Asked(State::Known(answer)),
            (Some(answer), Err(_)) => {
                let mut contents = self.contents();
                contents.is_refreshing = false;
                if let Some(entry) = contents.entries.get_mut(key) {
                    entry.fetch = None;
                }
                Asked(State::Known(answer))
            }
            (None, threaded) => {
                if let Err(work) = threaded {
                    work();
                }
                Asked(State::Awaited { fetch: running, is_own: true })
            }
        }
    }

    /// How long this cache keeps what it has.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The state of a value that may still be returned.
    pub fn standing(&self, key: &K) -> Option<Standing> {
        let contents = self.contents();
        let kept = contents.entries.get(key)?.value.as_ref()?;
        let age = kept.since.elapsed();
        let is_stale = age >= self.terms.freshness(&kept.value);
        (!is_stale || self.terms.is_useful(kept)).then_some(Standing { age, is_stale })
    }

    /// When a value should be fetched in the background; none if no client asked for it within
    /// `interest`, or a fetch is running.
    pub fn due(&self, key: &K, interest: Duration) -> Option<Instant> {
        let contents = self.contents();
        let entry = contents.entries.get(key)?;
        let is_idle = entry.asked.is_none_or(|asked| asked.elapsed() >= interest);
        if is_idle || entry.fetch.is_some() {
            return None;
        }
        let due = entry.value.as_ref().map(|kept| kept.since + self.terms.lead(kept));
        Some(due.map_or(entry.pause_end, |due| due.max(entry.pause_end)))
    }

    fn ready(&self, entry: &Entry<V, E>, asker: Asker) -> Ready<V, E> {
        let may_refresh = Instant::now() >= entry.pause_end;
        let ready = |answer, is_due| match is_due && may_refresh {
            true => Ready::Due(answer),
            false => Ready::Answer(answer),
        };
        if let Some(kept) = &entry.value {
            let age = kept.since.elapsed();
            if age < self.terms.freshness(&kept.value) {
                let is_due = self.terms.refreshes_ahead && age >= self.terms.lead(kept);
                return ready((Ok(kept.value.clone()), Origin::Cache), is_due);
            }
            let may_be_stale = asker != Asker::Judge || !may_refresh;
            if may_be_stale && self.terms.is_useful(kept) {
                return ready((Ok(kept.value.clone()), Origin::Stale), true);
            }
        }
        if let Some(failure) = entry.failure.as_ref().filter(|_| self.terms.keeps_failures) {
            let is_recent = failure.at.elapsed() < self.terms.back_off.memory;
            if !may_refresh || is_recent {
                return ready((Err(failure.error.clone()), Origin::Cache), true);
            }
        }
        Ready::Nothing
    }

    /// Fetches, stores the result, and wakes the callers that wait for it.
    fn settle(&self, key: &K, running: &Fetch<V, E>, fetch: impl FnOnce() -> Result<V, E>) {
        let begun = Instant::now();
        let Ok(fetched) = catch_unwind(AssertUnwindSafe(fetch)) else {
            if let Some(entry) = self.contents().entries.get_mut(key) {
                entry.fetch = None;
            }
            return running.end(Outcome::Panicked);
        };
        let (now, took) = (Instant::now(), begun.elapsed());
        let mut contents = self.contents();
        let mut entry = contents.entries.remove(key).unwrap_or_else(Entry::new);
        let useful = entry.value.take().filter(|kept| self.terms.is_useful(kept));
        entry.fetch = None;
        let (result, is_stale) = match (fetched, useful) {
            (Ok(value), Some(old)) if value.is_empty() => {
                entry.pause_end = now + EMPTY_TTL;
                let is_stale = old.since.elapsed() >= self.terms.time_to_live;
                let result = Ok(old.value.clone());
                entry.value = Some(old);
                (result, is_stale)
            }
            (Ok(value), _) => {
                (entry.failure, entry.pause_end) = (None, now);
                entry.value = Some(Kept { value: value.clone(), since: now, took });
                (Ok(value), false)
            }
            (Err(error), old) => {
                let times = entry.failure.map_or(1, |failure| failure.times.saturating_add(1));
                entry.pause_end = now + self.terms.back_off.after(times);
                entry.failure = Some(Failure { error: error.clone(), at: now, times });
                let result = old.as_ref().map_or(Err(error), |old| Ok(old.value.clone()));
                let is_stale = old.is_some();
                entry.value = old;
                (result, is_stale)
            }
        };
        let Terms { time_to_live, stale, keeps_failures, .. } = self.terms;
        let keeps_value = entry.value.is_some() && !(time_to_live + stale).is_zero();
        if keeps_value || (entry.failure.is_some() && keeps_failures) {
            self.make_room(&mut contents.entries, entry.size());
            contents.entries.insert(key.clone(), entry);
        }
        drop(contents);
        running.end(Outcome::Done { result, is_stale });
    }

    fn make_room(&self, entries: &mut HashMap<K, Entry<V, E>>, size: usize) {
        let Terms { time_to_live, stale, back_off, .. } = self.terms;
        entries.retain(|_, entry| {
            let value = entry.value.as_ref();
            let failure = entry.failure.as_ref();
            let memory = back_off.memory.max(back_off.most);
            entry.fetch.is_some()
                || value.is_some_and(|kept| kept.since.elapsed() < time_to_live + stale)
                || failure.is_some_and(|failure| failure.at.elapsed() < memory)
        });
        let taken = |entries: &HashMap<K, Entry<V, E>>| -> usize {
            entries.values().map(Entry::size).sum::<usize>() + size
        };
        while entries.len() >= CAPACITY || taken(entries) > ROOM {
            let values = entries.iter().filter(|(_, entry)| entry.fetch.is_none());
            let oldest = values.min_by_key(|(_, entry)| entry.written());
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { return };
            entries.remove(&key);
        }
    }

    fn contents(&self) -> MutexGuard<'_, Contents<K, V, E>> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl<V, E> Entry<V, E> {
    fn new() -> Entry<V, E> {
        Entry { value: None, failure: None, pause_end: Instant::now(), fetch: None, asked: None }
    }
}

impl<V: Cached, E: Cached> Entry<V, E> {
    fn size(&self) -> usize {
        let value = self.value.as_ref().map_or(0, |kept| kept.value.size());
        value + self.failure.as_ref().map_or(0, |failure| failure.error.size())
    }

    /// When the entry was last written.
    fn written(&self) -> Option<Instant> {
        let value = self.value.as_ref().map(|kept| kept.since);
        value.max(self.failure.as_ref().map(|failure| failure.at))
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
    /// A value that needs no fetch.
    pub fn known(value: V) -> Asked<V, E> {
        Asked(State::Known((Ok(value), Origin::Cache)))
    }

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

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const TERMS: Terms = Terms {
        time_to_live: LONG,
        stale: Duration::ZERO,
        refreshes_ahead: true,
        back_off: BackOff { first: LONG, most: LONG, memory: LONG },
        keeps_failures: false,
    };

    /// 0 is empty.
    impl Cached for u8 {
        fn size(&self) -> usize {
            1
        }

        fn is_empty(&self) -> bool {
            *self == 0
        }
    }

    type Bytes = Arc<Cache<u8, u8, u8>>;

    fn cache(terms: Terms) -> Bytes {
        Arc::new(Cache::new(terms))
    }

    /// The answer to a question about 1, whose fetch has this result.
    fn answer(cache: &Bytes, fetched: Result<u8, u8>) -> Answer<u8, u8> {
        cache.ask(&1, Asker::Client, move |_| fetched).within(LONG).unwrap()
    }

    /// Waits until no fetch runs.
    fn settle(cache: &Bytes) {
        loop {
            let running = cache.contents().entries.get(&1).and_then(|entry| entry.fetch.clone());
            let Some(running) = running else { return };
            let asked = Asked(State::Awaited { fetch: running, is_own: false });
            asked.within(LONG);
            thread::yield_now();
        }
    }

    #[test]
    fn a_panic_reaches_the_waiting_caller_and_the_next_one_fetches_again() {
        let cache = cache(Terms { time_to_live: Duration::MAX, ..TERMS });
        let lost = cache.ask(&1, Asker::Client, |_| panic!("this panic is part of the test"));
        let waited = catch_unwind(AssertUnwindSafe(|| lost.within(LONG)));
        assert!(waited.is_err());
        assert_eq!(answer(&cache, Ok(2)), (Ok(2), Origin::Fetch));
        assert_eq!(answer(&cache, Ok(3)), (Ok(2), Origin::Cache));
    }

    #[test]
    fn a_stale_value_is_returned_at_once_while_the_next_one_is_fetched() {
        let cache = cache(Terms { time_to_live: Duration::ZERO, stale: LONG, ..TERMS });
        assert_eq!(answer(&cache, Ok(1)), (Ok(1), Origin::Fetch));
        let (open, gate) = std::sync::mpsc::channel();
        let asked = cache.ask(&1, Asker::Client, move |last| {
            gate.recv().unwrap();
            Ok(last.unwrap() + 1)
        });
        assert_eq!(asked.within(Duration::ZERO), Some((Ok(1), Origin::Stale)));
        assert_eq!(answer(&cache, Ok(9)), (Ok(1), Origin::Stale), "one fetch is enough");
        open.send(()).unwrap();
        settle(&cache);
        assert_eq!(answer(&cache, Ok(3)), (Ok(2), Origin::Stale));
    }

    #[test]
    fn a_judge_waits_for_a_fresh_value_and_gets_a_stale_one_if_that_fails() {
        let cache = cache(Terms { time_to_live: Duration::ZERO, stale: LONG, ..TERMS });
        let judge = |fetched| cache.ask(&1, Asker::Judge, move |_| fetched).within(LONG).unwrap();
        assert_eq!(answer(&cache, Ok(1)), (Ok(1), Origin::Fetch));
        assert_eq!(judge(Ok(2)), (Ok(2), Origin::Fetch));
        assert_eq!(judge(Err(9)), (Ok(2), Origin::Stale));
        assert_eq!(judge(Ok(3)), (Ok(2), Origin::Stale), "it backs off");
    }

    #[test]
    fn one_refresh_runs_in_the_background_for_all_keys() {
        let cache = cache(Terms { time_to_live: Duration::ZERO, stale: LONG, ..TERMS });
        let (open, gate) = std::sync::mpsc::channel();
        for key in [1, 2] {
            let asked = cache.ask(&key, Asker::Client, move |_| Ok(key));
            assert_eq!(asked.within(LONG), Some((Ok(key), Origin::Fetch)));
        }
        cache.ask(&1, Asker::Client, move |_| {
            gate.recv().unwrap();
            Ok(1)
        });
        let asked = cache.ask(&2, Asker::Client, |_| unreachable!("a refresh runs"));
        assert_eq!(asked.within(Duration::ZERO), Some((Ok(2), Origin::Stale)));
        open.send(()).unwrap();
    }

    #[test]
    fn an_empty_value_never_replaces_a_useful_one() {
        let cache = cache(Terms { time_to_live: Duration::ZERO, stale: LONG, ..TERMS });
        assert_eq!(answer(&cache, Ok(0)), (Ok(0), Origin::Fetch));
        assert_eq!(answer(&cache, Ok(5)), (Ok(5), Origin::Fetch));
        assert_eq!(answer(&cache, Ok(0)), (Ok(5), Origin::Stale));
        settle(&cache);
        assert_eq!(answer(&cache, Ok(6)), (Ok(5), Origin::Stale));
    }

    #[test]
    fn a_failure_is_returned_during_the_back_off_and_while_the_next_fetch_runs() {
        let short = BackOff { first: Duration::ZERO, most: Duration::ZERO, memory: LONG };
        for (back_off, second) in [(TERMS.back_off, Err(1)), (short, Err(2))] {
            let cache = cache(Terms { back_off, keeps_failures: true, ..TERMS });
            assert_eq!(answer(&cache, Err(1)), (Err(1), Origin::Fetch));
            assert_eq!(answer(&cache, Err(2)), (Err(1), Origin::Cache));
            settle(&cache);
            assert_eq!(answer(&cache, Err(3)), (second, Origin::Cache));
        }
    }

    #[test]
    fn without_kept_failures_each_question_fetches_again() {
        let cache = cache(TERMS);
        assert_eq!(answer(&cache, Err(1)), (Err(1), Origin::Fetch));
        assert_eq!(answer(&cache, Err(2)), (Err(2), Origin::Fetch));
        assert_eq!(answer(&cache, Ok(3)), (Ok(3), Origin::Fetch));
    }

    #[test]
    fn a_failed_refresh_keeps_the_stale_value_and_pauses() {
        let cache = cache(Terms { time_to_live: Duration::ZERO, stale: LONG, ..TERMS });
        assert_eq!(answer(&cache, Ok(1)), (Ok(1), Origin::Fetch));
        assert_eq!(answer(&cache, Err(7)), (Ok(1), Origin::Stale));
        settle(&cache);
        let asked = cache.ask(&1, Asker::Client, |_| unreachable!("it backs off"));
        assert_eq!(asked.within(Duration::ZERO), Some((Ok(1), Origin::Stale)));
    }

    #[test]
    fn the_pause_doubles() {
        let seconds = Duration::from_secs;
        let back_off = BackOff { first: seconds(5), most: seconds(60), memory: LONG };
        let pauses = [1, 2, 3, 4, 5, u32::MAX].map(|times| back_off.after(times).as_secs());
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn a_value_is_due_before_it_expires_if_a_client_asked() {
        let cache = cache(TERMS);
        cache.ask(&1, Asker::Program, |_| Ok(1)).within(LONG);
        assert_eq!(cache.due(&1, LONG), None);
        assert_eq!(answer(&cache, Ok(2)), (Ok(1), Origin::Cache));
        let due = cache.due(&1, LONG).unwrap().duration_since(Instant::now());
        assert!(due > Duration::from_secs(40) && due <= Duration::from_secs(48), "{due:?}");
        assert_eq!(cache.due(&1, Duration::ZERO), None);
    }
}
