//! The client's body on its way to the upstream.
//!
//! Bodies pass as they are, in constant memory. One that must be searched for its model, to
//! choose an upstream, to take a prefix off or to reject it, is held; so is a short one, for
//! the log alone, which names the model. Limits: a held body is at most `max_body` long, and
//! not compressed; all of them together are bounded too.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::Hidden;
use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::model_field::{self, BodyKind, ModelField, body_kind};
use crate::offer::Offer;
use crate::server::{BodyLength, Exchange};

/// A body up to this length, in bytes, is held for the sake of the log.
const GLANCE: u64 = 64 * 1024;

/// How many bytes of a body are read before it is asked again whether there is room.
const STEP: u64 = 64 * 1024;

/// How much memory is left to others, in bytes: where they have none the program ends.
const SPARE: usize = 16 * 1024 * 1024;

/// How many bodies of the greatest length there is room for at once.
const LONGEST: u64 = 4;

/// What all held bodies may take in any case, in bytes.
const LEAST_ROOM: u64 = 256 * 1024 * 1024;

/// What all held bodies of the process take, in bytes.
static HELD: AtomicU64 = AtomicU64::new(0);

/// What was read of a body, in the room that there is for all bodies. Dropped, it gives its
/// room back.
#[derive(Default)]
pub(super) struct Bytes {
    pub(super) bytes: Vec<u8>,
    /// What room it has taken, in bytes.
    room: u64,
}

impl Bytes {
    /// Takes room for more. The first step is always given: a few long bodies that hardly come
    /// in must not keep the short ones out.
    fn take_room(&mut self, more: u64, most: u64) -> Result<(), Error> {
        let all = HELD.fetch_add(more, Ordering::Relaxed) + more;
        self.room += more;
        if self.room > STEP && all > most {
            let what = format!("the bodies of all requests may take {most} bytes at once");
            return Err(Error::proxy(Code::Overloaded, what));
        }
        Ok(())
    }

    /// Has memory for more, where there is some. It doubles, but not beyond the whole length.
    fn reserve(&mut self, more: u64, length: Option<u64>) -> Result<(), Error> {
        let so_far = self.bytes.len() as u64;
        let left = length.map_or(u64::MAX, |length| length.saturating_sub(so_far));
        if ((self.bytes.capacity() as u64) - so_far) < more.min(left) {
            let wanted = so_far.max(more).min(left) as usize;
            let is_there =
                wanted as u64 <= STEP || Vec::<u8>::new().try_reserve_exact(wanted + SPARE).is_ok();
            if !is_there || self.bytes.try_reserve_exact(wanted).is_err() {
                let what = "there is no memory left for the request's body";
                return Err(Error::proxy(Code::Overloaded, what));
            }
        }
        Ok(())
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        HELD.fetch_sub(self.room, Ordering::Relaxed);
    }
}

/// What bodies are looked at for.
#[derive(Debug)]
pub(super) struct Look {
    /// Whether requests cannot be relayed without their model.
    pub(super) is_needed: bool,
    /// Whether some models are rejected.
    rejects: bool,
    /// How much of a body is held, in bytes.
    limit: u64,
    /// How much of all bodies, in bytes.
    room: u64,
}

impl Look {
    /// What is needed in front of these upstreams.
    pub(super) fn of(offers: &[Arc<Offer>]) -> Look {
        let rejects = offers.iter().any(|offer| offer.hidden == Hidden::Reject);
        let prefixed = offers.iter().any(|offer| !offer.upstream.prefix().is_empty());
        let is_needed = offers.len() > 1 || prefixed || rejects;
        let most = offers.iter().map(|offer| offer.max_body).max().unwrap_or_default();
        let (limit, room) = match is_needed {
            true => (most, most.saturating_mul(LONGEST).max(LEAST_ROOM)),
            // For so little nobody is turned away.
            false => (GLANCE, u64::MAX),
        };
        Look { is_needed, rejects, limit, room }
    }
}

/// What was read of a request's body.
pub(super) enum Held {
    /// All of it, and where its model stands.
    Whole { body: Bytes, field: Option<ModelField> },
    /// So much; the rest is streamed.
    Beginning(Bytes),
}

impl Held {
    /// Nothing: all of it is streamed.
    pub(super) fn nothing() -> Held {
        Held::Beginning(Bytes::default())
    }

    /// The model that the body names.
    pub(super) fn model(&self) -> Option<&str> {
        match self {
            Held::Whole { field: Some(field), .. } => Some(&field.name),
            _ => None,
        }
    }
}

