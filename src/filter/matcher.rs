//! A list of patterns and a list of names, compiled.

use std::collections::HashMap;

use super::pattern::{Compiler, Id, Pattern, PatternError, folded};
use super::rule::Rule;

/// A list of patterns and a list of names.
#[derive(Debug, Clone)]
pub(super) struct Matcher {
    pub(super) regexp_key: &'static str,
    pub(super) patterns: Vec<Pattern>,
    pub(super) simple_key: &'static str,
    /// The names as typed.
    pub(super) names: Vec<String>,
    /// From a folded name to its first index in `names`.
    name_index: HashMap<String, usize>,
}

impl Matcher {
    /// Each list comes with its key in the configuration.
    pub(super) fn new(
        compiler: &Compiler,
        (regexp_key, patterns): (&'static str, &[String]),
        (simple_key, names): (&'static str, &[String]),
    ) -> Result<Matcher, PatternError> {
        let compiled = patterns.iter().enumerate().map(|(index, pattern)| {
            compiler.whole_match(format!("{regexp_key}[{index}]"), pattern)
        });
        let patterns = compiled.collect::<Result<_, _>>()?;
        let mut name_index = HashMap::new();
        for (index, name) in names.iter().enumerate() {
            name_index.entry(folded(name, compiler.case_sensitive)).or_insert(index);
        }
        Ok(Matcher { regexp_key, patterns, simple_key, names: names.to_vec(), name_index })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.names.is_empty()
    }

    /// The first name or pattern that matches an id. A name is looked up first because it is
    /// the more specific reason, and cheaper.
    pub(super) fn rule_for(&self, id: &Id<'_>) -> Option<Rule> {
        if let Some(&index) = self.name_index.get(&id.folded) {
            let typed = self.names[index].clone();
            return Some(Rule::Entry { list: self.simple_key, index, typed });
        }
        let index = self.patterns.iter().position(|pattern| pattern.is_match(id))?;
        let typed = self.patterns[index].typed.clone();
        Some(Rule::Entry { list: self.regexp_key, index, typed })
    }
}
