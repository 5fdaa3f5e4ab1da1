//! Which models are kept, and by which rule.
//!
//! [`Rules`] are what was typed, a [`Filter`] is what it means: an id is kept where one of the
//! patterns matches the whole of it or one of the names equals it, and hidden again where an
//! `exclude` does. Limits: the patterns are those of the `regex` crate, so there is no look-around
//! and no backreference. Ids are judged as the upstream spells them, without our prefix.

mod judge;
mod pattern;
mod rules;

pub use judge::{Filter, Rule, Verdict};
pub use pattern::PatternError;
pub use rules::Rules;
