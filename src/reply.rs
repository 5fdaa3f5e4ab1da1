//! Our own answers: what this program says when it does not relay.
//!
//! Errors have the shape of the OpenAI API, so that its client libraries raise what
//! their users expect, and carry `x-model-filter-error`, so that a person can tell
//! them from an upstream's.

use crate::error::{Code, Error};
use crate::headers::Headers;

/// A whole answer: framing is added when it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Header fields, without those that frame the body.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// An answer in JSON.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        let headers = Headers::new().with("Content-Type", "application/json");
        Reply { status, headers, body: body.into() }
    }

    /// An error of our own.
    pub fn error(error: &Error) -> Reply {
        let mut reply = Reply::json(error.code.status(), error_object(error).to_string());
        reply.headers.push("x-model-filter-error", error.code.as_str());
        if error.code == Code::Overloaded {
            reply.headers.push("Retry-After", "1");
        }
        reply
    }
}

/// The error as the OpenAI API writes it.
pub fn error_object(error: &Error) -> serde_json::Value {
    let kind = if error.code.status() < 500 { "invalid_request_error" } else { "server_error" };
    serde_json::json!({"error": {
        "message": error.message,
        "type": kind,
        "param": null,
        "code": error.code.as_str(),
    }})
}
