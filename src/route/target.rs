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

#[cfg(test)]
mod tests {
    use super::*;

    fn get(target: &str) -> Route<'_> {
        route("GET", target, "").unwrap()
    }

    fn refusal(target: &str) -> Error {
        route("GET", target, "").unwrap_err()
    }

    fn model<'a>(id: &str, raw_id: &'a str) -> Route<'a> {
        Route::Model { id: id.into(), raw_id, slashed: None, beside: None, query: None }
    }

    #[test]
    fn the_catalog_is_recognised_however_it_is_spelled() {
        let spellings = [
            "/v1/models",
            "/models",
            "/v1/models/",
            "//v1//models//",
            "/v1/%6dodels",
            "/%76%31/models",
            "/v1%2Fmodels",
            "/v1%2fmodels%2F",
            "/%2Fmodels",
            "/v1/models/%2F",
            "/V1/Models",
            "/v1/v1/models",
            "/v1/;x/models;y",
            "/;/models",
            "/v1/models/;x",
            "/v1/models%20",
            "/v1/%20/models%c2%a0",
            "/v1/models%3Fx/y",
            "/v1/models%23/y",
            "/v1/models/%3fx",
            "/v1/%256dodels",
            "/v1%252Fmodels%25252F",
            "/v1%5Cmodels",
            "/openai/v1/models",
            "/openai/models",
            "/v1beta/openai/models",
            "//host/v1/models/",
            "/v1/x/V1%2fmodels;a",
            "/v1/x%3f/v1/models",
            "/models/%3fx/v1",
            "/v1/models.json",
            "/v1.0/models:",
            "/v1/models%25",
            "/v1/models%E2%80%8B",
        ];
        for target in spellings {
            assert_eq!(get(target), Route::Catalog { query: None }, "{target}");
            assert_eq!(route("head", target, "").unwrap(), Route::Catalog { query: None });
        }
    }

    #[test]
    fn a_query_is_passed_on_untouched() {
        let query = Some("a=%6d&b=/../?c");
        assert_eq!(get("/v1/models?a=%6d&b=/../?c"), Route::Catalog { query });
        assert_eq!(get("/models?"), Route::Catalog { query: Some("") });
        let Route::Model { id, query, .. } = get("/v1/models/a?b/c") else { panic!() };
        assert_eq!((id.as_str(), query), ("a", Some("b/c")));
        assert_eq!(get("/v1/chat?a=%2f"), Route::Below { rest: "/chat?a=%2f" });
        assert_eq!(get("/tags?a=%2f"), Route::Beside { path: "/tags?a=%2f" });
    }

    #[test]
    fn paths_that_only_look_like_the_catalog_are_not() {
        assert_eq!(get("/v1/modelsx"), Route::Below { rest: "/modelsx" });
        assert_eq!(get("/v1/x%3Fmodels"), Route::Below { rest: "/x%3Fmodels" });
        assert_eq!(get("/v1/models-x"), Route::Below { rest: "/models-x" });
        assert_eq!(get("/x/models"), Route::Beside { path: "/x/models" });
    }

    #[test]
    fn native_lists_are_recognised_however_they_are_spelled() {
        for (target, is_below) in [
            ("/api/tags", false),
            ("/api/ps", false),
            ("/api/v0/models?x=1", false),
            ("/api/v1/models", false),
            ("/v1beta/models/", false),
            ("/v1alpha/models", false),
            ("/V2/models;x", false),
            ("/x/api/tags", false),
            ("/API//Tags", false),
            ("/api%2Ftags", false),
            ("/api/tags;x", false),
            ("/api/%74ags%3Fx/y", false),
            ("/v1/api/tags", true),
        ] {
            let found = get(target);
            assert!(
                matches!(found, Route::Native { is_below: b, .. } if b == is_below),
                "{target}"
            );
        }
        assert_eq!(get("/v1//api/tags?a"), Route::Native { is_below: true, target: "/api/tags?a" });
        assert_eq!(get("/api/tags/x"), Route::Beside { path: "/api/tags/x" });
        assert_eq!(get("/api/tagsx"), Route::Beside { path: "/api/tagsx" });
        let post = route("POST", "/api/tags", "").unwrap();
        assert_eq!(post, Route::Beside { path: "/api/tags" });
    }

    #[test]
    fn other_lists_below_v1_are_refused() {
        for target in
            ["/v1/x/models", "/v1/x%20y/models;z", "/a/v1/b/models.json", "/v1/x/models%3f/a"]
        {
            assert_eq!(refusal(target).code, Code::NotFound, "{target}");
        }
        assert_eq!(get("/v1/models/x/models"), model("x/models", "x/models"));
        let post = route("POST", "/v1/x/models", "").unwrap();
        assert_eq!(post, Route::Below { rest: "/x/models" });
        assert_eq!(get("/v/models"), Route::Beside { path: "/v/models" });
        assert_eq!(get("/xv1/models"), Route::Beside { path: "/xv1/models" });
    }

    #[test]
    fn other_methods_on_the_catalogs_path_are_relayed() {
        let post = |target| route("POST", target, "").unwrap();
        assert_eq!(post("/v1/models?a"), Route::Below { rest: "/models?a" });
        assert_eq!(post("/v1/models/"), Route::Below { rest: "/models/" });
        assert_eq!(post("/models"), Route::Beside { path: "/models" });
        assert_eq!(post("/api/v1/models/load"), Route::Beside { path: "/api/v1/models/load" });
        assert_eq!(post("/v1/models/a"), model("a", "a"));
    }

    #[test]
    fn a_models_id_may_hold_slashes_raw_or_encoded() {
        assert_eq!(get("/v1/models/p/openai/gpt"), model("p/openai/gpt", "p/openai/gpt"));
        assert_eq!(get("/models/p%2Fgpt%3afree"), model("p/gpt:free", "p%2Fgpt%3afree"));
        assert_eq!(get("/v1//models/a/b/"), model("a/b", "a/b/"));
        assert_eq!(get("/v1%2Fmodels%2Fa"), model("a", "a"));
        assert_eq!(get("/v1/models/models"), model("models", "models"));
        assert_eq!(get("/v1/models/;x/a"), model("a", "a"));
    }

    #[test]
    fn a_model_behind_another_v1_is_judged_and_relayed_where_it_stands() {
        let model = |beside| Route::Model {
            id: "a/b".into(),
            raw_id: "a%2Fb",
            slashed: None,
            beside: Some(beside),
            query: Some("q"),
        };
        assert_eq!(get("/api/v1/models/a%2Fb?q"), model("/api/v1/models/"));
        assert_eq!(get("/v1beta/models/a%2Fb?q"), model("/v1beta/models/"));
        assert_eq!(get("//api//v1/;x/models/a%2Fb?q"), model("/api//v1/;x/models/"));
        assert_eq!(get("/v1/x/v1/models/a%2Fb?q"), model("/v1/x/v1/models/"));
        let under_root = route("GET", "/llm/api/v1/models/a%2Fb?q", "/llm").unwrap();
        assert_eq!(under_root, model("/api/v1/models/"));
    }

    #[test]
    fn an_id_may_begin_with_a_slash() {
        let slash = |target| match get(target) {
            Route::Model { id, slashed, .. } => (id, slashed),
            other => panic!("{other:?}"),
        };
        assert_eq!(slash("/v1/models//root/a/"), ("root/a".into(), Some("/root/a/")));
        assert_eq!(slash("/models/%2Froot%2Fa"), ("root/a".into(), Some("%2Froot%2Fa")));
        assert_eq!(slash("/v1/models/%252Fa"), ("a".into(), Some("%252Fa")));
        for target in ["/v1/models/a", "/v1/models///a", "/v1/models/;x/a", "/v1/models%2F/a"] {
            assert_eq!(slash(target), ("a".into(), None), "{target}");
        }
    }

    #[test]
    fn a_method_of_geminis_api_is_judged_by_its_model() {
        let post = |target| route("POST", target, "").unwrap();
        for target in [
            "/v1/models/g:generateContent",
            "/v1beta/models/g:countTokens;x",
            "/v1alpha/models/g:generateContent%20",
            "/v1beta1/models/g:aMethodOfTomorrow",
            "/V1Beta/models/g",
            "/v2/models/g/infer",
            "/v1/projects/p/locations/l/publishers/google/models/g:generateContent",
            "/api/v1/models/g:x",
        ] {
            assert!(matches!(post(target), Route::Model { .. }), "{target}");
        }
        assert!(matches!(post("/x/models/g:x"), Route::Beside { .. }));
    }

    #[test]
    fn the_paths_of_llama_cpps_router_are_relayed() {
        for (method, path) in
            [("POST", "/models/load"), ("POST", "/models/unload"), ("GET", "/models/sse")]
        {
            assert_eq!(route(method, path, "").unwrap(), Route::Beside { path });
        }
        let post = |path| route("POST", path, "").unwrap();
        for path in ["/api/v1/models/load", "/api/v1/models/unload", "/api/v1/models/download"] {
            assert_eq!(post(path), Route::Beside { path });
        }
        assert!(matches!(post("/api/v1/models/load/x"), Route::Model { .. }));
        assert_eq!(get("/models/load"), model("load", "load"));
        assert!(matches!(route("POST", "/models/sse", "").unwrap(), Route::Model { .. }));
        assert!(matches!(route("POST", "/v1/models/load", "").unwrap(), Route::Model { .. }));
    }

    #[test]
    fn slips_in_a_clients_base_url_reach_the_api() {
        for (target, rest) in [
            ("/v1/v1/chat/completions?a", "/chat/completions?a"),
            ("/v1//v1//chat", "/chat"),
            ("/v1/v1", ""),
            ("/chat/completions?a=%2f", "/chat/completions?a=%2f"),
            ("//chat/completions", "/chat/completions"),
            ("/responses/r1/cancel", "/responses/r1/cancel"),
            ("/messages", "/messages"),
            ("/audio/speech", "/audio/speech"),
            ("/images/edits", "/images/edits"),
            ("/moderations", "/moderations"),
            ("/files", "/files"),
            ("/batches/b", "/batches/b"),
        ] {
            assert_eq!(get(target), Route::Below { rest }, "{target}");
        }
        for path in ["/completions", "/embeddings", "/chat", "/audio", "/Files", "/filesx"] {
            assert_eq!(get(path), Route::Beside { path });
        }
        assert_eq!(refusal("/files/models").code, Code::NotFound);
    }

    #[test]
    fn a_broken_escape_stays_and_broken_utf_8_is_replaced() {
        assert_eq!(get("/v1/models/a%zz%2"), model("a%zz%2", "a%zz%2"));
        assert_eq!(get("/v1/models/%+1%"), model("%+1%", "%+1%"));
        assert_eq!(get("/v1/models/%ff"), model("\u{fffd}", "%ff"));
        assert_eq!(get("/v1/models/%C3%a9"), model("é", "%C3%a9"));
        assert_eq!(get("/v1/models/é%"), model("é%", "é%"));
    }

    #[test]
    fn what_is_relayed_keeps_its_spelling() {
        assert_eq!(get("/v1"), Route::Below { rest: "" });
        assert_eq!(get("/v1?a"), Route::Below { rest: "?a" });
        assert_eq!(get("/v1/"), Route::Below { rest: "/" });
        assert_eq!(get("//v1//chat//%41/"), Route::Below { rest: "/chat//%41/" });
        assert_eq!(get("/"), Route::Beside { path: "/" });
    }

    #[test]
    fn what_is_relayed_begins_with_one_slash() {
        assert_eq!(get("//host/x?a"), Route::Beside { path: "/host/x?a" });
        assert_eq!(get("/%2F/;x/host/x"), Route::Beside { path: "/host/x" });
        assert_eq!(get("/v1//host/x"), Route::Below { rest: "/host/x" });
        assert_eq!(get("/v1/;x/host/x"), Route::Below { rest: "/host/x" });
        assert_eq!(get("//?a"), Route::Beside { path: "/?a" });
        assert_eq!(get("/v1//"), Route::Below { rest: "/" });
        for target in ["/%2Fhost/x", "/v1/%5chost", "/%252fhost/v1/models/a"] {
            assert!(refusal(target).message.contains("encoded slash"), "{target}");
        }
    }

    #[test]
    fn a_path_that_is_encoded_many_times_is_refused() {
        assert_eq!(get("/v1/a%252541"), Route::Below { rest: "/a%252541" });
        assert!(refusal("/v1/a%25252541").message.contains("too many times"));
    }

    #[test]
    fn an_encoded_slash_never_ends_up_behind_a_host_name() {
        assert_eq!(get("/v1%2F.evil.com/x"), Route::Beside { path: "/v1%2F.evil.com/x" });
        let target = "/llm%2F.evil.com/x";
        assert_eq!(route("GET", target, "/llm").unwrap(), Route::Beside { path: target });
    }

    #[test]
    fn our_own_pages_are_never_relayed() {
        assert_eq!(get("/-/health?a"), Route::Own { path: "/-/health" });
        assert_eq!(get("/-"), Route::Own { path: "/-" });
        assert_eq!(get("//-//health"), Route::Own { path: "//-//health" });
        assert_eq!(get("/%2d/"), Route::Own { path: "/%2d/" });
        assert_eq!(get("/%2F-%2Fx"), Route::Own { path: "/%2F-%2Fx" });
        assert_eq!(get("/-x/"), Route::Beside { path: "/-x/" });
        assert_eq!(get("/v1/-/x"), Route::Below { rest: "/-/x" });
    }

    #[test]
    fn the_root_path_is_taken_off_where_it_is_there() {
        for root in ["/llm", "/llm/", "llm"] {
            let under = |target| route("GET", target, root).unwrap();
            assert_eq!(under("/llm/v1/models"), Route::Catalog { query: None });
            assert_eq!(under("/v1/models"), Route::Catalog { query: None });
            assert_eq!(under("//l%6cm//models"), Route::Catalog { query: None });
            assert_eq!(under("/llm/v1/chat"), Route::Below { rest: "/chat" });
            assert_eq!(under("/llm/x?a"), Route::Beside { path: "/x?a" });
            assert_eq!(under("/llm/-/x"), Route::Own { path: "/-/x" });
            assert_eq!(under("/llm"), Route::Beside { path: "" });
            assert_eq!(under("/llm/llm/x"), Route::Beside { path: "/llm/x" });
        }
        let two = |target| route("GET", target, "/a/b").unwrap();
        assert_eq!(two("/a/b/v1/x"), Route::Below { rest: "/x" });
        assert_eq!(two("/a/v1/x"), Route::Beside { path: "/a/v1/x" });
        assert_eq!(two("/a"), Route::Beside { path: "/a" });
    }

    #[test]
    fn the_root_path_is_taken_off_only_as_whole_segments() {
        let target = "/llmx/v1/chat";
        assert_eq!(route("GET", target, "/llm").unwrap(), Route::Beside { path: target });
    }

    #[test]
    fn dot_segments_are_refused_in_every_spelling() {
        let hostile = [
            "/v1/../x",
            "/..",
            "/./v1/models",
            "/v1/.",
            "/v1/%2e%2E/x",
            "/v1/.%2e",
            "/v1/models/a%2F..%2Fb",
            "/v1/models/a%2f%2e",
            "/a%5C..%5Cb",
            "/v1/..%5cx",
            "/v1/..?a",
            "/v1/%252e%252E/x",
            "/v1/x%3F/..%20/y",
        ];
        for target in hostile {
            let error = refusal(target);
            assert_eq!(error.code, Code::BadRequest);
            assert!(error.message.contains("segment"), "{error}");
        }
        assert_eq!(get("/v1/..."), Route::Below { rest: "/..." });
        assert_eq!(get("/v1/models/gpt-4.1."), model("gpt-4.1.", "gpt-4.1."));
    }

    #[test]
    fn encoded_control_characters_are_refused_in_the_path_alone() {
        for target in ["/v1/models%0A", "/v1%0d%0a/models", "/models/a%00", "/%7Fa", "/x%2F%1f"] {
            let error = refusal(target);
            assert_eq!(error.code, Code::BadRequest);
            assert!(error.message.contains("control character"), "{error}");
        }
        assert_eq!(get("/models?a=%0A"), Route::Catalog { query: Some("a=%0A") });
    }

    #[test]
    fn a_target_that_is_no_path_is_refused_by_name() {
        for target in ["", "*", "http://host/v1/models", "v1/models", "host:443"] {
            let error = refusal(target);
            assert_eq!(error.code, Code::BadRequest);
            assert!(error.message.contains(&format!("{target:?} does not start")), "{error}");
        }
        for target in ["/a#b", "/a?b#c", "/a b", "/a\r\nb", "/a\0", "/a\x7f", "/v1\\models"] {
            assert_eq!(refusal(target).code, Code::BadRequest, "{target:?}");
            assert!(!refusal(target).message.contains('\n'));
        }
    }

    #[test]
    fn a_long_target_is_cut_in_messages_without_splitting_a_character() {
        let message = refusal(&"é".repeat(10_000)).message;
        assert!(message.contains(&format!("{}…\" does not", "é".repeat(200))), "{message}");
    }

    #[test]
    fn connect_and_trace_are_not_supported() {
        for (method, target) in
            [("CONNECT", "host:443"), ("connect", "/v1/x"), ("TRACE", "/v1/x"), ("Track", "/-/x")]
        {
            let error = route(method, target, "").unwrap_err();
            assert_eq!(error.code, Code::Unsupported);
            assert!(error.message.contains(&method.to_uppercase()), "{error}");
        }
    }
}
