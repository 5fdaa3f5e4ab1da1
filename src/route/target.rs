//! The destination of a request.
//!
//! The list of models and the program's own paths are recognised as the most lenient server would
//! read them: percent-decoded to the end, in any case, without doubled and trailing slashes, and
//! without parameters, blanks, encoded queries and encoded fragments behind a segment. The
//! relayed part of the target stays as it came, with one slash in front. Limits: the choice of the
//! upstream is made elsewhere.

use super::kinds::{
    is_bare_endpoint, is_list, is_native, is_of_router, is_other_list, is_read, is_root,
};
use super::percent::{LAYERS, decode};
use super::segments::{Segment, ends_a_raw_segment, split, without_root};
use crate::error::{Code, Error};
use crate::text::{cut, loggable};

/// The destination of a request. Borrowed parts are raw parts of the target.
#[derive(Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `GET` or `HEAD` of `/models`, or of a path that ends with `/v1/models` or `/openai/models`.
    Catalog {
        /// The query, without the `?`.
        query: Option<&'a str>,
    },
    /// `GET` or `HEAD` of a list in a server's own shape, such as Ollama's `/api/tags`: relayed,
    /// and filtered in that shape.
    Native {
        /// Whether it is relayed below the base URL, like [`Route::Below`], or beside it.
        is_below: bool,
        /// The relayed part of the target, as in [`Route::Below`] and [`Route::Beside`].
        target: &'a str,
    },
    /// `/v1/models/{id}`, `/models/{id}` or `…/v1/models/{id}`, any method. Other versions, such as
    /// `v1beta`, and `openai` count as `v1` here.
    Model {
        /// The id, decoded, without slashes around it; not empty.
        id: String,
        /// The raw path behind `models` and its slashes.
        raw_id: &'a str,
        /// The same with a slash of its own in front, if the path has two there, raw or encoded: the
        /// ids of some servers are paths of files.
        slashed: Option<&'a str>,
        /// The raw path before `raw_id` if it does not begin with `/v1/models` or `/models`: the
        /// request is relayed beside the base URL.
        beside: Option<&'a str>,
        /// The query, without the `?`.
        query: Option<&'a str>,
    },
    /// `/v1/<rest>`, relayed to `<base_url><rest>`.
    Below {
        /// The target behind `v1`, with the query: empty, or from a `/` or the `?` on.
        rest: &'a str,
    },
    /// Any other path, relayed to `<base_url without a trailing /v1><path>`.
    Beside {
        /// The path with the query, from a `/` on. If the path was the root path, it is empty or
        /// starts at the `?`.
        path: &'a str,
    },
    /// `/-` and below: the program's own paths, never relayed.
    Own {
        /// The path, from a `/` on, without the query.
        path: &'a str,
    },
}

