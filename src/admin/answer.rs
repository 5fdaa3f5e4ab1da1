//! The response for each path.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::program::Program;
use super::{assets, models, save};
use crate::admission::{Admission, is_navigation};
use crate::catalog::lists;
use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::metrics::METRICS;
use crate::offer::Offer;
use crate::recent::RECENT;
use crate::reply::Reply;
use crate::wanted::Wanted;

/// How long one good list proves that the program is ready.
const FRESH: Duration = Duration::from_secs(60);

/// The longest rules that are tried, in bytes.
const RULES_LIMIT: u64 = 256 * 1024;

/// The longest rules that are saved, in bytes, as JSON.
const SAVE_LIMIT: u64 = 64 * 1024;

/// The path of the health check, below `/-/`.
const HEALTH: &str = "health";

/// A request for one of the program's own paths.
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, from `/-` on.
    pub path: &'a str,
    /// The address of the client.
    pub peer: SocketAddr,
    /// All header fields.
    pub headers: &'a Headers,
    /// Whether the client speaks HTTP/1.0.
    pub is_http_1_0: bool,
    /// The body.
    pub body: &'a mut dyn Read,
    /// Whether the client is still there.
    pub client: &'a dyn Wanted,
}

/// Whether the response to a path is known without asking an upstream.
pub fn is_quick(path: &str) -> bool {
    ["/-/health", "/-/metrics"].contains(&path)
}

/// Whether anybody may ask for a path, whatever its `Host`: the response says only that the program
/// runs.
pub fn is_public(path: &str) -> bool {
    path.strip_prefix("/-/") == Some(HEALTH)
}

/// The response to a request.
///
/// # Errors
/// 401 and 403 for a client that may not ask, 404 for an unknown path, 400 and 413 for a request
/// that cannot be used, 500 if rules cannot be saved, 499 if the client left meanwhile.
pub fn answer(
    request: Request<'_>,
    offers: &[Arc<Offer>],
    admission: &Admission,
    program: &dyn Program,
) -> Result<Reply, Error> {
    let Request { method, path, peer, headers, is_http_1_0, body, client } = request;
    let reads = matches!(method, "GET" | "HEAD");
    let name = path.trim_start_matches("/-").trim_start_matches('/');
    let file = assets::file(name).filter(|_| reads);
    // The page itself needs no key, because the key is typed in there.
    if name != HEALTH && (file.is_none() || !admission.has_keys()) {
        match admission.check_own(peer, headers, is_http_1_0) {
            Err(error) if name.is_empty() && is_navigation(headers) && !admission.has_keys() => {
                return Ok(assets::elsewhere(&error, headers));
            }
            checked => checked?,
        }
    }
    match (name, file) {
        ("", _) if !path.ends_with('/') => {
            let mut reply = Reply::empty(308);
            reply.headers.push("Location", "-/");
            Ok(reply)
        }
        (_, Some(file)) => Ok(file),
        ("preview", _) if method == "POST" => {
            models::preview(offers, &headers.end_to_end(), &read(body, RULES_LIMIT)?, client)
        }
        ("save" | "fetch", _) if method == "POST" => {
            admission.check_same_origin(headers)?;
            save::check_token(headers)?;
            if name == "save" {
                return save::save(offers, &read(body, SAVE_LIMIT)?, program);
            }
            offers.iter().for_each(|offer| offer.expire());
            models::overview(offers, &headers.end_to_end(), client, program)
        }
        (HEALTH | "ready" | "metrics" | "models.json" | "exchanges.json", _) if !reads => {
            Err(Error::bad_request(format!("{path} can be read only")))
        }
        (HEALTH, _) => Ok(plain(200, "ok\n".to_owned())),
        ("ready", _) => Ok(match unready(offers, client)? {
            None => plain(200, "ready\n".to_owned()),
            Some(why) => plain(503, why),
        }),
        ("metrics", _) => Ok(Reply::fresh(200, "text/plain; version=0.0.4", METRICS.to_string())),
        ("models.json", _) => models::overview(offers, &headers.end_to_end(), client, program),
        ("exchanges.json", _) => Ok(Reply::fresh_json(&RECENT.snapshot())),
        _ => Err(Error::client(Code::NotFound, format!("there is nothing at {path}"))),
    }
}

fn plain(status: u16, text: String) -> Reply {
    Reply::fresh(status, "text/plain; charset=utf-8", text)
}

fn read(body: &mut dyn Read, limit: u64) -> Result<Vec<u8>, Error> {
    let mut rules = Vec::new();
    let read = body.take(limit + 1).read_to_end(&mut rules);
    read.map_err(|error| Error::bad_request(format!("the rules cannot be read: {error}")))?;
    if rules.len() as u64 > limit {
        let what = format!("the rules are longer than {limit} bytes");
        return Err(Error::client(Code::RequestTooLarge, what));
    }
    Ok(rules)
}

/// Why no upstream has a list, in one line for each; none if one has, or had within a minute.
///
/// # Errors
/// 499 if the client left meanwhile.
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
        let why = models::failure(list.err()?).message;
        Some(format!("{}: {why}\n", offer.upstream.name()))
    });
    Ok(Some(failures.collect()))
}
