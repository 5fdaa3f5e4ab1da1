//! The upstream's response on its way to the client.
//!
//! A short one of known length is read whole before its head is sent. Behind the head there
//! is no more to say in HTTP: where the upstream breaks off, so does the response, so that no
//! client takes a part for the whole.

use super::{Notes, refuse};
use crate::error::{Error, Source};
use crate::headers::Headers;
use crate::record::Sent;
use crate::reply::{Reply, error_object};
use crate::server::Exchange;
use crate::upstream::Answer;

/// A response up to this length, in bytes, is read whole before its head is sent: if it
/// breaks off, the client gets an honest 502.
const WHOLE: u64 = 64 * 1024;

/// Sends the client what the upstream answers.
pub(super) fn pass_on(exchange: Box<Exchange>, mut answer: Answer<'_>, notes: &mut Notes) -> Sent {
    let (status, length) = (answer.status, answer.length);
    let mut headers = returned(&answer.headers, notes);
    let events = headers.media_type().as_deref() == Some("text/event-stream");
    if events {
        // nginx in front of this proxy would hold the stream back.
        headers.remove("x-accel-buffering");
        headers.push("X-Accel-Buffering", "no");
    }
    let bodiless = exchange.method() == "HEAD" || status == 204 || status == 304;
    if bodiless {
        return exchange.begin(status, &headers, length).end();
    }
    if let Some(length) = length.filter(|length| *length <= WHOLE) {
        return match answer.read_to_end(WHOLE as usize) {
            Ok(body) if body.len() as u64 == length => {
                exchange.respond(&Reply { status, headers, body })
            }
            Ok(_) => {
                let error = answer.invalid("the response is shorter than it says");
                refuse(exchange, error, notes)
            }
            Err(error) => refuse(exchange, error, notes),
        };
    }
    let plain = !headers.contains("content-encoding");
    let head = (status, &headers, length);
    // Of a promised length, what is told in the stream would be taken for a part of it.
    let tells = events && plain && length.is_none();
    stream(exchange, head, &mut answer, tells, notes)
}

/// Copies a response's body, each read at once. `tells` says that an error can be told in
/// the stream itself.
fn stream(
    exchange: Box<Exchange>,
    (status, headers, length): (u16, &Headers, Option<u64>),
    answer: &mut Answer<'_>,
    tells: bool,
    notes: &mut Notes,
) -> Sent {
    let mut response = exchange.begin(status, headers, length);
    // The end of what was sent so far: an event's may come in pieces.
    let mut end = Vec::new();
    // What has arrived goes out with the head, which does not wait for more.
    let mut waits = false;
    loop {
        let read = response.pass(|buffer| match waits {
            true => answer.read(buffer),
            false => answer.read_arrived(buffer),
        });
        match read {
            Ok([]) if !waits => response.flush(),
            Ok([]) => return response.end(),
            Ok(part) => {
                end.extend_from_slice(&part[part.len().saturating_sub(EVENT_END)..]);
                end.drain(..end.len().saturating_sub(EVENT_END));
            }
            Err(error) => {
                if tells && error.source == Source::Upstream {
                    let is_between_events = end.is_empty() || ends_event(&end);
                    let gap = if is_between_events { "" } else { "\n\n" };
                    response.write(format!("{gap}data: {}\n\n", error_object(&error)).as_bytes());
                }
                notes.error = Some(error);
                return response.abort();
            }
        }
        waits = true;
        if response.broken() {
            notes.error = Some(Error::client_left());
            return response.abort();
        }
    }
}

/// The longest end of an event, in bytes.
const EVENT_END: usize = 4;

fn ends_event(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\n\n") || bytes.ends_with(b"\r\n\r\n") || bytes.ends_with(b"\r\r")
}

/// The fields of a response that may go to a client; the body is framed anew.
pub(super) fn returned(headers: &Headers, notes: &Notes) -> Headers {
    let mut headers = headers.clone();
    headers.strip_hop_by_hop();
    if notes.shared {
        headers.remove_all("access-control-");
    }
    headers.remove("content-length");
    headers
}
