//! One value of the YAML file, with its place.
//!
//! The readers of a [`Node`] accept what PyYAML and pydantic accepted (numbers and booleans in
//! quotes, `yes` and `off`). Every error names the file and the path of the key. An error in
//! one key is collected and does not end the reading of the others. Limits: a quoted `"yes"`
//! is the same as a plain one; octal (`0777`) and sexagesimal (`1:30`) numbers are refused,
//! since they are easily misread.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::{Map, Value as Json};
use serde_yaml::Value;

use super::errors::ConfigError;
use crate::cli;
use crate::text::{edits, quoted};

/// Ten years: longer than any process runs, and far from overflowing an `Instant`.
const MAX_SECONDS: u32 = 315_360_000;

/// More threads or connections than any machine has.
const MAX_COUNT: u64 = 100_000;

/// The most that a held body may take, in bytes (1 GiB).
const MAX_SIZE: u64 = 1 << 30;

/// The errors that were found so far, in their order.
#[derive(Default)]
pub(super) struct Faults(RefCell<Vec<ConfigError>>);

impl Faults {
    pub(super) fn add(&self, error: ConfigError) {
        self.0.borrow_mut().push(error);
    }

    /// The value; an error is collected.
    pub(super) fn keep<T>(&self, result: Result<T, ConfigError>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.0.into_inner()
    }
}

/// A file and a path of keys in it, as errors show it.
#[derive(Clone)]
pub(super) struct Place<'a> {
    file: &'a str,
    keys: String,
    pub(super) faults: &'a Faults,
}

impl<'a> Place<'a> {
    pub(super) fn root(file: &'a str, faults: &'a Faults) -> Place<'a> {
        Place { file, keys: String::new(), faults }
    }

    /// The place of a key below this one, or of a path such as `exclude.regexp[0]`.
    pub(super) fn at(&self, key: &str) -> Place<'a> {
        let separator = if self.keys.is_empty() { "" } else { "." };
        let odd = key.is_empty() || key.contains(char::is_control);
        let key = match odd {
            _ if is_secret(&self.keys) && !self.keys.ends_with("headers") => {
                "(not shown)".to_owned()
            }
            true => quoted(key),
            false => key.to_owned(),
        };
        Place { keys: format!("{}{separator}{key}", self.keys), ..*self }
    }

    pub(super) fn item(&self, index: usize) -> Place<'a> {
        Place { keys: format!("{}[{index}]", self.keys), ..*self }
    }

    /// The path of keys, for errors elsewhere that refer to it.
    pub(super) fn keys(&self) -> &str {
        &self.keys
    }

    pub(super) fn error(&self, message: impl AsRef<str>) -> ConfigError {
        let (file, keys, message) = (self.file, &self.keys, message.as_ref());
        let separator = if keys.is_empty() { "" } else { ": " };
        ConfigError::new(format!("{file}{separator}{keys}: {message}"))
    }
}

/// One value that was typed.
pub(super) struct Node<'a> {
    pub(super) place: Place<'a>,
    value: &'a Value,
}

