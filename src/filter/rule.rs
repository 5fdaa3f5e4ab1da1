//! What was decided about a model, and by which rule.

use std::fmt;

use super::conditions::Failure;
use crate::text::quoted;

/// What was decided about one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether clients see it.
    pub kept: bool,
    /// The reason.
    pub rule: Rule,
}

/// The rule that decided. Displayed as `regexp[0] ".*llama.*"` or `simple "gpt-4o"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The first entry that matched.
    Entry {
        /// Its list: `regexp`, `simple`, `exclude.regexp` or `exclude.simple`.
        list: &'static str,
        /// Its index in the list.
        index: usize,
        /// The pattern or name as the user typed it.
        typed: String,
    },
    /// Neither `regexp` nor `simple` is given: kept.
    NoneGiven,
    /// At least one of them is given, and nothing matched: hidden.
    NoneMatched,
    /// A condition of `where` that the model does not meet: hidden.
    Condition(Failure),
}

impl Rule {
    /// Whether the model is named, so that conditions do not apply.
    pub fn is_name(&self) -> bool {
        matches!(self, Rule::Entry { list: "simple", .. })
    }

    /// The place of the rule in the configuration: its list and its index there.
    pub fn place(&self) -> (Option<&'static str>, Option<usize>) {
        match self {
            Rule::Entry { list, index, .. } => (Some(list), Some(*index)),
            Rule::Condition(Failure { key, .. }) => (Some(key), None),
            Rule::NoneGiven | Rule::NoneMatched => (None, None),
        }
    }

    /// Names in the order of `simple`, then patterns in theirs, then everything else.
    pub(super) fn rank(&self) -> (u8, usize) {
        match self {
            Rule::Entry { list: "simple", index, .. } => (0, *index),
            Rule::Entry { list: "regexp", index, .. } => (1, *index),
            _ => (2, 0),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A name is easy to find in the file without its index.
            Rule::Entry { list, typed, .. } if list.ends_with("simple") => {
                write!(f, "{list} {}", quoted(typed))
            }
            Rule::Entry { list, index, typed } => {
                write!(f, "{list}[{index}] {}", quoted(typed))
            }
            Rule::NoneGiven => f.write_str("no rules given"),
            Rule::NoneMatched => f.write_str("no rule matched"),
            Rule::Condition(failure) => failure.fmt(f),
        }
    }
}
