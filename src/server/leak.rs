//! Dropping a request whose body was not read, and what has to be leaked instead.
//!
//! tiny_http reads the rest of a body when its request is dropped, and for that allocates all
//! that was announced and not delivered: a `Content-Length` of 1000000000000 would abort the
//! process. So the socket is shut down first, after which there is nothing to read; and a
//! request that announced too much is never dropped, but leaked. So is a connection whose
//! thread hangs: a request line with `HTTP/2.0` makes tiny_http wait for itself.
//!
//! Limits: a leaked connection leaves a sleeping thread, two descriptors and some 90 KB behind.
//! Closing its descriptors by number could close somebody else's. How many leaks are too many
//! is for the caller of [`super::Listener::serve`] to decide.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::connection::Connection;
use crate::framing::MAX_BODY;

/// From how many announced bytes on the memory is asked for before the request is dropped.
const LARGE: usize = 1024 * 1024;

/// Held while a request is dropped that announced more than that, so that two of them do not
/// count on the same memory.
static ALLOCATING: Mutex<()> = Mutex::new(());

/// Cuts the connection of a request that is not answered through tiny_http, and drops both that
/// request and the one that is parked behind it.
pub(super) fn release(request: tiny_http::Request, connection: &Connection) {
    connection.cut();
    if !discard(request) {
        count(connection);
    }
    drop_parked(connection);
}

/// Drops the request that is parked on a connection without a response under way, if there is one.
pub(super) fn drop_parked(connection: &Connection) {
    if let Some(request) = connection.take_parked() {
        release(request, connection);
    }
}

/// Drops a request, or leaks it: then it returns false. The connection must have been shut down, or
/// this blocks until the client has sent the body.
pub(super) fn discard(request: tiny_http::Request) -> bool {
    let length = request.body_length().unwrap_or_default();
    let alone = || ALLOCATING.lock().expect("nothing panics under this lock");
    let alone = (length > LARGE).then(alone);
    let fits = length <= LARGE || Vec::<u8>::new().try_reserve_exact(length).is_ok();
    if fits && length as u64 <= MAX_BODY {
        // Dropping the request itself would answer it, and wait for its turn to do so.
        drop(request.into_writer());
        return true;
    }
    drop(alone);
    std::mem::forget(request);
    false
}

/// Counts a connection as leaked, once. Its record stays, so that it is not found again.
pub(super) fn count(connection: &Connection) {
    if std::mem::replace(&mut connection.progress().is_leaked, true) {
        return;
    }
    let (common, peer) = (&connection.common, connection.origin.peer);
    let leaked = common.leaked.fetch_add(1, Ordering::Relaxed) + 1;
    log::warn!("msg=\"leaked a connection\" client={peer} so_far={leaked}");
    (common.on_leak)(leaked);
}
