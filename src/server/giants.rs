//! Letting go of a request whose body was not read.
//!
//! Dropping one reads what is left of its body, and for that allocates all that was
//! announced and not delivered, at once: a `Content-Length` of 1000000000000 would abort
//! the process. So the socket is shut down first, after which there is nothing to read;
//! and a request that announced too much to be allocated is never dropped, but forgotten,
//! and its descriptors are closed behind its back. Limits: each forgotten request leaves
//! some 20 KB and a sleeping thread behind; past 1,000 the process ends, so that systemd
//! or whoever watches it starts it anew.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::client::Client;
use super::framing;
use super::sockets;

/// How many requests may be forgotten.
const MOST: usize = 1_000;

static FORGOTTEN: AtomicUsize = AtomicUsize::new(0);

/// Ends the connection of a request that will not be answered through tiny_http, and lets
/// go of the request.
pub(super) fn let_go(request: tiny_http::Request, client: &Client) {
    client.cut();
    if request.body_length().is_none_or(|length| length as u64 <= framing::MAX_BODY) {
        drop(request);
        return;
    }
    std::mem::forget(request);
    // Another response may still be written over these descriptors: then they stay open.
    if client.exchanges() == 1 {
        sockets::close_forgotten(client.peer(), client.local_port());
    }
    let forgotten = FORGOTTEN.fetch_add(1, Ordering::Relaxed) + 1;
    let peer = client.peer();
    log::warn!("msg=\"a giant request was refused\" client={peer} so_far={forgotten}");
    if forgotten >= MOST {
        log::error!("msg=\"too many giant requests: ending, to be started anew\"");
        std::process::exit(1);
    }
}
