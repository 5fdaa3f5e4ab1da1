//! Targets in every spelling, against a simple decoder and normaliser.
//!
//! The judge decodes the whole path first, as often as it can, and then splits it into words; the
//! code under test finds the segments in the raw path. The properties that keep hidden models hidden are also tested
//! without the judge.

use model_filter::route::{Route, by_prefix, decode, folded, route, strip_raw_prefix};
use proptest::prelude::*;

use crate::cases;

/// Text with some of its bytes percent-encoded, in either case.
fn encoded(text: &str, choices: &[u8]) -> String {
    let mut written = String::new();
    for (at, c) in text.chars().enumerate() {
        let mut buffer = [0; 4];
        for byte in c.encode_utf8(&mut buffer).bytes() {
            written += &match choices[at % choices.len()] % 8 {
                0 => format!("%{byte:02x}"),
                1 => format!("%{byte:02X}"),
                _ => {
                    written.push(c);
                    break;
                }
            };
        }
    }
    written
}

fn word() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "v1",
        "v1",
        "v1",
        "V1",
        "models",
        "models",
        "models",
        "Models",
        "mODELS",
        "-",
        "-",
        "chat",
        "completions",
        "p",
        "é",
        "llm",
        "modelsx",
        "api",
        "api",
        "tags",
        "v0",
        "v1beta",
        "v1alpha",
        "publishers",
        "download",
        "v2",
        "",
        "...",
        "a.b",
        "v1beta",
        "openai",
        "completions",
        "files",
        "audio",
        "load",
        "sse",
        "g:countTokens",
    ]);
    let odd = prop::sample::select(vec![
        ".",
        "..",
        "%2e",
        "%2E.",
        ".%2e",
        "%",
        "%zz",
        "%2",
        "%256d",
        "%252e",
        "%ff",
        "%c3",
        "%5c",
        "..%5C",
        "%5c.",
        "a\\b",
        " ",
        "#",
        "\u{7f}",
        "\n",
        ";",
        "%00",
        "%0A",
        "models%0a",
        "a%7F",
        "@",
        ":",
        "%3F",
        "%23",
        "%u002e",
        "%C0%AE",
        ".;a",
        "..%3bx",
        ";..",
        "\u{ff0e}\u{ff0e}",
        ";x",
        "%20",
        "v1;x",
        "V1%20",
        "models%3Fx",
        "models%23",
        "%C2%A0models%3b",
        "%256dodels",
        "v1%252Fmodels",
        "%252525252541",
        "%3fx",
        "host",
        "models.json",
        "v1.0",
        "models-x",
        "tags.x",
        "v0;x",
    ]);
    let known = (known, prop::collection::vec(any::<u8>(), 8))
        .prop_map(|(word, choices)| encoded(word, &choices));
    prop_oneof![12 => known, 1 => odd.prop_map(str::to_owned)]
}

fn slash() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => Just("/"),
        2 => Just("//"),
        2 => Just("%2F"),
        2 => Just("%2f"),
        1 => Just("/%2F/"),
        1 => Just("%5C"),
        1 => Just("/;/"),
    ]
    .prop_map(str::to_owned)
}

/// A path that starts with a slash, as a client might spell it.
fn path() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec((slash(), word()), 0..6);
    (pieces, prop_oneof![2 => Just(String::new()), 1 => slash()]).prop_map(|(pieces, end)| {
        let path =
            pieces.into_iter().fold(String::new(), |path, (slash, word)| path + &slash + &word);
        let path = path + &end;
        if path.starts_with('/') { path } else { format!("/{path}") }
    })
}

fn target() -> impl Strategy<Value = String> {
    let query = prop_oneof![Just("?"), Just("?a=%6d&b=/../?"), Just("?/v1/models"), Just("?#")];
    (path(), prop::option::weighted(0.2, query))
        .prop_map(|(path, query)| path + query.unwrap_or_default())
}

