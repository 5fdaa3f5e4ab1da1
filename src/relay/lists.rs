//! Lists of models: the catalog, and lists in a server's own shape, such as Ollama's `/api/tags`.

use std::mem::take;
use std::sync::Arc;

use super::admitted::Admitted;
use super::deliver::Outcome;
use super::hold::{Body, hold};
use super::redirect;
use super::view::{Choice, View};
use crate::catalog::Catalog;
use crate::error::Error;
use crate::json;
use crate::offer::{Offer, Refusal};
use crate::record::Record;
use crate::reply::Reply;
use crate::upstream::{Answer, Place};

/// The longest list that is read, in bytes.
const LIST_LIMIT: usize = 64 * 1024 * 1024;

/// Fields of a request that ask for less than the whole of a list, or whether it is still the same.
const CONDITIONS: [&str; 6] =
    ["if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "range"];

/// Fields of a response that are wrong once its body has changed.
const OF_THE_BODY: [&str; 8] = [
    "accept-ranges",
    "content-digest",
    "content-md5",
    "digest",
    "etag",
    "last-modified",
    "repr-digest",
    "x-content-sha256",
];

impl Admitted<'_> {
    /// The list of models.
    ///
    /// # Errors
    /// As [`View::list`].
    pub(super) fn list<'v>(
        self,
        view: &'v View,
        query: Option<&str>,
    ) -> Result<Outcome<'v>, Error> {
        let Admitted { exchange, record, headers, address, .. } = self;
        let mut catalog = view.list(&headers, query, &*exchange.wanted())?;
        if let Some(offer) = view.only() {
            record.upstream = Some(offer.upstream.name().to_owned());
            if let Catalog::Mirrored(reply) = &mut catalog {
                record.upstream_request_id = Record::request_id_in(&reply.headers);
                let headers = &mut Arc::make_mut(reply).headers;
                redirect::rewrite(headers, offer.upstream.base_url(), &address, exchange.headers());
            }
        }
        let known = exchange.headers().get_all("if-none-match");
        Ok(match catalog.head().unchanged(known) {
            Some(reply) => Outcome::Own(reply),
            None => Outcome::List(catalog),
        })
    }

    /// A list in a server's own shape, filtered.
    ///
    /// # Errors
    /// 400 if several upstreams may be meant; 502 if the response is no list.
    pub(super) fn native<'v>(
        mut self,
        view: &'v View,
        place: Place<'_>,
    ) -> Result<Outcome<'v>, Refusal> {
        let body = hold(self.exchange, &view.holding)?;
        let Choice { offer, .. } = self.choose(view, None)?;
        self.judge_body(view, offer, &body)?;
        let names = offer.catalog_names(&self.headers, &*self.exchange.wanted())?;
        let is_head = self.exchange.method() == "HEAD";
        let mut answer = self.ask_to_change(offer, place, body)?;
        match answer.status {
            200 | 203 => {}
            status @ 201..=299 => {
                let what = format!("its list of models has an unexpected status {status}");
                return Err(answer.invalid(&what).into());
            }
            _ => return Ok(Outcome::Upstream(answer)),
        }
        if is_head {
            return Ok(changed_head(answer));
        }
        let body = answer.read_decoded(LIST_LIMIT)?;
        match offer.filtered_body(&body, view.name.is_none(), names.as_ref()) {
            Ok(list) => Ok(changed(answer, list)),
            // LM Studio reports unknown paths with status 200.
            Err(_) if is_error(&body) => Ok(unchanged(answer, body)),
            Err(what) => Err(answer.invalid(&format!("its list of models {what}")).into()),
        }
    }

    /// Asks for a response that will be changed: whole, and not compressed.
    ///
    /// # Errors
    /// Those of the upstream.
    pub(super) fn ask_to_change<'a>(
        mut self,
        offer: &'a Offer,
        place: Place<'_>,
        body: Body,
    ) -> Result<Box<Answer<'a>>, Error> {
        self.headers.remove_any(&CONDITIONS);
        self.headers.remove("accept-encoding");
        self.headers.push("Accept-Encoding", "identity");
        self.ask(offer, place, body)
    }
}

/// A response whose body was changed, without the fields that describe the upstream's body.
pub(super) fn changed<'a>(mut answer: Box<Answer<'_>>, body: String) -> Outcome<'a> {
    answer.headers.remove_any(&OF_THE_BODY);
    unchanged(answer, body.into_bytes())
}

/// A response whose body was read and stays as it is.
pub(super) fn unchanged<'a>(mut answer: Box<Answer<'_>>, body: Vec<u8>) -> Outcome<'a> {
    let headers = take(&mut answer.headers);
    Outcome::Own(Reply { status: answer.status, headers, body })
}

/// The response to `HEAD` in front of a body that is changed: its length is not known.
pub(super) fn changed_head(mut answer: Box<Answer<'_>>) -> Outcome<'_> {
    answer.headers.remove_any(&OF_THE_BODY);
    answer.length = None;
    Outcome::Upstream(answer)
}

/// Whether a body is a JSON object with a member `error`, and none that may hold models.
fn is_error(body: &[u8]) -> bool {
    let text = std::str::from_utf8(body).ok();
    let members = text.and_then(|text| json::members(text, ["error", "data", "models"]).ok());
    members.is_some_and(|[error, data, models]| {
        error.value.is_some() && data.value.is_none() && models.value.is_none()
    })
}
