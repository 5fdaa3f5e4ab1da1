//! The models of the last lists, by which requests are judged: `hidden: reject` and `where`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::question::Key;
use crate::filter::Rule;

/// For how many keys the names of the last list are kept.
const MOST_NAMES: usize = 16;

/// The models of a list, as the filter compares ids, each with the rule that hides it, if any.
#[derive(Debug, Clone)]
pub struct Names {
    ids: Arc<HashMap<String, Option<Rule>>>,
    fetched: Instant,
}

/// The names of the last list for each key.
#[derive(Debug, Default)]
pub(super) struct LastNames(Mutex<HashMap<Key, Names>>);

impl Names {
    pub(super) fn new(ids: HashMap<String, Option<Rule>>) -> Names {
        Names { ids: Arc::new(ids), fetched: Instant::now() }
    }

    /// Which rule hides a model; none if it is not in the list.
    pub(super) fn rule(&self, id: &str) -> Option<&Option<Rule>> {
        self.ids.get(id)
    }

    /// Why a model is hidden; none if it is kept.
    pub(super) fn hidden_by(&self, id: &str) -> Option<String> {
        match self.rule(id) {
            Some(rule) => rule.as_ref().map(ToString::to_string),
            None => Some("not in the list".to_owned()),
        }
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
