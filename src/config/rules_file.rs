//! `rules: FILE`: the filter keys of an upstream in a file of their own, which the page can save.
//!
//! Limits: the file holds nothing else; an absent one means empty. It is read here and written by
//! [`crate::admin`].

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use serde_yaml::{Mapping, Value};

use super::environment::Sources;
use super::errors::{ConfigError, ConfigErrors, io_reason};
use super::filter_keys::filter;
use super::keys::RULES;
use super::node::{Faults, Fields, Node, Place};
use super::{choosing, yaml};
use crate::filter::{Conditions, Filter};
use crate::text::quoted;

/// The largest file of rules, in bytes.
pub const RULES_SIZE: u64 = 64 * 1024;

/// A file of rules as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesFile {
    /// Where it is, from the working directory on.
    pub path: PathBuf,
    /// The [`digest`] of its content.
    pub digest: String,
}

/// A digest of the content of a file of rules, the same in every process. An absent file has that of
/// an empty one.
pub fn digest(content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(content);
    format!("{:016x}", hasher.finish())
}

/// Reads the content of a file of rules; empty if there is no file.
///
/// # Errors
/// If it cannot be read, or is larger than [`RULES_SIZE`].
pub fn read_rules(path: &Path) -> io::Result<Vec<u8>> {
    bounded(path, |path| fs::read(path))
}

fn bounded(path: &Path, read: impl FnOnce(&Path) -> io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    match fs::metadata(path) {
        Ok(file) if file.len() > RULES_SIZE => {
            let message = format!("longer than {} KiB", RULES_SIZE / 1024);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        _ => {}
    }
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

/// The filter that the content of a file of rules means. `name` is for errors.
///
/// # Errors
/// Everything that is wrong with it.
pub fn rules_in(content: &[u8], name: &str) -> Result<Filter, ConfigErrors> {
    let faults = Faults::default();
    let filter = faults.keep(parse(content, &Place::root(name, &faults)));
    match (filter, faults.into_errors()) {
        (Some(filter), errors) if errors.is_empty() => Ok(filter),
        (_, errors) => Err(ConfigErrors::new(errors)),
    }
}

/// The conditions that JSON means, as if it were the value of `where`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn conditions_in(json: &str) -> Result<Conditions, ConfigErrors> {
    let faults = Faults::default();
    let place = Place::root("where", &faults);
    let read = yaml::parse(json.as_bytes(), &place)
        .and_then(|value| choosing::conditions(&Node::new(place, &value)));
    match (faults.keep(read), faults.into_errors()) {
        (Some(conditions), errors) if errors.is_empty() => Ok(conditions),
        (_, errors) => Err(ConfigErrors::new(errors)),
    }
}

/// Reads the filter of an upstream: from the file that `rules` names, else from its own keys.
pub(super) fn read(
    fields: &Fields<'_>,
    sources: Sources<'_>,
) -> Result<(Filter, Option<RulesFile>), ConfigError> {
    let Some(node) = fields.get("rules") else {
        return Ok((filter(fields), None));
    };
    if let Some(key) = RULES.iter().find(|key| fields.get(key).is_some()) {
        let file = node.string().map_or_else(|_| "the file of rules".to_owned(), quoted);
        let message = format!("this key belongs into {file}, since rules is given");
        return Err(fields.place.at(key).error(message));
    }
    let name = node.string()?;
    if name.is_empty() || name.ends_with('/') {
        return Err(node.error("expected the name of a file, such as rules.yaml"));
    }
    let path = sources.folder.join(name);
    let content = bounded(&path, |path| sources.files.read(path, node.place.keys()))
        .map_err(|error| node.error(format!("{}: {}", quoted(name), io_reason(&error))))?;
    let shown = path.display().to_string();
    let filter = parse(&content, &Place::root(&shown, node.place.faults))?;
    Ok((filter, Some(RulesFile { path, digest: digest(&content) })))
}

fn parse(content: &[u8], place: &Place<'_>) -> Result<Filter, ConfigError> {
    let mut value = yaml::parse(content, place)?;
    if value.is_null() {
        value = Value::Mapping(Mapping::new());
    }
    let fields = Node::new(place.clone(), &value).fields()?;
    fields.only(&RULES);
    Ok(filter(&fields))
}