impl<'a> Node<'a> {
    pub(super) fn new(place: Place<'a>, value: &'a Value) -> Node<'a> {
        Node { place, value }
    }

    pub(super) fn error(&self, message: impl AsRef<str>) -> ConfigError {
        self.place.error(message)
    }

    pub(super) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    pub(super) fn is_mapping(&self) -> bool {
        self.value.is_mapping()
    }

    /// Whether this is a mapping with that key, even with null as its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.value.get(key).is_some()
    }

    pub(super) fn fields(&self) -> Result<Fields<'a>, ConfigError> {
        let Value::Mapping(mapping) = self.value else {
            return Err(self.unlike("a mapping"));
        };
        let mut fields = Fields { place: self.place.clone(), entries: Vec::new() };
        for (key, value) in mapping {
            let Value::String(key) = key else {
                let key = shown(key);
                return Err(self.error(format!("the key {key} is not a string, put it in quotes")));
            };
            fields.entries.push((key, Node { place: self.place.at(key), value }));
        }
        Ok(fields)
    }

    pub(super) fn string(&self) -> Result<&'a str, ConfigError> {
        match self.value {
            Value::String(text) => Ok(text),
            Value::Number(_) | Value::Bool(_) => {
                let found = kind(self.value);
                Err(self.error(format!("expected a string, found {found}: put it in quotes")))
            }
            _ => Err(self.unlike("a string")),
        }
    }

    /// A string or a number, as text.
    pub(super) fn scalar(&self) -> Option<String> {
        match self.value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The value as errors show it. Must not be called with a secret.
    pub(super) fn shown(&self) -> String {
        shown(self.value)
    }

    pub(super) fn strings(&self) -> Result<Vec<String>, ConfigError> {
        self.each("strings", |item| item.string().map(str::to_owned))
    }

    /// Reads each item of a list; `what` names the items in the error.
    pub(super) fn each<T>(
        &self,
        what: &str,
        reader: impl Fn(&Node<'a>) -> Result<T, ConfigError>,
    ) -> Result<Vec<T>, ConfigError> {
        let items = self.items(what)?;
        Ok(items.iter().filter_map(|item| self.place.faults.keep(reader(item))).collect())
    }

    /// The items of a list; `what` names them in the error.
    pub(super) fn items(&self, what: &str) -> Result<Vec<Node<'a>>, ConfigError> {
        let Value::Sequence(items) = self.value else {
            return Err(self.error(format!("expected a list of {what}")));
        };
        let item = |(index, value)| Node { place: self.place.item(index), value };
        Ok(items.iter().enumerate().map(item).collect())
    }

    pub(super) fn boolean(&self) -> Result<bool, ConfigError> {
        let text = match self.value {
            Value::Bool(value) => return Ok(*value),
            Value::String(text) => text.trim().to_ascii_lowercase(),
            Value::Number(number) => number.to_string(),
            _ => return Err(self.unlike("true or false")),
        };
        match text.as_str() {
            "true" | "yes" | "on" | "t" | "y" | "1" => Ok(true),
            "false" | "no" | "off" | "f" | "n" | "0" => Ok(false),
            _ => Err(self.error(format!("{} is not true or false", shown(self.value)))),
        }
    }

    /// Seconds, also 0.
    pub(super) fn duration(&self) -> Result<Duration, ConfigError> {
        self.seconds().ok_or_else(|| {
            let value = shown(self.value);
            self.error(format!("{value} is not a number of seconds (0 to {MAX_SECONDS})"))
        })
    }

    /// Seconds, more than 0: a timeout of 0 would fail at once.
    pub(super) fn timeout(&self) -> Result<Duration, ConfigError> {
        self.seconds().filter(|wait| !wait.is_zero()).ok_or_else(|| {
            let value = shown(self.value);
            let range = format!("(more than 0, at most {MAX_SECONDS})");
            self.error(format!("{value} is not a number of seconds {range}"))
        })
    }

    fn seconds(&self) -> Option<Duration> {
        let seconds: f64 = match self.value {
            Value::Number(number) => number.as_f64()?,
            Value::String(text) => decimal(text)?.parse().ok()?,
            _ => return None,
        };
        let wait = Duration::try_from_secs_f64(seconds).ok()?;
        (wait <= Duration::from_secs(MAX_SECONDS.into())).then_some(wait)
    }

    /// A number of bytes, with or without a unit.
    pub(super) fn size(&self) -> Result<u64, ConfigError> {
        let size = match self.value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => size(text),
            _ => None,
        };
        size.filter(|size| (1..=MAX_SIZE).contains(size)).ok_or_else(|| {
            let examples = "such as 67108864, 64MiB or 10 MB";
            let value = shown(self.value);
            self.error(format!("{value} is not a size (1 to {MAX_SIZE} bytes, {examples})"))
        })
    }

    /// A number of things, at least 1.
    pub(super) fn count(&self) -> Result<usize, ConfigError> {
        let count = match self.value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => decimal(text).and_then(|text| text.parse().ok()),
            _ => None,
        };
        let count = count.filter(|count| (1..=MAX_COUNT).contains(count));
        let count = count.and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| {
            self.error(format!("{} is not a number from 1 to {MAX_COUNT}", shown(self.value)))
        })
    }

    pub(super) fn port(&self) -> Result<u16, ConfigError> {
        let text = match self.value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            _ => return Err(self.unlike("a port")),
        };
        cli::port(&text).map_err(|message| self.error(message))
    }

    /// The value in JSON.
    pub(super) fn json(&self) -> Result<Json, ConfigError> {
        json_of(self.value).ok_or_else(|| self.error("the value has no counterpart in JSON"))
    }

    fn unlike(&self, expected: &str) -> ConfigError {
        self.error(format!("expected {expected}, found {}", kind(self.value)))
    }
}

/// A mapping with string keys, in the order of the file.
pub(super) struct Fields<'a> {
    pub(super) place: Place<'a>,
    /// Every entry, also those whose value is null.
    pub(super) entries: Vec<(&'a str, Node<'a>)>,
}

impl<'a> Fields<'a> {
    /// The value of a key; null counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&Node<'a>> {
        let found = self.entries.iter().find(|(name, _)| *name == key);
        found.map(|(_, node)| node).filter(|node| !node.value.is_null())
    }

    /// Collects an error for every key but these.
    pub(super) fn only(&self, known: &[&str]) {
        for (key, node) in self.entries.iter().filter(|(key, _)| !known.contains(key)) {
            self.place.faults.add(unknown_key(key, node, known));
        }
    }

    /// Reads a key; none if it is absent or wrong.
    pub(super) fn read<T>(
        &self,
        key: &str,
        reader: impl FnOnce(&Node<'a>) -> Result<T, ConfigError>,
    ) -> Option<T> {
        self.get(key).and_then(|node| self.place.faults.keep(reader(node)))
    }
}

