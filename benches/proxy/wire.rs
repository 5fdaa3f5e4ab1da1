//! One end of a connection: reads heads and bodies, with one buffer and no copies.
//!
//! Limits: supports only what both ends of this harness and a proxy between them write: no folded lines, no trailers,
//! no body that ends with the connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The timeout of reads and writes. No scenario is silent for so long.
const PATIENCE: Duration = Duration::from_secs(30);

const BUFFER: usize = 128 * 1024;

pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The part of the buffer that was read and is not consumed yet.
    start: usize,
    end: usize,
}

/// How much of a body is left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Framing {
    Length(u64),
    /// How much is left of this chunk and its line end; `None` before the first chunk.
    Chunked(Option<u64>),
}

impl Framing {
    pub const END: Framing = Framing::Length(0);

    /// The framing that a head announces; no body if it announces none.
    fn of(head: &[u8]) -> io::Result<Framing> {
        for line in head.split(|byte| *byte == b'\n').skip(1) {
            if let Some(value) = value_of(line, b"content-length:") {
                let value = std::str::from_utf8(value).ok().map(str::trim);
                let length = value.and_then(|value| value.parse().ok());
                return length.map(Framing::Length).ok_or_else(|| invalid("a length", line));
            }
            if value_of(line, b"transfer-encoding:").is_some() {
                return Ok(Framing::Chunked(None));
            }
        }
        Ok(Framing::END)
    }
}

/// The value of the field, if the line has this name.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(value)
}

fn invalid(what: &str, found: &[u8]) -> io::Error {
    let found = String::from_utf8_lossy(found);
    io::Error::new(ErrorKind::InvalidData, format!("expected {what}, got {:?}", found.trim_end()))
}

fn cut() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the connection ended in the middle")
}

impl Wire {
    pub fn new(stream: TcpStream) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Wire { stream, buffer: vec![0; BUFFER], start: 0, end: 0 })
    }

    /// Sets a timeout for reads. The upstream has none, because its connections may be idle.
    pub fn impatient(self) -> io::Result<Wire> {
        self.stream.set_read_timeout(Some(PATIENCE))?;
        Ok(self)
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next head, and how its body is framed; `None` if the connection ends before it. `first` gets the first line.
    pub fn head<T>(&mut self, first: impl FnOnce(&str) -> T) -> io::Result<Option<(T, Framing)>> {
        let mut looked = 0;
        let length = loop {
            let unread = &self.buffer[self.start..self.end];
            let blank = unread[looked..].windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(at) = blank {
                break looked + at + 4;
            }
            looked = unread.len().saturating_sub(3);
            match self.fill() {
                Ok(0) if self.start == self.end => return Ok(None),
                Ok(0) => return Err(cut()),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        };
        let head = &self.buffer[self.start..self.start + length];
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = std::str::from_utf8(line).map_err(|_| invalid("a first line", line))?;
        let found = (first(line), Framing::of(head)?);
        self.start += length;
        Ok(Some(found))
    }

    /// The next bytes of a body; `None` at its end.
    pub fn part(&mut self, framing: &mut Framing) -> io::Result<Option<&[u8]>> {
        // For a chunk, `left` includes the 2 bytes of its line end.
        let (left, after) = match framing {
            Framing::Length(left) => (left, 0),
            Framing::Chunked(left) => {
                if left.is_none_or(|left| left <= 2) {
                    let size = self.chunk(left.unwrap_or_default())?;
                    if size == 0 {
                        self.skip(2)?;
                        *framing = Framing::END;
                        return Ok(None);
                    }
                    *left = Some(size + 2);
                }
                match left {
                    Some(left) => (left, 2),
                    None => return Ok(None),
                }
            }
        };
        if *left == after {
            return Ok(None);
        }
        if self.start == self.end && self.fill()? == 0 {
            return Err(cut());
        }
        let most = usize::try_from(*left - after).unwrap_or(usize::MAX);
        let taken = most.min(self.end - self.start);
        *left -= taken as u64;
        let part = &self.buffer[self.start..self.start + taken];
        self.start += taken;
        Ok(Some(part))
    }

    /// Reads a body to its end and returns its length.
    pub fn discard(&mut self, mut framing: Framing) -> io::Result<u64> {
        let mut length = 0;
        while let Some(part) = self.part(&mut framing)? {
            length += part.len() as u64;
        }
        Ok(length)
    }

    /// Skips the line end of the last chunk and reads the size of the next.
    fn chunk(&mut self, end_of_last: u64) -> io::Result<u64> {
        self.skip(end_of_last as usize)?;
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(at) = unread.iter().take(32).position(|byte| *byte == b'\n') {
                let line = &unread[..at];
                let digits = line.iter().map_while(|byte| char::from(*byte).to_digit(16));
                let size = digits.fold(0, |size: u64, digit| size << 4 | u64::from(digit));
                if !line.first().is_some_and(u8::is_ascii_hexdigit) {
                    return Err(invalid("the size of a chunk", line));
                }
                self.start += at + 1;
                return Ok(size);
            }
            if self.fill()? == 0 {
                return Err(cut());
            }
        }
    }

    fn skip(&mut self, count: usize) -> io::Result<()> {
        while self.end - self.start < count {
            if self.fill()? == 0 {
                return Err(cut());
            }
        }
        self.start += count;
        Ok(())
    }

    /// Reads once, and appends to the buffer.
    fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            return Err(io::Error::new(ErrorKind::InvalidData, "a head without an end"));
        }
        let read = self.stream.read(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read)
    }
}
