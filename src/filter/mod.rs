//! Which models are kept, and the rule that decides.
//!
//! [`Rules`] hold what the user typed; a [`Filter`] is compiled from them. A model is kept if a
//! pattern of `regexp` matches its whole id or a name of `simple` equals it, and no `exclude` rule
//! does. Limits: patterns are those of the `regex` crate, without look-around and backreferences.
//! Ids are judged as the upstream spells them, without the prefix.

mod judge;
mod pattern;
mod rules;

pub use judge::{Filter, Rule, Verdict};
pub use pattern::PatternError;
pub use rules::Rules;
