//! Decides what the response is: admits the client, routes by path and model, asks the upstream.

use std::borrow::Cow;
use std::sync::Arc;

use super::deliver::Outcome;
use super::hint;
use super::hold::{Body, BodyReader, hold, too_large};
use super::redirect::{self, Address};
use super::view::{Choice, View};
use crate::admin::{self, Program};
use crate::admission::{Admission, Cors, is_from_browser, is_navigation};
use crate::catalog::Catalog;
use crate::config::Hidden;
use crate::error::{Code, Error};
use crate::framing::BodyLength;
use crate::headers::Headers;
use crate::logging::Value;
use crate::offer::{Offer, Refusal};
use crate::record::Record;
use crate::reply::Reply;
use crate::route::{Class, Route, by_name, route};
use crate::server::Exchange;
use crate::text::cut;
use crate::upstream::{Answer, Place, Request, Upload};

/// Fields by which some servers take a request for another one, so that its path or method would
/// not have been judged.
const OVERRIDES: [&str; 5] = [
    "x-original-url",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// Fields that say how a body is to be read.
const OF_THE_BODY: [&str; 4] =
    ["content-type", "content-length", "content-encoding", "transfer-encoding"];

/// Fields of a page's request that are judged here. An upstream that judges them again, as Ollama
/// does, would refuse pages that the configuration allows.
const JUDGED: [&str; 4] = [
    "origin",
    "access-control-request-method",
    "access-control-request-headers",
    "access-control-request-private-network",
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
    whole: View,
    /// Those of `/<name>/v1`.
    named: Vec<View>,
    admission: Admission,
    root_path: String,
}

/// A request whose client was admitted.
pub(super) struct Admitted<'e> {
    pub(super) exchange: &'e mut Exchange,
    pub(super) record: &'e mut Record,
    /// The header fields that may go to an upstream.
    pub(super) headers: Headers,
    /// The protocol that the upstream is asked to switch to.
    pub(super) protocol: Option<String>,
    /// The path behind the root path and the name of an upstream.
    path: &'e str,
    /// How the client reaches the upstream.
    pub(super) address: Address<'e>,
    /// Whether the response has CORS fields of ours.
    has_cors: bool,
    /// Whether a browser shows the response as a document.
    is_shown: bool,
}

impl Router {
    pub(super) fn new(offers: Vec<Arc<Offer>>, admission: Admission, root_path: String) -> Router {
        let named = View::each(&offers);
        Router { whole: View::whole(offers), named, admission, root_path }
    }

    pub(super) fn offers(&self) -> &[Arc<Offer>] {
        &self.whole.offers
    }

    /// Notes a client whose key was refused, which may take a second.
    pub(super) fn note_refused(&self, exchange: &Exchange) {
        // A request that is turned away is answered by the thread that takes the next one.
        let may_wait = exchange.refusal().is_none();
        self.admission.note_refused(exchange.peer(), exchange.headers(), may_wait);
    }

    /// Decides on a request, and notes in the record what is known of it. `target` is in origin form.
    ///
    /// # Errors
    /// Those of every step: the response is then the error.
    #[inline(never)] // keeps its temporaries off the stack while a response is streamed
    pub(super) fn decide(
        &self,
        exchange: &mut Exchange,
        target: &str,
        record: &mut Record,
        program: &dyn Program,
    ) -> Result<Outcome<'_>, Error> {
        let (view, target, root_path) = self.view_of(target);
        let route = route(exchange.method(), target, root_path);
        if let Some(error) = exchange.refusal() {
            // Health and metrics answer even if all workers are busy.
            let is_quick = matches!(&route, Ok(Route::Own { path }) if admin::is_quick(path));
            if error.code != Code::Overloaded || !is_quick {
                return Err(error.clone());
            }
        }
        let is_own = matches!(&route, Ok(Route::Own { .. }));
        if let Ok(Route::Own { path }) = route {
            if admin::is_public(path) {
                record.class = Class::Own;
                return self.own(exchange, path, program);
            }
        }
        let cors = self.admission.check_origin(exchange.method(), exchange.headers(), is_own)?;
        let Cors { mut headers, preflight } = cors;
        let has_cors = !headers.is_empty();
        let is_relayed = !is_own && preflight.is_none();
        let is_shown = is_relayed && is_navigation(exchange.headers());
        // A script in an upstream's page would be one of our origin. A browser may show later what it
        // keeps in its cache as an image.
        if is_shown || (is_relayed && is_from_browser(exchange.headers())) {
            headers.push("Content-Security-Policy", "sandbox");
        }
        if is_shown {
            headers.push("X-Content-Type-Options", "nosniff");
        }
        exchange.add_to_response(headers);
        if let Some(reply) = preflight {
            return Ok(Outcome::Own(reply));
        }
        record.class = route.as_ref().map(Route::class).unwrap_or_default();
        let is_front = is_shown && exchange.method() == "GET" && is_root(&route);
        // The paths below /-/ have rules of their own for who may ask.
        let has_our_key = match self.admission.check_key(exchange.headers()) {
            _ if record.class == Class::Own => false,
            // The key is typed into the page.
            Err(_) if is_front => return Ok(self.to_page()),
            checked => checked?,
        };
        let route = route?;
        record.request_id = Record::request_id_in(exchange.headers());
        let headers = for_upstream(exchange.headers(), has_our_key);
        let path = target.split('?').next().unwrap_or_default();
        let address = self.address(view);
        let protocol = exchange.protocol().map(str::to_owned);
        let switches = protocol.is_some();
        let request = Admitted {
            exchange,
            record,
            headers,
            protocol: None,
            path,
            address,
            has_cors,
            is_shown,
        };
        let outcome = match route {
            Route::Catalog { query } => request.list(view, query).map_err(Refusal::Failed),
            Route::Native { is_below: true, target } => request.native(view, Place::Below(target)),
            Route::Native { is_below: false, target } => {
                request.native(view, Place::Beside(target))
            }
            Route::Own { path } => return self.own(request.exchange, path, program),
            Route::Model { .. } => request.model(view, route),
            Route::Below { rest } if switches => {
                Admitted { protocol, ..request }.upgrade(view, Place::Below(rest))
            }
            Route::Beside { path } if switches => {
                Admitted { protocol, ..request }.upgrade(view, Place::Beside(path))
            }
            Route::Below { rest } => request.relay(view, Place::Below(rest)),
            Route::Beside { path } => request.relay(view, Place::Beside(path)),
        };
        if is_front && leads_nowhere(&outcome) {
            return Ok(self.to_page());
        }
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

