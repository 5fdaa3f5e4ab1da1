//! What a rule that matches nothing might have meant. Every suggestion is tried on the list.

use std::fmt;

use super::pattern::{Compiler, Id};
use crate::text::{edits, quoted};

/// The largest compiled pattern that is tried, in bytes.
const SIZE_LIMIT: usize = 512 * 1024;

/// What might have been meant by a rule. Displayed as the end of a line that begins with the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suggestion {
    /// Another pattern, and how many ids it matches.
    Pattern {
        /// Why the typed one matches nothing.
        why: Why,
        /// The pattern to write.
        pattern: String,
        /// How many ids it matches, at least one.
        count: usize,
    },
    /// An id of the list.
    Id {
        /// Why the typed name equals none.
        why: Why,
        /// The nearest id.
        id: String,
    },
    /// Nothing similar is in the list.
    Nothing(Why),
}

/// Why a rule matches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// No id matches the pattern.
    NoMatch,
    /// No id equals the name.
    NoModel,
    /// A shell would expand this character; in a pattern it repeats what is before it.
    Glob(char),
    /// Some characters of the pattern stand for others.
    Special,
    /// The entry holds several, separated by commas.
    Commas,
    /// The rule begins with the prefix, which ids do not have yet.
    Prefix(String),
    /// The rule begins or ends with blanks.
    Blanks,
    /// Upper and lower case differ.
    Case,
    /// A name that is a pattern.
    PatternAsName,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NoMatch => f.write_str(" matches no model"),
            Why::NoModel => f.write_str(": no such model"),
            Why::Glob('?') => f.write_str(": \"?\" makes the character before it optional"),
            Why::Glob(mark) => write!(f, ": \"{mark}\" repeats the character before it"),
            Why::Special => f.write_str(": some of its characters have a meaning in patterns"),
            Why::Commas => f.write_str(": several entries in one; put each on a line of its own"),
            Why::Prefix(prefix) => {
                write!(f, ": rules see ids without the prefix {}", quoted(prefix))
            }
            Why::Blanks => f.write_str(" begins or ends with a blank"),
            Why::Case => f.write_str(": upper and lower case differ (case_sensitive)"),
            Why::PatternAsName => f.write_str(": names are compared whole; put it under regexp"),
        }
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Suggestion::Pattern { why, pattern, count } => {
                write!(f, "{why}; {} would match {count}", quoted(pattern))
            }
            Suggestion::Id { why, id } => write!(f, "{why}; nearest {}", quoted(id)),
            Suggestion::Nothing(why) => {
                write!(f, "{why}, and none is similar; `model-filter models` lists the ids")
            }
        }
    }
}

/// Suggests another pattern in place of one that matches none of these ids.
pub(super) fn for_pattern(
    typed: &str,
    case_sensitive: bool,
    ids: &[&str],
    prefix: &str,
) -> Suggestion {
    let trial = Trial::new(ids, case_sensitive);
    for (why, base) in readings(typed, prefix, trial.has(typed)) {
        // An id that was copied, or several of them, must not match more.
        let is_literal = matches!(why, Why::Special | Why::Commas);
        let exact = || Some((base.clone(), trial.count(&base)?));
        let found = if is_literal { exact() } else { None };
        if let Some((pattern, count)) = found.or_else(|| trial.widened(&base)) {
            return Suggestion::Pattern { why, pattern, count };
        }
    }
    if case_sensitive {
        if let Some((pattern, count)) = Trial::new(ids, false).widened(typed) {
            let pattern = format!("(?i){pattern}");
            return Suggestion::Pattern { why: Why::Case, pattern, count };
        }
    }
    match nearest_id(typed, ids) {
        Some(id) => Suggestion::Id { why: Why::NoMatch, id: id.to_owned() },
        None => Suggestion::Nothing(Why::NoMatch),
    }
}

/// Suggests an id, or a pattern, in place of a name that equals none of these ids.
pub(super) fn for_name(
    typed: &str,
    case_sensitive: bool,
    ids: &[&str],
    prefix: &str,
) -> Suggestion {
    let equal = |name: &str| {
        let is_equal = |id: &&&str| match case_sensitive {
            true => **id == name,
            false => id.to_lowercase() == name.to_lowercase(),
        };
        ids.iter().find(is_equal).map(|id| (*id).to_owned())
    };
    if let Some(id) = without(typed, prefix).and_then(equal) {
        return Suggestion::Id { why: Why::Prefix(prefix.to_owned()), id };
    }
    if let Some(id) = Some(typed.trim()).filter(|name| *name != typed).and_then(equal) {
        return Suggestion::Id { why: Why::Blanks, id };
    }
    if typed.contains(',') && typed.split(',').any(|name| equal(name.trim()).is_some()) {
        let found = typed.split(',').find_map(|name| equal(name.trim()));
        return Suggestion::Id { why: Why::Commas, id: found.unwrap_or_default() };
    }
    if typed.contains(['*', '|', '^', '$', '[', '\\']) {
        let trial = Trial::new(ids, case_sensitive);
        let unglobbed = unglobbed(typed).map(|(_, pattern)| pattern);
        let patterns: Vec<String> = unglobbed.into_iter().chain([typed.to_owned()]).collect();
        if let Some((pattern, count)) = patterns.iter().find_map(|pattern| trial.widened(pattern)) {
            return Suggestion::Pattern { why: Why::PatternAsName, pattern, count };
        }
    }
    match nearest_id(typed, ids) {
        Some(id) if case_sensitive && id.to_lowercase() == typed.to_lowercase() => {
            Suggestion::Id { why: Why::Case, id: id.to_owned() }
        }
        Some(id) => Suggestion::Id { why: Why::NoModel, id: id.to_owned() },
        None => Suggestion::Nothing(Why::NoModel),
    }
}

