//! The rules of a filter as the user typed them.

use super::conditions::Conditions;
use super::order::Order;
use super::pattern::PatternError;

/// The rules as the user typed them.
#[derive(Debug, Default, Clone)]
pub struct Rules {
    /// Whether patterns and names distinguish upper and lower case.
    pub case_sensitive: bool,
    /// Patterns of whole ids to keep. `None` differs from an empty list: see
    /// [`Filter::new`](super::Filter::new).
    pub regexp: Option<Vec<String>>,
    /// Ids to keep.
    pub simple: Option<Vec<String>>,
    /// Patterns of whole ids to hide although another rule keeps them.
    pub exclude_regexp: Vec<String>,
    /// Ids to hide although another rule keeps them.
    pub exclude_simple: Vec<String>,
    /// What models must be that no name of `simple` keeps.
    pub conditions: Conditions,
    /// How the kept models are sorted; `None` differs from the upstream's order: see
    /// [`Filter::order`](super::Filter::order).
    pub order: Option<Order>,
    /// Pattern of the model to put at the head of the list.
    pub default: Option<String>,
}

impl Rules {
    /// Blanks a pattern that does not compile, so that the others can be tried. Indices stay.
    pub fn forget(&mut self, error: &PatternError) {
        let patterns = self.regexp.iter_mut().flatten().chain(&mut self.exclude_regexp);
        let same = patterns.chain(&mut self.default).filter(|pattern| **pattern == error.pattern);
        same.for_each(String::clear);
    }
}
