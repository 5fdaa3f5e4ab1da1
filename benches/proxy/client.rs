//! A client: one connection that sends prepared requests and reads the responses.
//!
//! Any status but 200 is an error, and so is a timeout.

use std::io;
use std::net::{Ipv4Addr, TcpStream};

use crate::wire::{Framing, Wire};

pub struct Client {
    wire: Wire,
    framing: Framing,
}

/// The bytes of a GET.
pub fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n").into_bytes()
}

/// The bytes of a POST.
pub fn post(target: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n\
         Authorization: Bearer sk-bench-0123456789\r\nAccept: */*\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A small chat request.
pub fn chat(target: &str) -> Vec<u8> {
    let body = br#"{"model":"vendor-7/model-7","stream":false,"temperature":0.7,"max_tokens":256,"messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"Say hello."}]}"#;
    post(target, "application/json", body)
}

/// The same, for a stream.
pub fn streamed_chat(target: &str) -> Vec<u8> {
    let body =
        br#"{"model":"vendor-7/model-7","stream":true,"max_tokens":256,"prompt":"Say hello."}"#;
    post(target, "application/json", body)
}

impl Client {
    pub fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        Ok(Client { wire: Wire::new(stream)?.impatient()?, framing: Framing::END })
    }

    /// Sends a request and reads the head of the response.
    pub fn begin(&mut self, request: &[u8]) -> io::Result<()> {
        self.wire.write(request)?;
        let status = |line: &str| match line.split(' ').nth(1) {
            Some("200") => Ok(()),
            _ => Err(io::Error::other(format!("expected a 200, got {line:?}"))),
        };
        let Some((status, framing)) = self.wire.head(status)? else {
            return Err(io::Error::other("the connection was closed before the answer"));
        };
        status?;
        self.framing = framing;
        Ok(())
    }

    /// The next bytes of the response body; `None` at its end.
    pub fn part(&mut self) -> io::Result<Option<&[u8]>> {
        self.wire.part(&mut self.framing)
    }

    /// Makes a whole exchange and returns the length of the response body.
    pub fn exchange(&mut self, request: &[u8]) -> io::Result<u64> {
        self.begin(request)?;
        self.wire.discard(self.framing)
    }
}
