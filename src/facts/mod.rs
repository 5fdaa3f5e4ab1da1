//! What a list says about a model: prices, limits, modalities, what it supports, its age.
//!
//! No standard names these fields, so that `dialects.rs` has a row for each kind of list, with
//! its source. Limits: a fact that the list does not state, or states in another type or unit than
//! its dialect, is unknown; nothing is guessed from an id.

mod date;
mod dialects;
mod entry;
mod price;
mod read;
mod said;
mod scan;

pub use self::dialects::{DIALECTS, Dialect};
pub use self::entry::{Entry, Facts};
pub use self::price::Price;
pub use self::said::{Said, Set, canonical};
