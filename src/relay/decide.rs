//! Decides what the response is: admits the client, routes by path and model, asks the upstream.

use std::mem::take;
use std::sync::Arc;

use super::deliver::Outcome;
use super::hold::{Body, BodyReader, Holding, hold, too_large};
use crate::admin;
use crate::admission::{Admission, Cors, is_navigation};
use crate::catalog::{Catalog, Twins, catalog};
use crate::error::{Code, Error};
use crate::framing::BodyLength;
use crate::headers::Headers;
use crate::json;
use crate::list::{List, prefixed_model};
use crate::logging::Value;
use crate::model_field::check_length;
use crate::offer::{Offer, Refusal};
use crate::record::Record;
use crate::reply::Reply;
use crate::route::{Class, Route, by_prefix, folded, is_read, route, strip_raw_prefix};
use crate::server::Exchange;
use crate::upstream::{Answer, Place, Request, Upload};

/// The longest model object that is read to put the prefix before its id, in bytes.
const MODEL_LIMIT: usize = 4 * 1024 * 1024;

/// The longest list in a server's own shape that is read, in bytes.
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

/// Fields by which some servers take a request for another one, so that its path or method would
/// not have been judged.
const OVERRIDES: [&str; 5] = [
    "x-original-url",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

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

/// The rules by which requests are admitted and routed.
#[derive(Debug)]
pub(super) struct Router {
    offers: Vec<Arc<Offer>>,
    twins: Twins,
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
    /// Whether a browser shows the response as a document.
    is_shown: bool,
}

impl Router {
    pub(super) fn new(offers: Vec<Arc<Offer>>, admission: Admission, root_path: String) -> Router {
        let (holding, twins) = (Holding::new(&offers), Twins::default());
        Router { holding, twins, offers, admission, root_path }
    }

    pub(super) fn offers(&self) -> &[Arc<Offer>] {
        &self.offers
    }

    /// Notes a client whose key was refused, which may take a second.
    pub(super) fn note_refused(&self, exchange: &Exchange) {
        // A request that is turned away is answered by the thread that takes the next one.
        let may_wait = exchange.refusal().is_none();
        self.admission.note_refused(exchange.peer(), exchange.headers(), may_wait);
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
        let is_own = matches!(&route, Ok(Route::Own { .. }));
        let cors = self.admission.check_origin(exchange.method(), exchange.headers(), is_own)?;
        let Cors { mut headers, preflight } = cors;
        let has_cors = !headers.is_empty();
        let is_shown = !is_own && is_navigation(exchange.headers());
        if is_shown {
            // A script in an upstream's page would be one of our origin.
            headers.push("Content-Security-Policy", "sandbox");
            headers.push("X-Content-Type-Options", "nosniff");
        }
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
        let request = Admitted { exchange, record, headers, has_cors, is_shown };
        let outcome = match route {
            Route::Catalog { query } => self.list(request, query).map_err(Refusal::Failed),
            Route::Native { is_below: true, target } => self.native(request, Place::Below(target)),
            Route::Native { is_below: false, target } => {
                self.native(request, Place::Beside(target))
            }
            Route::Own { path } => return self.own(request.exchange, path),
            Route::Model { id, raw_id, beside, query } => {
                self.model(request, id, (beside, raw_id, query))
            }
            Route::Below { rest } => self.relay(request, Place::Below(rest)),
            Route::Beside { path } => self.relay(request, Place::Beside(path)),
        };
        let refusal = match outcome {
            Err(Refusal::Mirrored(refusal)) => refusal,
            Err(Refusal::Failed(error)) => return Err(error),
            Ok(Outcome::List(Catalog::Mirrored(refusal))) => refusal,
            Ok(outcome) => return Ok(outcome),
        };
        // Like the response to any other exchange.
        let mut reply = Arc::unwrap_or_clone(refusal);
        strip_for_client(&mut reply.headers, has_cors, is_shown);
        Ok(Outcome::Own(reply))
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
        let client = exchange.wanted();
        let catalog = catalog(&self.offers, &self.twins, &headers, query, &*client)?;
        let known = exchange.headers().get_all("if-none-match");
        Ok(match catalog.head().unchanged(known) {
            Some(reply) => Outcome::Own(reply),
            None => Outcome::List(catalog),
        })
    }

    /// A list in a server's own shape, filtered.
    fn native(&self, mut request: Admitted<'_>, place: Place<'_>) -> Result<Outcome<'_>, Refusal> {
        let Choice { offer, .. } = self.choose(&mut request, None)?;
        request.headers.remove_any(&CONDITIONS);
        let is_head = request.exchange.method() == "HEAD";
        let mut answer = request.ask_uncompressed(offer, place)?;
        match answer.status {
            200 | 203 => {}
            status @ 201..=299 => {
                let what = format!("its list of models has an unexpected status {status}");
                return Err(answer.invalid(&what).into());
            }
            _ => return Ok(Outcome::Upstream(answer)),
        }
        answer.headers.remove_any(&OF_THE_BODY);
        if is_head {
            // The length is that of the unfiltered list.
            answer.length = None;
            return Ok(Outcome::Upstream(answer));
        }
        let mut body = answer.read_decoded(LIST_LIMIT)?;
        match List::find(&body) {
            Ok(mut list) => {
                list.filter(|models| offer.choose(models));
                body = list.write(offer.upstream.prefix()).body.into_bytes();
            }
            // LM Studio reports unknown paths with status 200.
            Err(_) if is_error(&body) => {}
            Err(what) => return Err(answer.invalid(&format!("its list of models {what}")).into()),
        }
        let headers = take(&mut answer.headers);
        Ok(Outcome::Own(Reply { status: answer.status, headers, body }))
    }

    /// A path below `/models/`: what is before the raw id if it is beside the base URL, the raw id,
    /// and the query.
    fn model<'r>(
        &self,
        mut request: Admitted<'_>,
        id: String,
        (beside, raw_id, query): (Option<&'r str>, &'r str, Option<&'r str>),
    ) -> Result<Outcome<'_>, Refusal> {
        check_length(id.len())?;
        request.record.model = Some(id.clone());
        let Choice { offer, prefix } = self.choose(&mut request, Some(&id))?;
        let own_id = &id[prefix.len()..];
        let folded_id = folded(own_id);
        request.check_model(offer, &folded_id, &id)?;
        let reads = is_read(request.exchange.method());
        // A model that is not listed does not exist, in whichever spelling. Without a name, the
        // path would be that of the list.
        let is_listed = prefix == offer.upstream.prefix()
            && !folded_id.is_empty()
            && [own_id, &folded_id].iter().all(|id| offer.filter.keeps(id));
        if reads && !is_listed {
            return Err(Error::model_not_found(&id).into());
        }
        let rest = strip_raw_prefix(raw_id, prefix).unwrap_or(raw_id);
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("{}{rest}{query}", beside.unwrap_or("/models/"));
        let place = if beside.is_some() { Place::Beside(&path) } else { Place::Below(&path) };
        if reads && (!offer.upstream.prefix().is_empty() || offer.own_model(&folded_id).is_some()) {
            return Ok(request.ask_for_model(offer, place, &folded_id)?);
        }
        let body = if reads { Body::default() } else { hold(request.exchange, &self.holding)? };
        // The body may name another model than the path.
        if let Some(model) = body.model() {
            self.choose(&mut request, Some(model))?;
        }
        Ok(request.ask(offer, place, body).map(Outcome::Upstream)?)
    }

    /// Any other path: relayed to the upstream that the model in the body points to.
    fn relay(&self, mut request: Admitted<'_>, place: Place<'_>) -> Result<Outcome<'_>, Refusal> {
        let mut body = hold(request.exchange, &self.holding)?;
        request.record.model = body.model().map(str::to_owned);
        let Choice { offer, prefix } = self.choose(&mut request, body.model())?;
        if self.holding.is_needed && body.held_length() > offer.max_body {
            return Err(too_large(offer.max_body).into());
        }
        match body.model() {
            Some(model) if prefix.is_empty() && !offer.upstream.prefix().is_empty() => {
                let (model, prefix) = (Value(model), Value(offer.upstream.prefix()));
                let what = "model has no known prefix; relaying it unchanged";
                log::warn!("msg=\"{what}\" model={model} prefix={prefix}");
            }
            _ => body.strip_model(prefix),
        }
        Ok(request.ask(offer, place, body).map(Outcome::Upstream)?)
    }

    /// The upstream that a model points to, if requests may name that model.
    ///
    /// # Errors
    /// 404 for a model that is hidden or has no upstream; 400 without a model; the failure of the
    /// list that the model is judged by.
    fn choose(
        &self,
        request: &mut Admitted<'_>,
        model: Option<&str>,
    ) -> Result<Choice<'_>, Refusal> {
        let prefixes = self.offers.iter().map(|offer| offer.upstream.prefix());
        let choice = match (by_prefix(prefixes, model), self.offers.as_slice()) {
            (Some(index), offers) => {
                Choice { offer: &offers[index], prefix: offers[index].upstream.prefix() }
            }
            // As in the Python program: the only upstream gets every request.
            (None, [only]) => Choice { offer: only, prefix: "" },
            (None, _) => return Err(self.no_upstream(model).into()),
        };
        if let Some(model) = model {
            request.check_model(choice.offer, &model[choice.prefix.len()..], model)?;
        }
        Ok(choice)
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
    offer: &'a Arc<Offer>,
    /// The prefix that the model has: the upstream's, or none.
    prefix: &'a str,
}

