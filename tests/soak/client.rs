//! A client of the program: one connection, its requests, and the responses as they arrived.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::wire::{Framing, Wire};

/// The deadline of an exchange. The longest stream takes a fraction of it.
pub const DEADLINE: Duration = Duration::from_secs(40);

pub struct Client {
    wire: Wire,
    port: u16,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// Why the body is incomplete; `None` if it ended by its framing.
    pub cut: Option<String>,
    /// The error code, if the response is an error of the program's own.
    pub code: Option<String>,
    /// Whether the connection ends with this response.
    pub last: bool,
}

/// A request. `headers` does not hold the fields that frame the body.
pub struct Request<'a> {
    pub method: &'a str,
    pub target: String,
    pub headers: &'a [&'a str],
    pub body: &'a [u8],
    /// If set, the body is sent in chunks of this size.
    pub chunk: Option<usize>,
}

impl<'a> Request<'a> {
    pub fn get(target: String) -> Request<'a> {
        Request { method: "GET", target, headers: &[], body: b"", chunk: None }
    }

    pub fn post(target: String, headers: &'a [&'a str], body: &'a [u8]) -> Request<'a> {
        Request { method: "POST", target, headers, body, chunk: None }
    }

    pub fn head(&self) -> String {
        let Request { method, target, headers, body, chunk } = self;
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
        for header in *headers {
            head += header;
            head += "\r\n";
        }
        if chunk.is_some() {
            head += "Transfer-Encoding: chunked\r\n";
        } else if *method == "POST" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head + "\r\n"
    }
}

impl Client {
    pub fn connect(port: u16) -> io::Result<Client> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        let port = stream.local_addr()?.port();
        let mut wire = Wire::new(stream)?;
        wire.limit(DEADLINE)?;
        Ok(Client { wire, port })
    }

    /// The client's own port: the program's log names the connection by it.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Sends the whole request.
    pub fn send(&mut self, request: &Request<'_>) -> io::Result<()> {
        self.wire.limit(DEADLINE)?;
        let head = request.head();
        let Some(chunk) = request.chunk else {
            if request.body.len() < 16 * 1024 {
                return self.wire.write(&[head.as_bytes(), request.body].concat());
            }
            self.wire.write(head.as_bytes())?;
            return self.wire.write(request.body);
        };
        self.wire.write(head.as_bytes())?;
        request.body.chunks(chunk).try_for_each(|data| self.wire.write_chunk(data))?;
        self.wire.write(b"0\r\n\r\n")
    }

    /// Reads a response; a response to HEAD is `bodiless`.
    ///
    /// # Errors
    /// If no head arrives, or nothing more arrives before the deadline.
    pub fn answer(&mut self, bodiless: bool) -> io::Result<Answer> {
        let head = loop {
            let closed = || io::Error::new(ErrorKind::UnexpectedEof, "closed before the head");
            let head = self.wire.head()?.ok_or_else(closed)?;
            if !head.line.starts_with("HTTP/1.1 1") {
                break head;
            }
        };
        let status = head.line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no status"))?;
        let framing = head.framing().unwrap_or(Framing::UntilClose);
        let mut body = Vec::new();
        let read = if bodiless {
            Ok(())
        } else {
            self.wire.body(framing, |part| body.extend_from_slice(part))
        };
        let cut = match read {
            Ok(()) => None,
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                let what = format!("{} bytes of the body, then nothing more", body.len());
                return Err(io::Error::new(ErrorKind::TimedOut, what));
            }
            Err(error) => Some(error.to_string()),
        };
        let last = cut.is_some()
            || matches!(framing, Framing::UntilClose)
            || head.header("connection") == Some("close");
        let code = head.header("x-model-filter-error").map(str::to_owned);
        Ok(Answer { status, body, cut, code, last })
    }
}
