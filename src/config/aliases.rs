//! `aliases`: other ids for models.
//!
//! Limits: an alias points to a model, never to another alias; ids are compared exactly.

use super::errors::ConfigError;
use super::keys;
use super::node::{Fields, Node};
use super::settings::{Alias, Upstream};
use crate::route::by_prefix;
use crate::text::quoted;

/// The longest id, in bytes, as for the model of a request.
const LONGEST: usize = 1024;

/// Reads the aliases, each for one of these upstreams.
pub(super) fn aliases(node: &Node<'_>, upstreams: &[Upstream]) -> Result<Vec<Alias>, ConfigError> {
    let fields = node.fields()?;
    let faults = fields.place.faults;
    let read = |(id, node): &(&str, Node<'_>)| faults.keep(alias(id, node, &fields, upstreams));
    Ok(fields.entries.iter().filter_map(read).collect())
}

fn alias(
    id: &str,
    node: &Node<'_>,
    all: &Fields<'_>,
    upstreams: &[Upstream],
) -> Result<Alias, ConfigError> {
    check_id(id, node)?;
    let (target, name) = if node.is_mapping() {
        let fields = node.fields()?;
        fields.only(&keys::ALIAS);
        let name = fields.read("name", |node| Ok(node.string()?.to_owned()));
        let model = fields.get("model");
        let model = model.ok_or_else(|| node.error("an alias needs a model"))?;
        (model.string()?.to_owned(), name)
    } else {
        (node.string()?.to_owned(), None)
    };
    check_target(&target, node)?;
    if target == id {
        return Err(node.error("the alias points to itself: write the id of a model"));
    }
    if all.entries.iter().any(|(other, _)| *other == target) {
        let what = "is an alias, too: write the id of its model";
        return Err(node.error(format!("{} {what}", quoted(&target))));
    }
    let prefixes = || upstreams.iter().map(|upstream| upstream.prefix.as_str());
    let (upstream, prefix) = match (by_prefix(prefixes(), Some(&target)), upstreams) {
        (Some(index), _) => (index, upstreams[index].prefix.len()),
        // If the upstreams cannot be read, there are other errors.
        (None, [] | [_]) => (0, 0),
        (None, _) => {
            let known: Vec<String> = prefixes().map(quoted).collect();
            let known = known.join(", ");
            let what =
                format!("{} has no upstream; models begin with one of {known}", quoted(&target));
            return Err(node.error(what));
        }
    };
    let model = target[prefix..].to_owned();
    // In a multipart body, dashes at the start of a line may begin another part.
    if model.is_empty() || model.starts_with("--") {
        return Err(node.error(format!("{} names no model", quoted(&target))));
    }
    Ok(Alias { id: id.to_owned(), model, target, upstream, name })
}

/// Checks an id, which stands in paths and bodies.
fn check_id(id: &str, node: &Node<'_>) -> Result<(), ConfigError> {
    // U+FFFD stands for bytes in a path that are no text.
    let is_odd = |c: char| c.is_control() || "?#\\\u{fffd}".contains(c);
    if id.is_empty() || id.contains(is_odd) || id.trim_matches(['/', ' ']) != id {
        let what = "is not an id: one line without ?, # and \\, and without / and blanks around it";
        return Err(node.error(format!("{} {what}", quoted(id))));
    }
    check_length(id, node)
}

/// Checks the id of a model, which may be the path of a file.
fn check_target(target: &str, node: &Node<'_>) -> Result<(), ConfigError> {
    if target.is_empty() || target.contains(char::is_control) {
        return Err(node.error(format!("{} is not the id of a model", quoted(target))));
    }
    check_length(target, node)
}

fn check_length(id: &str, node: &Node<'_>) -> Result<(), ConfigError> {
    if id.len() > LONGEST {
        return Err(node.error(format!("the id is longer than {LONGEST} bytes")));
    }
    Ok(())
}