fn method() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "GET", "GET", "HEAD", "get", "POST", "DELETE", "OPTIONS", "CONNECT", "TRACE", "track",
    ])
}

fn lists(method: &str) -> bool {
    ["GET", "HEAD"].contains(&method.to_uppercase().as_str())
}

fn naive_decode(raw: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let digits = raw.get(at + 1..at + 3).filter(|digits| {
            raw[at] == b'%' && digits.iter().all(|digit| digit.is_ascii_hexdigit())
        });
        if let Some(digits) = digits {
            let digits = std::str::from_utf8(digits).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            at += 3;
        } else {
            bytes.push(raw[at]);
            at += 1;
        }
    }
    bytes
}

/// A path decoded until nothing changes, with slashes for backslashes; none if that takes too long.
fn plain(raw_path: &str) -> Option<String> {
    let mut path = raw_path.as_bytes().to_vec();
    for _ in 0..4 {
        let decoded = naive_decode(&path);
        if decoded == path {
            return Some(String::from_utf8_lossy(&path).replace('\\', "/"));
        }
        path = decoded;
    }
    None
}

/// The words of a decoded path as a lenient server reads them, in lower case.
fn words(path: &str) -> Vec<String> {
    let lower = path.to_ascii_lowercase();
    let words = lower.split('/').map(|word| word.split([';', '?', '#']).next().unwrap().trim());
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn words_before_query(raw_path: &str) -> Vec<String> {
    words(plain(raw_path).unwrap().split(['?', '#']).next().unwrap())
}

fn has_dots(raw_path: &str) -> bool {
    let Some(path) = plain(raw_path) else { return false };
    words(&path).iter().any(|word| word == "." || word == "..")
}

fn has_controls(raw_path: &str) -> bool {
    plain(raw_path).is_some_and(|path| path.contains(|c: char| c.is_ascii_control()))
}

/// Whether an upstream might return its list for a `GET` of this path.
fn is_list(raw_path: &str) -> bool {
    let Some(path) = plain(raw_path) else { return false };
    let before_query = path.split(['?', '#']).next().unwrap();
    [&path, before_query].iter().any(|path| {
        let words = words(path);
        let before = words.iter().rev().nth(1);
        words.last().is_some_and(|last| may_be(last, "models"))
            && before.is_none_or(|before| may_be(before, "v1") || may_be(before, "openai"))
    })
}

/// Whether it might return a list in a server's own shape.
fn is_native(raw_path: &str) -> bool {
    let Some(path) = plain(raw_path) else { return false };
    let before_query = path.split(['?', '#']).next().unwrap();
    [&path, before_query].iter().any(|path| {
        let words = words(path);
        let ends_in = |tail: &str| {
            let tail: Vec<&str> = tail.split('/').collect();
            let start = words.len().checked_sub(tail.len());
            start.is_some_and(|start| words[start..].iter().zip(tail).all(|(a, b)| may_be(a, b)))
        };
        let before = words.iter().rev().nth(1);
        let is_of_version = before.is_some_and(|word| is_version(word) && !may_be(word, "v1"));
        let is_models = words.last().is_some_and(|last| may_be(last, "models"));
        (is_of_version && is_models)
            || ["api/tags", "api/ps", "api/v1/models"].into_iter().any(ends_in)
    })
}

/// Whether it might return some other list.
fn is_other_list(raw_path: &str) -> bool {
    let Some(path) = plain(raw_path) else { return false };
    let before_query = path.split(['?', '#']).next().unwrap();
    [&path, before_query].iter().any(|path| {
        let words = words(path);
        words.last().is_some_and(|last| may_be(last, "models"))
            && words.iter().any(|word| may_be(word, "v1"))
    })
}

fn may_be(text: &str, word: &str) -> bool {
    let rest = text.strip_prefix(word).and_then(|rest| rest.chars().next().or(Some('.')));
    rest.is_some_and(|next| !next.is_alphanumeric() && !['-', '_'].contains(&next))
}

fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap()
}

