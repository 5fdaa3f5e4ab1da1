//! The list of models of one upstream: fetched, filtered, cached.
//!
//! [`crate::list`] knows what a list looks like; here it is only asked for. A client waits for a
//! list only if there is none that may be returned. Limits: a list is read into memory, up to
//! 64 MiB.

mod aliases;
mod fetch;
mod idle_rules;
mod judge;
mod listed;
mod listing;
mod missing;
mod names;
mod outcome;
mod question;
mod refresh;
mod upstream;

pub use self::aliases::Aliases;
pub use self::judge::{JudgedArray, seconds_since_1970};
pub use self::listing::{Listing, add_validator, digest};
pub use self::names::Names;
pub use self::outcome::{Inventory, Refusal};
pub use self::question::Question;
pub use self::refresh::keep_fresh;
pub use self::upstream::Offer;
