//! Where a request goes, by its method and target. Pure.

mod class;
mod model_id;
mod percent;
mod segments;
mod target;

pub use self::class::Class;
pub use self::model_id::{by_prefix, folded, strip_raw_prefix, without_method};
pub use self::percent::decode;
pub use self::target::{Route, by_name, is_read, origin_form, route};
