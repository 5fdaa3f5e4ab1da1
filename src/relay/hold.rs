//! The client's body: held in memory if its model must be known, else streamed.
//!
//! A body is held to choose an upstream, to strip a prefix, or to reject a model; a short one also
//! for the log, which names the model. Limits: a held body has at most `max_body` bytes and is not
//! compressed; all held bodies share a budget.

use std::borrow::Cow;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::Hidden;
use crate::error::{Code, Error};
use crate::framing::BodyLength;
use crate::headers::Headers;
use crate::model_field::{self, BodyKind, Names};
use crate::offer::Offer;
use crate::server::Exchange;

/// The longest body that is held for the log alone, in bytes.
const SHORT: u64 = 64 * 1024;

/// How many bytes of a body are read before the budget is checked again.
const STEP: u64 = 64 * 1024;

/// Memory that is left to others, in bytes: if an allocation fails, the program ends.
const SPARE: usize = 16 * 1024 * 1024;

/// The budget of all held bodies: this many of the longest ones, at least [`LEAST_BUDGET`].
const LONGEST: u64 = 4;

/// The least budget, in bytes.
const LEAST_BUDGET: u64 = 256 * 1024 * 1024;

/// The part of the budget that all held bodies of the process take, in bytes.
static HELD: AtomicU64 = AtomicU64::new(0);

/// The part of a body that was read. It returns its share of the budget when it is dropped.
#[derive(Default)]
pub(super) struct HeldBytes {
    bytes: Vec<u8>,
    /// Its share of the budget, in bytes.
    share: u64,
}

impl HeldBytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Takes more of the budget. The first step is always granted, so that a few long uploads do
    /// not keep short requests out.
    fn take_share(&mut self, more: u64, budget: u64) -> Result<(), Error> {
        let all = HELD.fetch_add(more, Ordering::Relaxed) + more;
        self.share += more;
        if self.share > STEP && all > budget {
            let what = format!("the bodies of all requests may take {budget} bytes at once");
            return Err(Error::proxy(Code::Overloaded, what));
        }
        Ok(())
    }

    /// Allocates memory for more bytes, if there is any. The capacity doubles, up to the length
    /// of the whole body.
    fn reserve(&mut self, more: u64, length: Option<u64>) -> Result<(), Error> {
        let left = length.map_or(u64::MAX, |length| length.saturating_sub(self.len()));
        if (self.bytes.capacity() as u64) - self.len() >= more.min(left) {
            return Ok(());
        }
        let wanted = self.len().max(more).min(left) as usize;
        let is_short = wanted as u64 <= STEP;
        let has_spare = is_short || Vec::<u8>::new().try_reserve_exact(wanted + SPARE).is_ok();
        if !has_spare || self.bytes.try_reserve_exact(wanted).is_err() {
            let what = "there is no memory left for the request's body";
            return Err(Error::proxy(Code::Overloaded, what));
        }
        Ok(())
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        HELD.fetch_sub(self.share, Ordering::Relaxed);
    }
}

/// Which bodies are held, and how much of them.
#[derive(Debug)]
pub(super) struct Holding {
    /// Whether a request cannot be relayed without its model.
    pub(super) is_needed: bool,
    /// Whether some models are rejected.
    rejects: bool,
    /// The longest body that is held, in bytes.
    limit: u64,
    /// The most that all held bodies may take, in bytes.
    budget: u64,
}

impl Holding {
    /// The needs of these upstreams. `names_choose`: a model's name decides the destination of a request,
    /// or has a prefix.
    pub(super) fn new(offers: &[Arc<Offer>], names_choose: bool) -> Holding {
        let rejects = offers.iter().any(|offer| offer.hidden == Hidden::Reject);
        let is_needed = names_choose || rejects;
        let longest = offers.iter().map(|offer| offer.max_body).max().unwrap_or_default();
        let (limit, budget) = match is_needed {
            true => (longest, longest.saturating_mul(LONGEST).max(LEAST_BUDGET)),
            // The log alone is no reason to refuse a request.
            false => (SHORT, u64::MAX),
        };
        Holding { is_needed, rejects, limit, budget }
    }
}

