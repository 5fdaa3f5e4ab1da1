//! What the program tells of itself, below `/-/`: how it is, and the page where a filter is made.
//!
//! Limits: who may ask is decided in [`crate::admission`]; nothing is changed from here.

mod assets;
mod models;

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::admission::Admission;
use crate::catalog::lists;
use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::metrics::METRICS;
use crate::offer::{Offer, Refusal};
use crate::recent::RECENT;
use crate::reply::Reply;
use crate::server::Exchange;
use crate::wanted::Wanted;

/// How long a list that could be had says that the program can do its work.
const FRESH: Duration = Duration::from_secs(60);

/// The longest rules that are tried, in bytes.
const RULES_LIMIT: u64 = 256 * 1024;

/// Whether what is at one of our own paths is known without asking anybody.
pub fn is_quick(path: &str) -> bool {
    ["/-/health", "/-/metrics"].contains(&path)
}

/// Answers a request for one of our own paths.
///
/// # Errors
/// 401 and 403 for who may not ask, 404 for a path at which there is nothing, 400 for a
/// method that is not understood there, 499 where the client left meanwhile.
pub fn answer(
    exchange: &mut Exchange,
    path: &str,
    offers: &[Arc<Offer>],
    admission: &Admission,
) -> Result<Reply, Error> {
    let reads = matches!(exchange.method(), "GET" | "HEAD");
    let name = path.trim_start_matches("/-").trim_start_matches('/');
    let file = assets::file(name).filter(|_| reads);
    // The page has to be there for a key to be typed into it.
    if file.is_none() || !admission.has_keys() {
        admission.check_own(exchange.peer(), exchange.headers())?;
    }
    let text = |status, text: String| plain(status, "text/plain; charset=utf-8", text);
    match (name, file) {
        ("", _) if !path.ends_with('/') => Ok(Reply {
            status: 308,
            headers: Headers::new().with("Location", "-/"),
            body: Vec::new(),
        }),
        (_, Some(file)) => Ok(file),
        ("preview", _) if exchange.method() == "POST" => {
            let headers = end_to_end(exchange);
            let rules = rules(exchange)?;
            models::preview(offers, &headers, &rules, &*exchange.wanted())
        }
        ("health" | "ready" | "metrics" | "models.json" | "exchanges.json", _) if !reads => {
            Err(Error::bad_request(format!("{path} can be read only")))
        }
        ("health", _) => Ok(text(200, "ok\n".to_owned())),
        ("ready", _) => Ok(match unready(offers, &*exchange.wanted())? {
            None => text(200, "ready\n".to_owned()),
            Some(why) => text(503, why),
        }),
        ("metrics", _) => Ok(plain(200, "text/plain; version=0.0.4", METRICS.to_string())),
        ("models.json", _) => models::overview(offers, &end_to_end(exchange), &*exchange.wanted()),
        ("exchanges.json", _) => Ok(in_json(&RECENT.snapshot())),
        _ => Err(Error::client(Code::NotFound, format!("there is nothing at {path}"))),
    }
}

fn end_to_end(exchange: &Exchange) -> Headers {
    let mut headers = exchange.headers().clone();
    headers.strip_hop_by_hop();
    headers
}

fn rules(exchange: &mut Exchange) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    let read = exchange.body().take(RULES_LIMIT + 1).read_to_end(&mut body);
    read.map_err(|error| Error::bad_request(format!("the rules cannot be read: {error}")))?;
    if body.len() as u64 > RULES_LIMIT {
        let what = format!("the rules are longer than {RULES_LIMIT} bytes");
        return Err(Error::client(Code::RequestTooLarge, what));
    }
    Ok(body)
}

fn in_json(value: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(value).expect("text and numbers can be written as JSON");
    let mut reply = Reply::json(200, body);
    reply.headers.push("Cache-Control", "no-store");
    reply
}

/// Why no list can be had, one line for each upstream; none where one can, or could
/// within the last minute.
///
/// # Errors
/// 499 where the client left meanwhile.
fn unready(offers: &[Arc<Offer>], client: &dyn Wanted) -> Result<Option<String>, Error> {
    let any_is_well = || offers.iter().any(|offer| offer.was_well_within(FRESH));
    if any_is_well() {
        return Ok(None);
    }
    let lists = lists(offers, &Headers::new(), None, Some(client))?;
    if any_is_well() || lists.iter().any(Result::is_ok) {
        return Ok(None);
    }
    let failures = offers.iter().zip(lists).filter_map(|(offer, list)| {
        let why = match list.err()? {
            Refusal::Mirrored(reply) => format!("its list has status {}", reply.status),
            Refusal::Failed(error) => error.message,
        };
        Some(format!("{}: {why}\n", offer.upstream.name()))
    });
    Ok(Some(failures.collect()))
}

fn plain(status: u16, content_type: &str, body: String) -> Reply {
    let headers =
        Headers::new().with("Content-Type", content_type).with("Cache-Control", "no-store");
    Reply { status, headers, body: body.into_bytes() }
}
