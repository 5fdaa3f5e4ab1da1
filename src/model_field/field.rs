//! The bytes of a body that name its model.

use std::ops::Range;

use crate::error::Error;

/// The longest name, in bytes. Real models have some dozens.
pub(super) const LONGEST: usize = 1024;

/// The place of a body's model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelField {
    /// The name, decoded.
    pub name: String,
    /// The bytes to replace: in JSON the string literal with its quotes, in multipart the content
    /// of the part.
    pub span: Range<usize>,
    /// How the body spells a name.
    pub form: Form,
    /// The digits of a `Content-Length` of the part, which changes with the name.
    pub length: Option<Range<usize>>,
}

/// How a body spells a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As a string literal.
    Json,
    /// Verbatim.
    Multipart,
}

impl ModelField {
    /// Replaces the name in place, because a body may be too long for a copy. `body` must be the
    /// one in which this field was found.
    pub fn replace(&self, body: &mut Vec<u8>, name: &str) {
        body.splice(self.span.clone(), self.written(name));
        if let Some(length) = &self.length {
            body.splice(length.clone(), name.len().to_string().into_bytes());
        }
    }

    /// A name as this body spells it.
    pub(super) fn written(&self, name: &str) -> Vec<u8> {
        match self.form {
            Form::Json => serde_json::Value::from(name).to_string().into_bytes(),
            Form::Multipart => name.as_bytes().to_vec(),
        }
    }
}

/// Checks the length of a name, in bytes. Names are copied, for the log too, and must not take as
/// much memory as a body.
///
/// # Errors
/// 400 if it is longer than 1,024 bytes.
pub fn check_length(length: usize) -> Result<(), Error> {
    if length > LONGEST {
        let what = format!("the model's name is longer than {LONGEST} bytes");
        return Err(Error::bad_request(what));
    }
    Ok(())
}

/// Checks a name: its length, and that no reader of C strings can take it for a shorter one.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    check_length(name.len())?;
    match name.contains('\0') {
        true => Err(Error::bad_request("the model's name contains a NUL")),
        false => Ok(()),
    }
}

pub(super) fn malformed(what: &str) -> Error {
    Error::bad_request(format!("the multipart body is malformed: {what}"))
}

pub(super) fn two_models() -> Error {
    Error::bad_request("the body names its model twice")
}
