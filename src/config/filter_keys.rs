//! The keys of a filter, in the configuration and in a rules file.

use super::node::{Fields, Node};
use super::{choosing, keys};
use crate::filter::{Filter, Rules};
use crate::text::quoted;

/// Compiles the filter keys.
pub(super) fn filter(fields: &Fields<'_>) -> Filter {
    let exclude = fields.read("exclude", |node| {
        if !node.is_mapping() {
            return Err(node.error("expected a mapping such as {regexp: ['a.*'], simple: ['b']}"));
        }
        let fields = node.fields()?;
        fields.only(&keys::EXCLUDE);
        Ok((fields.read("regexp", Node::strings), fields.read("simple", Node::strings)))
    });
    let (exclude_regexp, exclude_simple) = exclude.unwrap_or_default();
    let mut rules = Rules {
        case_sensitive: fields.read("case_sensitive", Node::boolean).unwrap_or(false),
        regexp: fields.read("regexp", Node::strings),
        simple: fields.read("simple", Node::strings),
        exclude_regexp: exclude_regexp.unwrap_or_default(),
        exclude_simple: exclude_simple.unwrap_or_default(),
        conditions: fields.read("where", choosing::conditions).unwrap_or_default(),
        order: fields.read("order", choosing::order),
        default: fields.read("default", |node| Ok(node.string()?.to_owned())),
    };
    loop {
        match Filter::new(&rules) {
            Ok(filter) => return filter,
            Err(error) => {
                let place = fields.place.at(&error.key);
                let message = format!("{}: {}", quoted(&error.pattern), error.message);
                place.faults.add(place.error(message));
                rules.forget(&error);
            }
        }
    }
}
