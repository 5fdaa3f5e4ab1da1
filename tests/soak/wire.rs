//! One end of a connection, over a raw socket, with a deadline for everything that is read.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The longest head that either end accepts.
const MAX_HEAD: usize = 256 * 1024;

pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    /// How much of `unread` has been consumed.
    taken: usize,
    deadline: Option<Instant>,
}

/// A parsed head.
#[derive(Debug)]
pub struct Head {
    /// The request line or the status line.
    pub line: String,
    pub headers: Vec<(String, String)>,
}

/// How a body ends.
#[derive(Clone, Copy, Debug)]
pub enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Wire {
    pub fn new(stream: TcpStream) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        Ok(Wire { stream, unread: Vec::new(), taken: 0, deadline: None })
    }

    /// Sets the deadline for everything that follows.
    pub fn limit(&mut self, limit: Duration) -> io::Result<()> {
        self.deadline = Some(Instant::now() + limit);
        self.stream.set_write_timeout(Some(limit))?;
        self.stream.set_read_timeout(Some(limit))
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).map_err(named)
    }

    pub fn write_chunk(&mut self, data: &[u8]) -> io::Result<()> {
        self.write(&[format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat())
    }

    /// The next head; `None` if the connection is closed before it begins.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        if self.unread() == 0 && self.fill()? == 0 {
            return Ok(None);
        }
        let head = self.until(b"\r\n\r\n", MAX_HEAD)?;
        let invalid = |what: &str| io::Error::new(ErrorKind::InvalidData, what.to_owned());
        let text = String::from_utf8(head).map_err(|_| invalid("a head that is no UTF-8"))?;
        let mut lines = text.trim_end().split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':').ok_or_else(|| invalid(line))?;
                Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect::<io::Result<_>>()?;
        Ok(Some(Head { line, headers }))
    }

    /// Reads a body to its end and passes its parts to `take`.
    pub fn body(&mut self, framing: Framing, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        match framing {
            Framing::Length(length) => self.exactly(length, &mut take),
            Framing::UntilClose => {
                while self.unread() > 0 || self.fill()? > 0 {
                    take(&self.unread[self.taken..]);
                    self.taken = self.unread.len();
                }
                Ok(())
            }
            Framing::Chunked => loop {
                let line = self.until(b"\r\n", 1024)?;
                let size = std::str::from_utf8(&line).ok().map(str::trim);
                let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
                let size = size.ok_or_else(|| {
                    let line = String::from_utf8_lossy(&line);
                    io::Error::new(ErrorKind::InvalidData, format!("no chunk size: {line:?}"))
                })?;
                self.exactly(size, &mut take)?;
                if self.until(b"\r\n", 2)? != b"\r\n" {
                    return Err(io::Error::new(ErrorKind::InvalidData, "no end of a chunk"));
                }
                if size == 0 {
                    return Ok(());
                }
            },
        }
    }

    fn exactly(&mut self, mut left: u64, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        while left > 0 {
            if self.unread() == 0 && self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let count = usize::try_from(left).map_or(self.unread(), |left| left.min(self.unread()));
            take(&self.unread[self.taken..self.taken + count]);
            self.taken += count;
            left -= count as u64;
        }
        Ok(())
    }

    fn until(&mut self, end: &[u8], most: usize) -> io::Result<Vec<u8>> {
        loop {
            let unread = &self.unread[self.taken..];
            if let Some(at) = unread.windows(end.len()).position(|part| part == end) {
                let part = unread[..at + end.len()].to_vec();
                self.taken += part.len();
                return Ok(part);
            }
            if unread.len() > most {
                return Err(io::Error::new(ErrorKind::InvalidData, "a line without an end"));
            }
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn unread(&self) -> usize {
        self.unread.len() - self.taken
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(ErrorKind::TimedOut.into());
        }
        self.unread.drain(..self.taken);
        self.taken = 0;
        let mut buffer = [0; 32 * 1024];
        let read = loop {
            match self.stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other.map_err(named)?,
            }
        };
        self.unread.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

/// Linux reports a read or write timeout as `WouldBlock`.
fn named(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::WouldBlock { ErrorKind::TimedOut.into() } else { error }
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// How the body ends; `None` if the head announces no body.
    pub fn framing(&self) -> Option<Framing> {
        if self.header("transfer-encoding") == Some("chunked") {
            return Some(Framing::Chunked);
        }
        self.header("content-length")?.parse().ok().map(Framing::Length)
    }
}
