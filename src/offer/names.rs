//! The models of the last lists, by which requests are judged: `hidden: reject`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::question::Key;

/// For how many keys the names of the last list are kept.
const MOST_NAMES: usize = 16;

/// The kept models of a list, as the filter compares ids.
#[derive(Debug, Clone)]
pub(super) struct Names {
    ids: Arc<HashSet<String>>,
    fetched: Instant,
}

/// The names of the last list for each key.
#[derive(Debug, Default)]
pub(super) struct LastNames(Mutex<HashMap<Key, Names>>);

impl Names {
    pub(super) fn new(ids: HashSet<String>) -> Names {
        Names { ids: Arc::new(ids), fetched: Instant::now() }
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// How long ago the list was fetched.
    pub(super) fn age(&self) -> Duration {
        self.fetched.elapsed()
    }
}

impl LastNames {
    pub(super) fn get(&self, key: &Key) -> Option<Names> {
        self.names().get(key).cloned()
    }

    /// Keeps the names of a list that was fetched now. The oldest make room.
    pub(super) fn keep(&self, key: Key, names: &Names) {
        let mut last = self.names();
        if last.len() >= MOST_NAMES && !last.contains_key(&key) {
            let oldest = last.iter().min_by_key(|(_, names)| names.fetched);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.and_then(|key| last.remove(&key));
        }
        last.insert(key, Names { ids: Arc::clone(&names.ids), fetched: Instant::now() });
    }

    fn names(&self) -> MutexGuard<'_, HashMap<Key, Names>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}
