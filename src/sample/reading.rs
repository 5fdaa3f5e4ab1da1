//! Reads fields of a request's body, and refuses wrong ones.
//!
//! Limits: there is no tokenizer, so the count of tokens is an estimate.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::catalog::catalog;
use super::refusal::Refusal;

/// The model a request is for.
pub(super) fn model(body: &Value) -> Result<&str, Refusal> {
    let model = body["model"].as_str().ok_or_else(|| {
        Refusal::bad_request(Some("model"), "You must provide a model parameter, a string.")
    })?;
    match catalog().model(model) {
        Some(_) => Ok(model),
        None => Err(Refusal::model_not_found(model)),
    }
}

/// A whole number; none if the field is absent or null.
pub(super) fn number(
    body: &Value,
    name: &'static str,
    range: RangeInclusive<u64>,
) -> Result<Option<u64>, Refusal> {
    let value = &body[name];
    if value.is_null() {
        return Ok(None);
    }
    let number = value.as_u64().filter(|number| range.contains(number));
    number.map(Some).ok_or_else(|| {
        let (low, high) = range.into_inner();
        let what = if high == u64::MAX {
            format!("at least {low}")
        } else {
            format!("from {low} to {high}")
        };
        Refusal::bad_request(Some(name), format!("'{name}' must be a whole number, {what}."))
    })
}

/// Texts in one of the four forms of prompts and inputs: a string, a list of strings, a list of
/// token numbers, a list of such lists. Tokens are not decoded.
pub(super) fn texts(body: &Value, name: &'static str) -> Result<Vec<String>, Refusal> {
    let is_tokens = |list: &[Value]| !list.is_empty() && list.iter().all(Value::is_u64);
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(tokens) if is_tokens(tokens) => Some(value.to_string()),
        _ => None,
    };
    let texts = match &body[name] {
        Value::Array(list) if !is_tokens(list) => list.iter().map(one).collect(),
        value => one(value).map(|text| vec![text]),
    };
    texts.filter(|texts: &Vec<String>| !texts.is_empty()).ok_or_else(|| {
        let message = format!("'{name}' must be a string, or a list of strings or of tokens.");
        Refusal::bad_request(Some(name), message)
    })
}

/// Estimates the tokens of a text: one per four characters.
pub(super) fn tokens_in(text: &str) -> u64 {
    text.chars().count().div_ceil(4) as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(input: Value) -> Option<Vec<String>> {
        texts(&json!({"input": input}), "input").ok()
    }

    #[test]
    fn all_four_forms_of_input_are_read() {
        assert_eq!(read(json!("a")).unwrap(), ["a"]);
        assert_eq!(read(json!(["a", "b"])).unwrap(), ["a", "b"]);
        assert_eq!(read(json!([1, 2])).unwrap(), ["[1,2]"]);
        assert_eq!(read(json!([[1, 2], [3]])).unwrap(), ["[1,2]", "[3]"]);
    }

    #[test]
    fn other_forms_of_input_are_refused() {
        for input in [json!(null), json!([]), json!([[]]), json!(["a", null]), json!({}), json!(1)]
        {
            assert_eq!(read(input.clone()), None, "{input}");
        }
    }

    #[test]
    fn a_number_is_checked_and_null_is_absent() {
        let body = json!({"n": 3, "none": null, "text": "3", "half": 0.5});
        assert_eq!(number(&body, "n", 1..=8).unwrap(), Some(3));
        assert_eq!(number(&body, "none", 1..=8).unwrap(), None);
        assert_eq!(number(&body, "absent", 1..=8).unwrap(), None);
        assert!(number(&body, "n", 1..=2).is_err());
        assert!(number(&body, "text", 1..=8).is_err());
        assert!(number(&body, "half", 0..=8).is_err());
    }

    #[test]
    fn a_model_is_named_and_known() {
        assert_eq!(model(&json!({"model": "openai/gpt-4o"})).unwrap(), "openai/gpt-4o");
        assert_eq!(model(&json!({"model": "gpt-4o"})).unwrap_err().status, 404);
        assert_eq!(model(&json!({"model": 4})).unwrap_err().status, 400);
        assert_eq!(model(&json!([])).unwrap_err().status, 400);
    }
}
