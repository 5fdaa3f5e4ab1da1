//! The patterns of a filter: compiled, or an error that explains what is wrong.

use std::fmt;

use regex::{Regex, RegexBuilder};

use crate::text::quoted;

/// A pattern that does not compile. Displayed on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// Its place in the configuration: `regexp[1]`, `exclude.regexp[0]` or `default`.
    pub key: String,
    /// The pattern as the user typed it.
    pub pattern: String,
    /// The mistake: one line, in lower case.
    pub message: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.key, quoted(&self.pattern), self.message)
    }
}

impl std::error::Error for PatternError {}

/// How patterns are compiled.
pub(super) struct Compiler {
    pub(super) case_sensitive: bool,
    /// The largest compiled pattern, in bytes.
    pub(super) size_limit: usize,
}

impl Compiler {
    /// Compiles a pattern that must match an id from its first to its last character.
    pub(super) fn whole_match(&self, key: String, pattern: &str) -> Result<Regex, PatternError> {
        let compile = |pattern: &str| {
            RegexBuilder::new(pattern)
                .case_insensitive(!self.case_sensitive)
                .size_limit(self.size_limit)
                .build()
        };
        // The pattern must compile by itself: `a)(b` is valid only inside our parentheses. If it
        // ends in a `(?x)` comment, the closing parenthesis must stand on a new line; without a
        // comment, the line break would be a character to match.
        let compiled = compile(pattern).and_then(|_| {
            compile(&format!(r"\A(?:{pattern})\z"))
                .or_else(|_| compile(&format!("\\A(?:{pattern}\n)\\z")))
        });
        compiled.map_err(|error| {
            let message = explained(&error.to_string());
            PatternError { key, pattern: pattern.to_owned(), message }
        })
    }
}

/// An error of the regex crate, which is a drawing of several lines, as one line; with advice for
/// syntax that works in Python.
fn explained(drawing: &str) -> String {
    let reason = drawing.rsplit_once("error: ").map_or(drawing, |(_, reason)| reason).trim();
    if reason.contains("look-around") {
        return "look-around such as (?=…) and (?!…) is not supported; to hide models, list them \
                under `exclude`"
            .into();
    }
    if reason.contains("backreference") {
        return "backreferences are not supported, and neither is look-around; to hide models, \
                list them under `exclude`"
            .into();
    }
    let reason = reason.replace('\n', " ");
    let mut chars = reason.chars();
    let reason: String =
        chars.next().into_iter().flat_map(char::to_lowercase).chain(chars).collect();
    if drawing.contains(r"\Z") && reason.contains("escape") {
        return format!(r"{reason}; leave \Z out (the whole id must match anyway) or write \z");
    }
    reason
}