/// The meaning of a target.
#[derive(Debug, PartialEq)]
enum Naive {
    Refused,
    Catalog,
    Model {
        words: Vec<String>,
        beside: bool,
    },
    Below {
        rest: String,
    },
    Beside,
    /// With what is relayed, if that is known.
    Native(Box<Naive>),
    Own,
}

fn naive(method: &str, target: &str) -> Naive {
    let path = path_of(target);
    let is_foul = |c: char| c.is_control() || [' ', '#'].contains(&c);
    if ["CONNECT", "TRACE", "TRACK"].contains(&method.to_uppercase().as_str())
        || !target.starts_with('/')
        || target.contains(is_foul)
        || path.contains('\\')
        || has_dots(path)
        || has_controls(path)
    {
        return Naive::Refused;
    }
    let Some(decoded) = plain(path) else { return Naive::Refused };
    let words = words(&decoded);
    if words.first().is_some_and(|word| word == "-") {
        return Naive::Own;
    }
    let is_root = |at: usize| {
        let before = |back: usize| at.checked_sub(back).map_or("", |at| words[at].as_str());
        at == 0 || is_version(before(1)) || before(1) == "openai" || before(2) == "publishers"
    };
    let at = (0..words.len()).find(|&at| words[at] == "models" && is_root(at));
    let at = at.filter(|at| at + 1 < words.len() && !is_of_router(method, path));
    if lists(method) && at.is_none() && is_native(path) {
        return match relayed(target, &words) {
            Naive::Refused => Naive::Refused,
            relayed => Naive::Native(Box::new(relayed)),
        };
    }
    if lists(method) && is_list(path) {
        return Naive::Catalog;
    }
    if let Some(at) = at {
        let beside = words[..at].iter().any(|word| word != "v1");
        if !beside {
            return Naive::Model { words: words[at + 1..].to_vec(), beside };
        }
        return match first_slash_is_raw(path) {
            true => Naive::Model { words: words[at + 1..].to_vec(), beside },
            false => Naive::Refused,
        };
    }
    let is_bare = is_bare(path);
    if lists(method) && (is_other_list(path) || (is_bare && ends_with_models(path))) {
        return Naive::Refused;
    }
    relayed(target, &words)
}

/// The relayed part of a target.
fn relayed(target: &str, words: &[String]) -> Naive {
    let path = path_of(target);
    if is_bare(path) {
        return below(target);
    }
    // Behind the last of them that does not end at an encoded slash.
    let v1s = words.iter().take_while(|word| *word == "v1").count();
    if let Some(end) = (1..=v1s).rev().find_map(|count| end_of_word(path, count)) {
        return below(&target[end..]);
    }
    if first_slash_is_raw(path) { Naive::Beside } else { Naive::Refused }
}

/// The part that is relayed below the base URL, from the first word on.
fn below(target: &str) -> Naive {
    match start_of_word(path_of(target)) {
        Some(at) if target[..at].ends_with('/') => {
            Naive::Below { rest: target[at - 1..].to_owned() }
        }
        Some(_) => Naive::Refused,
        None => Naive::Below { rest: one_slash(target).to_owned() },
    }
}

/// The words of a path in their own case, with their parameters.
fn texts(raw_path: &str) -> Vec<String> {
    let path = plain(raw_path).unwrap();
    path.split('/').filter(|text| !words(text).is_empty()).map(str::to_owned).collect()
}

/// Whether a path loads or watches models.
fn is_of_router(method: &str, raw_path: &str) -> bool {
    let path = texts(raw_path).join("/");
    match lists(method) {
        true => path == "models/sse",
        false => [
            "models/load",
            "models/unload",
            "api/v1/models/load",
            "api/v1/models/unload",
            "api/v1/models/download",
        ]
        .contains(&path.as_str()),
    }
}

