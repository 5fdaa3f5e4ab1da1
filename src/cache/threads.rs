//! Threads that fetch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// The most threads that fetch at once, for all caches together. Clients that come and leave
/// could start any number of fetches, one per key.
const THREADS: usize = 256;

/// Runs some work on a thread of its own.
///
/// # Errors
/// The work, if no thread can be started.
pub(super) fn on_a_thread<W: FnOnce() + Send + 'static>(work: W) -> Result<(), W> {
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
        return Err(work);
    }
    // A thread that cannot be started drops its closure: keep the work outside.
    let work = Arc::new(Mutex::new(Some(work)));
    let offered = Arc::clone(&work);
    let take =
        |work: &Mutex<Option<W>>| work.lock().expect("nothing panics under this lock").take();
    let threaded = thread::Builder::new().name("fetch".into()).spawn(move || {
        let _counted = counted;
        if let Some(work) = take(&offered) {
            work();
        }
    });
    if threaded.is_ok() {
        return Ok(());
    }
    take(&work).map_or(Ok(()), Err)
}
