//! Fetches a list from its upstream: all its pages, within one deadline.
//!
//! A page that fails fails the list. Limits: 100 pages and 64 MiB; further pages must be at the
//! upstream's origin.

use std::time::{Duration, Instant};

use super::outcome::Refusal;
use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::list::{List, Next};
use crate::reply::Reply;
use crate::upstream::{Answer, Place, Request, Upload, Upstream};

/// The longest list that is read, in bytes.
const LIST_LIMIT: usize = 64 * 1024 * 1024;

/// The most pages of a list.
const PAGES: usize = 100;

/// The longest error body that is mirrored in place of a list, in bytes.
const REFUSAL_LIMIT: usize = 1024 * 1024;

/// The result of a request for a list.
pub(super) enum Fetched<T> {
    /// The value that was made of a list.
    New(T),
    /// The list that has the `ETag` that was sent is still the same.
    Unchanged,
}

/// The address of a list, and how long fetching it may take.
#[derive(Debug)]
pub(super) struct ListSource {
    /// The address of the list, if it is not at `/models`: from a `/` on below `base_url`, or a URL.
    pub(super) path: Option<String>,
    /// For all pages together.
    pub(super) timeout: Duration,
}

/// The address of a page.
struct Target {
    /// Below `base_url`; otherwise at its origin.
    is_below: bool,
    /// From a `/` on.
    path: String,
    query: Option<String>,
}

impl ListSource {
    /// Requests the list, and lets `read` make something of it and of the `ETag` that it came with.
    /// `known` is the `ETag` of the list that is known.
    ///
    /// # Errors
    /// The upstream's refusal, of whichever page.
    pub(super) fn fetch<T>(
        &self,
        upstream: &Upstream,
        headers: &Headers,
        query: Option<&str>,
        known: Option<&[u8]>,
        read: impl FnOnce(List<'_>, Option<&[u8]>) -> Result<T, String>,
    ) -> Result<Fetched<T>, Refusal> {
        let deadline = Instant::now() + self.timeout;
        let mut first_headers = headers.clone();
        if let Some(etag) = known {
            first_headers.push("If-None-Match", etag);
        }
        let mut target = self.first_target(upstream.origin(), query);
        let mut answer = target.ask(upstream, first_headers, self.timeout)?;
        if answer.status == 304 && known.is_some() {
            return Ok(Fetched::Unchanged);
        }
        let invalid = |what: String| {
            Refusal::Failed(invalid(upstream, &format!("its list of models {what}")))
        };
        let body = read_page(&mut answer, LIST_LIMIT)?;
        let list = List::find(&body).map_err(invalid)?;
        let Some(mut next) = list.next().cloned() else {
            let read = read(list, answer.headers.get("etag"));
            return read.map(Fetched::New).map_err(invalid);
        };
        let (mut size, mut pages) = (body.len(), Vec::new());
        loop {
            let other = || invalid("has a page at another origin, which is not fetched".to_owned());
            target = target.next(upstream.origin(), &next).ok_or_else(other)?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Refusal::Failed(too_slow(upstream, self.timeout)));
            }
            let page =
                read_page(&mut target.ask(upstream, headers.clone(), left)?, LIST_LIMIT - size)?;
            size += page.len();
            let following = List::find(&page).map_err(invalid)?.next().cloned();
            pages.push(page);
            match following {
                None => break,
                Some(following) if following == next => {
                    return Err(invalid("has a page that follows itself".to_owned()));
                }
                Some(_) if pages.len() + 1 == PAGES => {
                    return Err(invalid(format!("has more than {PAGES} pages")));
                }
                Some(following) => next = following,
            }
        }
        let mut list = list;
        for page in &pages {
            List::find(page).and_then(|page| list.append(page)).map_err(invalid)?;
        }
        read(list, None).map(Fetched::New).map_err(invalid)
    }

    /// The first page of the list: at `list_path`, with the client's query behind its own.
    fn first_target(&self, origin: &str, query: Option<&str>) -> Target {
        let list_path = self.path.as_deref().unwrap_or("/models");
        let (is_below, path) = match list_path.strip_prefix(origin) {
            Some(path) => (false, path),
            None => (true, list_path),
        };
        let (path, own) = split_query(path);
        let path = if path.is_empty() { "/" } else { path };
        let query = match (own, query) {
            (Some(own), Some(query)) => Some(format!("{own}&{query}")),
            (own, query) => own.or(query).map(str::to_owned),
        };
        Target { is_below, path: path.to_owned(), query }
    }
}

