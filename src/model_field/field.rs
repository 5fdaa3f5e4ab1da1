//! Where a body names its model, and another name in that place.

use std::ops::Range;

use crate::error::Error;

/// The longest name, in bytes: those of real models have some dozens.
pub(super) const LONGEST: usize = 1024;

/// Where a body names its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelField {
    /// The name, decoded.
    pub name: String,
    /// The bytes to replace: in JSON the string literal with its quotes, in multipart the content
    /// of the part.
    pub span: Range<usize>,
    /// How a name is written there.
    pub form: Form,
}

/// How a name is written into a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As a string literal.
    Json,
    /// As it is.
    Multipart,
}

impl ModelField {
    /// Gives the body another name, in its place: a body may be long, and there is to be one of
    /// it. `body` must be the one in which this field was found.
    pub fn replace(&self, body: &mut Vec<u8>, name: &str) {
        let written = match self.form {
            Form::Json => serde_json::Value::from(name).to_string(),
            Form::Multipart => name.to_owned(),
        };
        body.splice(self.span.clone(), written.into_bytes());
    }
}

/// Judges how long a name is, in bytes. It is copied, for the log too, and so it must not take as
/// much memory as a body.
///
/// # Errors
/// 400 for more than 1,024 bytes.
pub fn check_length(length: usize) -> Result<(), Error> {
    if length > LONGEST {
        let what = format!("the name of the model is longer than {LONGEST} bytes");
        return Err(Error::bad_request(what));
    }
    Ok(())
}

pub(super) fn two_models() -> Error {
    Error::bad_request("the body names its model twice")
}
