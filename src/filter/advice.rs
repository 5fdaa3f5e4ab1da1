//! Rules that do nothing: patterns and names that match no model of a list, and why.

use std::collections::HashSet;
use std::fmt;

use super::judge::Filter;
use super::matcher::Matcher;
use super::pattern::{Id, Pattern};
use super::rule::{Rule, Verdict};
use super::suggest::{Suggestion, for_name, for_pattern};
use crate::text::quoted;

/// A pattern or name that matches no model of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Idle {
    /// Its list: `regexp`, `simple`, `exclude.regexp`, `exclude.simple` or `default`.
    pub list: &'static str,
    /// Its index in the list.
    pub index: usize,
}

/// A rule that does nothing, with advice. Displayed on one line, such as
/// `regexp[0] "claude" matches no model; ".*claude.*" would match 12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub idle: Idle,
    /// As the user typed it.
    pub typed: String,
    /// What might have been meant.
    pub suggestion: Suggestion,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Idle { list, index } = self.idle;
        f.write_str(list)?;
        if list != "default" {
            write!(f, "[{index}]")?;
        }
        write!(f, " {}{}", quoted(&self.typed), self.suggestion)
    }
}

impl Filter {
    /// How many of these ids each pattern and name matches, list by list.
    pub fn counts(&self, ids: &[&str]) -> Vec<(&'static str, Vec<usize>)> {
        let ids: Vec<Id<'_>> = ids.iter().map(|id| self.id(id)).collect();
        let mut counts = Vec::new();
        for matcher in self.keep.iter().chain([&self.exclude]) {
            let matched = |pattern: &Pattern| ids.iter().filter(|id| pattern.is_match(id)).count();
            counts.push((matcher.regexp_key, matcher.patterns.iter().map(matched).collect()));
            let named = |name: &String| {
                let name = self.folded(name);
                ids.iter().filter(|id| id.folded == name).count()
            };
            counts.push((matcher.simple_key, matcher.names.iter().map(named).collect()));
        }
        counts
    }

    /// The patterns and names that match none of these ids. None if there are no ids: an empty
    /// list says nothing about rules.
    pub fn idle(&self, ids: &[&str]) -> Vec<Idle> {
        if ids.is_empty() {
            return Vec::new();
        }
        let ids: Vec<Id<'_>> = ids.iter().map(|id| self.id(id)).collect();
        let folded: HashSet<&str> = ids.iter().map(|id| id.folded.as_str()).collect();
        let matches_none = |pattern: &Pattern| !ids.iter().any(|id| pattern.is_match(id));
        let mut idle = Vec::new();
        for matcher in self.keep.iter().chain([&self.exclude]) {
            let Matcher { regexp_key, patterns, simple_key, names, .. } = matcher;
            for (index, pattern) in patterns.iter().enumerate() {
                if matches_none(pattern) {
                    idle.push(Idle { list: regexp_key, index });
                }
            }
            for (index, name) in names.iter().enumerate() {
                if !folded.contains(self.folded(name).as_str()) {
                    idle.push(Idle { list: simple_key, index });
                }
            }
        }
        if self.default.as_ref().is_some_and(matches_none) {
            idle.push(Idle { list: "default", index: 0 });
        }
        idle
    }

    /// What to do about a rule that matches none of these ids. `prefix` is what clients see before
    /// them.
    pub fn finding(&self, idle: Idle, ids: &[&str], prefix: &str) -> Finding {
        let rules = self.rules();
        let typed = match idle.list {
            "default" => rules.default.clone(),
            "regexp" => rules.regexp.as_ref().and_then(|list| list.get(idle.index).cloned()),
            "simple" => rules.simple.as_ref().and_then(|list| list.get(idle.index).cloned()),
            "exclude.regexp" => rules.exclude_regexp.get(idle.index).cloned(),
            _ => rules.exclude_simple.get(idle.index).cloned(),
        };
        let typed = typed.unwrap_or_default();
        let suggestion = match idle.list {
            "simple" | "exclude.simple" => for_name(&typed, rules.case_sensitive, ids, prefix),
            _ => for_pattern(&typed, rules.case_sensitive, ids, prefix),
        };
        Finding { idle, typed, suggestion }
    }
}

/// Why no model of a list is kept, in one line; none if one is, or if there are no models. The
/// reasons that hide the most models come first.
pub fn nothing_kept<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> Option<String> {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    let mut total = 0;
    for Verdict { kept, rule } in verdicts {
        if *kept {
            return None;
        }
        total += 1;
        let reason = match rule {
            // The values differ from model to model.
            Rule::Condition(failure) => failure.key.to_owned(),
            rule => rule.to_string(),
        };
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason, 1)),
        }
    }
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let reasons = reasons.iter().take(3).map(|(reason, count)| format!("{reason} ({count})"));
    let reasons = reasons.collect::<Vec<_>>().join(", ");
    (total > 0).then(|| format!("none of {total} models is kept: {reasons}"))
}
