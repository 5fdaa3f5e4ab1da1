//! Where a request goes, by its method and target. Pure.

mod class;
mod model_id;
mod target;

pub use self::class::Class;
pub use self::model_id::{by_prefix, decode, folded, strip_raw_prefix};
pub use self::target::{Route, route};