/// Whether a word is the version of an API.
fn is_version(word: &str) -> bool {
    let digit = word.strip_prefix('v').and_then(|rest| rest.chars().next());
    digit.is_some_and(|digit| digit.is_ascii_digit())
}

/// Whether a path is an endpoint of the API without its `/v1`.
fn is_bare(raw_path: &str) -> bool {
    let path = texts(raw_path).join("/");
    ["audio/", "images/"].iter().any(|start| path.starts_with(start))
        || ["chat/completions", "responses", "messages", "moderations", "files", "batches"]
            .iter()
            .any(|start| (path.clone() + "/").starts_with(&format!("{start}/")))
}

/// Whether the last word of a path, or of what is before an encoded query, may be the list.
fn ends_with_models(raw_path: &str) -> bool {
    let path = plain(raw_path).unwrap();
    let before_query = path.split(['?', '#']).next().unwrap();
    [&path, before_query]
        .iter()
        .any(|path| words(path).last().is_some_and(|last| may_be(last, "models")))
}

/// The position of the end of this many words of a raw path: a raw slash or the end of the path.
fn end_of_word(raw_path: &str, count: usize) -> Option<usize> {
    let all = words(&plain(raw_path)?);
    let ends = (0..=raw_path.len()).filter(|end| raw_path.is_char_boundary(*end));
    let part = |text: &str| plain(text).unwrap_or_default();
    let ends_a_word = |end: &usize| {
        let rest = part(&raw_path[*end..]);
        (rest.is_empty() || rest.starts_with('/'))
            && words(&part(&raw_path[..*end])) == all[..count]
            && words(&rest) == all[count..]
    };
    let end = ends.into_iter().find(ends_a_word)?;
    (raw_path[end..].is_empty() || raw_path[end..].starts_with('/')).then_some(end)
}

/// The position of the first word of a raw path: all words are behind it, and a slash is before it.
fn start_of_word(raw_path: &str) -> Option<usize> {
    let all = words(&plain(raw_path)?);
    let starts = (0..raw_path.len()).rev().filter(|start| raw_path.is_char_boundary(*start));
    starts.filter(|_| !all.is_empty()).find(|&start| {
        let (before, behind) = raw_path.split_at(start);
        let before = plain(before).unwrap_or_default();
        words(&plain(behind).unwrap_or_default()) == all
            && (before.is_empty() || before.ends_with('/'))
    })
}

fn first_slash_is_raw(path: &str) -> bool {
    start_of_word(path).is_none_or(|at| path[..at].ends_with('/'))
}

fn one_slash(target: &str) -> &str {
    let slashes = target.len() - target.trim_start_matches('/').len();
    &target[slashes.saturating_sub(1)..]
}

fn judged(route: Result<Route<'_>, model_filter::error::Error>) -> Naive {
    match route {
        Err(_) => Naive::Refused,
        Ok(Route::Catalog { .. }) => Naive::Catalog,
        Ok(Route::Model { id, beside, .. }) => {
            Naive::Model { words: words(&plain(&id).unwrap()), beside: beside.is_some() }
        }
        Ok(Route::Below { rest }) => Naive::Below { rest: rest.into() },
        Ok(Route::Beside { .. }) => Naive::Beside,
        Ok(Route::Native { is_below: true, target }) => {
            Naive::Native(Box::new(Naive::Below { rest: target.into() }))
        }
        Ok(Route::Native { is_below: false, .. }) => Naive::Native(Box::new(Naive::Beside)),
        Ok(Route::Own { .. }) => Naive::Own,
    }
}

