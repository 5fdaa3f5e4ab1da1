//! HTTP/1.1 framing: how long a request's body is, and how a response shows where its body ends.
//!
//! Requests are judged more strictly than tiny_http does. It takes the first of two lengths, ignores
//! a length beside a transfer coding, and reads `+5` as 5 and every coding as `chunked`. A proxy in
//! front of this one may read such a request in another way, and then one client's body becomes
//! another client's request (RFC 9112 §11.2). So an ambiguous request is refused, and its connection
//! ends. Limits: heads of up to 64 KiB; no trailers.

use std::io::Write;

use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::text::cut;

/// The longest request line and header fields together, in bytes.
pub const MAX_HEAD: usize = 64 * 1024;

/// The longest `Content-Length` that is accepted, in bytes: tiny_http allocates the part of a body
/// that was announced and not delivered when it drops the request.
pub const MAX_BODY: u64 = 1024 * 1024 * 1024;

/// How long a request's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body and no field that speaks of one.
    None,
    /// `Content-Length`, in bytes.
    Known(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// How a response shows where its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// It has no body.
    None,
    /// `Content-Length`.
    Length {
        /// The bytes that are still to come.
        left: u64,
    },
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The connection is closed behind it.
    Close,
}

/// Room for a head of usual length, and a short body, in bytes.
const USUAL_HEAD: usize = 2048;

/// Room for the line in front of a chunk: 16 digits and a line end, in bytes.
pub const SIZE_LINE: usize = 18;

/// The line end behind a chunk.
const LINE_END: &[u8] = b"\r\n";

impl Framing {
    /// The framing of a response whose body has this length, if that is known. `is_head`: it is
    /// the response to a HEAD.
    pub fn of_response(
        is_head: bool,
        status: u16,
        length: Option<u64>,
        is_http_1_0: bool,
    ) -> Framing {
        match length {
            _ if is_head || matches!(status, 0..200 | 204 | 304) => Framing::None,
            Some(length) => Framing::Length { left: length },
            None if is_http_1_0 => Framing::Close,
            None => Framing::Chunked,
        }
    }

    /// Adds the field that announces the body. A response without one may have the length of the
    /// body that a GET would get (RFC 9110 §8.6).
    pub fn announce(self, status: u16, length: Option<u64>, headers: &mut Headers) {
        match length {
            _ if self == Framing::Chunked => headers.push("transfer-encoding", "chunked"),
            Some(length) if status >= 200 && status != 204 => {
                headers.push("content-length", length.to_string());
            }
            _ => {}
        }
    }

    /// The most bytes that the framing puts behind a part of the body.
    pub const BEHIND: usize = LINE_END.len();

    /// Takes a part of the body, and cuts off the bytes beyond the announced length: the client
    /// would read them as the next response.
    pub fn take<'a>(&mut self, part: &'a [u8]) -> &'a [u8] {
        match self {
            Framing::None => &[],
            Framing::Length { left } => {
                let fitting = part.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= fitting as u64;
                &part[..fitting]
            }
            Framing::Chunked | Framing::Close => part,
        }
    }

    /// The framing before a part of this length, which is not 0, and after it.
    pub fn around(self, length: usize, room: &mut [u8; SIZE_LINE]) -> (&[u8], &'static [u8]) {
        if self != Framing::Chunked {
            return (&[], &[]);
        }
        let mut rest = &mut room[..];
        // It fits.
        let _ = write!(rest, "{length:x}\r\n");
        let written = SIZE_LINE - rest.len();
        (&room[..written], LINE_END)
    }

    /// Whether the parts that were taken are all of the response. A chunked body has
    /// [`Framing::end`] behind it.
    pub fn is_complete(self) -> bool {
        matches!(self, Framing::None | Framing::Length { left: 0 })
    }

    /// The framing after the last part.
    pub fn end(self) -> &'static [u8] {
        if self == Framing::Chunked { b"0\r\n\r\n" } else { &[] }
    }
}

/// How long the body of a request is, by its target and header fields.
///
/// # Errors
/// 400 if the framing is ambiguous, or the head is too long or has control characters; 413 for a
/// length beyond [`MAX_BODY`].
pub fn body_length(
    target: &str,
    headers: &Headers,
    is_http_1_0: bool,
) -> Result<BodyLength, Error> {
    let fields: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    if target.len() + fields > MAX_HEAD {
        let what = format!("the request's head is longer than {MAX_HEAD} bytes");
        return Err(Error::bad_request(what));
    }
    // tiny_http takes a lone line feed for a part of the value; others end the line there.
    let is_control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
    for (name, value) in headers.iter() {
        if name.is_empty() || name.bytes().chain(value.iter().copied()).any(is_control) {
            let what = format!("the header field {:?} holds a control character", cut(name));
            return Err(Error::bad_request(what));
        }
    }
    let codings: Vec<&[u8]> = headers.get_all("transfer-encoding").collect();
    let lengths: Vec<&[u8]> = headers.get_all("content-length").collect();
    let what = match (codings.as_slice(), lengths.as_slice()) {
        ([], []) => return Ok(BodyLength::None),
        ([], [first, others @ ..]) if others.iter().all(|other| other == first) => {
            return known(first);
        }
        ([], _) => "the request has two different Content-Length fields",
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => {
            if !is_http_1_0 {
                return Ok(BodyLength::Chunked);
            }
            "HTTP/1.0 has no Transfer-Encoding"
        }
        (_, []) => "the only Transfer-Encoding that is understood is chunked",
        _ => "the request has both Content-Length and Transfer-Encoding",
    };
    Err(Error::bad_request(what))
}

fn known(value: &[u8]) -> Result<BodyLength, Error> {
    let text = String::from_utf8_lossy(value);
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        let what = format!("the Content-Length {:?} is no plain number", cut(&text));
        return Err(Error::bad_request(what));
    }
    match text.parse() {
        Ok(length) if length <= MAX_BODY => Ok(BodyLength::Known(length)),
        _ => {
            let what = format!("the request's body is longer than {MAX_BODY} bytes");
            Err(Error::client(Code::RequestTooLarge, what))
        }
    }
}

/// Whether tiny_http reads another request behind this one: its own rule, word for word, because
/// the response must not promise anything else.
pub fn stays_open(headers: &Headers, is_http_1_0: bool) -> bool {
    let Some(connection) = headers.get_str("connection") else { return !is_http_1_0 };
    let connection = connection.to_ascii_lowercase();
    let ends = connection.contains("close") || connection.contains("upgrade");
    !ends && (!is_http_1_0 || connection.contains("keep-alive"))
}

/// Whether tiny_http hands out the body of a request as it is on the connection, with the framing of
/// its chunks: its own rule, like that of [`stays_open`].
pub fn is_raw(headers: &Headers) -> bool {
    let connection = headers.get_str("connection").unwrap_or_default();
    connection.to_ascii_lowercase().contains("upgrade")
}

/// The head of a response.
pub fn response_head<'a>(
    status: u16,
    reason: &str,
    fields: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Vec<u8> {
    let mut head = Vec::with_capacity(USUAL_HEAD);
    // Writing to a Vec cannot fail.
    let _ = write!(head, "HTTP/1.1 {status} {reason}\r\n");
    for (name, value) in fields {
        let line = [name.as_bytes(), b": ", value, LINE_END];
        line.iter().for_each(|part| head.extend_from_slice(part));
    }
    head.extend_from_slice(LINE_END);
    head
}
