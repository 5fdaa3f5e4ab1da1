//! A request whose client was admitted: the upstream that it goes to, and the upstream's answer.

use std::borrow::Cow;
use std::sync::Arc;

use super::deliver::Outcome;
use super::hint;
use super::hold::{Body, BodyReader, hold, too_large};
use super::redirect::{self, Address};
use super::view::{Choice, View};
use crate::config::Hidden;
use crate::error::Error;
use crate::framing::BodyLength;
use crate::headers::Headers;
use crate::logging::Value;
use crate::offer::{Offer, Refusal};
use crate::record::Record;
use crate::server::Exchange;
use crate::text::cut;
use crate::upstream::{Answer, Place, Request, Upload};

/// Fields of a response that speak for the whole origin, which is ours and not the upstream's.
const ORIGIN_WIDE: [&str; 9] = [
    "alt-svc",
    "clear-site-data",
    "expect-ct",
    "nel",
    "public-key-pins",
    "public-key-pins-report-only",
    "report-to",
    "service-worker-allowed",
    "strict-transport-security",
];

/// A request whose client was admitted.
pub(super) struct Admitted<'e> {
    pub(super) exchange: &'e mut Exchange,
    pub(super) record: &'e mut Record,
    /// The header fields that may go to an upstream.
    pub(super) headers: Headers,
    /// The path behind the root path and the name of an upstream.
    pub(super) path: &'e str,
    /// How the client reaches the upstream.
    pub(super) address: Address<'e>,
    /// Whether the response has CORS fields of ours.
    pub(super) has_cors: bool,
    /// Whether a browser shows the response as a document.
    pub(super) is_shown: bool,
}

