//! A client connection that has switched to another protocol.
//!
//! tiny_http keeps the request, whose body is the raw connection, and so the bytes that it has read
//! together with the head. It reads no further request (see `docs/design/listener.md`, 12).

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::connection::{Common, Connection};
use super::leak;
use crate::record::Sent;
use crate::tunnel::{End, Ended};

/// The right to one of `server.max_upgrades`, until it is dropped.
pub(super) struct Permit(Arc<Common>);

impl Permit {
    /// Takes a permit, if one is left.
    pub(super) fn take(common: &Arc<Common>) -> Option<Permit> {
        let permit = Permit(Arc::clone(common));
        let before = common.upgrades.fetch_add(1, Ordering::SeqCst);
        (before < common.max_upgrades).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.upgrades.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A client connection behind a 101. Dropped, it is cut.
pub struct Switched {
    /// Some until it is dropped.
    pub(super) request: Option<tiny_http::Request>,
    pub(super) connection: Arc<Connection>,
    pub(super) sent: Sent,
    pub(super) started: Instant,
    pub(super) _permit: Option<Permit>,
}

impl Switched {
    /// Closes the connection; returns what was sent.
    pub fn close(self, ended: &Ended) -> Sent {
        Sent {
            total: self.started.elapsed(),
            bytes_in: ended.sent,
            bytes_out: ended.received,
            complete: ended.broken.is_none(),
            ..self.sent
        }
    }
}

impl End for Switched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let request = self.request.as_mut();
        request.map_or(Ok(0), |request| request.as_reader().read(buffer))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.connection.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn finish(&mut self) -> io::Result<bool> {
        self.connection.finish();
        Ok(true)
    }

    fn reset(&mut self) {
        self.connection.reset();
    }

    fn socket(&self) -> &TcpStream {
        &self.connection.socket
    }
}

impl Drop for Switched {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            leak::release(request, &self.connection);
            self.connection.progress().leave(Instant::now());
        }
    }
}
