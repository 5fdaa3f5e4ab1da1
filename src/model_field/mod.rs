//! The models that a request's body names, and the body with other names in their places.
//!
//! [`find`] returns the bytes of the names: in JSON the value of the top-level key `model` and the
//! items of `models`, in multipart (RFC 7578) the content of the part `model`. [`Names::replace`]
//! changes these bytes only. A body that an upstream might read differently, for example one that names two
//! models, is refused. Limits: the body is complete and not compressed; the charset of a part is
//! ignored.

mod field;
mod form;
mod json;
mod kind;
mod multipart;
mod names;
mod part;
mod plain;

pub use field::{Form, ModelField, check_length};
pub use kind::{BodyKind, check_encoding, find};
pub use names::Names;