/// A request's body.
pub(super) enum Body {
    /// All of it, and the models that it names.
    Held { bytes: HeldBytes, names: Names },
    /// The part that was read; the rest is streamed.
    Streamed { front: HeldBytes },
}

/// A body of which nothing was read.
impl Default for Body {
    fn default() -> Body {
        Body::Streamed { front: HeldBytes::default() }
    }
}

impl Body {
    /// The model that the request is for.
    pub(super) fn model(&self) -> Option<&str> {
        self.models().next()
    }

    /// All models that the body names. The request is for the first one.
    pub(super) fn models(&self) -> impl Iterator<Item = &str> {
        let names = match self {
            Body::Held { names, .. } => Some(names),
            Body::Streamed { .. } => None,
        };
        names.into_iter().flat_map(Names::all)
    }

    /// The length of a held body, in bytes; 0 for one that is streamed.
    pub(super) fn held_length(&self) -> u64 {
        match self {
            Body::Held { bytes, .. } => bytes.len(),
            Body::Streamed { .. } => 0,
        }
    }

    /// Replaces names of models; `rename` returns none for one that stays.
    pub(super) fn rename(&mut self, rename: impl for<'n> Fn(&'n str) -> Option<Cow<'n, str>>) {
        if let Body::Held { bytes, names } = self {
            names.replace(&mut bytes.bytes, rename);
        }
    }
}

/// Reads the body if its model must be known, or if it is short.
///
/// # Errors
/// 400 for a body whose model cannot be read reliably, 408, 413, and 503 if the budget is used up.
pub(super) fn hold(exchange: &mut Exchange, holding: &Holding) -> Result<Body, Error> {
    let Holding { is_needed, rejects, limit, .. } = *holding;
    let kind = BodyKind::of(exchange.headers().get_str("content-type"));
    let is_known_kind = matches!(kind, Ok(BodyKind::Json | BodyKind::Multipart { .. }));
    let length = match exchange.body_length() {
        BodyLength::None | BodyLength::Known(0) => return Ok(Body::default()),
        BodyLength::Known(length) => Some(length),
        BodyLength::Chunked => None,
    };
    let is_short = length.is_some_and(|length| length <= SHORT);
    let is_of_use = is_needed || (is_known_kind && is_short);
    if !is_of_use {
        return Ok(Body::default());
    }
    if is_needed && exchange.headers().get_all("content-type").count() > 1 {
        // The upstream may read another one than we do.
        return Err(Error::bad_request("the request has more than one Content-Type field"));
    }
    let mut kind = kind?;
    if is_needed && is_encoded(exchange.headers()) {
        if is_known_kind || rejects {
            let what = "the request's body is compressed, so its model cannot be read";
            return Err(Error::bad_request(what));
        }
        return Ok(Body::default());
    }
    let is_too_long = length.is_some_and(|length| length > limit);
    let mut bytes = HeldBytes::default();
    if !is_known_kind {
        // Many servers read JSON under any media type.
        let is_json = begins_json(exchange, &mut bytes, holding)?;
        let is_other = rejects && matches!(kind, BodyKind::Form | BodyKind::Notation);
        if !(is_json || is_other) || (is_too_long && !rejects) {
            return Ok(Body::Streamed { front: bytes });
        }
        if is_json {
            model_field::check_encoding(bytes.as_slice())?;
        }
        if !is_other {
            kind = BodyKind::Json;
        }
    }
    if is_too_long {
        return Err(too_large(limit));
    }
    read_rest(exchange, &mut bytes, length, holding)?;
    let names = match model_field::find(&kind, bytes.as_slice()) {
        Ok(names) => names,
        // A server that is less strict may read a model from what is no valid JSON here.
        Err(error) if is_needed && (is_known_kind || rejects) => return Err(error),
        // The upstream judges it.
        Err(_) => Names::default(),
    };
    Ok(Body::Held { bytes, names })
}

