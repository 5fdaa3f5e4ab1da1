//! What the program tells of itself, below `/-/`.
//!
//! Limits: who may ask is decided in [`crate::admission`]; nothing is changed from here.

use std::time::Duration;

use crate::catalog::lists;
use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::metrics::METRICS;
use crate::offer::{Offer, Refusal};
use crate::reply::Reply;

/// How long a list that could be had says that the program can do its work.
const FRESH: Duration = Duration::from_secs(60);

/// Answers a request for one of our own paths.
///
/// # Errors
/// 404 for a path at which there is nothing, 400 for a method that would change something.
pub fn answer(method: &str, path: &str, offers: &[Offer]) -> Result<Reply, Error> {
    let page = match path.trim_end_matches('/') {
        "/-/health" => Page::Health,
        "/-/ready" => Page::Ready,
        "/-/metrics" => Page::Metrics,
        _ => return Err(Error::client(Code::NotFound, format!("there is nothing at {path}"))),
    };
    if !matches!(method, "GET" | "HEAD") {
        return Err(Error::bad_request(format!("{path} can be read only")));
    }
    Ok(match page {
        Page::Health => plain(200, "text/plain; charset=utf-8", "ok\n".to_owned()),
        Page::Ready => match unready(offers) {
            None => plain(200, "text/plain; charset=utf-8", "ready\n".to_owned()),
            Some(why) => plain(503, "text/plain; charset=utf-8", why),
        },
        Page::Metrics => plain(200, "text/plain; version=0.0.4", METRICS.to_string()),
    })
}

enum Page {
    Health,
    Ready,
    Metrics,
}

/// Why no list can be had, one line for each upstream; none where one can, or could
/// within the last minute.
fn unready(offers: &[Offer]) -> Option<String> {
    let any_is_well = || offers.iter().any(|offer| offer.was_well_within(FRESH));
    if any_is_well() {
        return None;
    }
    let lists = lists(offers, &Headers::new(), None);
    if any_is_well() || lists.iter().any(Result::is_ok) {
        return None;
    }
    let failures = offers.iter().zip(lists).filter_map(|(offer, list)| {
        let why = match list.err()? {
            Refusal::Mirrored(reply) => format!("its list has status {}", reply.status),
            Refusal::Failed(error) => error.message,
        };
        Some(format!("{}: {why}\n", offer.upstream.name()))
    });
    Some(failures.collect())
}

fn plain(status: u16, content_type: &str, body: String) -> Reply {
    let headers =
        Headers::new().with("Content-Type", content_type).with("Cache-Control", "no-store");
    Reply { status, headers, body: body.into_bytes() }
}
