//! `GET /v1/realtime`: a WebSocket (RFC 6455) that sends back every message.
//!
//! Limits: frames are sent back one by one as they come, and are not checked; no extensions.

use std::io::{self, ErrorKind};

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::base64::base64;
use crate::headers::Headers;
use crate::record::Sent;
use crate::server::{Exchange, Switched};
use crate::tunnel::{End, Ended};

/// RFC 6455 §1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const MASKED: u8 = 0x80;

/// The part of a frame that is sent back at once, in bytes.
const PART: usize = 16 * 1024;

/// The fields of the response to a client with this `Sec-WebSocket-Key`.
fn accept(key: &str) -> Headers {
    let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, [key, GUID].concat().as_bytes());
    Headers::new()
        .with("Upgrade", "websocket")
        .with("Connection", "Upgrade")
        .with("Sec-WebSocket-Accept", base64(sum.as_ref()))
}

/// Accepts the WebSocket, and sends back its messages until the client closes it.
pub(super) fn serve(exchange: Box<Exchange>) -> Sent {
    let fields = exchange.headers();
    let mut headers = accept(fields.get_str("sec-websocket-key").unwrap_or_default());
    // A page wants one of its subprotocols to be chosen.
    let protocols = fields.get_str("sec-websocket-protocol").unwrap_or_default();
    if let Some(first) = protocols.split(',').map(str::trim).find(|name| !name.is_empty()) {
        headers.push("Sec-WebSocket-Protocol", first);
    }
    let mut socket = match exchange.switch(&headers) {
        Ok(socket) => socket,
        Err(sent) => return sent,
    };
    if socket.socket().set_nonblocking(false).is_ok() {
        // An error is a client that has left.
        while matches!(echo(&mut socket), Ok(true)) {}
    }
    socket.close(&Ended::default())
}

/// Sends one frame back. Returns whether there may be another one.
fn echo(socket: &mut Switched) -> io::Result<bool> {
    let mut head = [0; 14];
    read(socket, &mut head[..2])?;
    let opcode = head[0] & 0xf;
    let more = match head[1] & !MASKED {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    read(socket, &mut head[2..2 + more])?;
    let long = head[2..2 + more].iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
    let mut left = if more == 0 { u64::from(head[1] & !MASKED) } else { long };
    let mut mask = [0; 4];
    if head[1] & MASKED != 0 {
        read(socket, &mut mask)?;
    }
    head[1] &= !MASKED;
    if opcode == PING {
        head[0] = head[0] & 0xf0 | PONG;
    }
    let mut part = head[..2 + more].to_vec();
    let mut at = 0;
    loop {
        let start = part.len();
        part.resize(start + left.min(PART as u64) as usize, 0);
        read(socket, &mut part[start..])?;
        left -= (part.len() - start) as u64;
        for byte in &mut part[start..] {
            *byte ^= mask[at % mask.len()];
            at += 1;
        }
        if opcode != PONG {
            write(socket, &part)?;
        }
        part.clear();
        if left == 0 {
            return Ok(opcode != CLOSE);
        }
    }
}

fn read(socket: &mut Switched, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match socket.read(buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => buffer = &mut buffer[read..],
        }
    }
    Ok(())
}

fn write(socket: &mut Switched, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        bytes = &bytes[socket.write(bytes)?..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_accepted_as_in_the_rfc() {
        let headers = accept("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(headers.get_str("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }
}
