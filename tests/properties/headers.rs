//! Which fields are removed from a list of header fields, against a list of names and two loops.
//!
//! The judge builds a new list of the fields that stay, so that order, duplicates, spelling and
//! values are compared too.

use std::time::{Duration, Instant};

use model_filter::headers::{Headers, is_credential, is_hop_by_hop};
use proptest::prelude::*;

use crate::cases;

type Field = (String, Vec<u8>);

const HOP_BY_HOP: &str = "connection proxy-connection keep-alive proxy-authenticate \
    proxy-authorization te trailer transfer-encoding upgrade";
const CREDENTIALS: &str =
    "authorization x-api-key api-key x-goog-api-key cookie proxy-authorization";
const OTHERS: &str = "x-one x-two x-three accept content-type content-length host set-cookie \
    x-api-keys api connections teapot x-authorization cookie2 a";

/// A name that matters, or one that resembles it, in mixed case.
fn name() -> impl Strategy<Value = String> {
    let words = [HOP_BY_HOP, CREDENTIALS, OTHERS, OTHERS, "connection connection connection"];
    let words: Vec<&str> = words.iter().flat_map(|words| words.split_whitespace()).collect();
    (prop::sample::select(words), any::<u32>()).prop_map(|(word, cases)| {
        let case = |(at, c): (usize, char)| match cases >> (at % 32) & 1 {
            0 => c,
            _ => c.to_ascii_uppercase(),
        };
        word.chars().enumerate().map(case).collect()
    })
}

/// A list of names, with the extra spaces and commas that RFC 9110 §5.6.1 allows.
fn list() -> impl Strategy<Value = Vec<u8>> {
    let item = prop_oneof![6 => name(), 1 => Just("close".into()), 1 => Just(String::new())];
    let spaced = ("[ \t]{0,2}", item, "[ \t]{0,2}").prop_map(|(a, item, b)| a + &item + &b);
    prop::collection::vec(spaced, 0..4).prop_map(|items| items.join(",").into_bytes())
}

fn fields() -> impl Strategy<Value = Vec<Field>> {
    let value = prop_oneof![list(), prop::collection::vec(any::<u8>(), 0..8)];
    let field = (name(), value, list()).prop_map(|(name, value, list)| {
        let is_list = name.eq_ignore_ascii_case("connection");
        (name, if is_list { list } else { value })
    });
    prop::collection::vec(field, 0..16)
}

fn headers(fields: &[Field]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in fields {
        headers.push(name.as_str(), value.as_slice());
    }
    headers
}

