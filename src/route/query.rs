//! The model that a query names, as the paths of WebSockets have it.
//!
//! Limits: whatever two parsers may read differently is refused.

use std::ops::Range;

use super::percent::decode;
use crate::error::Error;

/// The parameters that name a model: OpenAI's, and Azure's.
const NAMES: [&str; 2] = ["model", "deployment"];

/// A model in a query.
#[derive(Debug, PartialEq, Eq)]
pub struct QueryModel {
    /// Its name, decoded.
    pub model: String,
    /// The place of its value in the query, as it was sent.
    pub value: Range<usize>,
}

/// The model that a query names; none if it names none.
///
/// # Errors
/// 400 for more than one, and for a value that can be read in two ways.
pub fn model_in_query(query: &str) -> Result<Option<QueryModel>, Error> {
    let mut found = None;
    let mut start = 0;
    // Some servers take `;` for `&`, and some clients add a second `?`.
    for parameter in query.split_inclusive(['&', ';', '?']) {
        let bare = parameter.strip_suffix(['&', ';', '?']).unwrap_or(parameter);
        let (name, value) = bare.split_once('=').unwrap_or((bare, ""));
        let value_start = start + (bare.len() - value.len());
        start += parameter.len();
        let name = decode(name).to_ascii_lowercase();
        // PHP and Rails trim a name, cut it at a NUL, and take `model[]` for a list.
        let letters =
            name.trim_start_matches([' ', '+', '[']).split(['\0', '[', ']', ' ', '+']).next();
        if !NAMES.contains(&letters.unwrap_or_default()) {
            continue;
        }
        let model = decode(value);
        let is_plain = NAMES.contains(&name.as_str())
            && !value.contains('+')
            && !model.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER)
            && !parameter.ends_with([';', '?']);
        if !is_plain {
            let what = format!("the query's {name:?} can be read in two ways: percent-encode it");
            return Err(Error::bad_request(what));
        }
        let value = value_start..value_start + value.len();
        if found.replace(QueryModel { model, value }).is_some() {
            return Err(Error::bad_request("the query names more than one model"));
        }
    }
    Ok(found.filter(|found| !found.model.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_with_the_place_of_its_value() {
        for (query, model, value) in [
            ("model=a", "a", "a"),
            ("x=1&model=up%2Fa&y", "up/a", "up%2Fa"),
            ("api-version=1&deployment=gpt", "gpt", "gpt"),
            ("Mod%65l=a:b", "a:b", "a:b"),
        ] {
            let found = model_in_query(query).unwrap().unwrap();
            assert_eq!((found.model.as_str(), &query[found.value]), (model, value));
        }
        for query in ["", "models=a", "model", "model=", "x=model"] {
            assert_eq!(model_in_query(query), Ok(None), "{query}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for query in [
            "model=a&model=b",
            "model=a&deployment=a",
            "x;model=a&MODEL=b",
            "model=a;b",
            "model=a+b",
            "model=%ff",
            "model=a&model[]=b",
            "model%5B0%5D=b",
            "[model]=b",
            "model%00x=b",
            "+model=b",
            "model%20=b",
        ] {
            assert!(model_in_query(query).is_err(), "{query}");
        }
    }
}
