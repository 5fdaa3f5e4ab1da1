//! Which models are kept, the rule that decides, the order, and rules that do nothing.
//!
//! [`Rules`] hold what the user typed; a [`Filter`] is compiled from them. A model is kept if a
//! pattern of `regexp` matches its whole id and it meets the [`Conditions`], or if a name of
//! `simple` equals its id, and no `exclude` rule does. Limits: patterns are those of the `regex` crate, without look-around and backreferences.
//! Ids are judged as the upstream spells them, without the prefix.

mod advice;
mod choice;
mod conditions;
mod judge;
mod matcher;
mod order;
mod pattern;
mod rule;
mod rules;
mod suggest;

pub use advice::{Finding, Idle, nothing_kept};
pub use choice::Choice;
pub use conditions::{Conditions, Failure, Word};
pub use judge::Filter;
pub use order::{Order, Place};
pub use pattern::PatternError;
pub use rule::{Rule, Verdict};
pub use rules::Rules;
pub use suggest::{Suggestion, Why, nearest_id};
