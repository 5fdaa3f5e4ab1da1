//! One value of the YAML file, with its place.
//!
//! The readers of a [`Node`] accept what PyYAML and pydantic accepted (numbers and booleans in
//! quotes, `yes` and `off`). Every error names the file and the path of the key. An error in
//! one key is collected and does not end the reading of the others. Limits: a quoted `"yes"`
//! is the same as a plain one.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::{Map, Value as Json};
use serde_yaml::Value;

use super::errors::ConfigError;
use super::{hints, quantity};
use crate::cli;
use crate::text::quoted;

/// Ten years: longer than any process runs, and far from overflowing an `Instant`.
const MAX_DURATION: Duration = Duration::from_secs(315_360_000);

/// More threads or connections than any machine has.
const MAX_COUNT: u64 = 100_000;

/// The most that a held body may take, in bytes (1 GiB).
const MAX_SIZE: u64 = 1 << 30;

/// The errors and warnings that were found so far, in their order.
#[derive(Default)]
pub(super) struct Faults {
    errors: RefCell<Vec<ConfigError>>,
    warnings: RefCell<Vec<String>>,
    /// Paths of keys whose value is from an option or a variable, which errors name.
    origins: RefCell<Vec<(String, &'static str)>>,
}

impl Faults {
    pub(super) fn add(&self, error: ConfigError) {
        self.errors.borrow_mut().push(error);
    }

    pub(super) fn warn(&self, warning: &ConfigError) {
        self.warnings.borrow_mut().push(warning.to_string());
    }

    pub(super) fn set_origins(&self, origins: Vec<(String, &'static str)>) {
        *self.origins.borrow_mut() = origins;
    }

    /// The option or variable that the value of a key is from.
    fn origin(&self, keys: &str) -> Option<&'static str> {
        let is_at = |path: &str| {
            let rest = keys.strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let origins = self.origins.borrow();
        origins.iter().find(|(path, _)| is_at(path)).map(|(_, source)| *source)
    }

    pub(super) fn take_warnings(&self) -> Vec<String> {
        self.warnings.take()
    }

    /// The value; an error is collected.
    pub(super) fn keep<T>(&self, result: Result<T, ConfigError>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors.into_inner()
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

    /// Whether the value is from an option or a variable.
    pub(super) fn is_overridden(&self) -> bool {
        self.faults.origin(&self.keys).is_some()
    }

    pub(super) fn error(&self, message: impl AsRef<str>) -> ConfigError {
        let (file, keys, message) = (self.file, &self.keys, message.as_ref());
        if let Some(source) = self.faults.origin(keys) {
            return ConfigError::new(format!("{source}: {message}"));
        }
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
            let advice = match self.value {
                Value::Sequence(_) => ": leave out the \"- \" in front of the keys",
                Value::String(_) => ": write `key: value` on lines of their own below",
                _ => "",
            };
            let found = kind(self.value);
            return Err(self.error(format!("expected a mapping, found {found}{advice}")));
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
            // `- .*: free` is a mapping.
            Value::Mapping(_) => {
                Err(self
                    .error("expected a string, found a mapping: put a text with \": \" in quotes"))
            }
            _ => Err(self.unlike("a string")),
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
            let example = if what == "strings" { ", such as ['a', 'b']" } else { "" };
            return Err(self.error(format!("expected a list of {what}{example}")));
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

    /// A duration, also 0.
    pub(super) fn duration(&self) -> Result<Duration, ConfigError> {
        self.time().ok_or_else(|| self.no_duration("at most ten years"))
    }

    /// A duration of more than 0: a timeout of 0 would fail at once.
    pub(super) fn timeout(&self) -> Result<Duration, ConfigError> {
        let time = self.time().filter(|time| !time.is_zero());
        time.ok_or_else(|| self.no_duration("more than 0, at most ten years"))
    }

    fn time(&self) -> Option<Duration> {
        let time = quantity::duration(&self.scalar()?)?;
        (time <= MAX_DURATION).then_some(time)
    }

    fn no_duration(&self, range: &str) -> ConfigError {
        let value = shown(self.value);
        self.error(format!("{value} is not a duration such as 30, 30s, 15m, 24h or 7d ({range})"))
    }

    /// A number of bytes, with or without a unit.
    pub(super) fn size(&self) -> Result<u64, ConfigError> {
        let size = match self.value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => quantity::size(text),
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
        let count = self.scalar().and_then(|text| quantity::count(&text));
        let count = count.filter(|count| (1..=MAX_COUNT).contains(count));
        let count = count.and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| {
            let value = shown(self.value);
            self.error(format!("{value} is not a number from 1 to {MAX_COUNT}, such as 512 or 2k"))
        })
    }

    /// A string or a number, as text.
    pub(super) fn scalar(&self) -> Option<String> {
        match self.value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
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
            self.place.faults.add(node.error(hints::unknown_key(key, known)));
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

    #[test]
    fn numbers_are_read_as_python_read_them() {
        for (yaml, seconds) in [("900", 900.0), ("1.5", 1.5), ("'900'", 900.0), ("1e3", 1000.0)] {
            assert_eq!(timeout(yaml), Some(seconds), "{yaml}");
        }
        assert_eq!(timeout("9_00"), Some(900.0));
        assert_eq!(timeout("15m"), Some(900.0));
        for yaml in [
            "0", "0s", "-1", "11y", "4000d", ".nan", ".inf", "nan", "inf", "1:30", "0777", "1e300",
            "true", "[]",
        ] {
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
}
