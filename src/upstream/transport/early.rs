//! Notices a response that begins while its request is still being sent.
//!
//! An upstream may refuse a request before it has read all of it (413), and close. Unread bytes
//! of the request are then lost, so the response is looked for between two parts of the request. After
//! a refusal nothing more of the request is sent. After a success all of it is: an upstream that
//! echoes or transcribes may respond while it reads.

use std::net::TcpStream;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use super::call;
use crate::sys::socket::{Pending, pending};

/// How many reads one look takes: an upstream may send interim responses for ever.
const READS: usize = 16;

/// A response to a request that is still being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
    /// No response, or not enough of it to judge.
    None,
    /// 2xx.
    Success,
    /// Any other status, or no HTTP.
    Refusal,
}

/// Reads what has arrived on a connection, and judges it. Under TLS, that may be no response
/// but TLS's own, which is consumed by this.
pub(super) fn look(transport: &mut impl Transport, socket: &TcpStream) -> Early {
    let mut early = judge(transport.buffers());
    for _ in 0..READS {
        let reads = early == Early::None
            && pending(socket) == Pending::Bytes
            && matches!(read_arrived(transport), Ok(true));
        if !reads {
            break;
        }
        early = judge(transport.buffers());
    }
    call::set_response_begun(early != Early::None);
    early
}

/// Reads what has arrived; a timeout if nothing has.
pub(super) fn read_arrived(transport: &mut impl Transport) -> Result<bool, Error> {
    call::at_once(|| transport.await_input(NextTimeout::default()))
}

/// Judges the beginning of a response. Interim responses (100, 102, 103) before it are dropped.
fn judge(buffers: &mut dyn Buffers) -> Early {
    const INTERIM: &[u8] = b"HTTP/1.1 1";
    loop {
        let input = buffers.input();
        if input.len() < INTERIM.len() {
            return if INTERIM.starts_with(input) { Early::None } else { Early::Refusal };
        }
        if !input.starts_with(INTERIM) {
            let is_success = input[INTERIM.len() - 1] == b'2';
            return if is_success { Early::Success } else { Early::Refusal };
        }
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Early::None;
        };
        buffers.input_consume(end + 4);
    }
}
