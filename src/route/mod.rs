//! The destination of a request, by its method and target. Pure.

mod class;
mod model_id;
mod percent;
mod segments;
mod target;

pub use self::class::Class;
pub use self::model_id::{by_prefix, folded, strip_raw_prefix};
pub use self::percent::decode;
pub use self::target::{Route, is_read, route};
