//! Copies bytes both ways between two connections that have switched to another protocol.
//!
//! One thread serves both directions with poll(2): a thread for each would cost twice the memory, and
//! TLS would need a lock between them. The end of one direction is passed on as such (a FIN), and so
//! is a reset. Limits: an idle tunnel has no deadline, except that one which cannot send, or of which
//! one direction has ended, is cut after five minutes without progress.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

use crate::elastic;
use crate::sys::memory;
use crate::sys::poll::{self, Interest};

/// How long a tunnel may make no progress while there are bytes to send, or after one side has closed.
const STALLED: Duration = Duration::from_secs(300);

/// After how long without traffic a tunnel frees its buffers.
const SETTLED: Duration = Duration::from_millis(500);

/// One end of a tunnel, which never blocks.
pub trait End {
    /// Reads what has arrived; 0 bytes are the end, `WouldBlock`: nothing has arrived. If it does not
    /// fill the buffer, the rest is still in the socket, so that poll(2) reports it.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Takes some of these bytes to send them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Sends what it has taken. Returns whether nothing is left.
    fn flush(&mut self) -> io::Result<bool>;
    /// Closes this direction. Returns whether that is done; if not, it must be called again.
    fn finish(&mut self) -> io::Result<bool>;
    /// Breaks the connection.
    fn reset(&mut self);
    /// Its socket, to wait for.
    fn socket(&self) -> &TcpStream;
}

/// The side of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client of the proxy.
    Client,
    /// The upstream.
    Upstream,
}

/// What a tunnel has done.
#[derive(Debug, Default)]
pub struct Ended {
    /// Bytes from the client to the upstream.
    pub sent: u64,
    /// Bytes from the upstream to the client.
    pub received: u64,
    /// The connection that broke, if one did. The other one was reset.
    pub broken: Option<(Side, io::Error)>,
}

/// Copies until both directions have ended, or a connection breaks.
pub fn run(client: &mut dyn End, upstream: &mut dyn End) -> Ended {
    let (mut to_upstream, mut to_client) = (Pipe::new(), Pipe::new());
    let broken = copy(client, upstream, &mut to_upstream, &mut to_client).err();
    match broken {
        None => {}
        Some((Side::Client, _)) => upstream.reset(),
        Some((Side::Upstream, _)) => client.reset(),
    }
    Ended { sent: to_upstream.bytes, received: to_client.bytes, broken }
}

fn copy(
    client: &mut dyn End,
    upstream: &mut dyn End,
    to_upstream: &mut Pipe,
    to_client: &mut Pipe,
) -> Result<(), (Side, io::Error)> {
    use Side::{Client, Upstream};
    let mut is_settled = false;
    loop {
        while to_upstream.step((client, Client), (upstream, Upstream))?
            | to_client.step((upstream, Upstream), (client, Client))?
        {
            is_settled = false;
        }
        if to_upstream.is_finished && to_client.is_finished {
            return Ok(());
        }
        let is_pending = to_upstream.is_pending || to_client.is_pending;
        let timeout = match is_settled {
            false => Some(SETTLED),
            true if is_pending || to_upstream.has_ended || to_client.has_ended => Some(STALLED),
            true => None,
        };
        let interests = [
            Interest {
                socket: client.socket(),
                reads: to_upstream.reads(),
                writes: to_client.is_pending,
            },
            Interest {
                socket: upstream.socket(),
                reads: to_client.reads(),
                writes: to_upstream.is_pending,
            },
        ];
        let events = poll::wait(interests, timeout).map_err(|error| (Client, error))?;
        let Some([of_client, of_upstream]) = events else {
            if is_settled {
                let side = if to_client.is_pending { Client } else { Upstream };
                return Err((side, ErrorKind::TimedOut.into()));
            }
            is_settled = true;
            to_upstream.settle();
            to_client.settle();
            memory::release_stack();
            continue;
        };
        to_upstream.is_readable |= of_client.readable || of_client.is_broken;
        to_client.is_readable |= of_upstream.readable || of_upstream.is_broken;
        for (events, side, end) in
            [(of_client, Client, &*client), (of_upstream, Upstream, &*upstream)]
        {
            if events.is_broken {
                let error = end.socket().take_error().ok().flatten();
                return Err((side, error.unwrap_or_else(|| ErrorKind::ConnectionReset.into())));
            }
        }
    }
}

/// One direction.
struct Pipe {
    buffer: Vec<u8>,
    /// The bytes that were read and not written are `start..end`.
    start: usize,
    end: usize,
    /// The size of the buffer once it is next empty.
    size: usize,
    /// Whether a read may return something.
    is_readable: bool,
    /// Whether the source has ended.
    has_ended: bool,
    /// Whether the destination takes no more for now.
    is_pending: bool,
    /// Whether the end was passed on.
    is_finished: bool,
    bytes: u64,
}

impl Pipe {
    fn new() -> Pipe {
        Pipe {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            size: elastic::LEAST,
            // The first bytes may have come with the head.
            is_readable: true,
            has_ended: false,
            is_pending: false,
            is_finished: false,
            bytes: 0,
        }
    }

    /// Whether to wait for the source.
    fn reads(&self) -> bool {
        self.start == self.end && !self.has_ended
    }

    fn settle(&mut self) {
        if self.start == self.end {
            (self.buffer, self.start, self.end, self.size) = (Vec::new(), 0, 0, elastic::LEAST);
        }
    }

    /// Reads and writes once. Returns whether that made progress.
    fn step(
        &mut self,
        (from, source): (&mut dyn End, Side),
        (to, destination): (&mut dyn End, Side),
    ) -> Result<bool, (Side, io::Error)> {
        let mut progress = false;
        if self.reads() && self.is_readable {
            if self.buffer.len() != self.size {
                self.buffer = vec![0; self.size];
            }
            match unless_blocked(from.read(&mut self.buffer)).map_err(|error| (source, error))? {
                Some(0) => self.has_ended = true,
                Some(read) => {
                    (self.start, self.end) = (0, read);
                    self.is_readable = read == self.buffer.len();
                    self.size = elastic::next_size(self.size, read);
                }
                None => self.is_readable = false,
            }
            progress = self.has_ended || self.start < self.end;
        }
        let failed = |error| (destination, error);
        if self.start < self.end {
            let rest = &self.buffer[self.start..self.end];
            if let Some(written) = unless_blocked(to.write(rest)).map_err(failed)? {
                self.start += written;
                self.bytes += written as u64;
                progress = true;
            }
        }
        let is_flushed = to.flush().map_err(failed)?;
        self.is_pending = self.start < self.end || !is_flushed;
        if self.has_ended && !self.is_finished && !self.is_pending {
            self.is_finished = to.finish().map_err(failed)?;
            self.is_pending = !self.is_finished;
            progress |= self.is_finished;
        }
        Ok(progress)
    }
}

/// The result of a call that did not block.
fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        // After a signal poll(2) returns at once.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
