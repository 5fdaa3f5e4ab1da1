//! What an upstream answers: its head, and its body to be read.
//!
//! Limits: no trailers; no transfer coding but `chunked`.

use std::io::Read;
use std::rc::Rc;

use ureq::{Timeout, http};

use super::transport::{self, Call};
use super::{Upstream, cause};
use crate::elastic;
use crate::error::{Code, Error};
use crate::headers::Headers;

/// The head of an upstream's response, and its body to be read.
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// All header fields as they came.
    pub headers: Headers,
    /// The body's length where the upstream gave it; that of `HEAD` too.
    pub length: Option<u64>,
    body: ureq::BodyReader<'static>,
    call: Rc<Call>,
    upstream: &'a Upstream,
}

impl<'a> Answer<'a> {
    pub(super) fn new(
        response: http::Response<ureq::Body>,
        call: Rc<Call>,
        upstream: &'a Upstream,
    ) -> Result<Answer<'a>, Error> {
        let (head, body) = response.into_parts();
        let mut headers = Headers::with_capacity(head.headers.len());
        for (name, value) in &head.headers {
            headers.push(name.as_str(), value.as_bytes());
        }
        let chunked = headers.lists("transfer-encoding", "chunked");
        let length = headers.get_str("content-length").filter(|_| !chunked);
        let length = length.and_then(|value| value.split(',').next()?.trim().parse().ok());
        let status = head.status.as_u16();
        Answer { status, headers, length, body: body.into_reader(), call, upstream }.checked()
    }

    /// The answer itself, where it is one that can be understood to its end.
    fn checked(self) -> Result<Self, Error> {
        if self.status < 200 {
            return Err(self.invalid(&format!("an unexpected status {}", self.status)));
        }
        let is_other = |coding: &[u8]| !coding.eq_ignore_ascii_case(b"chunked");
        if self.headers.get_all("transfer-encoding").any(is_other) {
            return Err(self.invalid("a transfer coding other than chunked"));
        }
        Ok(self)
    }

    /// Reads the next part of the body, as soon as there is one; 0 bytes are its end.
    ///
    /// # Errors
    /// 499 where the client left meanwhile, 502 for a body that is cut, 504 for one that
    /// made no progress for `idle_timeout`.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let Answer { body, call, upstream, .. } = self;
        let read = call.during(|| body.read(buffer));
        read.map_err(|error| upstream.failure_inside(&error.into(), call))
    }

    /// Reads what has arrived of the body and does not wait: 0 bytes may also be its end.
    ///
    /// # Errors
    /// As [`Answer::read`].
    pub fn read_arrived(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let Answer { body, call, upstream, .. } = self;
        match call.without_waiting(|| body.read(buffer)) {
            Ok(read) => Ok(read),
            Err(error) => {
                let error = ureq::Error::from(error);
                match transport::is_timeout(&error) {
                    Some(_) => Ok(0),
                    None => Err(upstream.failure_inside(&error, call)),
                }
            }
        }
    }

    /// Reads the rest of the body.
    ///
    /// # Errors
    /// As [`Answer::read`], and 502 for a body longer than `limit` bytes.
    pub fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let expected = self.length.map_or(0, |length| length.min(elastic::MOST as u64));
        let mut whole = Vec::with_capacity(expected as usize);
        let Answer { body, call, upstream, .. } = self;
        let read = call.during(|| body.take(limit as u64 + 1).read_to_end(&mut whole));
        read.map_err(|error| upstream.failure_inside(&error.into(), call))?;
        if whole.len() > limit {
            let what = format!("the body is longer than {limit} bytes");
            return Err(self.invalid(&what));
        }
        Ok(whole)
    }

    /// An error that says what is wrong with this answer.
    pub fn invalid(&self, what: &str) -> Error {
        let message = format!("upstream {:?}: {what}", self.upstream.name);
        Error::upstream(Code::UpstreamInvalidResponse, message)
    }
}

impl Upstream {
    fn failure_inside(&self, error: &ureq::Error, call: &Call) -> Error {
        if call.client_left() {
            return Error::client_left();
        }
        let (code, what) = match transport::is_timeout(error) {
            Some(Timeout::Global) => {
                let what = "the whole response did not arrive in time";
                (Code::UpstreamTimeout, what.to_owned())
            }
            Some(_) => {
                let waited = self.idle_timeout.as_secs_f64();
                (Code::UpstreamTimeout, format!("the response made no progress for {waited} s"))
            }
            None => {
                let what = format!("the response broke off: {}", cause(error));
                (Code::UpstreamInvalidResponse, what)
            }
        };
        Error::upstream(code, format!("upstream {:?}: {what}", self.name))
    }
}
