//! A response on its way out, behind its head.
//!
//! The framing is written here and not by tiny_http, which would hold a stream back until
//! 8 KiB are full. A response that ends without [`Response::end`] is always cut, so that no
//! client takes a part for the whole. Limits: no trailers.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Client;
use super::exchange::DRAIN_TIME;
use super::giants;

/// What became of an exchange, for the log.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// The status that was sent.
    pub status: u16,
    /// From taking the request to the first byte of the response.
    pub first_byte: Duration,
    /// From taking the request to the end.
    pub total: Duration,
    /// Bytes of the request's body that were read.
    pub bytes_in: u64,
    /// Bytes of the response's body that were written.
    pub bytes_out: u64,
    /// Whether the client was sent all of it.
    pub complete: bool,
}

/// A response whose head was sent. Dropped without [`Response::end`], it is cut.
pub struct Response {
    pub(super) out: Out,
    pub(super) client: Arc<Client>,
    pub(super) framing: Framing,
    /// Nothing is waited for.
    pub(super) hurried: bool,
    /// What is put together before it is sent.
    pub(super) frame: Vec<u8>,
    pub(super) broken: bool,
    /// Whether the connection is known to have ended.
    pub(super) gone: bool,
    /// Whether the connection ends with it because the program does.
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

/// Answers up to this length are put together with their head before they are sent.
pub(super) const WITH_THE_HEAD: u64 = 64 * 1024;

impl Response {
    /// Sends a part of the body at once.
    pub fn write(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.broken {
            return;
        }
        self.sent.bytes_out += bytes.len() as u64;
        match &mut self.framing {
            Framing::None => self.sent.bytes_out = 0,
            Framing::Close => self.put(bytes),
            Framing::Length { left } => {
                // More than was promised would be taken for the next response.
                let fitting = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= fitting as u64;
                if self.frame.is_empty() {
                    self.put(&bytes[..fitting]);
                } else {
                    self.frame.extend_from_slice(&bytes[..fitting]);
                }
            }
            Framing::Chunked => {
                let mut frame = std::mem::take(&mut self.frame);
                frame.clear();
                // Writing to a Vec does not fail.
                let _ = write!(frame, "{:x}\r\n", bytes.len());
                frame.extend_from_slice(bytes);
                frame.extend_from_slice(b"\r\n");
                self.put(&frame);
                self.frame = frame;
            }
        }
    }

    /// Whether the client can no longer be written to.
    pub fn broken(&self) -> bool {
        self.broken
    }

    /// Ends the response. One that is shorter than was promised is cut.
    pub fn end(mut self) -> Sent {
        match self.framing {
            Framing::Chunked => self.put(b"0\r\n\r\n"),
            Framing::Length { .. } if !self.frame.is_empty() => {
                let frame = std::mem::take(&mut self.frame);
                self.put(&frame);
            }
            _ => {}
        }
        let short = matches!(self.framing, Framing::Length { left } if left > 0);
        self.close(!short && !self.broken)
    }

    /// Cuts the response: the client sees that it is not complete.
    pub fn abort(mut self) -> Sent {
        self.close(false)
    }

    fn close(&mut self, complete: bool) -> Sent {
        self.finished = true;
        self.sent.complete = complete;
        self.sent.total = self.started.elapsed();
        let out = std::mem::replace(&mut self.out, Out::Done);
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
            Out::Writer(writer) => drop(writer),
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

/// Gives the client a moment to read its answer while it still sends: a connection that
/// is closed over unread bytes is reset, and the answer with it.
fn linger(client: &Client) {
    let Some(socket) = client.socket() else { return };
    socket.finish();
    let deadline = Instant::now() + DRAIN_TIME;
    let mut buffer = [0; 16 * 1024];
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
