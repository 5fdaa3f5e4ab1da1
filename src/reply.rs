//! Whole responses, and the shape of the program's own errors.
//!
//! Errors have the shape of the OpenAI API, so that client libraries raise what their users
//! expect. The header `x-model-filter-error` distinguishes them from an upstream's.

use serde::Serialize;
use serde_json::json;

use crate::error::Error;
use crate::headers::Headers;

/// A whole response; the framing is added when it is sent.
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
    /// The response 304, if a client that sent these `If-None-Match` fields has the body of this one
    /// already (RFC 9110 §13.1.2).
    pub fn unchanged<'v>(&self, known: impl Iterator<Item = &'v [u8]>) -> Option<Reply> {
        let own = self.headers.get("etag")?;
        let is_own = |tag: &[u8]| {
            let tag = tag.trim_ascii();
            tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == own
        };
        let mut known = known.flat_map(|value| value.split(|byte| *byte == b','));
        known.any(is_own).then(|| {
            let mut headers = self.headers.clone();
            headers.remove("content-type");
            Reply { status: 304, headers, body: Vec::new() }
        })
    }

    /// A response without a body.
    pub fn empty(status: u16) -> Reply {
        Reply { status, headers: guarded(NOTHING), body: Vec::new() }
    }

    /// A response in JSON.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        let headers = guarded(NOTHING).with("Content-Type", "application/json");
        Reply { status, headers, body: body.into() }
    }

    /// A response that must not be cached.
    pub fn fresh(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
        let headers =
            guarded(NOTHING).with("Content-Type", content_type).with("Cache-Control", "no-store");
        Reply { status, headers, body: body.into() }
    }

    /// A file of the page, with the Content-Security-Policy of the page.
    pub fn file(content_type: &str, policy: &str, text: &str) -> Reply {
        let headers =
            guarded(policy).with("Content-Type", content_type).with("Cache-Control", "no-cache");
        Reply { status: 200, headers, body: text.into() }
    }

    /// The same, in JSON.
    pub fn fresh_json(value: &impl Serialize) -> Reply {
        let body = serde_json::to_vec(value).expect("text and numbers can be written as JSON");
        Reply::fresh(200, "application/json", body)
    }

    /// The response to an error.
    pub fn error(error: &Error) -> Reply {
        let mut reply = Reply::json(error.code.status(), error_object(error));
        reply.headers.push("x-model-filter-error", error.code.as_str());
        match error.code.status() {
            503 => reply.headers.push("Retry-After", "1"),
            // RFC 9110 §15.5.22 and §7.8 require these fields.
            426 => {
                reply.headers.push("Upgrade", "websocket");
                reply.headers.push("Connection", "upgrade");
            }
            _ => {}
        }
        reply
    }
}

/// The Content-Security-Policy of what is no page.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// Header fields for browsers in all our responses: a page of another site must not frame the
/// response, guess its type or embed it, and learns no address from it.
fn guarded(policy: &str) -> Headers {
    Headers::new()
        .with("Content-Security-Policy", policy)
        .with("X-Content-Type-Options", "nosniff")
        .with("Cross-Origin-Resource-Policy", "same-origin")
        .with("Referrer-Policy", "no-referrer")
}

/// An API, as far as its errors differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// OpenAI's, which most providers speak.
    OpenAi,
    /// Anthropic's, below `/v1/messages`.
    Anthropic,
    /// Google's, for `{id}:streamGenerateContent`.
    Gemini,
}

/// The error as the last event of a stream.
pub fn error_event(error: &Error, api: Api) -> String {
    let (message, status) = (&error.message, error.code.status());
    let object = match api {
        Api::OpenAi => error_object(error),
        // docs.anthropic.com/en/api/errors
        Api::Anthropic => {
            let kind = if status == 504 { "timeout_error" } else { "api_error" };
            let details = json!({"type": kind, "message": message});
            json!({"type": "error", "error": details}).to_string()
        }
        // google.rpc.Code
        Api::Gemini => {
            let name = if status == 504 { "DEADLINE_EXCEEDED" } else { "UNAVAILABLE" };
            json!({"error": {"code": status, "message": message, "status": name}}).to_string()
        }
    };
    let name = if api == Api::Anthropic { "event: error\n" } else { "" };
    format!("{name}data: {object}\n\n")
}

/// The error as a JSON object of the OpenAI API.
fn error_object(error: &Error) -> String {
    let kind = if error.code.status() < 500 { "invalid_request_error" } else { "server_error" };
    let (message, code) = (&error.message, error.code.as_str());
    let object = ErrorObject { error: Details { message, kind, param: None, code } };
    serde_json::to_string(&object).expect("text and null can be written as JSON")
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    error: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}
