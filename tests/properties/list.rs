//! Lists of models, against what `serde_json` makes of the same text.

use model_filter::list::List;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cases;

/// A model's object with whitespace in odd places and fields before and behind the id.
fn object(id: &str, before: &Value, blank: &str) -> String {
    format!("{{{blank}\"x\":{before},\"id\"{blank}:{blank}{}{blank},\"n\":1e1}}", json!(id))
}

fn field() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"id": "inner", "data": [{"id": "no model"}]})),
        Just(json!("\"id\":\"no id\"")),
        any::<u32>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ]
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]", "\\PC{0,6}", Just("\"\\\u{1}\u{2028}/".to_owned())]
}

fn blank() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", " ", "\n\t", "\r\n  "])
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn what_is_kept_stays_byte_for_byte_and_gets_the_prefix(
        models in prop::collection::vec((id(), field(), any::<bool>()), 0..6),
        (is_array, has_mark) in any::<(bool, bool)>(),
        (outer, blank) in (field(), blank()),
        prefix in prop_oneof![Just(String::new()), "\\PC{0,4}/"],
    ) {
        let whole = |items: &[String]| {
            let items = items.join(",");
            match is_array {
                true => format!("{blank}[{items}]{blank}"),
                false => format!("{{{blank}\"a\":{outer},\"data\":{blank}[{items}],\"b\":{outer}}}"),
            }
        };
        let mark = if has_mark { "\u{feff}" } else { "" };
        let all: Vec<String> = models.iter().map(|(id, x, _)| object(id, x, blank)).collect();
        let text = format!("{mark}{}", whole(&all));
        let mut list = List::find(text.as_bytes()).unwrap();
        prop_assert_eq!(list.total(), models.len());
        let ids: Vec<&str> = list.models().iter().map(|model| model.id.as_str()).collect();
        let expected: Vec<&str> = models.iter().map(|(id, ..)| id.as_str()).collect();
        prop_assert_eq!(ids, expected);

        let mut verdicts = models.iter().map(|(.., kept)| *kept);
        list.filter(|models| models.retain(|_| verdicts.next().unwrap()));
        let written = list.write(&prefix);
        let kept = models.iter().filter(|(.., kept)| *kept);
        // Both spell an id in the shortest way, so that the judge can write it anew.
        let kept: Vec<String> =
            kept.map(|(id, x, _)| object(&format!("{prefix}{id}"), x, blank)).collect();
        prop_assert_eq!(&written.body[written.models], kept.join(","));
        prop_assert_eq!(written.body, whole(&kept));
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "[\\[\\]{}:,\"a-d0 \u{feff}]{0,40}".prop_map(String::into_bytes),
        "\\{\"data\":\\[\\{\"id\":\"\\PC{0,9}\".{0,9}\\]\\}".prop_map(String::into_bytes),
    ]) {
        if let Ok(list) = List::find(&body) {
            let _ = list.entries();
            let written = list.write("p/");
            prop_assert!(serde_json::from_str::<Value>(written.body.trim()).is_ok());
        }
    }
}
