//! Several models in a body: `models: […]`.

use std::borrow::Cow;

use model_filter::model_field::{BodyKind, find};
use proptest::prelude::*;
use serde_json::Value;

use super::json::{choices, literal, member, space, text, value};
use crate::cases;

/// A list of names as it is written, and the names.
fn names() -> impl Strategy<Value = (String, Vec<String>)> {
    let name = prop_oneof![3 => "p/[a-c]{0,3}", 1 => text()]
        .prop_filter("names have no NUL", |name| !name.contains('\0'));
    let item = (space(), name, choices(), space());
    prop::collection::vec(item, 0..6).prop_map(|items| {
        let written =
            items.iter().map(|(a, name, choices, b)| format!("{a}{}{b}", literal(name, choices)));
        let written = format!("[{}]", written.collect::<Vec<_>>().join(","));
        (written, items.into_iter().map(|(_, name, ..)| name).collect())
    })
}

fn without_prefix(name: &str) -> Option<Cow<'_, str>> {
    name.strip_prefix("p/").map(Cow::Borrowed)
}

/// The text with each of these literals replaced by another one, in their order.
fn expected(text: &str, names: &[String]) -> String {
    let (mut out, mut rest) = (String::new(), text);
    for name in names {
        let start = rest.find('"').unwrap();
        let bytes = rest.as_bytes();
        let mut end = start + 1;
        while bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        out += &rest[..start];
        match name.strip_prefix("p/") {
            Some(bare) => out += &Value::from(bare).to_string(),
            None => out += &rest[start..=end],
        }
        rest = &rest[end + 1..];
    }
    out + rest
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn only_the_names_that_change_are_written_anew(
        (list, names) in names(),
        model in prop::option::of("p?/?[a-c]{1,3}"),
        model_is_first in any::<bool>(),
        others in prop::collection::vec(member(Just("\"other\"".to_owned()), value()), 0..3),
    ) {
        let body = |list: &str, model: Option<&str>| {
            let mut members = vec![format!(" \"models\" : {list}")];
            let model = model.map(|model| format!("\"model\": \"{model}\""));
            let at = if model_is_first { 0 } else { 1 };
            members.splice(at..at, others.clone());
            members.splice(at..at, model);
            format!("{{{}}}", members.join(","))
        };
        let before = body(&list, model.as_deref());
        let found = find(&BodyKind::Json, before.as_bytes()).unwrap();
        let all: Vec<&str> = found.all().collect();
        let mut wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        if let Some(model) = &model {
            wanted.insert(0, model);
        }
        prop_assert_eq!(all, wanted);
        let mut after = before.clone().into_bytes();
        found.replace(&mut after, without_prefix);
        let model = model.as_deref().map(|model| model.strip_prefix("p/").unwrap_or(model));
        let after = String::from_utf8(after).unwrap();
        prop_assert_eq!(after, body(&expected(&list, &names), model));
    }
}

#[test]
fn ten_thousand_names_are_replaced_at_once_and_more_are_refused() {
    let body = |count: usize, prefix: &str| {
        let names: Vec<String> = (0..count).map(|n| format!("\"{prefix}m{n}\"")).collect();
        format!("{{\"models\":[{}],\"x\":\"{}\"}}", names.join(", "), "y".repeat(1 << 20))
    };
    let mut bytes = body(10_000, "p/").into_bytes();
    let found = find(&BodyKind::Json, &bytes).unwrap();
    found.replace(&mut bytes, without_prefix);
    assert!(bytes == body(10_000, "").into_bytes());
    let error = find(&BodyKind::Json, body(10_001, "").as_bytes()).unwrap_err();
    assert!(error.message.contains("more than 10000"), "{error}");
    let long = format!("{{\"models\":[{}\"m\"]}}", " ".repeat(1 << 20));
    let error = find(&BodyKind::Json, long.as_bytes()).unwrap_err();
    assert!(error.message.contains("longer than 1048576 bytes"), "{error}");
}

#[test]
fn models_that_cannot_be_judged_are_refused() {
    for (models, what) in [
        ("\"a\"", "not a list of strings"),
        ("{\"a\":1}", "not a list of strings"),
        ("[1]", "an item of `models` in the body is not a string"),
        ("[\"a\",[\"b\"]]", "an item of `models` in the body is not a string"),
        ("[null]", "an item of `models` in the body is not a string"),
        ("[\"\\ud800\"]", "not a valid string"),
        ("[\"a\\u0000\"]", "contains a NUL"),
        ("[],\"models\":[]", "has `models` twice"),
        ("[],\"m\\u006fdels\":[]", "has `models` twice"),
        ("[],\"Models\":[]", "might read as `models`"),
        ("[],\"models\\u0000\":[]", "might read as `models`"),
    ] {
        let body = format!("{{\"model\":\"a\",\"models\":{models}}}");
        let error = find(&BodyKind::Json, body.as_bytes()).unwrap_err();
        assert!(error.message.contains(what), "{body}: {error}");
    }
    for models in ["null", "[]", " [ ] "] {
        let body = format!("{{\"models\":{models},\"x\":{{\"models\":1}}}}");
        assert_eq!(find(&BodyKind::Json, body.as_bytes()).unwrap().all().count(), 0, "{body}");
    }
}