/// The byte order mark of UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// The text from where JSON would begin, in UTF-8, UTF-16 or UTF-32.
fn json_text(body: &[u8]) -> &[u8] {
    let marks = [MARK, b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"];
    let text = marks.iter().find_map(|mark| body.strip_prefix(*mark)).unwrap_or(body);
    &text[text.iter().take_while(|byte| is_blank(byte)).count()..]
}

/// Whether a text begins like a JSON object; `None` if that is not known before more of it is read.
/// If models are rejected, a comment counts, because Ruby's and Gson's parsers skip it.
fn is_object(text: &[u8], rejects: bool) -> Option<bool> {
    match text {
        [] | b"/" => None,
        [b'{', ..] => Some(true),
        [b'/', b'/' | b'*', ..] => Some(rejects),
        _ => Some(false),
    }
}

fn is_blank(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || *byte == 0
}

/// Reads until it is known whether the body may be a JSON object.
fn begins_json(
    exchange: &mut Exchange,
    body: &mut HeldBytes,
    holding: &Holding,
) -> Result<bool, Error> {
    let mut buffer = vec![0; 4096];
    loop {
        let read = exchange.body().read(&mut buffer).map_err(|error| client_fault(&error))?;
        body.take_share(read as u64, holding.budget)?;
        body.reserve(read as u64, None)?;
        body.bytes.extend_from_slice(&buffer[..read]);
        if read == 0 || body.len() > holding.limit {
            return Ok(is_object(json_text(&body.bytes), holding.rejects) == Some(true));
        }
        // Blanks decide nothing. They may be many, so they are not searched again.
        if !buffer[..read].iter().all(is_blank) {
            let is_object = is_object(json_text(&body.bytes), holding.rejects);
            if let Some(is_object) = is_object.filter(|_| !MARK.starts_with(&body.bytes)) {
                return Ok(is_object);
            }
        }
    }
}

fn read_rest(
    exchange: &mut Exchange,
    body: &mut HeldBytes,
    length: Option<u64>,
    holding: &Holding,
) -> Result<(), Error> {
    loop {
        let step = STEP.min((holding.limit + 1).saturating_sub(body.len()));
        body.take_share(step, holding.budget)?;
        body.reserve(step, length)?;
        let read = exchange.body().take(step).read_to_end(&mut body.bytes);
        let read = read.map_err(|error| client_fault(&error))? as u64;
        if body.len() > holding.limit {
            return Err(too_large(holding.limit));
        }
        if read < step {
            return Ok(());
        }
    }
}

pub(super) fn too_large(limit: u64) -> Error {
    let what = format!("the request's body is longer than max_body ({limit} bytes)");
    Error::client(Code::RequestTooLarge, what)
}

fn is_encoded(headers: &Headers) -> bool {
    headers.get_all("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

fn client_fault(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData => Error::bad_request(format!("the request's body: {error}")),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Error::client(Code::RequestTimeout, "the request's body did not arrive in time")
        }
        _ => Error::client_left(),
    }
}

/// A streamed body: the part that was read, then the rest. It keeps its own failure, because ureq
/// would report it as one of the upstream.
pub(super) struct BodyReader<'a> {
    front: &'a [u8],
    rest: &'a mut Exchange,
    failure: Option<Error>,
}

impl<'a> BodyReader<'a> {
    pub(super) fn new(front: &'a [u8], rest: &'a mut Exchange) -> BodyReader<'a> {
        BodyReader { front, rest, failure: None }
    }

    /// The failure on the client's side.
    pub(super) fn failure(self) -> Option<Error> {
        self.failure
    }
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.front.is_empty() {
            return self.front.read(buffer);
        }
        let read = self.rest.body().read(buffer);
        if let Err(error) = &read {
            self.failure = Some(client_fault(error));
        }
        read
    }
}