/// What a pattern might have meant, the most likely first. `is_id`: it is one of the ids.
fn readings(typed: &str, prefix: &str, is_id: bool) -> Vec<(Why, String)> {
    let mut readings = Vec::new();
    let escaped = regex::escape(typed).replace("\\-", "-");
    let is_special = escaped != typed.replace('.', "\\.");
    if is_special && is_id {
        readings.push((Why::Special, escaped.clone()));
    }
    if let Some(rest) = without(typed, prefix) {
        let why = Why::Prefix(prefix.to_owned());
        readings.extend(unglobbed(rest).map(|(_, pattern)| (why.clone(), pattern)));
        readings.push((why, rest.to_owned()));
    }
    if typed.trim() != typed {
        readings.push((Why::Blanks, typed.trim().to_owned()));
    }
    readings.extend(unglobbed(typed).map(|(mark, pattern)| (Why::Glob(mark), pattern)));
    readings.push((Why::NoMatch, typed.to_owned()));
    if is_special {
        readings.push((Why::Special, escaped));
    }
    if typed.contains(',') && !typed.contains('{') {
        let parts: Vec<&str> = typed.split(',').map(str::trim).filter(|p| !p.is_empty()).collect();
        readings.push((Why::Commas, parts.join("|")));
    }
    readings
}

/// The rest of a rule that begins with the prefix, or with the prefix as a pattern.
fn without<'t>(typed: &'t str, prefix: &str) -> Option<&'t str> {
    if prefix.is_empty() {
        return None;
    }
    let escaped = regex::escape(prefix);
    typed.strip_prefix(prefix).or_else(|| typed.strip_prefix(&escaped))
}

/// A shell's wildcards as a pattern, with the first of them; none if there is no such character
/// behind one that is not repeated on purpose.
fn unglobbed(typed: &str) -> Option<(char, String)> {
    let mut first = None;
    let mut pattern = String::new();
    let mut before = None;
    for c in typed.chars() {
        let is_wildcard = matches!(c, '*' | '?')
            && !before.is_some_and(|before| matches!(before, '.' | ')' | ']' | '}' | '\\' | '*'));
        match c {
            '*' | '?' if is_wildcard => {
                first.get_or_insert(c);
                pattern.push_str(if c == '*' { ".*" } else { "." });
            }
            _ => pattern.push(c),
        }
        before = Some(c);
    }
    first.map(|mark| (mark, pattern))
}

/// The id that a name was probably meant to be: one with the same last part, else the nearest one
/// by edit distance, else one that contains it. Of equals the first one.
pub fn nearest_id<'i>(name: &str, ids: &[&'i str]) -> Option<&'i str> {
    let name = name.trim().to_lowercase();
    if name.is_empty() {
        return None;
    }
    let last = |id: &str| id.rsplit('/').next().unwrap_or_default().to_lowercase();
    let own = last(&name);
    if let Some(id) = ids.iter().find(|id| last(id) == own) {
        return Some(id);
    }
    let most = (name.chars().count() / 4).max(1);
    let mut nearest: Option<(usize, &str)> = None;
    for id in ids {
        let folded = id.to_lowercase();
        if folded.chars().count().abs_diff(name.chars().count()) > most {
            continue;
        }
        let distance = edits(&name, &folded);
        if distance <= most && nearest.is_none_or(|(least, _)| distance < least) {
            nearest = Some((distance, id));
        }
    }
    let contains = || ids.iter().find(|id| id.to_lowercase().contains(&own)).copied();
    let near_part = || {
        let near = |id: &&&str| edits(&own, &last(id)) <= (own.chars().count() / 4).max(1);
        ids.iter().find(near).copied()
    };
    nearest.map(|(_, id)| id).or_else(contains).or_else(near_part)
}

/// Patterns that are tried on a list.
struct Trial {
    case_sensitive: bool,
    /// The ids as patterns see them.
    ids: Vec<String>,
}

impl Trial {
    fn new(ids: &[&str], case_sensitive: bool) -> Trial {
        let spelled = |id: &&str| if case_sensitive { (*id).to_owned() } else { id.to_lowercase() };
        Trial { case_sensitive, ids: ids.iter().map(spelled).collect() }
    }

    fn has(&self, id: &str) -> bool {
        let id = if self.case_sensitive { id.to_owned() } else { id.to_lowercase() };
        self.ids.contains(&id)
    }

    /// The narrowest of a pattern and its extensions that matches as much as the widest, and how
    /// many ids; none if not even the widest matches.
    fn widened(&self, base: &str) -> Option<(String, usize)> {
        let grouped = if base.contains('|') { format!("(?:{base})") } else { base.to_owned() };
        let (is_open, is_open_end) = (grouped.starts_with(".*"), grouped.ends_with(".*"));
        let front = if is_open { "" } else { ".*" };
        let back = if is_open_end { "" } else { ".*" };
        let widest = format!("{front}{grouped}{back}");
        let count = self.count(&widest)?;
        let narrower = [base.to_owned(), format!("{grouped}{back}"), format!("{front}{grouped}")];
        let narrowest = narrower.into_iter().find(|pattern| self.count(pattern) == Some(count));
        Some((narrowest.unwrap_or(widest), count))
    }

    /// How many ids a pattern matches; none if it does not compile or matches none.
    fn count(&self, pattern: &str) -> Option<usize> {
        let compiler = Compiler { case_sensitive: self.case_sensitive, size_limit: SIZE_LIMIT };
        let pattern = compiler.whole_match(String::new(), pattern).ok()?;
        let is_match = |id: &str| pattern.is_match(&Id::new(id, self.case_sensitive));
        let count = self.ids.iter().filter(|id| is_match(id)).count();
        (count > 0).then_some(count)
    }
}
