//! A request to an upstream, and how it is handed to ureq.

use std::io::{self, Read};

use ureq::http::{self, HeaderName, HeaderValue, Method};

use super::transport::{Call, Room};
use crate::elastic;
use crate::error::Error;
use crate::headers::Headers;
use crate::text::cut;

/// The destination of a request.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// `<base_url><rest>`.
    Below(&'a str),
    /// `<base_url without a trailing /v1><path>`. No configured secret is sent there, unless that
    /// lies below `base_url`, as it does if `base_url` does not end in `/v1`.
    Beside(&'a str),
    /// `<scheme and authority of base_url><path>`: a path that the configuration or the upstream's
    /// own list names, to which the configured secrets are sent.
    Origin(&'a str),
}

impl<'a> Place<'a> {
    /// The part of the URL that the place adds: a path with its query.
    pub fn target(self) -> &'a str {
        let (Place::Below(target) | Place::Beside(target) | Place::Origin(target)) = self;
        target
    }

    /// The same place with another target.
    pub fn with(self, target: &str) -> Place<'_> {
        match self {
            Place::Below(_) => Place::Below(target),
            Place::Beside(_) => Place::Beside(target),
            Place::Origin(_) => Place::Origin(target),
        }
    }
}

/// A request's body.
pub enum Upload<'a> {
    /// No body.
    None,
    /// A body that is in memory.
    Whole(&'a [u8]),
    /// A body of this many bytes, to be read.
    Known(u64, &'a mut dyn Read),
    /// A body that ends when its reader does.
    Chunked(&'a mut dyn Read),
}

/// A request to an upstream, with the end-to-end fields of the client.
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// Its destination.
    pub place: Place<'a>,
    /// Header fields, without those that frame the body.
    pub headers: Headers,
    /// The body.
    pub upload: Upload<'a>,
    /// The protocol to switch to (`Upgrade`).
    pub protocol: Option<&'a str>,
}

/// Reads a body for as long as the upstream accepts it. After that, it returns arbitrary bytes
/// up to the promised length, and the transport drops them: ureq reads the response only once
/// the body has ended.
pub(super) struct UploadReader<'a> {
    pub(super) reader: &'a mut dyn Read,
    /// How much is left of a body of known length.
    pub(super) left: Option<u64>,
    pub(super) call: &'a Call,
}

impl Read for UploadReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = match self.left {
            Some(left) => buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
            None => buffer.len(),
        };
        let read = match (self.call.upload_refused(), self.left) {
            (false, _) => self.reader.read(&mut buffer[..room])?,
            (true, Some(_)) => room,
            (true, None) => 0,
        };
        self.left = self.left.map(|left| left - read as u64);
        Ok(read)
    }
}

/// The most that the request line and framing take beside the URL and the fields, in bytes.
const FRAMING: usize = 256;

/// The buffers that a request needs. `length` is that of its body, if known; `is_whole`: the
/// body is in memory, or there is none.
pub(super) fn room(
    uri: usize,
    headers: &Headers,
    length: Option<u64>,
    has_body: bool,
    is_whole: bool,
) -> Room {
    // The host is in the request line and in a field.
    let fields: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let head = FRAMING + 2 * uri + fields;
    let body = match length {
        Some(length) => elastic::size_for(length),
        None if has_body => elastic::MOST,
        None => 0,
    };
    let is_chunked = has_body && length.is_none();
    let output = (head + body).max(elastic::LEAST);
    Room { output, scratch: if is_chunked { body } else { 0 }, holds: is_whole }
}

/// Parses a URL; returns its length too. Characters that clients should have escaped, and many
/// do not, are escaped.
pub(super) fn uri(url: &str) -> Result<(http::Uri, usize), Error> {
    if let Ok(uri) = url.parse() {
        return Ok((uri, url.len()));
    }
    let is_allowed = |c: char| {
        !c.is_ascii() || c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c)
    };
    let escape = |c: char| if is_allowed(c) { c.into() } else { format!("%{:02X}", c as u32) };
    let escaped: String = url.chars().map(escape).collect();
    match escaped.parse() {
        Ok(uri) => Ok((uri, escaped.len())),
        Err(error) => Err(Error::bad_request(format!("the target cannot be sent on: {error}"))),
    }
}

/// The head of a request.
pub(super) fn head(
    method: &str,
    uri: http::Uri,
    headers: &Headers,
    length: Option<u64>,
) -> Result<http::Request<()>, Error> {
    let mut request = http::Request::new(());
    request.headers_mut().reserve(headers.iter().count() + 1);
    *request.method_mut() = Method::from_bytes(method.as_bytes())
        .map_err(|_| Error::bad_request(format!("{:?} is not a method", cut(method))))?;
    *request.uri_mut() = uri;
    for (name, value) in headers.iter() {
        let bad =
            |_| Error::bad_request(format!("the header field {:?} cannot be sent on", cut(name)));
        let value = HeaderValue::from_bytes(value).map_err(|_| bad(()))?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad(()))?;
        request.headers_mut().append(name, value);
    }
    if let Some(length) = length {
        request.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
    }
    Ok(request)
}
