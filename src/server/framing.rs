//! How long a request's body is, judged more strictly than tiny_http does.
//!
//! tiny_http takes the first of two lengths, ignores one beside a transfer coding, reads
//! `+5` as 5 and every coding as `chunked`. Whoever stands in front of this proxy may read
//! such a request in another way, and then one client's body is another's request (RFC
//! 9112, 11.2). So what is ambiguous is refused, and nothing that follows it on its
//! connection is believed. Limits: heads of up to 64 KiB.

use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::text::cut;

/// The longest request line and header fields together, in bytes.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// The longest body that may be announced, in bytes. Dropping a request of tiny_http's
/// allocates what it announced and did not deliver.
pub(super) const MAX_BODY: u64 = 1024 * 1024 * 1024;

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

/// Tells how long the body is. `old` says that the request is of HTTP/1.0.
///
/// # Errors
/// 400 where that is ambiguous, the head is too long or holds control characters, 413 for a length out of bounds,
/// 501 for a chunked body of a request to upgrade.
pub(super) fn body_length(target: &str, headers: &Headers, old: bool) -> Result<BodyLength, Error> {
    let fields: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    if target.len() + fields > MAX_HEAD {
        return Err(Error::bad_request(format!(
            "the request's head is longer than {MAX_HEAD} bytes"
        )));
    }
    // tiny_http takes a lone line feed for a part of the value; others end the line there.
    let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    for (name, value) in headers.iter() {
        if name.is_empty() || name.bytes().chain(value.iter().copied()).any(|b| is_control(&b)) {
            let what = format!("the header field {:?} holds a control character", cut(name));
            return Err(Error::bad_request(what));
        }
    }
    let codings: Vec<&[u8]> = headers.get_all("transfer-encoding").collect();
    let lengths: Vec<&[u8]> = headers.get_all("content-length").collect();
    match (codings.as_slice(), lengths.as_slice()) {
        ([], []) => Ok(BodyLength::None),
        ([], [first, others @ ..]) => {
            if others.iter().any(|other| other != first) {
                return Err(Error::bad_request(
                    "the request has two different Content-Length fields",
                ));
            }
            known(first)
        }
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => {
            if old {
                return Err(Error::bad_request("HTTP/1.0 has no Transfer-Encoding"));
            }
            // tiny_http does not decode the chunks of such a request.
            if headers
                .get_str("connection")
                .is_some_and(|c| c.to_ascii_lowercase().contains("upgrade"))
            {
                let what = "a chunked request to upgrade is not supported";
                return Err(Error::client(Code::Unsupported, what));
            }
            Ok(BodyLength::Chunked)
        }
        (_, []) => {
            Err(Error::bad_request("the only Transfer-Encoding that is understood is chunked"))
        }
        _ => Err(Error::bad_request("the request has both Content-Length and Transfer-Encoding")),
    }
}

fn known(value: &[u8]) -> Result<BodyLength, Error> {
    let text = String::from_utf8_lossy(value);
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Error::bad_request(format!(
            "the Content-Length {:?} is no plain number",
            cut(&text)
        )));
    }
    match text.parse() {
        Ok(length) if length <= MAX_BODY => Ok(BodyLength::Known(length)),
        _ => {
            let what = format!("the request's body is longer than {MAX_BODY} bytes");
            Err(Error::client(Code::RequestTooLarge, what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(fields: &[(&str, &str)], old: bool) -> Result<BodyLength, u16> {
        let mut headers = Headers::new();
        fields.iter().for_each(|(name, value)| headers.push(*name, *value));
        body_length("/", &headers, old).map_err(|error| error.code.status())
    }

    #[test]
    fn plain_framing_is_understood() {
        assert_eq!(judged(&[], false), Ok(BodyLength::None));
        assert_eq!(judged(&[("Content-Length", "007")], false), Ok(BodyLength::Known(7)));
        let twice = [("Content-Length", "7"), ("content-length", "7")];
        assert_eq!(judged(&twice, true), Ok(BodyLength::Known(7)));
        assert_eq!(judged(&[("transfer-encoding", "Chunked")], false), Ok(BodyLength::Chunked));
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        let length = ("Content-Length", "5");
        for fields in [
            &[length, ("Content-Length", "6")][..],
            &[length, ("Transfer-Encoding", "chunked")],
            &[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
            &[("Transfer-Encoding", "gzip, chunked")],
            &[("Transfer-Encoding", "identity")],
            &[("Transfer-Encoding", "")],
            &[("Content-Length", "+5")],
            &[("Content-Length", "-5")],
            &[("Content-Length", "5, 5")],
            &[("Content-Length", "0x5")],
            &[("Content-Length", "")],
        ] {
            assert_eq!(judged(fields, false), Err(400), "{fields:?}");
        }
        assert_eq!(judged(&[("Transfer-Encoding", "chunked")], true), Err(400));
    }

    #[test]
    fn lengths_out_of_bounds_are_too_large_and_not_zero() {
        for length in
            ["1073741825", "1000000000000", "18446744073709551615", "99999999999999999999"]
        {
            assert_eq!(judged(&[("Content-Length", length)], false), Err(413), "{length}");
        }
        assert_eq!(
            judged(&[("Content-Length", "1073741824")], false),
            Ok(BodyLength::Known(MAX_BODY))
        );
    }

    #[test]
    fn control_characters_are_refused() {
        assert_eq!(judged(&[("Host", "x\nContent-Length: 37")], false), Err(400));
        assert_eq!(judged(&[("X", "a\0b")], false), Err(400));
        assert_eq!(judged(&[("X", "a\tb")], false), Ok(BodyLength::None));
    }

    #[test]
    fn a_long_head_is_refused() {
        let long = "x".repeat(MAX_HEAD);
        assert_eq!(judged(&[("x", &long)], false), Err(400));
    }
}
