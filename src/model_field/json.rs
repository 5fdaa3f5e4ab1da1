//! The models of a JSON body.
//!
//! Limits: at most 10,000 of them in `models`, which takes at most 1 MiB. OpenRouter allows three.

use std::fmt;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::field::{Form, ModelField, check_length, check_name, two_models};
use super::names::Names;
use crate::error::Error;
use crate::json;

/// The most models in `models`, and the longest text of it, in bytes.
const MOST: usize = 10_000;
const MOST_BYTES: usize = 1024 * 1024;

pub(super) fn find(body: &[u8]) -> Result<Names, Error> {
    let invalid = |cause: &dyn fmt::Display| {
        Error::bad_request(format!("the body is not valid JSON: {cause}"))
    };
    let text = std::str::from_utf8(body).map_err(|cause| invalid(&cause))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.trim_ascii_start().starts_with('{') {
        serde_json::from_str::<IgnoredAny>(text).map_err(|cause| invalid(&cause))?;
        return Ok(Names::default());
    }
    let members = json::members(text, ["model", "models", "__proto__"]);
    let [model, models, prototype] = members.map_err(|cause| invalid(&cause))?;
    if model.repeated {
        return Err(two_models());
    }
    if models.repeated {
        return Err(Error::bad_request("the body has `models` twice"));
    }
    // Go's encoding/json ignores case. JavaScript's `Object.assign` takes `__proto__` for the prototype,
    // whose members the copy then has too.
    let is_model_unclear = model.respelled || prototype.value.is_some();
    for (key, is_unclear) in [("model", is_model_unclear), ("models", models.respelled)] {
        if is_unclear {
            let what = format!("the body has a key that servers might read as `{key}`");
            return Err(Error::bad_request(what));
        }
    }
    let model = model.value.map(|literal| field("`model`", literal.get(), body)).transpose()?;
    let models = models.value.map(|value| fallbacks(value.get(), body)).transpose()?;
    Ok(Names { model, models: models.unwrap_or_default() })
}

/// The items of `models`.
fn fallbacks(value: &str, body: &[u8]) -> Result<Vec<ModelField>, Error> {
    if value == "null" {
        return Ok(Vec::new());
    }
    if value.len() > MOST_BYTES {
        let what = format!("`models` in the body is longer than {MOST_BYTES} bytes");
        return Err(Error::bad_request(what));
    }
    let items: Vec<&RawValue> = serde_json::from_str(value)
        .map_err(|_| Error::bad_request("`models` in the body is not a list of strings"))?;
    if items.len() > MOST {
        let what = format!("`models` in the body has more than {MOST} items");
        return Err(Error::bad_request(what));
    }
    items.into_iter().map(|item| field("an item of `models`", item.get(), body)).collect()
}

/// The field of a name, from its literal in the body.
fn field(what: &str, literal: &str, body: &[u8]) -> Result<ModelField, Error> {
    if !literal.starts_with('"') {
        return Err(Error::bad_request(format!("{what} in the body is not a string")));
    }
    // An escaped byte takes at most six, so this is a lower bound; it saves decoding long names.
    check_length((literal.len() - 2) / 6)?;
    let name: String = serde_json::from_str(literal).map_err(|cause| {
        Error::bad_request(format!("{what} in the body is not a valid string: {cause}"))
    })?;
    check_name(&name)?;
    Ok(ModelField { name, span: json::span(literal, body), form: Form::Json, length: None })
}

#[cfg(test)]
mod tests {
    use super::super::field::LONGEST;
    use super::*;
    use crate::error::Code;

    fn json(body: &str) -> Option<ModelField> {
        find(body.as_bytes()).unwrap().model
    }

    fn refusal(body: impl AsRef<[u8]>) -> String {
        let error = find(body.as_ref()).unwrap_err();
        assert_eq!(error.code, Code::BadRequest);
        error.message
    }

