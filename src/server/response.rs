//! A response on its way out, behind its head.
//!
//! The framing is written here and not by tiny_http, which would hold a stream back until
//! 8 KiB are full. The head waits for what is sent next, so that a response which has arrived
//! goes out in one system call. A response that ends without [`Response::end`] is always cut:
//! no client takes a part for the whole. Limits: no trailers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::leak;
use crate::elastic;
use crate::record::Sent;

/// How long a client is given to finish sending what nobody reads.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A response that has begun. Dropped without [`Response::end`], it is cut.
pub struct Response {
    out: Out,
    connection: Arc<Connection>,
    framing: Framing,
    /// What is sent in front of what comes next: the head, and a short body.
    pending: Vec<u8>,
    /// Where parts of the body are read to, and sent from.
    buffer: Vec<u8>,
    /// How much of the body the buffer is to hold.
    size: usize,
    is_broken: bool,
    is_answered: bool,
    is_last: bool,
    started: Instant,
    sent: Sent,
}

/// What a response begins with.
pub(super) struct Head {
    pub(super) out: Out,
    pub(super) connection: Arc<Connection>,
    pub(super) framing: Framing,
    /// The status line and the fields.
    pub(super) bytes: Vec<u8>,
    /// The length of the body, if it is known.
    pub(super) length: Option<u64>,
    /// Whether the connection ends with this response, for a reason of our own.
    pub(super) is_last: bool,
    pub(super) started: Instant,
    pub(super) sent: Sent,
}

/// How a response reaches its client.
pub(super) enum Out {
    /// Through tiny_http, which keeps the order of responses.
    Writer(Box<dyn Write + Send>),
    /// To the socket itself. The request is kept: dropping it would read its body.
    Socket(tiny_http::Request),
    /// No longer.
    Ended,
}

/// How the client can tell where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length { left: u64 },
    Chunked,
    Close,
}

/// A body of known length up to this is put together with its head before it is sent.
const WITH_THE_HEAD: usize = 64 * 1024;

