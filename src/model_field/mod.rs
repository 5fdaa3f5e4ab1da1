//! The model that a request's body names, and the body with another name in that place.
//!
//! [`find`] returns the bytes of the name: in JSON the value of the top-level key `model`, in
//! multipart (RFC 7578) the content of the part `model`. [`ModelField::replace`] changes these
//! bytes only. A body that an upstream might read differently, for example one that names two
//! models, is refused. Limits: the body is complete and not compressed; the charset of a part is
//! ignored.

mod field;
mod form;
mod json;
mod kind;
mod multipart;
mod part;
mod plain;

pub use field::{Form, ModelField, check_length};
pub use kind::{BodyKind, check_encoding, find};
