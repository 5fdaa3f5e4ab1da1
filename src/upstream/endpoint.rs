//! The address and the timeouts of an upstream, and what a failure to reach it means.

use std::io;
use std::time::Duration;

use ureq::Timeout;

use super::transport::{Call, PATH_TIMEOUT, is_path_timeout, timeout_of};
use crate::error::{Code, Error};

/// The address and the timeouts of an upstream.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) name: String,
    pub(super) base_url: String,
    pub(super) connect_timeout: Duration,
    pub(super) total_timeout: Duration,
    pub(super) idle_timeout: Duration,
}

impl Endpoint {
    /// The meaning of an error before the head of the response. `within` is the deadline
    /// of the whole exchange, if it has one.
    pub(super) fn failure(
        &self,
        error: &ureq::Error,
        call: &Call,
        within: Option<Duration>,
    ) -> Error {
        if call.client_left() {
            return Error::client_left();
        }
        if let Some(timeout) = timeout_of(error) {
            let (what, waited) = match timeout {
                Timeout::Connect | Timeout::Resolve => ("no connection", self.connect_timeout),
                Timeout::RecvResponse | Timeout::Global => {
                    ("no response", within.unwrap_or(self.total_timeout))
                }
                _ => {
                    let waited = self.idle_timeout.as_secs_f64();
                    let what = format!("no progress for {waited} s");
                    return self.error(Code::UpstreamTimeout, &what);
                }
            };
            let what = format!("{what} within {} s", waited.as_secs_f64());
            return self.error(Code::UpstreamTimeout, &what);
        }
        if is_unacknowledged(error) && !call.is_connecting() {
            return self.unacknowledged();
        }
        let cause = cause(error);
        if matches!(error, ureq::Error::Io(error) if is_shortage(error)) {
            let what = format!("no connection can be opened: {cause}");
            return Error::proxy(Code::Overloaded, what);
        }
        if call.is_connecting() || matches!(error, ureq::Error::HostNotFound) {
            let what = format!("no connection: {cause}");
            self.error(Code::UpstreamUnreachable, &what)
        } else {
            self.invalid(&format!("no valid response: {cause}"))
        }
    }

    /// The meaning of an error while the body of the response was read.
    pub(super) fn failure_in_body(&self, error: &ureq::Error, call: &Call) -> Error {
        if call.client_left() {
            return Error::client_left();
        }
        match timeout_of(error) {
            Some(Timeout::Global) => {
                let what = "the whole response did not arrive in time";
                self.error(Code::UpstreamTimeout, what)
            }
            Some(_) => {
                let waited = self.idle_timeout.as_secs_f64();
                let what = format!("the response made no progress for {waited} s");
                self.error(Code::UpstreamTimeout, &what)
            }
            None if is_unacknowledged(error) => self.unacknowledged(),
            None => self.invalid(&format!("the response broke off: {}", cause(error))),
        }
    }

    /// The error for a response that is not valid.
    pub(super) fn invalid(&self, what: &str) -> Error {
        self.error(Code::UpstreamInvalidResponse, what)
    }

    fn unacknowledged(&self) -> Error {
        let seconds = PATH_TIMEOUT;
        let what = format!("the upstream did not acknowledge the connection for {seconds} s");
        self.error(Code::UpstreamTimeout, &what)
    }

    fn error(&self, code: Code, what: &str) -> Error {
        Error::upstream(code, format!("upstream {:?}: {what}", self.name)).at(&self.base_url)
    }
}

/// Whether the upstream acknowledged nothing for [`PATH_TIMEOUT`].
fn is_unacknowledged(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(error) if is_path_timeout(error))
}

/// Whether the process or the system is out of file descriptors.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// The innermost reason, in lower case.
fn cause(error: &ureq::Error) -> String {
    let text = match error {
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    let mut letters = text.chars();
    match letters.next() {
        // An abbreviation such as TLS stays.
        Some(first) if !text[first.len_utf8()..].starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text,
    }
}
