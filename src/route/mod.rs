//! Where a request goes, by its method and target.

mod class;
mod target;

pub use self::class::Class;
pub use self::target::{Route, by_prefix, decode, folded, route, strip_raw_prefix};