/// The destination of a request. `root_path` (such as `/llm`, or empty) is stripped from the front of the
/// path if it is there: a reverse proxy in front may have done so already.
///
/// # Errors
/// 404 for a list of models that would not be filtered; 501 for `CONNECT`, and for `TRACE` and
/// `TRACK`, whose responses repeat the credentials of the request; 400 for a target that is no path,
/// or that an upstream may read as another path.
pub fn route<'a>(method: &str, target: &'a str, root_path: &str) -> Result<Route<'a>, Error> {
    let is_method = |name: &&&str| method.eq_ignore_ascii_case(name);
    if let Some(name) = ["CONNECT", "TRACE", "TRACK"].iter().find(is_method) {
        let what = format!("the method {name} is not supported");
        return Err(Error::client(Code::Unsupported, what));
    }
    let refuse = |reason: &str| {
        Err(Error::bad_request(format!("the target {:?} {reason}", cut(loggable(target)))))
    };
    if !target.starts_with('/') {
        return refuse("does not start with a slash");
    }
    if target.chars().any(|c| c.is_control() || c == ' ' || c == '#') {
        return refuse("holds a control character, a space or a #");
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    // RFC 3986 allows no raw backslash, and some servers read it as a slash.
    if path.contains('\\') {
        return refuse("holds a backslash");
    }
    let Some(mut segments) = split(path) else {
        return refuse("is percent-encoded too many times");
    };
    if segments.iter().any(Segment::is_dotted) {
        return refuse("holds a . or .. segment");
    }
    // Some servers match a path up to a line feed at its end, or up to a zero.
    if segments.iter().any(|segment| segment.text.contains(|c: char| c.is_ascii_control())) {
        return refuse("holds a control character, percent-encoded");
    }
    segments.retain(|segment| !segment.name().is_empty());

    let root = split(root_path).unwrap_or_default();
    let (front, segments) = without_root(path, &segments, &root);
    if segments.first().is_some_and(|first| first.is("-")) {
        return Ok(Route::Own { path: &path[front..] });
    }
    let v1s = segments.iter().take_while(|segment| segment.is("v1")).count();
    let is_bare = is_bare_endpoint(segments);
    let models = (0..segments.len()).find(|&at| segments[at].is("models") && is_root(segments, at));
    let named = models.and_then(|at| Some((at, segments.get(at + 1)?)));
    let named = named.filter(|_| !is_of_router(method, segments));
    let is_any = |is: &dyn Fn(&[Segment]) -> bool| is(segments) || is(before_query(segments));
    if is_read(method) && named.is_none() && is_any(&is_native) {
        return match remainder(target, path, front, segments, v1s) {
            Some((is_below, target)) => Ok(Route::Native { is_below, target }),
            None => refuse(ENCODED_SLASH),
        };
    }
    if is_read(method) && is_any(&is_list) {
        return Ok(Route::Catalog { query });
    }
    if let Some((at, first)) = named {
        let raw_id = &path[first.start..];
        let id = decode(raw_id).trim_end_matches('/').to_owned();
        let slashed = slashed(path, segments[at].end, first.start);
        if at == v1s {
            return Ok(Route::Model { id, raw_id, slashed, beside: None, query });
        }
        let beside = relayed(&path[..first.start], front, segments.first());
        let Some(beside) = beside else { return refuse(ENCODED_SLASH) };
        return Ok(Route::Model { id, raw_id, slashed, beside: Some(beside), query });
    }
    // It would be relayed unfiltered.
    let is_other = |segments: &[Segment]| {
        is_other_list(segments) || (is_bare && segments.last().is_some_and(|s| s.may_be("models")))
    };
    if is_read(method) && is_any(&is_other) {
        return Err(Error::client(Code::NotFound, "the models are listed at /v1/models only"));
    }
    match remainder(target, path, front, segments, v1s) {
        Some((true, rest)) => Ok(Route::Below { rest }),
        Some((false, path)) => Ok(Route::Beside { path }),
        None => refuse(ENCODED_SLASH),
    }
}

/// The relayed part of a target, and whether it goes below the base URL. `None` if that begins with an
/// encoded slash.
fn remainder<'t>(
    target: &'t str,
    path: &str,
    front: usize,
    segments: &[Segment],
    v1s: usize,
) -> Option<(bool, &'t str)> {
    // A base URL that is typed twice makes it `/v1/v1`.
    let last_v1 = (0..v1s).rev().find(|&at| ends_a_raw_segment(&path[segments[at].end..]));
    match last_v1 {
        Some(at) => Some((true, relayed(target, segments[at].end, segments.get(at + 1))?)),
        None => {
            let rest = relayed(target, front, segments.first())?;
            Some((is_bare_endpoint(segments), rest))
        }
    }
}

/// The text behind the slash that follows `models`, if another slash comes before the id.
fn slashed(path: &str, models_end: usize, id_start: usize) -> Option<&str> {
    let slashes = &path[models_end..id_start];
    let is_double = slashes.starts_with('/') && folded_slashes(slashes) == "//";
    is_double.then(|| &path[models_end + 1..])
}

/// Slashes and what is between them, decoded to the end.
fn folded_slashes(text: &str) -> String {
    (0..LAYERS).fold(text.to_owned(), |text, _| decode(&text))
}

const ENCODED_SLASH: &str = "begins with an encoded slash";

/// The segments that a server sees which reads an encoded `?` or `#` as the end of the path.
fn before_query(segments: &[Segment]) -> &[Segment] {
    let count = segments.iter().take_while(|segment| !segment.is_behind_query).count();
    &segments[..count]
}

/// The relayed part of a target: everything after an offset, with one slash in front. A server may read
/// the first segment behind two slashes as the name of a host (RFC 3986 §4.2), and the path as what
/// follows. `None` if the slash before the next segment is encoded.
fn relayed<'t>(target: &'t str, from: usize, next: Option<&Segment>) -> Option<&'t str> {
    let mut rest = &target[from..];
    if let Some(next) = next {
        rest = &target[next.start - 1..];
        return rest.starts_with('/').then_some(rest);
    }
    while rest.starts_with("//") {
        rest = &rest[1..];
    }
    Some(rest)
}
