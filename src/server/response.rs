//! A response on its way out, behind its head.
//!
//! It is written here and not by tiny_http, which would hold a stream back until 8 KiB are full.
//! The head waits for the first part of the body, so that a response that has already arrived is
//! sent in one system call. A response that ends without [`Response::end`] is cut: no client takes
//! a part for the whole.

use std::io::{Read, Write};
use std::mem::take;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::{cutter, leak};
use crate::elastic;
use crate::framing::{Framing, SIZE_LINE};
use crate::record::Sent;

/// A part of known length up to this is copied behind its head before it is sent, in bytes.
const WITH_THE_HEAD: usize = 64 * 1024;

/// How long a client may take to send the rest of a request that is not wanted.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A response that has begun. Dropped without [`Response::end`], it is cut.
pub struct Response {
    start: Start,
    /// Bytes to send in front of the next ones: the head, and short parts of the body.
    pending: Vec<u8>,
    /// Holds a part of the body between reading and sending.
    buffer: Vec<u8>,
    /// How much of the body the buffer is to hold.
    size: usize,
    is_broken: bool,
    is_answered: bool,
}

/// The facts of a response when it begins, and the counters of its progress.
pub(super) struct Start {
    pub(super) out: Out,
    pub(super) connection: Arc<Connection>,
    pub(super) framing: Framing,
    /// Whether we close the connection behind this response.
    pub(super) is_last: bool,
    /// When the request was taken.
    pub(super) started: Instant,
    pub(super) sent: Sent,
}

/// How a response reaches its client.
pub(super) enum Out {
    /// Through tiny_http, which keeps the order of responses.
    Writer(Box<dyn Write + Send>),
    /// To the socket itself. The request is kept: dropping it would read its body.
    Socket(tiny_http::Request),
    /// Not at all: another response is in front of it, and ends the connection.
    Nowhere,
    /// It is closed.
    Ended,
}

impl Response {
    /// A response that begins with these bytes.
    pub(super) fn new(start: Start, head: Vec<u8>) -> Response {
        let size = match start.framing {
            Framing::Length { left } => elastic::size_for(left),
            _ => elastic::LEAST,
        };
        let is_broken = matches!(start.out, Out::Nowhere);
        let buffer = Vec::new();
        Response { start, pending: head, buffer, size, is_broken, is_answered: false }
    }

    /// Sends a part of the body at once; a short one of known length waits for more, or the end.
    pub fn write(&mut self, part: &[u8]) {
        if part.is_empty() || self.is_broken {
            return;
        }
        let part = self.counted(part);
        let has_length = matches!(self.start.framing, Framing::Length { .. });
        if has_length && part.len() > WITH_THE_HEAD {
            let pending = take(&mut self.pending);
            self.put(&pending, false);
            return self.put(part, self.start.framing.is_complete());
        }
        let mut room = [0; SIZE_LINE];
        let (front, behind) = self.start.framing.around(part.len(), &mut room);
        [front, part, behind].iter().for_each(|bytes| self.pending.extend_from_slice(bytes));
        // Many short parts are a long one.
        if !has_length || self.pending.len() > WITH_THE_HEAD {
            self.flush();
        }
    }

