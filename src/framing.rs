//! How long a request's body is, judged more strictly than tiny_http does.
//!
//! tiny_http takes the first of two lengths, ignores a length beside a transfer coding, and reads
//! `+5` as 5 and every coding as `chunked`. A proxy in front of this one may read such a request
//! in another way, and then one client's body becomes another client's request (RFC 9112 §11.2).
//! So an ambiguous request is refused, and its connection ends. Limits: heads of up to 64 KiB.

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

/// How long the body of a request is, by its target and header fields.
///
/// # Errors
/// 400 if the framing is ambiguous, or the head is too long or has control characters; 413 for a
/// length beyond [`MAX_BODY`]; 501 for a chunked body of a request to upgrade.
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
                return chunked(headers);
            }
            "HTTP/1.0 has no Transfer-Encoding"
        }
        (_, []) => "the only Transfer-Encoding that is understood is chunked",
        _ => "the request has both Content-Length and Transfer-Encoding",
    };
    Err(Error::bad_request(what))
}

fn chunked(headers: &Headers) -> Result<BodyLength, Error> {
    let connection = headers.get_str("connection").unwrap_or_default();
    if connection.to_ascii_lowercase().contains("upgrade") {
        // tiny_http does not decode the chunks of such a request.
        let what = "a chunked request to upgrade is not supported";
        return Err(Error::client(Code::Unsupported, what));
    }
    Ok(BodyLength::Chunked)
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
