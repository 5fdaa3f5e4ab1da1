//! Lists of models, in every shape and spelling.

use model_filter::list::{List, Prefixes, prefixed_model};
use proptest::prelude::*;
use serde_json::{Value, json};

use self::second::check;
use crate::cases;

#[path = "../../fuzz/src/list.rs"]
mod second;

fn before_ids(prefix: &str) -> Prefixes<'_> {
    Prefixes { id: prefix, name: "" }
}

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

/// A list in any shape, valid or nearly so.
fn list() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        Just("\"models/x\""),
        Just("\"models\\/yz\""),
        Just("\"mo\\u0064els/ab\""),
        Just("\"models/\""),
        Just("\"a\""),
        Just("\"ab\""),
        Just("\"abc\\\"\""),
        Just("\"\""),
        Just("\"é\""),
        Just("\"\\ud800\""),
        Just("null"),
        Just("7"),
        Just("true"),
        Just("false"),
        Just("[1e2]"),
        Just("{\"next\":\"/x\"}"),
        Just("{\"next\":null}"),
    ];
    let name =
        prop::sample::select(vec!["id", "id", "name", "name", "model", "key", "i\\u0064", "x"]);
    let object = prop::collection::vec((name, text.clone()), 0..4).prop_map(|members| {
        let members = members.iter().map(|(name, text)| format!("\"{name}\" :{text}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
    });
    let item = prop_oneof![8 => object, 1 => text.clone().prop_map(str::to_owned)];
    let array =
        prop::collection::vec(item, 0..5).prop_map(|items| format!("[ {}]", items.join(" ,")));
    let value = prop_oneof![3 => array.clone(), 2 => text.prop_map(str::to_owned)];
    let field = prop::sample::select(vec![
        "data",
        "data",
        "data",
        "models",
        "models",
        "has_more",
        "first_id",
        "last_id",
        "object",
        "links",
        "nextPageToken",
        "next_page_token",
        "other",
    ]);
    let fields = prop::collection::vec((field, value), 0..6).prop_map(|fields| {
        let fields = fields.iter().map(|(name, value)| format!("\"{name}\": {value}"));
        format!(" {{{}}}\n", fields.collect::<Vec<_>>().join(" , "))
    });
    (prop_oneof![4 => fields, 1 => array], any::<bool>())
        .prop_map(|(list, has_mark)| if has_mark { format!("\u{feff}{list}") } else { list })
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
        let written = list.write(before_ids(&prefix));
        let kept = models.iter().filter(|(.., kept)| *kept);
        // Both spell an id in the shortest way, so that the judge can write it again.
        let kept: Vec<String> =
            kept.map(|(id, x, _)| object(&format!("{prefix}{id}"), x, blank)).collect();
        prop_assert_eq!(&written.body[written.models], kept.join(","));
        prop_assert_eq!(written.body, whole(&kept));
    }

    #[test]
    fn any_list_is_filtered_as_the_naive_implementation_does_it(
        list in list(),
        prefix in prop_oneof![Just(String::new()), "[a-z\"\\\\é]{0,3}/"],
    ) {
        check(list.as_bytes(), &prefix);
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "[\\[\\]{}:,\"a-d0 \u{feff}]{0,40}".prop_map(String::into_bytes),
        "\\{\"data\":\\[\\{\"id\":\"\\PC{0,9}\".{0,9}\\]\\}".prop_map(String::into_bytes),
    ]) {
        check(&body, "p/");
    }
}

fn written(list: &str, kept: &[&str], prefix: &str) -> String {
    let mut list = List::find(list.as_bytes()).unwrap();
    list.filter(|models| models.retain(|model| kept.contains(&model.id.as_str())));
    list.write(before_ids(prefix)).body
}

#[test]
fn only_the_models_and_their_ids_change() {
    let list = "\u{feff} {\"object\": \"list\", \"data\" : [ {\"x\":1e2, \"id\" : \"a\"} ,\n {\"id\":\"b\"}], \"n\":1}\n";
    let expected = " {\"object\": \"list\", \"data\" : [{\"x\":1e2, \"id\" : \"p/a\"}], \"n\":1}\n";
    assert_eq!(written(list, &["a"], "p/"), expected);
    assert_eq!(written(r#" [{"id":"a"},{"id":"b"}] "#, &["b"], ""), r#" [{"id":"b"}] "#);
    assert_eq!(written(r#"{"data":[{"id":"a"}]}"#, &[], "p/"), r#"{"data":[]}"#);
}

#[test]
fn an_item_without_one_id_is_no_model() {
    let list = r#"{"data":[{"label":"a"},{"id":1,"name":"a"},{"id":"b","id":"b"},"c",{"id":"d"}]}"#;
    let list = List::find(list.as_bytes()).unwrap();
    let ids: Vec<&str> = list.models().iter().map(|model| model.id.as_str()).collect();
    assert_eq!((ids.as_slice(), list.total()), (["d"].as_slice(), 5));
}

#[test]
fn what_is_no_list_is_an_error() {
    for (list, start) in [
        (&b"\xff"[..], "is not UTF-8"),
        (b"", "is no list of models"),
        (b"<html>", "is no list of models"),
        (b"{\"error\":{}}", "has neither `data` nor `models`"),
        (b"{\"data\":[],\"data\":[]}", "is no list of models: `data` twice"),
        (b"{\"data\":{}}", "is no list of models: invalid type: map"),
        (b"{\"data\":[],\"models\":7}", "is no list of models: invalid type: integer"),
        (b"{\"data\":[],\"last_id\":1,\"last_id\":2}", "has `last_id` twice"),
        (b"[1,2", "is no list of models: EOF"),
    ] {
        let error = List::find(list).unwrap_err();
        assert!(error.starts_with(start), "{error}");
    }
    let many = format!("[{}0]", "0,".repeat(100_000));
    assert!(List::find(many.as_bytes()).unwrap_err().contains("more than 100000 items"));
}

#[test]
fn a_prefix_is_escaped_as_json() {
    let object = r#"{"id":"\u0061","n":1}"#;
    let expected = r#"{"id":"\"x\\/\u0061","n":1}"#;
    assert_eq!(prefixed_model(object, before_ids("\"x\\/")).as_deref(), Some(expected));
    assert_eq!(prefixed_model("{}", before_ids("x/")), None);
    assert_eq!(prefixed_model("<html>", before_ids("x/")), None);
}