    /// Reads a part of the body into the buffer from which it is sent, and sends it at once. Returns
    /// the part; an empty one may be the end of the body.
    pub fn pass<E>(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<&[u8], E> {
        let start = self.pending.len() + SIZE_LINE;
        let wanted = start + self.size + Framing::BEHIND;
        if self.buffer.len() < wanted || self.buffer.len() > 2 * wanted {
            self.buffer = vec![0; wanted];
        }
        let end = start + read(&mut self.buffer[start..start + self.size])?;
        if start == end {
            return Ok(&[]);
        }
        self.size = elastic::next_size(self.size, end - start);
        let mut buffer = take(&mut self.buffer);
        let sent_end = start + self.counted(&buffer[start..end]).len();
        let mut room = [0; SIZE_LINE];
        let (front, behind) = self.start.framing.around(sent_end - start, &mut room);
        // One write sends all: what belongs in front of the part moves up to it.
        buffer[sent_end..sent_end + behind.len()].copy_from_slice(behind);
        let line = start - front.len();
        buffer[line..start].copy_from_slice(front);
        let pending = take(&mut self.pending);
        let first = line - pending.len();
        buffer[first..line].copy_from_slice(&pending);
        self.put(&buffer[first..sent_end + behind.len()], self.start.framing.is_complete());
        self.buffer = buffer;
        Ok(&self.buffer[start..end])
    }

    /// Sends what waits.
    pub fn flush(&mut self) {
        let pending = take(&mut self.pending);
        self.put(&pending, self.start.framing.is_complete());
    }

    /// Counts a part of the body, without what is beyond the announced length.
    fn counted<'a>(&mut self, part: &'a [u8]) -> &'a [u8] {
        let part = self.start.framing.take(part);
        self.start.sent.bytes_out += part.len() as u64;
        part
    }

    /// Whether the client can no longer be written to.
    pub fn broken(&self) -> bool {
        self.is_broken
    }

    /// Ends the response. One that is shorter than its announced length is cut.
    pub fn end(mut self) -> Sent {
        let framing = self.start.framing;
        let is_short = matches!(framing, Framing::Length { left: 1.. });
        self.pending.extend_from_slice(framing.end());
        let pending = take(&mut self.pending);
        self.put(&pending, !is_short);
        self.close(!is_short && !self.is_broken)
    }

    /// Cuts the response: the client sees that it is not complete.
    pub fn abort(mut self) -> Sent {
        self.flush();
        self.close(false)
    }

    /// Cuts the response a moment later, so that the client can read what was sent.
    pub fn abort_later(mut self) -> Sent {
        self.flush();
        if self.is_broken {
            return self.close(false);
        }
        self.buffer = Vec::new();
        let sent = Sent { total: self.start.started.elapsed(), ..self.start.sent };
        cutter::drop_later(Box::new(self));
        sent
    }

    /// Gives bytes to the kernel. `is_end`: they are the last of the response.
    fn put(&mut self, bytes: &[u8], is_end: bool) {
        let connection = &self.start.connection;
        // Once: the next request may be under way by the time the response is closed.
        if is_end && !std::mem::replace(&mut self.is_answered, true) {
            connection.progress().answer(Instant::now());
        }
        if self.is_broken || bytes.is_empty() {
            return;
        }
        let written = match &mut self.start.out {
            Out::Writer(writer) => writer.write_all(bytes).and_then(|()| writer.flush()),
            Out::Socket(_) => (&connection.socket).write_all(bytes),
            Out::Nowhere | Out::Ended => Ok(()),
        };
        self.is_broken = written.is_err();
    }

    fn close(&mut self, complete: bool) -> Sent {
        let Start { out, connection, framing, is_last, started, sent } = &mut self.start;
        (sent.complete, sent.total) = (complete, started.elapsed());
        // If the next request is under way already, its response ends the connection.
        let is_alone = connection.progress().open == 1;
        // The client may still send a request that is not read.
        let lingers = complete && is_alone && connection.is_ended();
        match (complete, framing) {
            _ if matches!(out, Out::Nowhere) => {}
            // The client would take the end of the connection for that of the body.
            (false, Framing::Close) => connection.reset(),
            (false, _) => connection.cut(),
            (true, _) if *is_last || lingers => connection.finish(),
            (true, _) => {}
        }
        if lingers {
            // A connection that is closed with unread bytes is reset, and the response is lost.
            let mut socket = &connection.socket;
            drain(socket, |buffer| matches!(socket.read(buffer), Ok(1..)));
        }
        match std::mem::replace(out, Out::Ended) {
            Out::Writer(writer) => {
                drop(writer);
                if is_alone {
                    leak::drop_parked(connection);
                }
            }
            Out::Socket(request) => leak::release(request, connection),
            Out::Nowhere | Out::Ended => {}
        }
        connection.progress().leave(Instant::now());
        *sent
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        if !matches!(self.start.out, Out::Ended) {
            self.close(false);
        }
    }
}

/// Reads what the client still sends, for [`DRAIN_TIME`] or until `read` returns false.
pub(super) fn drain(socket: &TcpStream, mut read: impl FnMut(&mut [u8]) -> bool) {
    let deadline = Instant::now() + DRAIN_TIME;
    // Not on the stack, which would be larger for as long as the response is streamed.
    let mut buffer = vec![0; 8192];
    loop {
        let patience = deadline.saturating_duration_since(Instant::now());
        let waits = !patience.is_zero() && socket.set_read_timeout(Some(patience)).is_ok();
        if !(waits && read(&mut buffer)) {
            break;
        }
    }
    let _ = socket.set_read_timeout(None);
}