/// The error for an unknown key: it names the nearest known one, or else all.
pub(super) fn unknown_key(key: &str, node: &Node<'_>, known: &[&str]) -> ConfigError {
    node.error(match nearest(key, known) {
        Some(near) => format!("unknown key, did you mean {near:?}?"),
        None => format!("unknown key, known are: {}", known.join(", ")),
    })
}

/// The known key that was probably meant.
pub(super) fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let key = key.to_lowercase();
    let near = known.iter().map(|known| (edits(&key, known), *known)).min()?;
    // A third of the letters: `regex` means `regexp`, while `url` could mean anything.
    (near.0 <= (key.chars().count() / 3).max(1)).then_some(near.1)
}

/// A number as Python writes it, ready for Rust's parser.
fn decimal(text: &str) -> Option<String> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let octal = bytes.len() > 1 && bytes[0] == b'0' && bytes[1].is_ascii_digit();
    let letters = |c: char| c.is_ascii_digit() || "+-.eE_".contains(c);
    let ends = text.starts_with('_') || text.ends_with('_');
    (!octal && !ends && text.chars().all(letters)).then(|| text.replace('_', ""))
}

fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000 * 1000,
        "gb" => 1000 * 1000 * 1000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    decimal(number)?.parse::<u64>().ok()?.checked_mul(factor)
}

/// Whether the values at a path of keys are secrets, which errors must not show.
pub(super) fn is_secret(keys: &str) -> bool {
    let secret = ["api_key", "authorization", "client_keys", "headers"];
    keys.split(['.', '[']).any(|key| secret.contains(&key))
}

/// A value as errors show it. Must not be called with a secret.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        other => kind(other).to_owned(),
    }
}

/// A YAML value in JSON; none if it has no counterpart there.
fn json_of(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::from(*value),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Json::from(number),
            (None, Some(number)) => Json::from(number),
            (None, None) => Json::from(number.as_f64().filter(|number| number.is_finite())?),
        },
        Value::String(text) => Json::from(text.as_str()),
        Value::Sequence(items) => Json::Array(items.iter().map(json_of).collect::<Option<_>>()?),
        Value::Mapping(mapping) => {
            let entry =
                |(key, value): (&Value, &Value)| Some((key.as_str()?.to_owned(), json_of(value)?));
            Json::Object(mapping.iter().map(entry).collect::<Option<Map<_, _>>>()?)
        }
        Value::Tagged(_) => return None,
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a tag",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(yaml: &str, reader: fn(&Node<'_>) -> Result<T, ConfigError>) -> Option<T> {
        let value: Value = serde_yaml::from_str(yaml).unwrap();
        reader(&Node::new(Place::root("f", &Faults::default()), &value)).ok()
    }

    fn timeout(yaml: &str) -> Option<f64> {
        read(yaml, |node| node.timeout()).map(|wait| wait.as_secs_f64())
    }

    fn boolean(yaml: &str) -> Option<bool> {
        read(yaml, |node| node.boolean())
    }

    fn size(yaml: &str) -> Option<u64> {
        read(yaml, |node| node.size())
    }

    #[test]
    fn numbers_are_read_as_python_read_them() {
        for (yaml, seconds) in [("900", 900.0), ("1.5", 1.5), ("'900'", 900.0), ("1e3", 1000.0)] {
            assert_eq!(timeout(yaml), Some(seconds), "{yaml}");
        }
        assert_eq!(timeout("9_00"), Some(900.0));
        for yaml in ["0", "-1", ".nan", ".inf", "nan", "inf", "1:30", "0777", "1e300", "true", "[]"]
        {
            assert_eq!(timeout(yaml), None, "{yaml}");
        }
    }

    #[test]
    fn booleans_are_those_of_yaml_1_1() {
        for yaml in ["true", "yes", "On", "YES", "'1'", "1"] {
            assert_eq!(boolean(yaml), Some(true), "{yaml}");
        }
        for yaml in ["false", "no", "Off", "NO", "'0'", "0"] {
            assert_eq!(boolean(yaml), Some(false), "{yaml}");
        }
        assert_eq!(boolean("maybe"), None);
    }

    #[test]
    fn sizes_have_units() {
        for (yaml, bytes) in
            [("1", 1), ("64MiB", 64 << 20), ("10 MB", 10_000_000), ("1GiB", 1 << 30)]
        {
            assert_eq!(size(yaml), Some(bytes), "{yaml}");
        }
        for yaml in ["0", "-1", "1.5", "2GiB", "64M", "99999999999999999999 GiB", "lots"] {
            assert_eq!(size(yaml), None, "{yaml}");
        }
    }

    #[test]
    fn the_nearest_key_is_near() {
        let known = ["base_url", "regexp", "simple", "cache_ttl"];
        assert_eq!(nearest("regex", &known), Some("regexp"));
        assert_eq!(nearest("base_ur", &known), Some("base_url"));
        assert_eq!(nearest("Base-URL", &known), Some("base_url"));
        assert_eq!(nearest("simpel", &known), Some("simple"));
        assert_eq!(nearest("url", &known), None);
        assert_eq!(nearest("", &known), None);
    }
}
