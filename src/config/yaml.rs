//! Bytes to a YAML value, with anchors and merge keys (`<<`) resolved.
//!
//! Limits: one document, in UTF-8. A repeated key in a mapping is an error (PyYAML silently
//! used the last one). Custom tags are refused, as by PyYAML's safe loader.

use serde_yaml::{Mapping, Value};

use super::errors::ConfigError;
use super::node::{Place, is_secret};
use super::traps;
use crate::text::quoted;

/// The value of the file; null if it is empty.
pub(super) fn parse(bytes: &[u8], place: &Place<'_>) -> Result<Value, ConfigError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        place.error(format!("not UTF-8 at line {line} column {column}"))
    })?;
    let value = serde_yaml::from_str(text).map_err(|error| {
        let message = error.to_string();
        let (line, column) =
            error.location().map_or((1, 1), |location| (location.line(), location.column()));
        if let Some(explained) = traps::explained(&message, line, column, text) {
            return place.error(explained);
        }
        // `!!int sk-1`: serde's message shows the value, which may be a secret.
        if let Some((keys, _)) = message.split_once("invalid value: ") {
            return place.error(format!("{keys}the value does not fit its tag"));
        }
        place.error(match message.split_once("duplicate entry with key ") {
            Some((keys, rest)) => twice(keys, rest, (line, column), text),
            None => message,
        })
    })?;
    merged(value, place)
}

/// The error for a key that is given twice. `keys` is the path of the mapping, `rest` begins with
/// the key in quotes; the place is that of the mapping.
fn twice(keys: &str, rest: &str, (line, column): (usize, usize), text: &str) -> String {
    let key = rest.strip_prefix('"').and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let shown =
        if is_secret(keys.trim_end_matches(": ")) { "a key".to_owned() } else { quoted(key) };
    match traps::both_lines(key, line, column, text) {
        Some((first, second)) => {
            format!("{keys}{shown} is given twice, on lines {first} and {second}")
        }
        None => format!("{keys}{shown} is given twice, at line {line} column {column}"),
    }
}

/// Resolves merge keys. `Value::apply_merge` does not look inside merged mappings, and changes
/// the order of keys.
fn merged(value: Value, place: &Place<'_>) -> Result<Value, ConfigError> {
    match value {
        Value::Mapping(mapping) => {
            let mut own = Mapping::new();
            let mut defaults = Vec::new();
            for (key, value) in mapping {
                let place = place.at(key.as_str().unwrap_or("?"));
                match (key.as_str(), merged(value, &place)?) {
                    (Some("<<"), Value::Mapping(mapping)) => defaults.push(mapping),
                    (Some("<<"), Value::Sequence(list)) => {
                        for item in list {
                            let Value::Mapping(mapping) = item else {
                                return Err(place.error("expected a list of mappings"));
                            };
                            defaults.push(mapping);
                        }
                    }
                    (Some("<<"), _) => return Err(place.error("expected a mapping")),
                    (_, value) => {
                        own.insert(key, value);
                    }
                }
            }
            for (key, value) in defaults.into_iter().flatten() {
                own.entry(key).or_insert(value);
            }
            Ok(Value::Mapping(own))
        }
        Value::Sequence(list) => {
            let item = |(index, value)| merged(value, &place.item(index));
            Ok(Value::Sequence(list.into_iter().enumerate().map(item).collect::<Result<_, _>>()?))
        }
        Value::Tagged(_) if is_secret(place.keys()) => Err(place.error("unknown tag")),
        Value::Tagged(tagged) => Err(place.error(format!("unknown tag {}", tagged.tag))),
        scalar => Ok(scalar),
    }
}
