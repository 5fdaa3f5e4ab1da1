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

/// An id as patterns and names compare it.
pub(super) struct Id<'a> {
    typed: &'a str,
    /// In lower case unless the rules are case-sensitive.
    pub(super) folded: String,
}

impl<'a> Id<'a> {
    pub(super) fn new(typed: &'a str, case_sensitive: bool) -> Id<'a> {
        Id { typed, folded: folded(typed, case_sensitive) }
    }
}

/// An id in lower case unless the rules are case-sensitive.
pub(super) fn folded(id: &str, case_sensitive: bool) -> String {
    if case_sensitive { id.to_owned() } else { id.to_lowercase() }
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// As the user typed it.
    pub(super) typed: String,
    regex: Regex,
    /// Whether a part of it distinguishes case by `(?-i)`, although the rules do not.
    sees_case: bool,
}

impl Pattern {
    /// Whether it matches the whole id.
    pub(super) fn is_match(&self, id: &Id<'_>) -> bool {
        self.regex.is_match(if self.sees_case { id.typed } else { &id.folded })
    }
}

/// Whether a pattern has a group of flags that turns `i` off, as `(?-i)` and `(?s-i:…)`.
fn has_case_flag(pattern: &str) -> bool {
    pattern.split("(?").skip(1).any(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphabetic() && c != '-').unwrap_or(rest.len());
        rest[..end].split_once('-').is_some_and(|(_, off)| off.contains('i'))
    })
}

/// How patterns are compiled.
pub(super) struct Compiler {
    pub(super) case_sensitive: bool,
    /// The largest compiled pattern, in bytes.
    pub(super) size_limit: usize,
}

impl Compiler {
    /// Compiles a pattern that must match an id from its first to its last character.
    pub(super) fn whole_match(&self, key: String, pattern: &str) -> Result<Pattern, PatternError> {
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
        match compiled {
            Ok(regex) => {
                let sees_case = has_case_flag(pattern);
                Ok(Pattern { typed: pattern.to_owned(), regex, sees_case })
            }
            Err(error) => {
                let message = explained(&error.to_string(), pattern);
                Err(PatternError { key, pattern: pattern.to_owned(), message })
            }
        }
    }
}

/// An error of the regex crate, which is a drawing of several lines, as one line; with advice for
/// syntax that works in Python.
fn explained(drawing: &str, pattern: &str) -> String {
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
    if reason.contains("repetition operator missing expression") && pattern.starts_with('*') {
        let glob = quoted(&as_regexp(pattern));
        return format!("a glob, but patterns are regular expressions: write {glob}");
    }
    let literal = [
        ("repetition operator missing", r"write \+, \* or \? for the character itself"),
        ("unclosed group", r"close it with ), or write \( for the character itself"),
        ("unopened group", r"write \) for the character itself"),
        ("unclosed character class", r"close it with ], or write \[ for the character itself"),
    ];
    if let Some((_, advice)) = literal.iter().find(|(what, _)| reason.starts_with(what)) {
        return format!("{reason}: {advice}");
    }
    if drawing.contains(r"\Z") && reason.contains("escape") {
        return format!(r"{reason}; leave \Z out (the whole id must match anyway) or write \z");
    }
    reason
}

/// A glob as a pattern.
fn as_regexp(glob: &str) -> String {
    let mut pattern = String::new();
    for c in glob.chars() {
        match c {
            '*' if pattern.ends_with(".*") => {}
            '*' => pattern.push_str(".*"),
            c => pattern.push(c),
        }
    }
    pattern
}