fn content(headers: &Headers) -> Vec<Field> {
    headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// All names of a list, in lower case.
fn naive_list(value: &[u8]) -> Vec<String> {
    let mut names = vec![String::new()];
    for &byte in value {
        match byte {
            b',' => names.push(String::new()),
            b' ' | b'\t' => {}
            byte => names.last_mut().unwrap().push(byte.to_ascii_lowercase().into()),
        }
    }
    names
}

fn naive_hop_by_hop(fields: &[Field]) -> Vec<Field> {
    let mut banned: Vec<String> = HOP_BY_HOP.split_whitespace().map(str::to_owned).collect();
    for (name, value) in fields {
        if name.to_lowercase() == "connection" {
            banned.extend(naive_list(value));
        }
    }
    let mut left = Vec::new();
    for field in fields {
        if !banned.contains(&field.0.to_lowercase()) {
            left.push(field.clone());
        }
    }
    left
}

fn naive_is_credential(name: &str) -> bool {
    CREDENTIALS.split_whitespace().any(|word| word == name.to_lowercase())
}

fn names(headers: &Headers) -> Vec<&str> {
    headers.iter().map(|(name, _)| name).collect()
}

#[test]
fn every_connection_line_is_obeyed_whatever_its_case() {
    let mut headers = Headers::new()
        .with("connection", "close, X-One")
        .with("x-one", "1")
        .with("X-Kept", "2")
        .with("CONNECTION", "x-TWO ,,")
        .with("X-Two", "3")
        .with("Keep-Alive", "timeout=5");
    headers.strip_hop_by_hop();
    assert_eq!(names(&headers), ["X-Kept"]);
}

#[test]
fn the_fixed_list_goes_without_a_connection_line() {
    let mut headers = Headers::new();
    HOP_BY_HOP.split_whitespace().for_each(|name| headers.push(name.to_uppercase(), "x"));
    headers.push("TEapot", "kept: only whole names count");
    headers.strip_hop_by_hop();
    assert_eq!(names(&headers), ["TEapot"]);
}

#[test]
fn long_lists_cost_no_more_than_they_are_long() {
    let mut headers = Headers::new().with("Connection", "close,".repeat(50_000) + "X-Last");
    (0..50_000).for_each(|number| headers.push(format!("x-{number}"), "1"));
    headers.push("x-last", "1");
    let started = Instant::now();
    headers.strip_hop_by_hop();
    assert_eq!(headers.iter().count(), 50_000);
    // Quadratic search takes many times as long.
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn credentials_go_in_any_case_and_number() {
    let mut headers = Headers::new()
        .with("AUTHORIZATION", "Bearer a")
        .with("X-Request-Id", "1")
        .with("authorization", "Bearer b")
        .with("X-API-Key", "c")
        .with("Cookie", "d");
    assert_eq!(headers.credentials().count(), 4);
    headers.strip_credentials();
    assert_eq!(names(&headers), ["X-Request-Id"]);
}

#[test]
fn duplicates_keep_their_order() {
    let headers = Headers::new().with("A", "1").with("b", "2").with("a", "3");
    assert_eq!(headers.get_all("a").collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!(names(&headers), ["A", "b", "a"]);
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn what_belongs_to_a_connection_goes_and_nothing_else_moves(fields in fields()) {
        let mut headers = headers(&fields);
        headers.strip_hop_by_hop();
        prop_assert_eq!(content(&headers), naive_hop_by_hop(&fields));
        for (name, _) in headers.iter() {
            prop_assert!(!is_hop_by_hop(name));
        }
        // Removing is idempotent.
        let once = headers.clone();
        headers.strip_hop_by_hop();
        prop_assert_eq!(headers, once);
    }

    #[test]
    fn credentials_go_and_nothing_else_moves(fields in fields()) {
        let mut headers = headers(&fields);
        let (credentials, left): (Vec<Field>, Vec<Field>) =
            fields.iter().cloned().partition(|(name, _)| naive_is_credential(name));
        let found: Vec<Field> =
            headers.credentials().map(|(name, value)| (name.into(), value.into())).collect();
        prop_assert_eq!(found, credentials);
        headers.strip_credentials();
        prop_assert_eq!(content(&headers), left);
        prop_assert_eq!(headers.credentials().count(), 0);
    }

    /// The order of the two rules does not matter, whatever `Connection` names.
    #[test]
    fn no_credential_survives_both_rules_in_either_order(fields in fields()) {
        let mut one = headers(&fields);
        one.strip_hop_by_hop();
        one.strip_credentials();
        let mut other = headers(&fields);
        other.strip_credentials();
        other.strip_hop_by_hop();
        prop_assert_eq!(&one, &other);
        prop_assert!(one.iter().all(|(name, _)| !is_credential(name) && !is_hop_by_hop(name)));
    }

    #[test]
    fn names_are_found_and_removed_without_case(fields in fields(), wanted in name()) {
        let lower = wanted.to_lowercase();
        let (of_name, others): (Vec<Field>, Vec<Field>) =
            fields.iter().cloned().partition(|(name, _)| name.to_lowercase() == lower);
        let mut headers = headers(&fields);
        let values: Vec<&[u8]> = of_name.iter().map(|(_, value)| value.as_slice()).collect();
        prop_assert_eq!(headers.get_all(&wanted).collect::<Vec<_>>(), values.clone());
        prop_assert_eq!(headers.get(&wanted), values.first().copied());
        prop_assert_eq!(headers.contains(&wanted), !values.is_empty());
        headers.remove(&wanted);
        prop_assert_eq!(content(&headers), others);
    }

    #[test]
    fn a_list_is_searched_over_all_its_lines(fields in fields(), wanted in name()) {
        let lower = wanted.to_lowercase();
        let listed = fields
            .iter()
            .filter(|(name, _)| name.to_lowercase() == "connection")
            .any(|(_, value)| naive_list(value).contains(&lower));
        prop_assert_eq!(headers(&fields).lists("connection", &wanted), listed);
    }

    #[test]
    fn a_family_of_names_goes_without_case(
        fields in fields(),
        beginning in name(),
        len in 1..8_usize,
    ) {
        let beginning = &beginning[..len.min(beginning.len())];
        let is_of_it = |name: &str| name.to_lowercase().starts_with(&beginning.to_lowercase());
        let mut headers = headers(&fields);
        headers.remove_all(beginning);
        let left: Vec<Field> =
            fields.iter().filter(|(name, _)| !is_of_it(name)).cloned().collect();
        prop_assert_eq!(headers.is_empty(), left.is_empty());
        prop_assert_eq!(content(&headers), left);
    }

    #[test]
    fn the_token_is_the_first_bearers_or_else_the_api_key(fields in prop::collection::vec(
        (
            "(Authorization|AUTHORIZATION|x-api-key|X-Api-Key|cookie)",
            "[ \t]{0,1}((Bearer|bearer|BEARER|Basic|bearerx) {0,2})?[a-c ,=]{0,3}",
        ),
        0..4,
    )) {
        let fields: Vec<Field> =
            fields.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
        let (mut bearer, mut key) = (None, None);
        for (name, value) in &fields {
            let value = std::str::from_utf8(value).unwrap().trim();
            let is_bearer = value.to_lowercase().starts_with("bearer ");
            match name.to_lowercase().as_str() {
                "authorization" if is_bearer && bearer.is_none() => bearer = Some(value[7..].trim()),
                "x-api-key" if key.is_none() => key = Some(value),
                _ => {}
            }
        }
        let headers = headers(&fields);
        prop_assert_eq!(headers.tokens().next(), bearer.or(key));
    }

    #[test]
    fn no_value_makes_it_panic(fields in prop::collection::vec(
        ("(connection|content-type|authorization|x)", prop::collection::vec(any::<u8>(), 0..40)), 0..5,
    )) {
        let mut headers = headers(&fields);
        headers.media_type();
        headers.lists("connection", "x");
        headers.tokens().count();
        headers.strip_hop_by_hop();
        headers.strip_credentials();
    }
}