impl Target {
    fn ask<'u>(
        &self,
        upstream: &'u Upstream,
        headers: Headers,
        within: Duration,
    ) -> Result<Answer<'u>, Refusal> {
        let target = match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        };
        let place = match self.is_below {
            true => Place::Below(&target),
            false => Place::Origin(&target),
        };
        let request =
            Request { method: "GET", place, headers, upload: Upload::None, protocol: None };
        upstream.fetch(request, within).map_err(Refusal::Failed)
    }

    /// The page behind this one; none if it is at another origin.
    fn next(&self, origin: &str, next: &Next) -> Option<Target> {
        let with_query = |query: String| {
            Some(Target { is_below: self.is_below, path: self.path.clone(), query: Some(query) })
        };
        let link = match next {
            Next::Link(link) => link.split('#').next().unwrap_or_default(),
            Next::Parameter { name, value } => {
                let others = self.query.iter().flat_map(|query| query.split('&'));
                let others = others.filter(|other| other.split('=').next() != Some(name));
                let parameter = format!("{name}={}", percent_encoded(value));
                return with_query(
                    others.chain([parameter.as_str()]).collect::<Vec<_>>().join("&"),
                );
            }
        };
        // The query alone: the same path.
        if let Some(query) = link.strip_prefix('?') {
            return with_query(query.to_owned());
        }
        let path = link.strip_prefix(origin).unwrap_or(link);
        let is_path = path.starts_with('/') && !path.starts_with("//");
        let (path, query) = split_query(path);
        let (path, query) = (path.to_owned(), query.map(str::to_owned));
        is_path.then_some(Target { is_below: false, path, query })
    }
}

fn invalid(upstream: &Upstream, what: &str) -> Error {
    error(upstream, Code::UpstreamInvalidResponse, what)
}

/// The error for a list that has not come within this time.
pub(super) fn too_slow(upstream: &Upstream, within: Duration) -> Error {
    let what = format!("its list has not come within {} s", within.as_secs_f64());
    error(upstream, Code::UpstreamTimeout, &what)
}

fn error(upstream: &Upstream, code: Code, what: &str) -> Error {
    let what = format!("upstream {:?}: {what}", upstream.name());
    Error::upstream(code, what).at(upstream.base_url())
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

fn percent_encoded(value: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let encode = |byte: u8| match is_plain(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    value.bytes().map(encode).collect()
}

/// Reads a page of a list.
fn read_page(answer: &mut Answer<'_>, limit: usize) -> Result<Vec<u8>, Refusal> {
    match answer.status {
        // 203 is a 200 that a proxy has changed.
        200 | 203 => answer.read_decoded(limit).map_err(Refusal::Failed),
        // The body may hold a list, which must not reach a client unfiltered.
        status @ 201..=299 => {
            let what = format!("its list of models has an unexpected status {status}");
            Err(Refusal::Failed(answer.invalid(&what)))
        }
        _ => Err(mirrored(answer)),
    }
}

/// The upstream's error, like that of any other exchange.
fn mirrored(answer: &mut Answer<'_>) -> Refusal {
    answer.headers.strip_hop_by_hop();
    answer.headers.remove("content-length");
    match answer.read_to_end(REFUSAL_LIMIT) {
        Ok(body) => {
            let headers = std::mem::take(&mut answer.headers);
            Refusal::Mirrored(Reply { status: answer.status, headers, body }.into())
        }
        Err(error) => Refusal::Failed(error),
    }
}
