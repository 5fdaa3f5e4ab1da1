//! The destination of a request, by its method and target. Pure.

mod class;
mod kinds;
mod model_id;
mod percent;
mod prefix;
mod query;
mod segments;
mod target;
#[cfg(test)]
mod target_tests;

pub use self::class::Class;
pub use self::kinds::is_read;
pub use self::model_id::{by_prefix, folded, strip_raw_prefix, without_method};
pub use self::percent::{decode, encode};
pub use self::prefix::{by_name, origin_form};
pub use self::query::{QueryModel, model_in_query};
pub use self::target::{Route, route};
