//! The rules of a filter as they were typed.

use super::pattern::PatternError;

/// The rules as they were typed.
#[derive(Debug, Default, Clone)]
pub struct Rules {
    /// Whether upper and lower case are told apart, in patterns and names alike.
    pub case_sensitive: bool,
    /// Patterns of whole ids to keep. `None` is not the same as empty: see [`Filter::new`].
    pub regexp: Option<Vec<String>>,
    /// Ids to keep.
    pub simple: Option<Vec<String>>,
    /// Patterns of whole ids to hide among those that would be kept.
    pub exclude_regexp: Vec<String>,
    /// Ids to hide among those that would be kept.
    pub exclude_simple: Vec<String>,
    /// Pattern of the model that belongs at the head of the list.
    pub default: Option<String>,
}

impl Rules {
    /// Leaves out a pattern that does not compile, so that the others can be tried. None moves.
    pub fn forget(&mut self, error: &PatternError) {
        let patterns = self.regexp.iter_mut().flatten().chain(&mut self.exclude_regexp);
        let same = patterns.chain(&mut self.default).filter(|pattern| **pattern == error.pattern);
        same.for_each(String::clear);
    }
}
