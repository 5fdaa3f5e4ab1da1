//! The response of an upstream: its head, and its body to be read.
//!
//! Limits: no trailers; no transfer coding but `chunked`.

use std::io::Read;
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use ureq::http;

use super::endpoint::Endpoint;
use super::transport::{Call, Switched, timeout_of};
use crate::elastic;
use crate::error::Error;
use crate::headers::Headers;
use crate::text::cut;

/// The head of an upstream's response, and its body to be read.
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// All header fields as they came.
    pub headers: Headers,
    /// The body's length if the upstream gave it, for `HEAD` too.
    pub length: Option<u64>,
    /// Behind a 101: the connection, which from then on has another protocol.
    pub switched: Option<Box<Switched>>,
    body: ureq::BodyReader<'static>,
    call: Rc<Call>,
    endpoint: &'a Endpoint,
}

impl<'a> Answer<'a> {
    pub(super) fn new(
        response: http::Response<ureq::Body>,
        call: Rc<Call>,
        endpoint: &'a Endpoint,
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
        let switched = if status == 101 { call.take_switched() } else { None };
        if status < 200 && switched.is_none() {
            return Err(endpoint.invalid(&format!("an unexpected status {status}")));
        }
        let is_other = |coding: &[u8]| !coding.eq_ignore_ascii_case(b"chunked");
        if headers.get_all("transfer-encoding").any(is_other) {
            return Err(endpoint.invalid("a transfer coding other than chunked"));
        }
        let body = body.into_reader();
        Ok(Answer { status, headers, length, switched, body, call, endpoint })
    }

    /// Waits for the next part of the body and reads it. 0 bytes are its end.
    ///
    /// # Errors
    /// 499 if the client left meanwhile, 502 for a body that is cut, 504 for one that made no
    /// progress for `idle_timeout`.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let Answer { body, call, endpoint, .. } = self;
        let read = call.during(|| body.read(buffer));
        read.map_err(|error| endpoint.failure_in_body(&error.into(), call))
    }

    /// Reads what has arrived of the body, without waiting. 0 bytes: nothing has, or the body
    /// has ended.
    ///
    /// # Errors
    /// As [`Answer::read`].
    pub fn read_arrived(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let Answer { body, call, endpoint, .. } = self;
        call.without_waiting(|| body.read(buffer)).or_else(|error| {
            let error = ureq::Error::from(error);
            match timeout_of(&error) {
                Some(_) => Ok(0),
                None => Err(endpoint.failure_in_body(&error, call)),
            }
        })
    }

    /// Reads the rest of the body.
    ///
    /// # Errors
    /// As [`Answer::read`], and 502 for a body longer than `limit` bytes.
    pub fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let expected = self.length.map_or(0, |length| length.min(elastic::MOST as u64));
        let mut whole = Vec::with_capacity(expected as usize);
        let Answer { body, call, endpoint, .. } = self;
        let read = call.during(|| body.take(limit as u64 + 1).read_to_end(&mut whole));
        read.map_err(|error| endpoint.failure_in_body(&error.into(), call))?;
        if whole.len() > limit {
            return Err(self.invalid(&format!("the body is longer than {limit} bytes")));
        }
        Ok(whole)
    }

    /// Reads the rest of a body that must not be compressed. Some servers and caches send gzip
    /// although identity was asked for: it is decoded.
    ///
    /// # Errors
    /// As [`Answer::read_to_end`], also for the decoded body; 502 for any other coding.
    pub fn read_decoded(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let codings = self.headers.get_all("content-encoding").collect::<Vec<_>>().join(&b',');
        let coding = String::from_utf8_lossy(&codings).trim().to_ascii_lowercase();
        let is_gzip = match coding.as_str() {
            "" | "identity" => false,
            "gzip" | "x-gzip" => true,
            other => {
                let coding = cut(other);
                let what = format!("the body has the coding {coding:?}, though none was asked for");
                return Err(self.invalid(&what));
            }
        };
        let body = self.read_to_end(limit)?;
        self.headers.remove("content-encoding");
        if !is_gzip {
            return Ok(body);
        }
        let mut decoded = Vec::new();
        let mut decoder = MultiGzDecoder::new(body.as_slice()).take(limit as u64 + 1);
        match decoder.read_to_end(&mut decoded) {
            Err(error) => Err(self.invalid(&format!("the body is no valid gzip: {error}"))),
            Ok(_) if decoded.len() > limit => {
                Err(self.invalid(&format!("the decoded body is longer than {limit} bytes")))
            }
            Ok(_) => Ok(decoded),
        }
    }

    /// The error for a response that is not valid; `what` is wrong with it.
    pub fn invalid(&self, what: &str) -> Error {
        self.endpoint.invalid(what)
    }
}
