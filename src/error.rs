//! The errors of an exchange.
//!
//! An [`Error`] has the side that failed ([`Source`]) for the log, a [`Code`] for the client, which
//! also decides the HTTP status, and a message. Limits: errors of the configuration are a type of
//! their own.

use std::fmt;

use crate::text::cut;

/// The side that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The request was wrong, or the client left.
    Client,
    /// The remote API could not be reached, or violated HTTP.
    Upstream,
    /// This program.
    Proxy,
}

impl Source {
    /// The word the log uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Client => "client",
            Source::Upstream => "upstream",
            Source::Proxy => "proxy",
        }
    }
}

/// The codes of the program's own errors, as in `error.code` and in the header
/// `x-model-filter-error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 400: the request cannot be understood.
    BadRequest,
    /// 401: the client's key is wrong.
    InvalidApiKey,
    /// 403: the web page, or the client of a path below `/-/`, may not call.
    ForbiddenHost,
    /// 404: a model that is hidden or does not exist.
    ModelNotFound,
    /// 404: an unknown path below `/-/`, or a list of models that would not be filtered.
    NotFound,
    /// 409: the file of rules has changed since the page read it.
    Conflict,
    /// 408: the request's body did not arrive in time.
    RequestTimeout,
    /// 413: the request's body is longer than `max_body`.
    RequestTooLarge,
    /// 499, in the log only: the client left before its response was complete.
    ClientLeft,
    /// 500: a bug.
    Internal,
    /// 426: an upgrade whose upstream is not known or ignores it. Clients fall back to HTTP at once, not on
    /// 501.
    UpgradeUnsupported,
    /// 501: `CONNECT`, `TRACE` or `TRACK`.
    Unsupported,
    /// 502: no connection to the upstream.
    UpstreamUnreachable,
    /// 502: the upstream's response is not HTTP, is cut, or is not a list of models.
    UpstreamInvalidResponse,
    /// 503: no worker, memory or file descriptor is left.
    Overloaded,
    /// 503: the program is about to end.
    ShuttingDown,
    /// 504: the upstream was silent for too long.
    UpstreamTimeout,
}

impl Code {
    /// All codes that have a name of their own.
    pub const ALL: [Code; 16] = [
        Code::BadRequest,
        Code::InvalidApiKey,
        Code::ForbiddenHost,
        Code::ModelNotFound,
        Code::NotFound,
        Code::Conflict,
        Code::RequestTimeout,
        Code::RequestTooLarge,
        Code::ClientLeft,
        Code::Internal,
        Code::Unsupported,
        Code::UpstreamUnreachable,
        Code::UpstreamInvalidResponse,
        Code::Overloaded,
        Code::ShuttingDown,
        Code::UpstreamTimeout,
    ];

    /// The status of the response, and of the log.
    pub fn status(self) -> u16 {
        self.both().0
    }

    /// The code as clients see it.
    pub fn as_str(self) -> &'static str {
        self.both().1
    }

    fn both(self) -> (u16, &'static str) {
        match self {
            Code::BadRequest => (400, "bad_request"),
            Code::InvalidApiKey => (401, "invalid_api_key"),
            Code::ForbiddenHost => (403, "forbidden_host"),
            Code::ModelNotFound => (404, "model_not_found"),
            Code::NotFound => (404, "not_found"),
            Code::Conflict => (409, "conflict"),
            Code::RequestTimeout => (408, "request_timeout"),
            Code::RequestTooLarge => (413, "request_too_large"),
            Code::ClientLeft => (499, "client_left"),
            Code::Internal => (500, "internal_error"),
            Code::UpgradeUnsupported => (426, "unsupported"),
            Code::Unsupported => (501, "unsupported"),
            Code::UpstreamUnreachable => (502, "upstream_unreachable"),
            Code::UpstreamInvalidResponse => (502, "upstream_invalid_response"),
            Code::Overloaded => (503, "overloaded"),
            Code::ShuttingDown => (503, "shutting_down"),
            Code::UpstreamTimeout => (504, "upstream_timeout"),
        }
    }
}

/// Why an exchange failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The side that failed.
    pub source: Source,
    /// The code for the client.
    pub code: Code,
    /// The failure and its reason, in lower case and without a credential, as the client reads it.
    pub message: String,
    /// The address of the upstream, which only the log shows.
    pub address: Option<String>,
}

impl Error {
    fn new(source: Source, code: Code, message: String) -> Error {
        Error { source, code, message, address: None }
    }

    /// The same error, of the upstream at this address.
    #[must_use]
    pub fn at(mut self, address: &str) -> Error {
        self.address = Some(address.to_owned());
        self
    }

    /// The message with the address, for the log and the operator's terminal.
    pub fn in_full(&self) -> String {
        match &self.address {
            Some(address) => format!("{} ({address})", self.message),
            None => self.message.clone(),
        }
    }

    /// An error of the request.
    pub fn client(code: Code, message: impl Into<String>) -> Error {
        Error::new(Source::Client, code, message.into())
    }

    /// An error of the upstream.
    pub fn upstream(code: Code, message: impl Into<String>) -> Error {
        Error::new(Source::Upstream, code, message.into())
    }

    /// An error of this program, or a limit that it reached.
    pub fn proxy(code: Code, message: impl Into<String>) -> Error {
        Error::new(Source::Proxy, code, message.into())
    }

    /// A request that cannot be understood: 400.
    pub fn bad_request(message: impl Into<String>) -> Error {
        Error::client(Code::BadRequest, message)
    }

    /// A model that is hidden or does not exist, in OpenAI's words: 404.
    pub fn model_not_found(model: &str) -> Error {
        let model = cut(model);
        let message = format!("the model '{model}' does not exist or you do not have access to it");
        Error::client(Code::ModelNotFound, message)
    }

    /// The client closed its connection: 499, in the log only.
    pub fn client_left() -> Error {
        Error::client(Code::ClientLeft, "the client closed the connection")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
