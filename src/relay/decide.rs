//! Decides what the response is: admits the client, routes by path and model, asks the upstream.

use std::mem::take;
use std::sync::Arc;

use super::deliver::Outcome;
use super::hold::{Body, BodyReader, Holding, hold, too_large};
use crate::admin;
use crate::admission::{Admission, Cors};
use crate::catalog::catalog;
use crate::config::Hidden;
use crate::error::{Code, Error};
use crate::framing::BodyLength;
use crate::headers::Headers;
use crate::list::prefixed_model;
use crate::logging::Value;
use crate::model_field::check_length;
use crate::offer::Offer;
use crate::record::Record;
use crate::reply::Reply;
use crate::route::{Class, Route, by_prefix, folded, route, strip_raw_prefix};
use crate::server::Exchange;
use crate::upstream::{Answer, Place, Request, Upload};

/// The longest model object that is read to put the prefix before its id, in bytes.
const MODEL_LIMIT: usize = 4 * 1024 * 1024;

/// The rules by which requests are admitted and routed.
#[derive(Debug)]
pub(super) struct Router {
    offers: Vec<Arc<Offer>>,
    holding: Holding,
    admission: Admission,
    root_path: String,
}

/// A request whose client was admitted.
struct Admitted<'e> {
    exchange: &'e mut Exchange,
    record: &'e mut Record,
    /// The header fields that may go to an upstream.
    headers: Headers,
    /// Whether the response has CORS fields of ours.
    has_cors: bool,
}

impl Router {
    pub(super) fn new(offers: Vec<Arc<Offer>>, admission: Admission, root_path: String) -> Router {
        Router { holding: Holding::new(&offers), offers, admission, root_path }
    }

    pub(super) fn offers(&self) -> &[Arc<Offer>] {
        &self.offers
    }

    /// Decides on a request, and notes in the record what is known of it.
    ///
    /// # Errors
    /// Those of every step: the response is then the error.
    #[inline(never)] // keeps its temporaries off the stack while a response is streamed
    pub(super) fn decide(
        &self,
        exchange: &mut Exchange,
        record: &mut Record,
    ) -> Result<Outcome<'_>, Error> {
        let target = exchange.target().to_owned();
        let route = route(exchange.method(), &target, &self.root_path);
        if let Some(error) = exchange.refusal() {
            // Health and metrics answer even if all workers are busy.
            let is_quick = matches!(&route, Ok(Route::Own { path }) if admin::is_quick(path));
            if error.code != Code::Overloaded || !is_quick {
                return Err(error.clone());
            }
        }
        let cors = self.admission.check_origin(exchange.method(), exchange.headers())?;
        let Cors { headers, preflight } = cors;
        let has_cors = !headers.is_empty();
        exchange.add_to_response(headers);
        if let Some(reply) = preflight {
            return Ok(Outcome::Own(reply));
        }
        record.class = route.as_ref().map(Route::class).unwrap_or_default();
        // The paths below /-/ have rules of their own for who may ask.
        let has_our_key =
            record.class != Class::Own && self.admission.check_key(exchange.headers())?;
        let route = route?;
        if asks_upgrade(exchange.headers()) {
            let what = "upgrades (WebSocket) are not supported";
            return Err(Error::client(Code::Unsupported, what));
        }
        let headers = for_upstream(exchange.headers(), has_our_key);
        let request = Admitted { exchange, record, headers, has_cors };
        match route {
            Route::Catalog { query } => self.list(request, query),
            Route::Model { id, raw_id, query } => self.model(request, id, raw_id, query),
            Route::Below { rest } => self.relay(request, Place::Below(rest)),
            Route::Beside { path } => self.relay(request, Place::Beside(path)),
            Route::Own { path } => self.own(request.exchange, path),
        }
    }

    /// One of the program's own paths.
    fn own(&self, exchange: &mut Exchange, path: &str) -> Result<Outcome<'_>, Error> {
        let (method, headers) = (exchange.method().to_owned(), exchange.headers().clone());
        let (peer, client) = (exchange.peer(), exchange.wanted());
        let request = admin::Request {
            method: &method,
            path,
            peer,
            headers: &headers,
            body: &mut exchange.body(),
            client: &*client,
        };
        admin::answer(request, &self.offers, &self.admission).map(Outcome::Own)
    }

    /// The list of models.
    fn list(&self, request: Admitted<'_>, query: Option<&str>) -> Result<Outcome<'_>, Error> {
        let Admitted { exchange, record, headers, .. } = request;
        if let [offer] = self.offers.as_slice() {
            record.upstream = Some(offer.upstream.name().to_owned());
        }
        catalog(&self.offers, &headers, query, &*exchange.wanted()).map(Outcome::List)
    }

    /// A path below `/models/`.
    fn model(
        &self,
        request: Admitted<'_>,
        id: String,
        raw_id: &str,
        query: Option<&str>,
    ) -> Result<Outcome<'_>, Error> {
        check_length(id.len())?;
        request.record.model = Some(id.clone());
        let folded = folded(&id);
        let (choice, folded_choice) = (self.choose(Some(&id))?, self.choose(Some(&folded))?);
        let reads = matches!(request.exchange.method(), "GET" | "HEAD");
        // A model that is not listed does not exist, in whichever spelling.
        if reads && !(choice.lists(&id) && folded_choice.lists(&folded)) {
            return Err(Error::model_not_found(&id));
        }
        let Choice { offer, prefix } = choice;
        let rest = strip_raw_prefix(raw_id, prefix).unwrap_or(raw_id);
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let place = format!("/models/{rest}{query}");
        if reads && !offer.upstream.prefix().is_empty() {
            return request.ask_for_model(offer, &place);
        }
        let body = if reads { Body::default() } else { hold(request.exchange, &self.holding)? };
        // The body may name another model than the path.
        self.choose(body.model().or(Some(&id)))?;
        request.ask(offer, Place::Below(&place), body).map(Outcome::Upstream)
    }

    /// Any other path: relayed to the upstream that the model in the body points to.
    fn relay(&self, request: Admitted<'_>, place: Place<'_>) -> Result<Outcome<'_>, Error> {
        let mut body = hold(request.exchange, &self.holding)?;
        request.record.model = body.model().map(str::to_owned);
        let Choice { offer, prefix } = self.choose(body.model())?;
        if self.holding.is_needed && body.held_length() > offer.max_body {
            return Err(too_large(offer.max_body));
        }
        match body.model() {
            Some(model) if prefix.is_empty() && !offer.upstream.prefix().is_empty() => {
                let (model, prefix) = (Value(model), Value(offer.upstream.prefix()));
                let what = "model has no known prefix; relaying it unchanged";
                log::warn!("msg=\"{what}\" model={model} prefix={prefix}");
            }
            _ => body.strip_model(prefix),
        }
        request.ask(offer, place, body).map(Outcome::Upstream)
    }

    /// The upstream that a model points to.
    fn choose(&self, model: Option<&str>) -> Result<Choice<'_>, Error> {
        let prefixes = self.offers.iter().map(|offer| offer.upstream.prefix());
        let choice = match (by_prefix(prefixes, model), self.offers.as_slice()) {
            (Some(index), offers) => {
                Choice { offer: &offers[index], prefix: offers[index].upstream.prefix() }
            }
            // As in the Python program: the only upstream gets every request.
            (None, [only]) => Choice { offer: only, prefix: "" },
            (None, _) => return Err(self.no_upstream(model)),
        };
        match model {
            Some(model) if choice.offer.hidden == Hidden::Reject && !choice.keeps(model) => {
                Err(Error::model_not_found(model))
            }
            _ => Ok(choice),
        }
    }

    fn no_upstream(&self, model: Option<&str>) -> Error {
        let prefixes = self.offers.iter().map(|offer| format!("{:?}", offer.upstream.prefix()));
        let known =
            format!("; models begin with one of {}", prefixes.collect::<Vec<_>>().join(", "));
        let mut error = match model {
            Some(model) => Error::model_not_found(model),
            None => Error::bad_request("cannot choose an upstream: the request has no \"model\""),
        };
        error.message += &known;
        error
    }
}