/// A prefix as the configuration has it, usually with a slash at the end.
fn prefix() -> impl Strategy<Value = String> {
    prop_oneof!["", "[a-cé%]{1,3}/", "(p|é|%70|v1|\u{fffd})[/:]", "[a-c/]{1,4}"]
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn a_target_goes_where_its_decoded_path_says(method in method(), target in target()) {
        prop_assert_eq!(judged(route(method, &target, "")), naive(method, &target));
    }

    #[test]
    fn no_dot_segment_and_no_foul_character_is_let_through(
        method in method(),
        target in target(),
        root in prop_oneof![Just(""), Just("/v1"), Just("/llm"), Just("/p/é")],
    ) {
        let path = path_of(&target);
        let is_foul = path.contains('\\') || target.contains(['#', ' ', '\n', '\u{7f}']);
        if is_foul || has_dots(path) || has_controls(path) {
            prop_assert!(route(method, &target, root).is_err());
        }
    }

    #[test]
    fn the_upstreams_list_is_never_relayed_as_a_path(
        method in prop::sample::select(vec!["GET", "HEAD", "get"]),
        target in target(),
        root in prop_oneof![Just(""), Just("/v1"), Just("/llm"), Just("/p/é"), Just("/models")],
    ) {
        match route(method, &target, root) {
            Ok(Route::Below { rest }) => {
                prop_assert!(!is_list(path_of(rest)) && !is_native(path_of(rest)));
                let with_base = format!("/v1{}", path_of(rest));
                prop_assert!(!is_list(&with_base));
            }
            Ok(Route::Beside { path }) => {
                prop_assert!(!is_list(path_of(path)) && !is_native(path_of(path)));
            }
            _ => {}
        }
    }

    #[test]
    fn what_is_passed_on_is_cut_out_of_the_target_as_it_came(
        method in method(),
        target in target(),
        root in prop_oneof![Just(""), Just("/v1"), Just("/llm"), Just("/p/é")],
    ) {
        let wanted_query = target.split_once('?').map(|(_, query)| query);
        match route(method, &target, root) {
            Ok(
                Route::Below { rest: cut }
                | Route::Beside { path: cut }
                | Route::Native { target: cut, .. },
            ) => {
                prop_assert!(target.ends_with(cut));
                // It cannot extend the host name of the base URL.
                prop_assert!(cut.is_empty() || cut.starts_with(['/', '?']));
                prop_assert!(!cut.starts_with("//"));
                prop_assert_eq!(cut.split_once('?').map(|(_, query)| query), wanted_query);
            }
            Ok(Route::Model { id, raw_id, beside, query, .. }) => {
                prop_assert!(path_of(&target).ends_with(raw_id));
                prop_assert_eq!(query, wanted_query);
                let path = format!("{}{raw_id}", beside.unwrap_or_default());
                prop_assert!(path_of(&target).ends_with(&path) && !path.starts_with("//"));
                let decoded = decode(raw_id);
                prop_assert_eq!(id.as_str(), decoded.trim_end_matches('/'));
                prop_assert!(!id.is_empty() && !id.starts_with('/') && !id.ends_with('/'));
            }
            Ok(Route::Own { path }) => {
                prop_assert!(path_of(&target).ends_with(path) && path.starts_with('/'));
            }
            Ok(Route::Catalog { query }) => prop_assert_eq!(query, wanted_query),
            Err(error) => prop_assert!(!error.message.contains(char::is_control)),
        }
    }

    #[test]
    fn a_root_path_in_front_changes_nothing(
        method in method(),
        target in target(),
        root in prop_oneof![Just("/llm"), Just("/v1"), Just("/a/é"), Just("/models")],
        slash in prop_oneof![Just(""), Just("/")],
        choices in prop::collection::vec(any::<u8>(), 8),
    ) {
        let spelled = root[1..]
            .split('/')
            .fold(String::new(), |path, word| path + "/" + &encoded(word, &choices));
        let under = format!("{spelled}{target}");
        let configured = format!("{root}{slash}");
        let beside = judged(route(method, &target, ""));
        prop_assert_eq!(judged(route(method, &under, &configured)), beside);
        if let Ok(Route::Beside { path } | Route::Own { path }) = route(method, &under, &configured) {
            prop_assert!(target.contains(path));
        }
    }

    #[test]
    fn decoding_agrees_with_the_plain_decoder(raw in prop_oneof![target(), "[%2fFzé]{0,12}"]) {
        let decoded = naive_decode(raw.as_bytes());
        prop_assert_eq!(decode(&raw), String::from_utf8_lossy(&decoded));
    }

    #[test]
    fn a_prefix_comes_off_a_raw_id_as_it_comes_off_the_decoded_one(
        prefix in prefix(),
        with_prefix in any::<bool>(),
        id in "[a-cé/%.:]{0,6}",
        choices in prop::collection::vec(any::<u8>(), 8),
    ) {
        let id = if with_prefix { format!("{prefix}{id}") } else { id };
        let raw_id = encoded(&id, &choices);
        let decoded = naive_decode(raw_id.as_bytes());
        match strip_raw_prefix(&raw_id, &prefix) {
            Some(rest) => {
                prop_assert!(raw_id.ends_with(rest));
                let shorter = decoded.strip_prefix(prefix.as_bytes()).map(<[u8]>::to_vec);
                prop_assert_eq!(Some(naive_decode(rest.as_bytes())), shorter);
            }
            None => prop_assert!(!decoded.starts_with(prefix.as_bytes())),
        }
    }

    /// The rest is appended to `<base_url>/models/`. It must not leave this path. If it may be read as
    /// nothing, so that the path is the list, the folded id is empty, and the request is refused.
    #[test]
    fn an_id_without_its_prefix_is_still_an_id(
        prefix in prefix().prop_filter("no slash", |p| p.is_empty() || p.ends_with('/')),
        id in prop_oneof![word().boxed(), path().boxed(), "[.;/a]{0,3}".boxed()],
        choices in prop::collection::vec(any::<u8>(), 8),
    ) {
        let target = format!("/v1/models/{}{id}", encoded(&prefix, &choices));
        if let Ok(Route::Model { id, raw_id, .. }) = route("GET", &target, "") {
            let rest = strip_raw_prefix(raw_id, &prefix).filter(|_| id.starts_with(&prefix));
            if let Some(rest) = rest {
                prop_assert!(!has_dots(rest), "{rest}");
                let is_nothing = folded(&id[prefix.len()..]).is_empty();
                prop_assert_eq!(is_nothing, words_before_query(rest).is_empty(), "{}", rest);
            }
        }
    }

    #[test]
    fn a_model_goes_where_the_longest_prefix_points(
        prefixes in prop::collection::vec(prefix(), 0..5),
        model in prop::option::of("[a-c/p:]{0,6}"),
        bears in any::<prop::sample::Index>(),
    ) {
        let model = model.map(|model| match prefixes.len() {
            0 => model,
            count => prefixes[bears.index(count)].clone() + &model,
        });
        let name = model.clone().unwrap_or_default();
        let mut longest: Option<&str> = None;
        for prefix in &prefixes {
            let is_borne = name.get(..prefix.len()) == Some(prefix);
            if is_borne && longest.is_none_or(|longest| prefix.len() > longest.len()) {
                longest = Some(prefix);
            }
        }
        let chosen = by_prefix(prefixes.iter().map(String::as_str), model.as_deref());
        prop_assert_eq!(chosen.map(|index| prefixes[index].as_str()), longest);
    }

    #[test]
    fn no_target_makes_it_panic(
        method in ".{0,8}",
        target in prop_oneof![".{0,40}", "/[%2fF./\\\\v1models?é]{0,24}"],
        root in prop_oneof![Just(String::new()), ".{0,8}".boxed(), "/[%2fv1.é/]{0,8}".boxed()],
        prefix in ".{0,4}",
    ) {
        if let Ok(Route::Model { raw_id, .. }) = route(&method, &target, &root) {
            strip_raw_prefix(raw_id, &prefix);
        }
    }
}