    /// Sends a browser to the page.
    fn to_page(&self) -> Outcome<'_> {
        let mut reply = Reply::empty(302);
        reply.headers.push("Location", format!("{}/-/", self.root_path));
        reply.headers.push("Cache-Control", "no-store");
        Outcome::Own(reply)
    }

    /// The view that a target names, and the target and the root path to route within it.
    fn view_of<'s: 't, 't>(&'s self, target: &'t str) -> (&'s View, &'t str, &'t str) {
        let names = self.named.iter().filter_map(|view| view.name.as_deref());
        // Most configurations have no names, and need not split the path for them.
        let found = match self.named.is_empty() {
            true => None,
            false => by_name(target, &self.root_path, names),
        };
        match found {
            Some((index, rest)) => (&self.named[index], rest, ""),
            None => (&self.whole, target, &self.root_path),
        }
    }

    /// One of the program's own paths.
    fn own(
        &self,
        exchange: &mut Exchange,
        path: &str,
        program: &dyn Program,
    ) -> Result<Outcome<'_>, Error> {
        let (method, headers) = (exchange.method().to_owned(), exchange.headers().clone());
        let (peer, client) = (exchange.peer(), exchange.wanted());
        let request = admin::Request {
            method: &method,
            path,
            peer,
            headers: &headers,
            is_http_1_0: exchange.is_http_1_0(),
            body: &mut exchange.body(),
            client: &*client,
        };
        admin::answer(request, self.offers(), &self.admission, program).map(Outcome::Own)
    }

    /// The difference between the path of a client and that of an upstream.
    fn address<'a>(&'a self, view: &'a View) -> Address<'a> {
        // At `/v1` a path may need a prefix, which a `Location` does not have.
        let is_direct = view.only().is_some_and(|offer| view.prefix(offer).is_empty());
        let name = view.name.as_deref();
        Address { root_path: &self.root_path, is_direct, name }
    }
}

impl Admitted<'_> {
    /// Any other path: relayed to the upstream that the model in the body points to.
    fn relay<'v>(mut self, view: &'v View, place: Place<'_>) -> Result<Outcome<'v>, Refusal> {
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
    pub(super) fn ask<'a>(
        self,
        offer: &'a Offer,
        place: Place<'_>,
        body: Body,
    ) -> Result<Box<Answer<'a>>, Error> {
        let Admitted { exchange, record, headers, protocol, path, address, .. } = self;
        let (has_cors, is_shown) = (self.has_cors, self.is_shown);
        record.upstream = Some(offer.upstream.name().to_owned());
        let (method, client) = (exchange.method().to_owned(), exchange.wanted());
        let send = |upload| {
            let request =
                Request { method: &method, place, headers, upload, protocol: protocol.as_deref() };
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
    headers.remove_look_alikes(&OVERRIDES);
    headers.remove_look_alikes(&OF_THE_BODY);
    headers.remove_any(&JUDGED);
    headers.remove("host");
    headers.remove("content-length");
    // `100 Continue` is sent here, when the body is read.
    headers.remove("expect");
    headers
}

/// Whether a request is for `/`, where a browser begins.
fn is_root(route: &Result<Route<'_>, Error>) -> bool {
    matches!(route, Ok(Route::Beside { path }) if path.split('?').next() == Some("/"))
}

/// Whether no upstream has anything at a path: none can be chosen, or it answers 404.
fn leads_nowhere(outcome: &Result<Outcome<'_>, Refusal>) -> bool {
    match outcome {
        Ok(Outcome::Upstream(answer)) => answer.status == 404,
        Err(Refusal::Failed(error)) => matches!(error.code, Code::BadRequest | Code::ModelNotFound),
        _ => false,
    }
}