/// An upstream for a model.
struct Choice<'a> {
    offer: &'a Offer,
    /// The prefix that the model has: the upstream's, or none.
    prefix: &'a str,
}

impl Choice<'_> {
    /// Whether the filter keeps the model.
    fn keeps(&self, model: &str) -> bool {
        self.offer.filter.keeps(&model[self.prefix.len()..])
    }

    /// Whether the catalog would show the model under this id.
    fn lists(&self, id: &str) -> bool {
        self.prefix == self.offer.upstream.prefix() && self.keeps(id)
    }
}

impl Admitted<'_> {
    /// Sends the request to an upstream. The header fields of its answer are those that may go to
    /// the client. The held body is dropped afterwards, because the answer may be a long stream.
    fn ask<'a>(
        self,
        offer: &'a Offer,
        place: Place<'_>,
        body: Body,
    ) -> Result<Box<Answer<'a>>, Error> {
        let Admitted { exchange, record, headers, has_cors } = self;
        record.upstream = Some(offer.upstream.name().to_owned());
        let (method, client) = (exchange.method().to_owned(), exchange.wanted());
        let send = |upload| {
            let request = Request { method: &method, place, headers, upload };
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
        answer.headers.strip_hop_by_hop();
        answer.headers.remove("content-length");
        if has_cors {
            answer.headers.remove_all("access-control-");
        }
        Ok(answer)
    }

    /// Asks for one model, and puts the prefix before its id, as in the list.
    fn ask_for_model<'a>(mut self, offer: &'a Offer, place: &str) -> Result<Outcome<'a>, Error> {
        // A compressed body could not be changed.
        self.headers.remove("accept-encoding");
        self.headers.push("Accept-Encoding", "identity");
        let is_head = self.exchange.method() == "HEAD";
        let mut answer = self.ask(offer, Place::Below(place), Body::default())?;
        if !matches!(answer.status, 200..=299) {
            return Ok(Outcome::Upstream(answer));
        }
        if is_head {
            // The length is that of a body without the prefix.
            answer.length = None;
            return Ok(Outcome::Upstream(answer));
        }
        let mut body = answer.read_to_end(MODEL_LIMIT)?;
        let text = std::str::from_utf8(&body).ok();
        let prefixed = text.and_then(|text| prefixed_model(text, offer.upstream.prefix()));
        if let Some(prefixed) = prefixed {
            body = prefixed.into_bytes();
        }
        let headers = take(&mut answer.headers);
        Ok(Outcome::Own(Reply { status: answer.status, headers, body }))
    }
}

/// The header fields of a request that may go to an upstream, without `Host` and those that frame
/// the body.
fn for_upstream(headers: &Headers, has_our_key: bool) -> Headers {
    let mut headers = headers.clone();
    headers.strip_hop_by_hop();
    if has_our_key {
        headers.strip_credentials();
    }
    headers.remove("host");
    headers.remove("content-length");
    // `100 Continue` is sent here, when the body is read.
    headers.remove("expect");
    headers
}

/// Whether a request asks for another protocol. An offer of HTTP/2 does not count: a server may
/// ignore it (RFC 7540 §3.2), and some clients send it with every first request.
fn asks_upgrade(headers: &Headers) -> bool {
    headers.lists("connection", "upgrade")
        && headers.contains("upgrade")
        && !headers.lists("upgrade", "h2c")
}
