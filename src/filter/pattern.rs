//! One pattern of a filter, compiled, or why it does not compile.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// A pattern that does not compile. Displayed on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// Where it stands: `regexp[1]`, `exclude.regexp[0]` or `default`.
    pub key: String,
    /// The pattern as it was typed.
    pub pattern: String,
    /// What is wrong with it: one line, in lower case.
    pub message: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\": {}", self.key, on_one_line(&self.pattern), self.message)
    }
}

impl std::error::Error for PatternError {}

/// How large a pattern of the configuration may be once it is compiled, in bytes.
pub(super) const CONFIGURED: usize = 10 * 1024 * 1024;

/// The same for one that is tried, and how many of them may be.
pub(super) const TRIAL: usize = 512 * 1024;
pub(super) const TRIAL_PATTERNS: usize = 100;

/// Compiles a pattern that must match an id from its first to its last character: with or without
/// regard to case, and to so many bytes at most.
pub(super) fn whole_match(
    pattern: &str,
    (case_sensitive, size): (bool, usize),
) -> Result<Regex, String> {
    let compile = |pattern: &str| {
        RegexBuilder::new(pattern)
            .case_insensitive(!case_sensitive)
            .size_limit(size)
            .build()
            .map_err(|err| complaint(&err.to_string()))
    };
    // By itself first: `a)(b` would compile between our parentheses, as something else.
    compile(pattern)?;
    // A pattern that ends in a `(?x)` comment swallows the closing parenthesis, unless it stands on
    // a new line. Anywhere else the new line would be a character to match, so that goes second.
    compile(&format!(r"\A(?:{pattern})\z")).or_else(|_| compile(&format!("\\A(?:{pattern}\n)\\z")))
}

/// The regex crate's drawing of an error, condensed to its last line, with advice for what works
/// in Python and not here.
fn complaint(drawn: &str) -> String {
    let reason = drawn.rsplit_once("error: ").map_or(drawn, |(_, reason)| reason).trim();
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
    if drawn.contains(r"\Z") && reason.contains("escape") {
        return format!(r"{reason}; leave \Z out (the whole id must match anyway) or write \z");
    }
    reason
}

/// Patterns may hold line breaks (a YAML block does); log lines and errors may not. Backslashes
/// stay as they were typed.
pub(super) fn on_one_line(typed: &str) -> String {
    typed
        .chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}