/// Room for the line in front of a chunk, and for the one behind it.
const SIZE_LINE: usize = 18;
const LINE_END: &[u8] = b"\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl Response {
    pub(super) fn new(head: Head) -> Response {
        Response {
            is_broken: matches!(head.out, Out::Ended),
            is_answered: false,
            out: head.out,
            connection: head.connection,
            framing: head.framing,
            pending: head.bytes,
            buffer: Vec::new(),
            size: head.length.map_or(elastic::LEAST, elastic::size_for),
            is_last: head.is_last,
            started: head.started,
            sent: head.sent,
        }
    }

    /// Sends a part of the body at once; a short one of known length waits for more, or the end.
    pub fn write(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.is_broken {
            return;
        }
        let bytes = self.counted(bytes);
        match self.framing {
            Framing::None => {}
            Framing::Length { .. } if bytes.len() <= WITH_THE_HEAD => {
                self.pending.extend_from_slice(bytes);
                // Many short parts are a long one.
                if self.pending.len() > WITH_THE_HEAD {
                    self.flush();
                }
            }
            Framing::Length { .. } | Framing::Close => {
                let pending = std::mem::take(&mut self.pending);
                self.put(&pending, false);
                self.put(bytes, self.has_all());
            }
            Framing::Chunked => {
                self.pending.extend_from_slice(size_line(bytes.len(), &mut [0; SIZE_LINE]));
                self.pending.extend_from_slice(bytes);
                self.pending.extend_from_slice(LINE_END);
                self.flush();
            }
        }
    }

    /// Reads a part of the body to where it is sent from, and sends it at once. Returns what
    /// was read; nothing may be the end of the body.
    pub fn pass<E>(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<&[u8], E> {
        let start = self.pending.len() + SIZE_LINE;
        let wanted = start + self.size + LINE_END.len();
        if self.buffer.len() < wanted || self.buffer.len() > 2 * wanted {
            self.buffer = vec![0; wanted];
        }
        let end = start + read(&mut self.buffer[start..start + self.size])?;
        if start == end {
            return Ok(&[]);
        }
        self.size = elastic::next_size(self.size, end - start);
        let mut buffer = std::mem::take(&mut self.buffer);
        let sent = start..start + self.counted(&buffer[start..end]).len();
        let (mut first, mut last) = (sent.start, sent.end);
        if self.framing == Framing::Chunked {
            let mut line = [0; SIZE_LINE];
            let line = size_line(sent.len(), &mut line);
            first -= line.len();
            buffer[first..sent.start].copy_from_slice(line);
            last += LINE_END.len();
            buffer[sent.end..last].copy_from_slice(LINE_END);
        }
        let pending = std::mem::take(&mut self.pending);
        let front = first - pending.len();
        buffer[front..first].copy_from_slice(&pending);
        if self.framing != Framing::None {
            self.put(&buffer[front..last], self.has_all());
        }
        self.buffer = buffer;
        Ok(&self.buffer[start..end])
    }

    /// Sends what waits.
    pub fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        self.put(&pending, self.has_all());
    }

    /// Counts a part of the body, and cuts off what was not promised: that would be taken
    /// for the next response.
    fn counted<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let bytes = match &mut self.framing {
            Framing::Length { left } => {
                let fitting = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= fitting as u64;
                &bytes[..fitting]
            }
            _ => bytes,
        };
        if self.framing != Framing::None {
            self.sent.bytes_out += bytes.len() as u64;
        }
        bytes
    }

    /// Whether the client has all of the response with what is sent next. The end of a chunked
    /// body is [`LAST_CHUNK`], which [`Response::end`] sends.
    fn has_all(&self) -> bool {
        matches!(self.framing, Framing::None | Framing::Length { left: 0 })
    }

    /// Whether the client can no longer be written to.
    pub fn broken(&self) -> bool {
        self.is_broken
    }

    /// Ends the response. One that is shorter than was promised is cut.
    pub fn end(mut self) -> Sent {
        if self.framing == Framing::Chunked {
            self.pending.extend_from_slice(LAST_CHUNK);
        }
        let is_short = matches!(self.framing, Framing::Length { left } if left > 0);
        let pending = std::mem::take(&mut self.pending);
        self.put(&pending, !is_short);
        self.close(!is_short && !self.is_broken)
    }

    /// Cuts the response: the client sees that it is not complete.
    pub fn abort(mut self) -> Sent {
        self.flush();
        self.close(false)
    }

    /// Gives bytes to the kernel; `is_end` says that they are the last of the response.
    fn put(&mut self, bytes: &[u8], is_end: bool) {
        // Once: the next request may be under way by the time the response is closed.
        if is_end && !std::mem::replace(&mut self.is_answered, true) {
            self.connection.progress().answer(Instant::now());
        }
        if self.is_broken || bytes.is_empty() {
            return;
        }
        let written = match &mut self.out {
            Out::Writer(writer) => writer.write_all(bytes).and_then(|()| writer.flush()),
            Out::Socket(_) => (&self.connection.socket).write_all(bytes),
            Out::Ended => Ok(()),
        };
        self.is_broken = written.is_err();
    }

    fn close(&mut self, complete: bool) -> Sent {
        self.sent.complete = complete;
        self.sent.total = self.started.elapsed();
        // Whether the client sends what is not read as requests.
        let lingers = complete && self.connection.is_ended();
        match (complete, self.framing) {
            (false, Framing::Close) => self.connection.reset(),
            (false, _) => self.connection.cut(),
            (true, framing) if framing == Framing::Close || self.is_last || lingers => {
                self.connection.finish();
            }
            (true, _) => {}
        }
        if lingers {
            linger(&self.connection.socket);
        }
        match std::mem::replace(&mut self.out, Out::Ended) {
            Out::Writer(writer) => {
                drop(writer);
                leak::release_behind(&self.connection);
            }
            Out::Socket(request) => leak::release(request, &self.connection),
            Out::Ended => {}
        }
        self.connection.progress().leave();
        self.sent
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        if !matches!(self.out, Out::Ended) {
            self.close(false);
        }
    }
}

/// The line in front of a chunk.
fn size_line(length: usize, room: &mut [u8; SIZE_LINE]) -> &[u8] {
    let mut rest = &mut room[..];
    // 16 digits and a line end fit.
    let _ = write!(rest, "{length:x}\r\n");
    let written = SIZE_LINE - rest.len();
    &room[..written]
}

/// Gives the client a moment to read its answer while it still sends: a connection that is
/// closed over unread bytes is reset, and the answer with it.
fn linger(mut socket: &TcpStream) {
    let deadline = Instant::now() + DRAIN_TIME;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let patience = deadline.saturating_duration_since(Instant::now());
        if patience.is_zero() || socket.set_read_timeout(Some(patience)).is_err() {
            return;
        }
        if !matches!(socket.read(&mut buffer), Ok(1..)) {
            return;
        }
    }
}
