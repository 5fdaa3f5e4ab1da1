//! The one place that responds to the client.
//!
//! Once the head of a response is sent, HTTP has no way to report an error. If the upstream fails
//! after that, the response is cut, so that no client takes a part for the whole. A short response
//! is therefore read whole before its head is sent.

use std::mem::take;

use crate::catalog::Catalog;
use crate::error::{Code, Error, Source};
use crate::metrics::METRICS;
use crate::record::{Record, Sent};
use crate::reply::{Api, Reply, error_event};
use crate::route::Class;
use crate::server::Exchange;
use crate::tunnel::{self, Side};
use crate::upstream::{Answer, Switched};

/// The longest response that is read whole before its head is sent, in bytes: if it is cut, the
/// client gets a 502.
const WHOLE: u64 = 64 * 1024;

/// The longest end of an event, in bytes.
const EVENT_END: usize = 4;

/// A response that was decided on.
pub(super) enum Outcome<'a> {
    /// A whole response.
    Own(Reply),
    /// The list of models.
    List(Catalog),
    /// The response of an upstream, with the header fields that may go to the client.
    Upstream(Box<Answer<'a>>),
}

/// The facts of a response that was sent, and its failure.
struct Delivered {
    sent: Sent,
    error: Option<Error>,
}

impl From<Sent> for Delivered {
    fn from(sent: Sent) -> Delivered {
        // If nothing else failed, a response is only incomplete because its client left.
        Delivered { sent, error: (!sent.complete).then(Error::client_left) }
    }
}

/// Sends the response, and notes in the record what was sent.
pub(super) fn deliver(
    exchange: Box<Exchange>,
    outcome: Result<Outcome<'_>, Error>,
    record: &mut Record,
) {
    let delivered = match outcome {
        Ok(Outcome::Own(reply)) => respond(exchange, &reply, &[]),
        Ok(Outcome::List(catalog)) => respond(exchange, catalog.head(), &catalog.rest()),
        Ok(Outcome::Upstream(mut answer)) => match answer.switched.take() {
            Some(mut upstream) => switch(exchange, &answer, &mut upstream),
            None => pass_on(exchange, answer, api_of(record)),
        },
        Err(error) => refuse(exchange, error),
    };
    record.sent = delivered.sent;
    record.error = delivered.error;
}

/// Sends a whole response.
#[inline(never)] // keeps its temporaries off the stack while a response is streamed
fn respond(exchange: Box<Exchange>, reply: &Reply, rest: &[&[u8]]) -> Delivered {
    exchange.respond(reply, rest).into()
}

/// Sends an error; closes the connection if the client left.
#[inline(never)] // as above
fn refuse(exchange: Box<Exchange>, error: Error) -> Delivered {
    let sent = match error.code {
        Code::ClientLeft => exchange.abandon(),
        _ => exchange.respond(&Reply::error(&error), &[]),
    };
    Delivered { sent, error: Some(error) }
}

/// Sends the response of an upstream.
fn pass_on(exchange: Box<Exchange>, mut answer: Box<Answer<'_>>, api: Api) -> Delivered {
    let Answer { status, length, .. } = *answer;
    let is_events = answer.headers.media_type().as_deref() == Some("text/event-stream");
    if is_events {
        // nginx in front of this program would buffer the stream.
        answer.headers.remove("x-accel-buffering");
        answer.headers.push("X-Accel-Buffering", "no");
    }
    if exchange.method() == "HEAD" || status == 204 || status == 304 {
        return exchange.begin(status, &answer.headers, length).end().into();
    }
    match length {
        Some(length) if length <= WHOLE => match read_whole(&mut answer, length) {
            Ok(reply) => respond(exchange, &reply, &[]),
            Err(error) => refuse(exchange, error),
        },
        _ => stream(exchange, answer, is_events.then_some(api)),
    }
}

/// Passes on a 101, and what both sides send from then on.
#[inline(never)] // as above
fn switch(exchange: Box<Exchange>, answer: &Answer<'_>, upstream: &mut Switched) -> Delivered {
    let mut client = match exchange.switch(&answer.headers) {
        Ok(client) => client,
        Err(sent) => return sent.into(),
    };
    let _open = METRICS.upgrade();
    let ended = tunnel::run(&mut client, upstream);
    let sent = client.close(&ended);
    let error = ended.broken.map(|(side, error)| match side {
        Side::Client => Error::client_left(),
        Side::Upstream => answer.invalid(&format!("the connection broke off: {error}")),
    });
    Delivered { sent, error }
}

fn read_whole(answer: &mut Answer<'_>, length: u64) -> Result<Reply, Error> {
    let body = answer.read_to_end(WHOLE as usize)?;
    if body.len() as u64 != length {
        return Err(answer.invalid("the response is shorter than it says"));
    }
    Ok(Reply { status: answer.status, headers: take(&mut answer.headers), body })
}

/// The API that a client speaks, by the path of its request.
fn api_of(record: &Record) -> Api {
    match record.class {
        Class::Known("messages") => Api::Anthropic,
        Class::Model if record.path.ends_with(":streamGenerateContent") => Api::Gemini,
        _ => Api::OpenAi,
    }
}

/// Copies the body of a response: each part is sent as soon as it is read. `events`: it is an event
/// stream of this API.
fn stream(exchange: Box<Exchange>, mut answer: Box<Answer<'_>>, events: Option<Api>) -> Delivered {
    let headers = take(&mut answer.headers);
    // An error can be reported as an event, unless that would be taken for a part of a compressed
    // body, or of one of known length.
    let events =
        events.filter(|_| answer.length.is_none() && !headers.contains("content-encoding"));
    let mut response = exchange.begin(answer.status, &headers, answer.length);
    drop(headers);
    // The last bytes that were sent: the end of an event may come in several parts.
    let mut tail = Vec::new();
    // The first part is what has arrived already, so that it goes out with the head.
    let mut waits = false;
    loop {
        let read = response.pass(|buffer| match waits {
            true => answer.read(buffer),
            false => answer.read_arrived(buffer),
        });
        match read {
            Ok([]) if !waits => response.flush(),
            Ok([]) => return response.end().into(),
            Ok(part) => {
                tail.extend_from_slice(&part[part.len().saturating_sub(EVENT_END)..]);
                tail.drain(..tail.len().saturating_sub(EVENT_END));
            }
            Err(error) => {
                let sent = match events.filter(|_| error.source == Source::Upstream) {
                    Some(api) => {
                        let gap = if tail.is_empty() || ends_event(&tail) { "" } else { "\n\n" };
                        response.write([gap, &error_event(&error, api)].concat().as_bytes());
                        response.abort_later()
                    }
                    None => response.abort(),
                };
                return Delivered { sent, error: Some(error) };
            }
        }
        waits = true;
        if response.broken() {
            return response.abort().into();
        }
    }
}

fn ends_event(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\n\n") || bytes.ends_with(b"\r\n\r\n") || bytes.ends_with(b"\r\r")
}
