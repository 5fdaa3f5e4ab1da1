//! The facts of one exchange, for the log, the recent exchanges and the metrics.

use std::net::SocketAddr;
use std::time::Duration;

use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::route::Class;
use crate::text::{cut, loggable};

/// The facts of one exchange. [`Record::sent`] is added when it has ended.
#[derive(Debug)]
pub struct Record {
    /// The address of the client.
    pub client: SocketAddr,
    /// The method.
    pub method: String,
    /// The path of the target, without the query.
    pub path: String,
    /// The kind of request.
    pub class: Class,
    /// The `x-request-id` of the client.
    pub request_id: Option<String>,
    /// The `x-request-id` of the upstream's response, or its `request-id`.
    pub upstream_request_id: Option<String>,
    /// The model that the request named, if it was read.
    pub model: Option<String>,
    /// The id of the model that it points to, if it is an alias.
    pub target: Option<String>,
    /// The rule by which the model was refused: `hidden: reject`.
    pub hidden_by: Option<String>,
    /// The name of the upstream that was chosen.
    pub upstream: Option<String>,
    /// The response as it was sent.
    pub sent: Sent,
    /// The failure, on any side.
    pub error: Option<Error>,
}

/// The response as it was sent: status, times and sizes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent {
    /// The status of the response.
    pub status: u16,
    /// From taking the request to the first byte of the response.
    pub first_byte: Duration,
    /// From taking the request to the end of the response.
    pub total: Duration,
    /// Bytes of the request's body that were read.
    pub bytes_in: u64,
    /// Bytes of the response's body that were written.
    pub bytes_out: u64,
    /// Whether the whole response was written.
    pub complete: bool,
}

impl Record {
    /// The record of a request that has arrived.
    pub fn new(client: SocketAddr, method: &str, target: &str) -> Record {
        Record {
            client,
            method: method.to_owned(),
            path: loggable(target).to_owned(),
            class: Class::default(),
            request_id: None,
            upstream_request_id: None,
            model: None,
            target: None,
            hidden_by: None,
            upstream: None,
            sent: Sent::default(),
            error: None,
        }
    }

    /// The id of a request among these header fields, of which OpenAI's and Anthropic's APIs have
    /// one each.
    pub fn request_id_in(headers: &Headers) -> Option<String> {
        let id = headers.get_str("x-request-id").or_else(|| headers.get_str("request-id"))?;
        Some(cut(id).into_owned()).filter(|id| !id.is_empty())
    }

    /// Why the exchange failed, for the operator; none if it did not.
    pub fn failure(&self) -> Option<String> {
        let rule = self.hidden_by.as_ref().map(|rule| format!("hidden: {rule}"));
        rule.or_else(|| self.error.as_ref().map(Error::in_full))
    }

    /// The status for logs and metrics: 499 if the client left, else the one that was sent.
    pub fn status(&self) -> u16 {
        match &self.error {
            Some(error) if error.code == Code::ClientLeft => error.code.status(),
            _ => self.sent.status,
        }
    }
}
