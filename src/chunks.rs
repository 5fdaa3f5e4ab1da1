//! Decodes a chunked body (RFC 9112 §7.1) that tiny_http hands out raw.
//!
//! It does not decode the body of a request with `Connection: upgrade`, which nginx sends with every
//! request if it is configured for WebSockets, and clients that offer HTTP/2. Limits: chunk extensions
//! are dropped; trailers are an error.

use std::io::{self, ErrorKind, Read};

/// The longest line in front of a chunk, with its extensions, in bytes.
const LONGEST_LINE: usize = 4096;

/// The longest size of a chunk, in hexadecimal digits.
const LONGEST_SIZE: usize = 15;

/// How far a chunked body has been read.
#[derive(Debug, Default)]
pub struct Chunks {
    /// Bytes that are left of the current chunk.
    left: u64,
    /// Whether a chunk is in front, whose line end was not read.
    is_behind_chunk: bool,
    has_ended: bool,
}

impl Chunks {
    /// Reads a part of the content. 0 bytes are its end.
    ///
    /// # Errors
    /// `InvalidInput` for a chunk that is not valid; `UnexpectedEof` if the raw body ends too early.
    pub fn read(&mut self, raw: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.has_ended {
            if self.is_behind_chunk {
                expect_line_end(raw)?;
            }
            self.left = read_size(raw)?;
            self.is_behind_chunk = true;
            if self.left == 0 {
                self.has_ended = true;
                expect_line_end(raw)?;
            }
        }
        if self.has_ended {
            return Ok(0);
        }
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = raw.read(&mut buffer[..room])?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Reads the line in front of a chunk.
fn read_size(raw: &mut dyn Read) -> io::Result<u64> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_LINE {
            return Err(ErrorKind::InvalidInput.into());
        }
        line.push(next(raw)?);
    }
    let size = line.split(|byte| matches!(byte, b';' | b'\r')).next().unwrap_or_default();
    let size = size.trim_ascii_end();
    let is_plain = size.len() <= LONGEST_SIZE && size.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(size).ok().filter(|_| is_plain);
    let size = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    size.ok_or_else(|| ErrorKind::InvalidInput.into())
}

fn expect_line_end(raw: &mut dyn Read) -> io::Result<()> {
    for expected in *b"\r\n" {
        if next(raw)? != expected {
            return Err(ErrorKind::InvalidInput.into());
        }
    }
    Ok(())
}

fn next(raw: &mut dyn Read) -> io::Result<u8> {
    let mut byte = [0];
    raw.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(mut raw: &[u8]) -> Result<Vec<u8>, ErrorKind> {
        let (mut chunks, mut body, mut buffer) = (Chunks::default(), Vec::new(), [0; 3]);
        loop {
            match chunks.read(&mut raw, &mut buffer).map_err(|error| error.kind())? {
                0 => return Ok(body),
                read => body.extend_from_slice(&buffer[..read]),
            }
        }
    }

    #[test]
    fn chunks_are_joined() {
        let body = b"5;a=\"b\"\r\nhello\r\n00A\r\n, chunks!!\r\n0\r\n\r\nnext";
        assert_eq!(decoded(body).unwrap(), b"hello, chunks!!");
        assert_eq!(decoded(b"0\r\n\r\n").unwrap(), b"");
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for body in [
            &b"x\r\n"[..],
            b"\r\n",
            b"+1\r\na\r\n",
            b"1\r\nab\r\n",
            b"1\r\na\n0\r\n\r\n",
            b"0\r\nTrailer: x\r\n\r\n",
            b"1111111111111111\r\n",
            &[b'0'; LONGEST_LINE + 1],
        ] {
            assert_eq!(decoded(body), Err(ErrorKind::InvalidInput), "{body:?}");
        }
        for body in [&b""[..], b"5", b"5\r\nabc", b"5\r\nhello", b"0\r\n"] {
            assert_eq!(decoded(body), Err(ErrorKind::UnexpectedEof), "{body:?}");
        }
    }
}
