//! Where a request's body names its model, and the body with another name in that place.
//!
//! Nothing is parsed into a tree and written again: [`find`] tells which bytes hold the name, in
//! JSON the value of the top-level `model` key, in multipart (RFC 7578) the content of the part
//! called `model`, and [`ModelField::replace`] exchanges these bytes only. A body that names two
//! models is refused, because an upstream might go by the other one. Limits: bodies are whole and
//! uncompressed; line ends in multipart are CRLF, as RFC 2046 has them, and what lax readers might
//! understand otherwise is refused; the charset of a part is not looked at.

mod field;
mod json;
mod kind;
mod multipart;
mod parameters;

pub use field::{Form, ModelField, check_length};
pub use kind::{BodyKind, body_kind, find};