impl Admitted<'_> {
    /// Any other path: relayed to the upstream that the model in the body points to, or in the query of
    /// an upgrade.
    pub(super) fn relay<'v>(
        mut self,
        view: &'v View,
        place: Place<'_>,
    ) -> Result<Outcome<'v>, Refusal> {
        if let Some(protocol) = self.exchange.protocol().map(str::to_owned) {
            return self.upgrade(view, place, &protocol);
        }
        let mut body = hold(self.exchange, &view.holding)?;
        let Choice { offer, prefix, alias } = self.choose_by_body(view, &body)?;
        if view.holding.is_needed && body.held_length() > offer.max_body {
            return Err(too_large(offer.max_body).into());
        }
        let lacks_prefix = alias.is_none() && prefix.is_empty() && !view.prefix(offer).is_empty();
        if let Some(model) = body.model().filter(|_| lacks_prefix) {
            let (model, prefix) = (Value(model), Value(view.prefix(offer)));
            let what = "model has no known prefix; relaying it unchanged";
            log::warn!("msg=\"{what}\" model={model} prefix={prefix}");
        }
        body.rename(|model| {
            let choice = view.choose(Some(model)).ok()?;
            let id = choice.id(model);
            (id != model).then(|| Cow::Owned(id.to_owned()))
        });
        Ok(self.ask(offer, place, body).map(Outcome::Upstream)?)
    }

    /// The upstream that the models in a body point to; notes the first of them in the record.
    ///
    /// # Errors
    /// As [`Admitted::choose`], for each model; 400 if they point to different upstreams.
    fn choose_by_body<'v>(&mut self, view: &'v View, body: &Body) -> Result<Choice<'v>, Refusal> {
        let mut models = body.models();
        let model = models.next();
        self.record.model = model.map(str::to_owned);
        let choice = self.choose(view, model)?;
        self.record.target = choice.alias.map(|alias| alias.target.clone());
        for other in models {
            let offer = self.choose(view, Some(other))?.offer;
            if !Arc::ptr_eq(offer, choice.offer) {
                let (name, other_name) = (choice.offer.upstream.name(), offer.upstream.name());
                let (model, other) = (cut(model.unwrap_or_default()), cut(other));
                let what = format!(
                    "the models of a request must be those of one upstream: {model:?} is of \
                     {name:?}, {other:?} in `models` of {other_name:?}"
                );
                return Err(Error::bad_request(what).into());
            }
        }
        Ok(choice)
    }

    /// The upstream that a model points to, if requests may name that model. An alias may be named
    /// whatever becomes of its target.
    ///
    /// # Errors
    /// 404 for a model that is hidden or has no upstream; 400 without a model; the failure of the
    /// list that the model is judged by.
    pub(super) fn choose<'v>(
        &mut self,
        view: &'v View,
        model: Option<&str>,
    ) -> Result<Choice<'v>, Refusal> {
        let choice = view.choose(model)?;
        if let Some(model) = model.filter(|_| choice.alias.is_none()) {
            if !self.admits(choice.offer, choice.id(model), false)? {
                return Err(Error::model_not_found(model).into());
            }
        }
        Ok(choice)
    }

    /// Whether a request may name a model of an upstream, given without the prefix. `reads`: if the
    /// request asks about the model, one that does not meet the conditions does not exist, whatever
    /// `hidden` says.
    ///
    /// # Errors
    /// The failure of the list that the model is judged by.
    pub(super) fn admits(
        &mut self,
        offer: &Arc<Offer>,
        id: &str,
        reads: bool,
    ) -> Result<bool, Refusal> {
        let is_rejected = offer.hidden == Hidden::Reject;
        let is_judged = is_rejected || (reads && offer.filter.has_conditions());
        if !is_judged {
            return Ok(true);
        }
        let rule = offer.hidden_by(id, &self.headers, &*self.exchange.wanted());
        if rule.is_err() {
            self.record.upstream = Some(offer.upstream.name().to_owned());
        }
        let rule = rule?;
        let admits = rule.is_none();
        self.record.hidden_by = rule.filter(|_| is_rejected);
        Ok(admits)
    }

    /// Sends the request to an upstream. The header fields of its answer are those that may go to
    /// the client. The held body is dropped afterwards, because the answer may be a long stream.
    ///
    /// # Errors
    /// Those of the upstream, and of the client's body.
    pub(super) fn ask<'a>(
        self,
        offer: &'a Offer,
        place: Place<'_>,
        body: Body,
    ) -> Result<Box<Answer<'a>>, Error> {
        self.ask_to_switch(offer, place, body, None)
    }

    /// [`Admitted::ask`], with the protocol that the upstream is asked to switch to.
    pub(super) fn ask_to_switch<'a>(
        self,
        offer: &'a Offer,
        place: Place<'_>,
        body: Body,
        protocol: Option<&str>,
    ) -> Result<Box<Answer<'a>>, Error> {
        let Admitted { exchange, record, headers, path, address, .. } = self;
        let (has_cors, is_shown) = (self.has_cors, self.is_shown);
        record.upstream = Some(offer.upstream.name().to_owned());
        let (method, client) = (exchange.method().to_owned(), exchange.wanted());
        let send = |upload| {
            let request = Request { method: &method, place, headers, upload, protocol };
            offer.upstream.send(request, client)
        };
        let answer = match &body {
            Body::Held { bytes, .. } => send(Upload::Whole(bytes.as_slice())),
            Body::Streamed { front } => {
                let length = exchange.body_length();
                let mut reader = BodyReader::new(front.as_slice(), exchange);
                let answer = send(match length {
                    BodyLength::None => Upload::None,
                    BodyLength::Known(length) => Upload::Known(length, &mut reader),
                    BodyLength::Chunked => Upload::Chunked(&mut reader),
                });
                // If the client's body failed, that is the cause, whatever the upstream answered.
                reader.failure().map_or(answer, Err)
            }
        };
        let mut answer = answer.map(Box::new)?;
        hint::give(record, path, answer.status);
        record.upstream_request_id = Record::request_id_in(&answer.headers);
        let base_url = offer.upstream.base_url();
        let address = address.of(offer);
        redirect::rewrite(&mut answer.headers, base_url, &address, exchange.headers());
        let protocol = answer.headers.get_str("upgrade").map(str::to_owned);
        answer.headers.strip_hop_by_hop();
        if answer.switched.is_some() {
            answer.headers.push("Upgrade", protocol.unwrap_or_default());
            answer.headers.push("Connection", "Upgrade");
        }
        answer.headers.remove("content-length");
        strip_for_client(&mut answer.headers, has_cors, is_shown);
        if exchange.headers().is_of_page() {
            // Other programs on this machine would get them, because cookies ignore ports.
            answer.headers.remove_any(&["set-cookie", "set-cookie2"]);
        }
        Ok(answer)
    }
}

/// Removes the fields of an upstream's response that are not for the client. `has_cors`: fields of ours
/// allow its page to read the response; `is_shown`: a browser shows it as a document.
pub(super) fn strip_for_client(headers: &mut Headers, has_cors: bool, is_shown: bool) {
    headers.remove_any(&ORIGIN_WIDE);
    if is_shown {
        headers.remove("x-content-type-options");
    }
    if has_cors {
        headers.remove_all("access-control-");
    }
}
