//! Which fields are removed from a list of header fields, against a list of names and two loops.
//!
//! The judge builds a new list of the fields that stay, so that order, duplicates, spelling and
//! values are compared too.

use std::time::{Duration, Instant};

use model_filter::headers::{
    Headers, is_credential, is_hop_by_hop, is_query_credential, strip_query_credentials,
};
use proptest::prelude::*;

use crate::cases;

type Field = (String, Vec<u8>);

const HOP_BY_HOP: &str = "connection proxy-connection keep-alive proxy-authenticate \
    proxy-authorization te trailer transfer-encoding upgrade";
const CREDENTIALS: &str = "authorization x-api-key api-key x-goog-api-key cookie cookie2 \
    proxy-authorization x-authorization cf-aig-authorization ocp-apim-subscription-key \
    x-auth-token x-auth-key x-auth-email x_auth_user helicone-auth x-auth x-portkey-api-key \
    x-portkey-virtual-key x_api_key xi-api-key apikey x-apikey x-api-token private-token \
    x-amz-security-token x-access-token cf-access-client-secret cf-access-jwt-assertion x-openai-key \
    x-password x-key x-access-key x-csrf-token";
const OTHERS: &str = "x-one x-two x-three accept content-type content-length host set-cookies \
    x-api-keys api connections teapot cookie3 a x-author authority x-authored-by \
    idempotency-key x-idempotency-key x-cache-key x-session-id openai-organization openai-project anthropic-version anthropic-beta \
    x-request-id traceparent www-authenticate x-tokens user-agent referer x-stainless-lang \
    sec-websocket-key x-goog-user-project origin sec-fetch-site sec-fetch-mode";

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

/// The name of a parameter, with some of its characters encoded, and whether it is a key.
fn parameter() -> impl Strategy<Value = (String, bool)> {
    let keys = "key api_key api-key apikey access_token accessToken token auth authorization \
                subscription-key x-goog-api-key auth_token key[] $key secret_key id_token \
                client_secret bearer sig";
    let others = "a b page_token pageToken next_page_token keys keyword monkey max_tokens limit \
                  after user authors api-version tokens";
    let words = |words: &'static str| words.split_whitespace().collect::<Vec<_>>();
    let name = prop_oneof![
        prop::sample::select(words(keys)).prop_map(|name| (name, true)),
        prop::sample::select(words(others)).prop_map(|name| (name, false)),
    ];
    (name, any::<u32>(), any::<bool>()).prop_map(|((name, is_key), encoded, upper)| {
        let encode = |(at, c): (usize, char)| match encoded >> (at % 32) & 3 {
            0 if upper => format!("%{:02X}", c as u32),
            0 => format!("%{:02x}", c as u32),
            1 => c.to_uppercase().to_string(),
            _ => c.to_string(),
        };
        (name.chars().enumerate().map(encode).collect(), is_key)
    })
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

    /// Only hop-by-hop fields and cookies of browsers are kept from an upstream.
    #[test]
    fn cookies_go_if_a_browser_sent_the_request(fields in fields()) {
        let is_browsers = |name: &str| name == "origin" || name.starts_with("sec-fetch-");
        let by_browser = fields.iter().any(|(name, _)| is_browsers(&name.to_lowercase()));
        let mut left = naive_hop_by_hop(&fields);
        left.retain(|(name, _)| {
            !(by_browser && ["cookie", "cookie2"].contains(&name.to_lowercase().as_str()))
        });
        prop_assert_eq!(content(&headers(&fields).end_to_end()), left);
    }

    /// A query, judged parameter by parameter; what is left is left as it was.
    #[test]
    fn keys_of_a_query_go_and_nothing_else_changes(
        parameters in prop::collection::vec((parameter(), "(|=|=[a-z=%/]{1,4})", "[&;?]"), 0..6),
        ends in any::<bool>(),
    ) {
        let text = |all: &[(String, String)]| {
            let mut text: String = all.iter().map(|(text, separator)| format!("{text}{separator}")).collect();
            if !ends {
                text.pop();
            }
            text
        };
        let (mut all, mut left) = (Vec::new(), Vec::new());
        for ((name, is_key), value, separator) in parameters {
            prop_assert_eq!(is_query_credential(&name), is_key, "{}", name);
            let whole = (format!("{name}{value}"), separator);
            if !is_key {
                left.push(whole.clone());
            }
            all.push(whole);
        }
        let (query, left) = (text(&all), text(&left));
        let stripped = strip_query_credentials(&query);
        prop_assert_eq!(&*stripped, left);
        prop_assert_eq!(strip_query_credentials(&stripped), &*stripped, "idempotent");
    }

    #[test]
    fn no_query_makes_it_panic(query in "[a-zé%&;=+?0-9]{0,20}") {
        let left = strip_query_credentials(&query);
        prop_assert!(left.len() <= query.len());
        for parameter in left.split(['&', ';', '?']) {
            prop_assert!(!is_query_credential(parameter.split('=').next().unwrap()));
        }
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
