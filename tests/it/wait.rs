//! Gates and deadlines. A test that waits names what it waits for, and fails if that does not happen.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest wait for what must happen, long enough for slow CI machines.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Closed until it is opened once; then open for good.
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

    /// Panics if the gate is not opened before the deadline.
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

    /// Waits until `find` returns something for the list.
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

/// Polls a condition, for what cannot be waited for.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Lets tests with hundreds of connections take turns: all tests are one process, which often may have only 1,024 files
/// open.
pub fn crowd() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A failed test does not affect the next one.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