impl Admitted<'_> {
    /// Checks that a request may name a model of an upstream: its id there, and as the client named
    /// it.
    ///
    /// # Errors
    /// 404 if it may not; the failure of the list that the model is judged by.
    fn check_model(&mut self, offer: &Arc<Offer>, id: &str, named: &str) -> Result<(), Refusal> {
        let admits = offer.admits(id, &self.headers, &*self.exchange.wanted());
        if admits.is_err() {
            self.record.upstream = Some(offer.upstream.name().to_owned());
        }
        if admits? { Ok(()) } else { Err(Error::model_not_found(named).into()) }
    }

    /// Sends the request to an upstream. The header fields of its answer are those that may go to
    /// the client. The held body is dropped afterwards, because the answer may be a long stream.
    fn ask<'a>(
        self,
        offer: &'a Offer,
        place: Place<'_>,
        body: Body,
    ) -> Result<Box<Answer<'a>>, Error> {
        let Admitted { exchange, record, headers, has_cors, is_shown } = self;
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
        strip_for_client(&mut answer.headers, has_cors, is_shown);
        Ok(answer)
    }

    /// Sends a request without a body, whose response must not be compressed: it is changed.
    fn ask_uncompressed<'a>(
        mut self,
        offer: &'a Offer,
        place: Place<'_>,
    ) -> Result<Box<Answer<'a>>, Error> {
        self.headers.remove("accept-encoding");
        self.headers.push("Accept-Encoding", "identity");
        self.ask(offer, place, Body::default())
    }

    /// Asks for one model, and puts the prefix before its id, as in the list.
    fn ask_for_model<'a>(
        self,
        offer: &'a Offer,
        place: Place<'_>,
        id: &str,
    ) -> Result<Outcome<'a>, Error> {
        let is_head = self.exchange.method() == "HEAD";
        let mut answer = self.ask_uncompressed(offer, place)?;
        if matches!(answer.status, 404 | 405 | 501) {
            if let Some(model) = offer.own_model(id) {
                let model = prefixed_model(model, offer.upstream.prefix());
                return Ok(Outcome::Own(Reply::json(200, model.unwrap_or_default())));
            }
        }
        if !matches!(answer.status, 200..=299) {
            return Ok(Outcome::Upstream(answer));
        }
        if is_head {
            // The length is that of a body without the prefix.
            answer.length = None;
            return Ok(Outcome::Upstream(answer));
        }
        let mut body = answer.read_decoded(MODEL_LIMIT)?;
        let text = std::str::from_utf8(&body).ok();
        let prefixed = text.and_then(|text| prefixed_model(text, offer.upstream.prefix()));
        if let Some(prefixed) = prefixed {
            body = prefixed.into_bytes();
        }
        let headers = take(&mut answer.headers);
        Ok(Outcome::Own(Reply { status: answer.status, headers, body }))
    }
}

/// Whether a body is a JSON object with a member `error`, and none that may hold models.
fn is_error(body: &[u8]) -> bool {
    let text = std::str::from_utf8(body).ok();
    let members = text.and_then(|text| json::members(text, ["error", "data", "models"]).ok());
    members.is_some_and(|[error, data, models]| {
        error.value.is_some() && data.value.is_none() && models.value.is_none()
    })
}

/// Removes what of an upstream's response is not for the client. `has_cors`: fields of ours allow
/// its page to read the response; `is_shown`: a browser shows it as a document.
fn strip_for_client(headers: &mut Headers, has_cors: bool, is_shown: bool) {
    headers.remove_any(&ORIGIN_WIDE);
    if is_shown {
        headers.remove("x-content-type-options");
    }
    if has_cors {
        headers.remove_all("access-control-");
    }
}

/// The header fields of a request that may go to an upstream, without `Host` and those that frame
/// the body.
fn for_upstream(headers: &Headers, has_our_key: bool) -> Headers {
    let mut headers = headers.end_to_end();
    if has_our_key {
        headers.strip_credentials();
    }
    headers.remove_any(&OVERRIDES);
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
