//! Letting go of a request whose body was not read.
//!
//! Dropping one reads what is left of its body, and for that allocates all that was
//! announced and not delivered, at once: a `Content-Length` of 1000000000000 would abort
//! the process. So the socket is shut down first, after which there is nothing to read;
//! and a request that announced too much to be allocated, or more than this machine has, is
//! never dropped, but forgotten.
//! The same is done to a connection whose thread hangs: tiny_http waits for itself where a
//! request line says `HTTP/2.0`. Limits: each forgotten connection leaves a sleeping
//! thread, two descriptors and, amid traffic, some 90 KB behind. To close those by their
//! numbers would risk closing somebody else's: a number is given out again at once. Past a
//! number that the limit of files allows for, 1,000 at most, the process ends, so that
//! systemd or whoever watches it starts it anew.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::client::Client;
use super::framing;

/// How many connections may be forgotten.
const MOST: usize = 1_000;

/// The same, as one part in this many of the files that may be open.
const SHARE: usize = 8;

/// From how many announced bytes on it is asked first whether there is so much memory.
const LARGE: usize = 1024 * 1024;

/// Held while a request is dropped that announced more than that.
static ALLOCATING: Mutex<()> = Mutex::new(());

static FORGOTTEN: AtomicUsize = AtomicUsize::new(0);

/// How many connections may be forgotten with this limit of files.
static ALLOWED: AtomicUsize = AtomicUsize::new(MOST);

/// Says how many files the process may have open.
pub(super) fn allow_for(files: usize) {
    ALLOWED.store((files / SHARE).clamp(4, MOST), Ordering::Relaxed);
}

/// Ends the connection of a request that will not be answered through tiny_http, and lets
/// go of the request.
pub(super) fn let_go(request: tiny_http::Request, client: &Client) {
    client.cut();
    let length = request.body_length().unwrap_or_default();
    // One large one after the other, so that what was found to be there is not taken by another.
    let alone =
        (length > LARGE).then(|| ALLOCATING.lock().expect("nothing panics under this lock"));
    let is_there = length <= LARGE || Vec::<u8>::new().try_reserve_exact(length).is_ok();
    if length as u64 <= framing::MAX_BODY && is_there {
        // Dropping the request itself would answer it, and wait for its turn to do so.
        drop(request.into_writer());
        return;
    }
    drop(alone);
    std::mem::forget(request);
    give_up(client.peer());
}

/// How many connections were given up.
pub(super) fn given_up() -> usize {
    FORGOTTEN.load(Ordering::Relaxed)
}

/// Counts a connection that was given up.
pub(super) fn give_up(peer: SocketAddr) {
    let forgotten = FORGOTTEN.fetch_add(1, Ordering::Relaxed) + 1;
    log::warn!("msg=\"a connection was given up\" client={peer} so_far={forgotten}");
    if forgotten >= ALLOWED.load(Ordering::Relaxed) {
        log::error!("msg=\"too many connections were given up: ending, to be started anew\"");
        log::logger().flush();
        std::process::exit(1);
    }
}
