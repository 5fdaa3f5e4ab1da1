//! Letting go of a request whose body was not read.
//!
//! Dropping one reads what is left of its body, and for that allocates all that was
//! announced and not delivered, at once: a `Content-Length` of 1000000000000 would abort
//! the process. So the socket is shut down first, after which there is nothing to read;
//! and a request that announced too much to be allocated is never dropped, but forgotten,
//! and its descriptors are closed behind its back. The same is done to a connection whose
//! thread hangs: tiny_http waits for itself where a request line says `HTTP/2.0`. Limits:
//! each forgotten connection leaves some 20 KB and a sleeping thread behind; past 1,000
//! the process ends, so that systemd or whoever watches it starts it anew.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::client::Client;
use super::framing;
use super::sockets::ClientSocket;

/// How many connections may be forgotten.
const MOST: usize = 1_000;

static FORGOTTEN: AtomicUsize = AtomicUsize::new(0);

/// Ends the connection of a request that will not be answered through tiny_http, and lets
/// go of the request.
pub(super) fn let_go(request: tiny_http::Request, client: &Client) {
    // Held before the cut: afterwards nothing tells whose connection it was.
    let socket = client.socket();
    client.cut();
    if request.body_length().is_none_or(|length| length as u64 <= framing::MAX_BODY) {
        // Dropping the request itself would answer it, and wait for its turn to do so.
        drop(request.into_writer());
        return;
    }
    std::mem::forget(request);
    // Another response may still be written over these descriptors: then they stay open.
    match socket {
        Some(socket) if client.exchanges() <= 1 => socket.close_others(),
        _ => {}
    }
    count(client.peer());
}

/// Gives up a connection that was cut and whose thread does not notice.
pub(super) fn give_up(socket: &ClientSocket, peer: SocketAddr) {
    socket.close_others();
    count(peer);
}

fn count(peer: SocketAddr) {
    let forgotten = FORGOTTEN.fetch_add(1, Ordering::Relaxed) + 1;
    log::warn!("msg=\"a connection was given up\" client={peer} so_far={forgotten}");
    if forgotten >= MOST {
        log::error!("msg=\"too many connections were given up: ending, to be started anew\"");
        log::logger().flush();
        std::process::exit(1);
    }
}
