//! `where`: what a model must be, beside having a name that a pattern matches.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::facts::{Facts, Price, Set, canonical};
use crate::text::yaml_quoted;

/// The conditions as the user typed them. The default is none at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The highest price of input.
    pub max_input_price: Option<Price>,
    /// The highest price of output.
    pub max_output_price: Option<Price>,
    /// The least context window, in tokens.
    pub min_context: Option<u64>,
    /// The words that a model must have, in the order of the keys.
    pub words: Vec<Word>,
    /// The longest time since a model was published.
    pub max_age: Option<Duration>,
    /// Whether a model is hidden if its list does not say what a condition asks for.
    pub hides_unknown: bool,
}

/// A word that a model must accept, produce or support.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    set: Set,
    typed: String,
    canonical: Cow<'static, str>,
}

impl Word {
    /// The word as the user typed it.
    pub fn new(set: Set, typed: &str) -> Word {
        Word { set, typed: typed.to_owned(), canonical: canonical(set, typed) }
    }

    /// The set and the word as typed.
    pub fn typed(&self) -> (Set, &str) {
        (self.set, &self.typed)
    }
}

/// The condition that a model does not meet, and why. Displayed as
/// `where.max_price: output 75 > 5`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failure {
    /// The key of the condition.
    pub key: &'static str,
    /// The value that failed it.
    pub reason: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)
    }
}

impl Conditions {
    /// Whether there is no condition.
    pub fn is_empty(&self) -> bool {
        *self == Conditions { hides_unknown: self.hides_unknown, ..Conditions::default() }
    }

    /// The lines of YAML that mean these conditions; none if there are none.
    pub fn yaml(&self) -> Vec<String> {
        let mut lines = vec!["where:".to_owned()];
        let mut add = |key: &str, value: String| lines.push(format!("  {key}: {value}"));
        match (self.max_input_price, self.max_output_price) {
            (Some(input), Some(output)) if input == output => add("max_price", input.to_string()),
            (Some(input), Some(output)) => {
                add("max_price", format!("{{input: {input}, output: {output}}}"));
            }
            (Some(input), None) => add("max_price", format!("{{input: {input}}}")),
            (None, Some(output)) => add("max_price", format!("{{output: {output}}}")),
            (None, None) => {}
        }
        if let Some(tokens) = self.min_context {
            add("min_context", tokens.to_string());
        }
        for set in [Set::Input, Set::Output, Set::Supports] {
            let words = self.words.iter().filter(|word| word.set == set);
            let words: Vec<String> = words.map(|word| yaml_quoted(&word.typed)).collect();
            if !words.is_empty() {
                let key = key(set).trim_start_matches("where.");
                add(key, format!("[{}]", words.join(", ")));
            }
        }
        if let Some(age) = self.max_age {
            add("max_age", format!("{}s", age.as_secs()));
        }
        if self.hides_unknown {
            add("unknown", "hide".to_owned());
        }
        if lines.len() == 1 { Vec::new() } else { lines }
    }

    /// The first condition that a model does not meet. `now` is in seconds since 1970.
    pub fn failure(&self, facts: &Facts, now: u64) -> Option<Failure> {
        let fails = |key, reason| Some(Failure { key, reason });
        let prices = [
            ("input", facts.input_price, self.max_input_price),
            ("output", facts.output_price, self.max_output_price),
        ];
        for (what, price, most) in prices {
            match (price, most) {
                (Some(price), Some(most)) if price > most => {
                    return fails("where.max_price", format!("{what} {price} > {most}"));
                }
                (None, Some(_)) if self.hides_unknown => {
                    return fails("where.max_price", format!("{what} price unknown"));
                }
                _ => {}
            }
        }
        match (facts.context, self.min_context) {
            (Some(context), Some(least)) if context < least => {
                return fails("where.min_context", format!("{context} < {least}"));
            }
            (None, Some(_)) if self.hides_unknown => {
                return fails("where.min_context", "unknown".to_owned());
            }
            _ => {}
        }
        for word in &self.words {
            let reason = match facts.said(word.set).has(&word.canonical) {
                Some(true) => continue,
                Some(false) => format!("no {}", word.typed),
                None if self.hides_unknown => format!("{} unknown", word.typed),
                None => continue,
            };
            return fails(key(word.set), reason);
        }
        match (facts.created, self.max_age) {
            (Some(created), Some(most)) if now.saturating_sub(created) > most.as_secs() => {
                fails("where.max_age", too_old(now.saturating_sub(created), most.as_secs()))
            }
            (None, Some(_)) if self.hides_unknown => fails("where.max_age", "unknown".to_owned()),
            _ => None,
        }
    }
}

/// The key of the words of a set.
fn key(set: Set) -> &'static str {
    match set {
        Set::Input => "where.input",
        Set::Output => "where.output",
        Set::Supports => "where.supports",
    }
}

/// An age and its limit in the largest unit that the limit is a multiple of. The age is rounded up,
/// so that it is never shown as the limit itself.
fn too_old(seconds: u64, most: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let fits = |(unit, _): &&(u64, &str)| most > 0 && most % unit == 0;
    let (unit, name) = units.iter().find(fits).unwrap_or(&(1, "s"));
    format!("{}{name} > {}{name}", seconds.div_ceil(*unit), most / unit)
}