    fn renamed(body: &str, name: &str) -> String {
        let field = json(body).unwrap();
        let mut body = body.as_bytes().to_vec();
        field.replace(&mut body, name);
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn only_the_name_is_replaced_and_no_other_byte() {
        let body = "{ \"a\" : 1.00e0 ,\t\"model\" :  \"p\\/gpt\" , \"b\":[ ]}\n";
        assert_eq!(json(body).unwrap().name, "p/gpt");
        let renamed = renamed(body, "gpt");
        assert_eq!(renamed, "{ \"a\" : 1.00e0 ,\t\"model\" :  \"gpt\" , \"b\":[ ]}\n");
    }

    #[test]
    fn a_new_name_is_escaped() {
        let renamed = renamed(r#"{"model":"x"}"#, "a\"\\\n\u{1}é");
        assert_eq!(renamed, "{\"model\":\"a\\\"\\\\\\n\\u0001é\"}");
    }

    #[test]
    fn a_model_below_the_top_level_is_not_it() {
        assert_eq!(json(r#"{"a":{"model":"x"},"b":[{"model":1}],"c":"model"}"#), None);
        let body = r#"{"a":{"model":"x"},"model":"y"}"#;
        assert_eq!(renamed(body, "z"), r#"{"a":{"model":"x"},"model":"z"}"#);
    }

    #[test]
    fn keys_and_names_may_be_escaped() {
        let field = json(r#"{"\u006dod\u0065l":"\u0067pt\ud83d\ude00"}"#).unwrap();
        assert_eq!(field.name, "gpt😀");
        assert_eq!(field.span, 19..41);
    }

    #[test]
    fn two_models_are_refused_in_whatever_spelling() {
        assert!(refusal(r#"{"model":"a","model":"a"}"#).contains("twice"));
        assert!(refusal(r#"{"model":"a","\u006Dodel":"b"}"#).contains("twice"));
        assert!(refusal(r#"{"model":"a","model":null}"#).contains("twice"));
    }

    #[test]
    fn a_key_or_a_name_with_a_nul_is_refused() {
        for tail in ["", "x", "a longer text than the key has"] {
            let key = format!("{{\"Model\\u0000{tail}\":\"a\"}}");
            assert!(refusal(key).contains("might read as `model`"));
            assert!(refusal(format!("{{\"model\":\"a\\u0000{tail}\"}}")).contains("NUL"));
        }
        assert_eq!(json(r#"{"a\u0000model":"\u0000"}"#), None);
    }

    #[test]
    fn a_prototype_that_may_name_a_model_is_refused() {
        for key in ["__proto__", r"\u005f_proto_\u005f"] {
            let body = format!("{{\"{key}\":{{\"model\":\"a\"}}}}");
            assert!(refusal(body).contains("might read as `model`"));
        }
        assert_eq!(json(r#"{"a":{"__proto__":{"model":"a"}}}"#), None);
    }

    #[test]
    fn a_model_that_is_no_string_is_refused() {
        for value in ["null", "1", "true", "[\"a\"]", "{}"] {
            assert!(refusal(format!("{{\"model\":{value}}}")).contains("not a string"));
        }
        assert!(refusal(r#"{"model":"\ud800"}"#).contains("`model`"));
    }

    #[test]
    fn a_body_that_is_no_object_names_no_model() {
        for body in ["[{\"model\":\"a\"}]", "\"model\"", "null", "1.5", "{}"] {
            assert_eq!(json(body), None, "{body}");
        }
    }

    #[test]
    fn a_byte_order_mark_does_not_move_the_name() {
        let body = "\u{feff} {\"model\":\"x\"}";
        assert_eq!(renamed(body, "y"), "\u{feff} {\"model\":\"y\"}");
        assert_eq!(json("\u{feff}[]"), None);
    }

    #[test]
    fn a_name_has_1024_bytes_at_most() {
        let (longest, longer) = ("é".repeat(LONGEST / 2), "\u{1}".repeat(LONGEST + 1));
        let body = |name: &str| format!("{{\"model\":{}}}", serde_json::Value::from(name));
        assert_eq!(json(&body(&longest)).unwrap().name, longest);
        let escaped = format!("{{\"model\":\"{}\"}}", "\\u0061".repeat(LONGEST));
        assert_eq!(json(&escaped).unwrap().name.len(), LONGEST);
        assert!(refusal(body(&longer)).contains("longer than 1024 bytes"));
        assert!(refusal(body(&longer.repeat(9))).contains("longer than 1024 bytes"));
    }

    #[test]
    fn invalid_json_is_refused_with_its_place() {
        let message = refusal("{\"model\":\"a\",\n \"b\":}");
        assert!(message.starts_with("the body is not valid JSON: "), "{message}");
        assert!(message.ends_with("line 2 column 6"), "{message}");
        let hostile = [
            "{\"model\":\"a\"} x",
            "{\"model\":\"a\"}{\"model\":\"b\"}",
            "{\"model\":\"a\",}",
            "{\"model\":\"a\"",
            "{model:\"a\"}",
            "{'model':'a'}",
            "{1:2}",
            "{\"a\":01}",
            "{\"a\":\"\n\"}",
            "[1] x",
            "\u{feff}",
            "\u{feff}\u{feff}{}",
            "\u{a0}{}",
            "nul",
        ];
        for body in hostile {
            refusal(body);
        }
        assert!(refusal(b"{\"a\":\"\xff\"}").contains("utf-8"));
        assert!(refusal(b"{\"model\":\"\xed\xa0\x80\"}").contains("utf-8"));
    }

    #[test]
    fn a_lone_surrogate_elsewhere_is_none_of_our_business() {
        let body = r#"{"a":"\ud800","\udc00":["\ud800x"],"model":"m"}"#;
        assert_eq!(json(body).unwrap().name, "m");
        assert_eq!(json(r#"["\ud800"]"#), None);
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let deep = |open: &str, close: &str| open.repeat(100_000) + "1" + &close.repeat(100_000);
        let body = format!("{{\"a\":{},\"model\":\"m\"}}", deep("[", "]"));
        assert_eq!(json(&body).unwrap().name, "m");
        assert_eq!(json(&deep("[", "]")), None);
        assert_eq!(json(&deep("{\"model\":", "}").replacen("model", "a", 1)), None);
        assert!(refusal(deep("{\"model\":", "}")).contains("not a string"));
        refusal("[".repeat(100_000));
    }
}