/// Reads the body where its model must be known, or where it is short.
///
/// # Errors
/// 400 for a body that names no model in a way that can be relied on, 408, 413, and 503 where
/// other bodies take all the room.
pub(super) fn hold(exchange: &mut Exchange, look: &Look) -> Result<Held, Error> {
    let Look { is_needed, rejects, limit, .. } = *look;
    let mut kind = body_kind(exchange.headers().get_str("content-type"));
    let declared = kind != BodyKind::Opaque;
    let length = match exchange.body_length() {
        BodyLength::None | BodyLength::Known(0) => return Ok(Held::nothing()),
        BodyLength::Known(length) => Some(length),
        BodyLength::Chunked => None,
    };
    let short = length.is_some_and(|length| length <= GLANCE);
    let of_use = is_needed || (declared && short);
    if !of_use {
        return Ok(Held::nothing());
    }
    if is_needed && exchange.headers().get_all("content-type").count() > 1 {
        // Which of them the upstream goes by is not known, and so neither is where the model is.
        return Err(Error::bad_request("the request has more than one Content-Type field"));
    }
    if is_needed && is_encoded(exchange.headers()) {
        if declared || rejects {
            let what = "the request's body is compressed, so its model cannot be read";
            return Err(Error::bad_request(what));
        }
        return Ok(Held::nothing());
    }
    let too_long = length.is_some_and(|length| length > limit);
    let mut body = Bytes::default();
    if !declared {
        // Many a server reads JSON whatever it is called.
        let begins_json = begins_json(exchange, &mut body, look)?;
        if !begins_json || (too_long && !rejects) {
            return Ok(Held::Beginning(body));
        }
        kind = BodyKind::Json;
    }
    if too_long {
        return Err(too_large(limit));
    }
    read_rest(exchange, &mut body, length, look)?;
    let field = match model_field::find(&kind, &body.bytes) {
        Ok(field) => field,
        // What is no JSON may be some to a server that is less strict than we are.
        Err(error) if is_needed && (declared || rejects) => return Err(error),
        // It is the upstream's to judge.
        Err(_) => None,
    };
    Ok(Held::Whole { body, field })
}

/// The byte order mark of UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// Where JSON would begin, in UTF-8 or, with zeros between, in UTF-16 or UTF-32.
fn json_text(body: &[u8]) -> &[u8] {
    let marks = [MARK, b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"];
    let text = marks.iter().find_map(|mark| body.strip_prefix(*mark)).unwrap_or(body);
    &text[text.iter().take_while(|byte| is_blank(byte)).count()..]
}

fn is_blank(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || *byte == 0
}

/// Reads up to where it can be told whether the body is a JSON object.
fn begins_json(exchange: &mut Exchange, body: &mut Bytes, look: &Look) -> Result<bool, Error> {
    let mut buffer = vec![0; 4096];
    loop {
        let read = exchange.body().read(&mut buffer).map_err(|error| client_fault(&error))?;
        body.take_room(read as u64, look.room)?;
        body.reserve(read as u64, None)?;
        body.bytes.extend_from_slice(&buffer[..read]);
        if read == 0 || body.bytes.len() as u64 > look.limit {
            return Ok(json_text(&body.bytes).starts_with(b"{"));
        }
        // What is blank decides nothing. It may be long, and is not to be looked at again.
        if !buffer[..read].iter().all(is_blank) {
            let text = json_text(&body.bytes);
            let undecided = text.is_empty() || MARK.starts_with(&body.bytes);
            if !undecided {
                return Ok(text.starts_with(b"{"));
            }
        }
    }
}

fn read_rest(
    exchange: &mut Exchange,
    body: &mut Bytes,
    length: Option<u64>,
    look: &Look,
) -> Result<(), Error> {
    loop {
        let step = STEP.min((look.limit + 1).saturating_sub(body.bytes.len() as u64));
        body.take_room(step, look.room)?;
        body.reserve(step, length)?;
        let read = exchange.body().take(step).read_to_end(&mut body.bytes);
        let read = read.map_err(|error| client_fault(&error))? as u64;
        if body.bytes.len() as u64 > look.limit {
            return Err(too_large(look.limit));
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

/// A body as ureq reads it: what was read of it already, and then the rest. What goes wrong
/// with it is kept, because ureq would lay it on the upstream.
pub(super) struct PassedBody<'a> {
    front: &'a [u8],
    rest: &'a mut Exchange,
    failure: Option<Error>,
}

impl<'a> PassedBody<'a> {
    pub(super) fn new(front: &'a [u8], rest: &'a mut Exchange) -> PassedBody<'a> {
        PassedBody { front, rest, failure: None }
    }

    /// What went wrong on the client's side.
    pub(super) fn failure(self) -> Option<Error> {
        self.failure
    }
}

impl Read for PassedBody<'_> {
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
