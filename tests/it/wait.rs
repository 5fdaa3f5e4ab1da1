//! Gates and deadlines. A test that waits says for what, and fails when it does not come.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest that any test waits for what must come: 10 s, for the slowest of CI machines.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Shut until somebody opens it; then open for good.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn new() -> Gate {
        Gate::default()
    }

    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Panics where nobody opens the gate within the deadline.
    pub fn wait(&self) {
        assert!(self.opened_within(DEADLINE), "the gate was not opened within {DEADLINE:?}");
    }

    pub fn opened_within(&self, limit: Duration) -> bool {
        let shut = self.0.0.lock().unwrap();
        *self.0.1.wait_timeout_while(shut, limit, |open| !*open).unwrap().0
    }
}

/// A list that one thread appends to and others watch.
pub struct Watched<T>(Mutex<Vec<T>>, Condvar);

impl<T> Default for Watched<T> {
    fn default() -> Self {
        Watched(Mutex::default(), Condvar::new())
    }
}

impl<T: Clone> Watched<T> {
    pub fn push(&self, item: T) {
        self.0.lock().unwrap().push(item);
        self.1.notify_all();
    }

    pub fn all(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }

    /// What `find` makes of the list, as soon as it makes something of it.
    pub fn wait_for<R>(&self, limit: Duration, find: impl Fn(&[T]) -> Option<R>) -> Option<R> {
        let end = Instant::now() + limit;
        let mut items = self.0.lock().unwrap();
        loop {
            if let Some(found) = find(&items) {
                return Some(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            items = self.1.wait_timeout(items, left).unwrap().0;
        }
    }
}

/// Asks again and again, for what cannot tell of itself.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Tests with hundreds of connections take turns: on many machines a process may have 1,024 open
/// files, and all tests are one process.
pub fn crowd() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed in its turn says nothing against the next.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
