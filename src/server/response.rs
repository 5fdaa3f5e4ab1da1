//! A response on its way out, behind its head.
//!
//! The framing is written here and not by tiny_http, which would hold a stream back until
//! 8 KiB are full. The head waits for what is sent next, so that a response which has
//! arrived goes out in one system call. A response that ends without [`Response::end`] is always cut, so that no
//! client takes a part for the whole. Limits: no trailers.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use super::client::Client;
use super::exchange::DRAIN_TIME;
use super::giants;
use crate::elastic;
use crate::record::Sent;

/// A response that has begun. Dropped without [`Response::end`], it is cut.
pub struct Response {
    pub(super) out: Out,
    pub(super) client: Arc<Client>,
    /// Which of the connection's requests it answers.
    pub(super) number: usize,
    pub(super) framing: Framing,
    /// Nothing is waited for.
    pub(super) hurried: bool,
    /// What is to be sent in front of what comes next: the head, and a short body.
    pub(super) pending: Vec<u8>,
    /// Where parts of the body are read to, and sent from.
    pub(super) buffer: Vec<u8>,
    /// How much of the body the buffer is to hold.
    pub(super) size: usize,
    pub(super) broken: bool,
    /// Whether the connection is known to have ended.
    pub(super) gone: bool,
    /// Whether the connection ends with it, for a reason of our own.
    pub(super) last: bool,
    pub(super) finished: bool,
    pub(super) sent: Sent,
    pub(super) started: Instant,
}

/// What a response is written to.
pub(super) enum Out {
    Writer(Box<dyn Write + Send>),
    /// The request is kept: dropping it would read its body.
    Socket(tiny_http::Request),
    Nowhere(tiny_http::Request),
    Done,
}

/// How a response can reach its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WayOut {
    Writer,
    Socket,
    Nowhere,
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

impl Response {
    /// Sends a part of the body at once; a short one of known length waits for more, or the end.
    pub fn write(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.broken {
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
                self.flush();
                self.put(bytes);
            }
            Framing::Chunked => {
                self.pending.extend_from_slice(size_line(bytes.len(), &mut [0; SIZE_LINE]));
                self.pending.extend_from_slice(bytes);
                self.pending.extend_from_slice(LINE_END);
                self.flush();
            }
        }
    }

    /// Reads a part of the body to where it is sent from, and sends it at once. Tells what
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
            self.put(&buffer[front..last]);
        }
        self.buffer = buffer;
        Ok(&self.buffer[start..end])
    }

    /// Sends what waits.
    pub fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            self.put(&pending);
        }
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

    /// Whether the client can no longer be written to.
    pub fn broken(&self) -> bool {
        self.broken
    }

    /// Ends the response. One that is shorter than was promised is cut.
    pub fn end(mut self) -> Sent {
        if self.framing == Framing::Chunked {
            self.pending.extend_from_slice(b"0\r\n\r\n");
        }
        self.flush();
        let short = matches!(self.framing, Framing::Length { left } if left > 0);
        self.close(!short && !self.broken)
    }

    /// Cuts the response: the client sees that it is not complete.
    pub fn abort(mut self) -> Sent {
        self.flush();
        self.close(false)
    }

    fn close(&mut self, complete: bool) -> Sent {
        self.finished = true;
        self.sent.complete = complete;
        self.sent.total = self.started.elapsed();
        let mut out = std::mem::replace(&mut self.out, Out::Done);
        if let Out::Nowhere(request) = out {
            let Some(request) = self.client.park_last(self.number, request) else {
                // The connection ends with the answer in front of it.
                self.client.leave();
                return self.sent;
            };
            out = Out::Nowhere(request);
        }
        let through_writer = matches!(out, Out::Writer(_));
        // The socket is looked up only where it is needed: it takes a while.
        match (complete, self.framing) {
            // Whoever has its port by now is another.
            (false, _) if self.gone => {}
            (false, Framing::Close) => self.client.reset(),
            (false, _) => self.client.cut(),
            (true, Framing::Close) => self.client.finish(),
            (true, _) if self.last => self.client.finish(),
            (true, _) => {}
        }
        match out {
            Out::Writer(writer) => {
                drop(writer);
                if complete && self.client.has_parked() && self.client.ends_with(self.number) {
                    linger(&self.client);
                }
            }
            Out::Socket(request) => {
                if !self.hurried {
                    linger(&self.client);
                }
                giants::let_go(request, &self.client);
            }
            Out::Nowhere(request) => giants::let_go(request, &self.client),
            Out::Done => {}
        }
        if !through_writer {
            // What tiny_http had read of the connection comes only now that it is cut.
            self.client.distrust();
        }
        self.client.leave();
        self.sent
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        let written = match &mut self.out {
            Out::Writer(writer) => writer.write_all(bytes).and_then(|()| writer.flush()),
            Out::Socket(_) => match self.client.socket() {
                Some(socket) if self.hurried => match socket.send_now(bytes) {
                    true => Ok(()),
                    false => Err(ErrorKind::WouldBlock.into()),
                },
                Some(socket) => socket.stream().write_all(bytes),
                None => Err(ErrorKind::NotConnected.into()),
            },
            Out::Nowhere(_) | Out::Done => Err(ErrorKind::NotConnected.into()),
        };
        if let Err(error) = written {
            self.broken = true;
            let kind = error.kind();
            self.gone = matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
        }
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        if !self.finished {
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

/// Gives the client a moment to read its answer while it still sends: a connection that
/// is closed over unread bytes is reset, and the answer with it.
fn linger(client: &Client) {
    let Some(socket) = client.socket() else { return };
    socket.finish();
    let deadline = Instant::now() + DRAIN_TIME;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let patience = deadline.saturating_duration_since(Instant::now());
        if patience.is_zero() || socket.stream().set_read_timeout(Some(patience)).is_err() {
            return;
        }
        match socket.stream().read(&mut buffer) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
    }
}
