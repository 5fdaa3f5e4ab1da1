//! An exchange from request to log line: who may call, which upstream is asked, with what.
//!
//! Anything that goes wrong here is an answer in the OpenAI shape; `body` has the client's
//! body, `passing` what comes after the upstream's head. Limits: no trailers; no upgrades.

mod body;
mod passing;

use std::sync::Arc;

use self::body::{Held, Look, PassedBody, hold, too_large};
use self::passing::{pass_on, returned};
use crate::admin;
use crate::admission::{Admission, Admitted};
use crate::catalog::{catalog, lists};
use crate::config::Hidden;
use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::list::prefixed_model;
use crate::logging::{Record, Value};
use crate::metrics::METRICS;
use crate::model_field::check_length;
use crate::offer::{Listing, Offer, Refusal};
use crate::recent::RECENT;
use crate::record::Sent;
use crate::reply::Reply;
use crate::route::{Class, Route, by_prefix, folded, route, strip_raw_prefix};
use crate::server::{BodyLength, Exchange};
use crate::upstream::{Place, Request, Upload};

/// The longest model object that is read to be given its prefix, in bytes.
const MODEL_LIMIT: usize = 4 * 1024 * 1024;

/// The proxy: who may call, where requests go, and what clients see.
#[derive(Debug)]
pub struct Relay {
    offers: Vec<Arc<Offer>>,
    look: Look,
    admission: Admission,
    root_path: String,
}

/// What an exchange came to, beside what was sent.
#[derive(Default)]
struct Notes {
    model: Option<String>,
    upstream: Option<String>,
    error: Option<Error>,
    class: Class,
    /// Whether the response is for a browser, to which we say what it may read.
    shared: bool,
    /// Whether the client's credentials were for us.
    keyed: bool,
}

impl Relay {
    /// A relay to these upstreams. Paths are taken without `root_path`.
    pub fn new(offers: Vec<Arc<Offer>>, admission: Admission, root_path: String) -> Relay {
        Relay { look: Look::of(&offers), offers, admission, root_path }
    }

    /// The list of each upstream, with its name, as a client without credentials gets it.
    pub fn lists(&self) -> Vec<(&str, Result<Arc<Listing>, Refusal>)> {
        let names = self.offers.iter().map(|offer| offer.upstream.name());
        // Nobody who could leave: there are always answers.
        let lists = lists(&self.offers, &Headers::new(), None, None).unwrap_or_default();
        names.zip(lists).collect()
    }

    /// Answers a request, and writes its line to the log.
    pub fn exchange(&self, exchange: Box<Exchange>) {
        let client = exchange.client();
        let method = exchange.method().to_owned();
        let target = exchange.target().to_owned();
        // Until it is counted among those that have ended.
        let _open = METRICS.open();
        let mut notes = Notes::default();
        let sent = self.answer(exchange, &method, &target, &mut notes);
        if notes.error.is_none() && !sent.complete {
            // A response that could not be written was given up by its client.
            notes.error = Some(Error::client_left());
        }
        let left = notes.error.as_ref().is_some_and(|error| error.code == Code::ClientLeft);
        if left && client.was_cut_off() {
            notes.error = Some(Error::cut_off());
        }
        let record = Record {
            client: client.peer(),
            method: &method,
            target: &target,
            model: notes.model.as_deref(),
            upstream: notes.upstream.as_deref(),
            sent,
            error: notes.error.as_ref(),
            is_own: notes.class == Class::Own,
        };
        tell(&record, notes.class);
    }

    fn answer(
        &self,
        mut exchange: Box<Exchange>,
        method: &str,
        target: &str,
        notes: &mut Notes,
    ) -> Sent {
        let route = route(method, target, &self.root_path);
        if let Some(error) = exchange.refusal().cloned() {
            // How it is can be told even where there is no room for more.
            let is_quick = matches!(&route, Ok(Route::Own { path }) if admin::is_quick(path));
            if error.code != Code::Overloaded || !is_quick {
                return refuse(exchange, error, notes);
            }
        }
        let Admitted { headers, preflight } =
            match self.admission.origin(method, exchange.headers()) {
                Ok(admitted) => admitted,
                Err(error) => return refuse(exchange, error, notes),
            };
        notes.shared = !headers.is_empty();
        exchange.add_to_response(headers);
        if let Some(reply) = preflight {
            return exchange.respond(&reply);
        }
        notes.class = route.as_ref().map(Route::class).unwrap_or_default();
        // What is our own has rules of its own for who may ask.
        if notes.class != Class::Own {
            notes.keyed = match self.admission.key(exchange.headers()) {
                Ok(keyed) => keyed,
                Err(error) => return refuse(exchange, error, notes),
            };
        }
        match route {
            Err(error) => refuse(exchange, error, notes),
            Ok(_) if asks_upgrade(exchange.headers()) => {
                let what = "upgrades (WebSocket) are not supported";
                refuse(exchange, Error::client(Code::Unsupported, what), notes)
            }
            Ok(Route::Catalog { query }) => self.show_catalog(exchange, query, notes),
            Ok(Route::Model { id, raw_id, query }) => {
                self.relay_model(exchange, id, raw_id, query, notes)
            }
            Ok(Route::Below { rest }) => self.relay(exchange, Place::Below(rest), notes),
            Ok(Route::Beside { path }) => self.relay(exchange, Place::Beside(path), notes),
            Ok(Route::Own { path }) => self.show_own(exchange, path, notes),
        }
    }

    /// Answers what is for the program itself.
    fn show_own(&self, mut exchange: Box<Exchange>, path: &str, notes: &mut Notes) -> Sent {
        match admin::answer(&mut exchange, path, &self.offers, &self.admission) {
            Ok(reply) => exchange.respond(&reply),
            Err(error) => refuse(exchange, error, notes),
        }
    }

    fn show_catalog(
        &self,
        exchange: Box<Exchange>,
        query: Option<&str>,
        notes: &mut Notes,
    ) -> Sent {
        if let [offer] = self.offers.as_slice() {
            notes.upstream = Some(offer.upstream.name().to_owned());
        }
        let (headers, client) = (passed(exchange.headers(), notes), exchange.wanted());
        match catalog(&self.offers, &headers, query, &*client) {
            Ok(catalog) => catalog.send(exchange),
            Err(Refusal::Mirrored(reply)) => exchange.respond(&reply),
            Err(Refusal::Failed(error)) => refuse(exchange, error, notes),
        }
    }

    fn relay_model(
        &self,
        mut exchange: Box<Exchange>,
        id: String,
        raw_id: &str,
        query: Option<&str>,
        notes: &mut Notes,
    ) -> Sent {
        if let Err(error) = check_length(id.len()) {
            return refuse(exchange, error, notes);
        }
        let reads = matches!(exchange.method(), "GET" | "HEAD");
        let folded = folded(&id);
        let choices = self.choose(Some(&id)).and_then(|a| Ok((a, self.choose(Some(&folded))?)));
        notes.model = Some(id);
        let id = notes.model.as_deref().unwrap_or_default();
        let (offer, own_id) = match choices {
            // What is not in the list cannot be looked at either, however it is spelled.
            Ok((a, b)) if reads && !(a.is_listed(id) && b.is_listed(&folded)) => {
                return refuse(exchange, Error::model_not_found(id), notes);
            }
            Ok((choice, _)) => (choice.offer, strip_raw_prefix(raw_id, choice.prefix)),
            Err(error) => return refuse(exchange, error, notes),
        };
        let rest = own_id.unwrap_or(raw_id);
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let place = format!("/models/{rest}{query}");
        if !reads {
            // A body may name another model than the path does.
            let held = hold(&mut exchange, &self.look);
            let held = held.and_then(|held| self.choose(held.model().or(Some(id))).map(|_| held));
            return match held {
                Ok(held) => self.send(exchange, offer, Place::Below(&place), held, notes),
                Err(error) => refuse(exchange, error, notes),
            };
        }
        if offer.upstream.prefix().is_empty() {
            return self.send(exchange, offer, Place::Below(&place), Held::nothing(), notes);
        }
        relay_prefixed(exchange, offer, &place, notes)
    }

    /// Relays a request to the upstream that its model points to.
    fn relay(&self, mut exchange: Box<Exchange>, place: Place<'_>, notes: &mut Notes) -> Sent {
        match self.directed(&mut exchange, notes) {
            Ok((offer, held)) => self.send(exchange, offer, place, held, notes),
            // The body is let go of by now: the answer may have to wait for its client.
            Err(error) => refuse(exchange, error, notes),
        }
    }

    /// Which upstream a request is for, and its body as that one is to get it.
    fn directed(
        &self,
        exchange: &mut Exchange,
        notes: &mut Notes,
    ) -> Result<(&Offer, Held), Error> {
        let held = hold(exchange, &self.look)?;
        notes.model = held.model().map(str::to_owned);
        let choice = self.choose(notes.model.as_deref())?;
        let offer = choice.offer;
        let (field, mut body) = match held {
            Held::Whole { field, body } => (field, body),
            Held::Beginning(..) => return Ok((offer, held)),
        };
        if self.look.is_needed && body.bytes.len() as u64 > offer.max_body {
            return Err(too_large(offer.max_body));
        }
        match (&field, &notes.model) {
            (Some(field), Some(model)) if !choice.prefix.is_empty() => {
                field.replace(&mut body.bytes, &model[choice.prefix.len()..]);
            }
            (Some(_), Some(model)) if !offer.upstream.prefix().is_empty() => {
                let (model, prefix) = (Value(model), Value(offer.upstream.prefix()));
                log::warn!(
                    "msg=\"the model does not bear the prefix\" model={model} prefix={prefix}"
                );
            }
            _ => {}
        }
        Ok((offer, Held::Whole { body, field }))
    }

    /// Which upstream a model points to, and with which prefix of it.
    fn choose(&self, model: Option<&str>) -> Result<Choice<'_>, Error> {
        let prefixes = self.offers.iter().map(|offer| offer.upstream.prefix());
        let choice = match (by_prefix(prefixes, model), self.offers.as_slice()) {
            (Some(index), offers) => {
                Choice { offer: &offers[index], prefix: offers[index].upstream.prefix() }
            }
            // As the Python program does: there is no other place to go.
            (None, [only]) => Choice { offer: only, prefix: "" },
            (None, _) => return Err(self.nowhere(model)),
        };
        match model {
            Some(model) if choice.offer.hidden == Hidden::Reject && !choice.keeps(model) => {
                Err(Error::model_not_found(model))
            }
            _ => Ok(choice),
        }
    }

    fn nowhere(&self, model: Option<&str>) -> Error {
        let prefixes = self.offers.iter().map(|offer| format!("{:?}", offer.upstream.prefix()));
        let prefixes = prefixes.collect::<Vec<_>>().join(", ");
        match model {
            Some(model) => {
                let mut error = Error::model_not_found(model);
                error.message += &format!("; models begin with one of {prefixes}");
                error
            }
            None => Error::bad_request(format!(
                "the request names no model, so it cannot be told which upstream it is for; \
                 models begin with one of {prefixes}"
            )),
        }
    }

    /// Sends a request with its body, held or as it comes, and passes the answer on.
    fn send(
        &self,
        mut exchange: Box<Exchange>,
        offer: &Offer,
        place: Place<'_>,
        held: Held,
        notes: &mut Notes,
    ) -> Sent {
        let headers = passed(exchange.headers(), notes);
        notes.upstream = Some(offer.upstream.name().to_owned());
        let (method, client) = (exchange.method().to_owned(), exchange.wanted());
        let send = |upload| {
            let request = Request { method: &method, place, headers, upload };
            offer.upstream.send(request, client)
        };
        let (answer, failure) = match &held {
            Held::Whole { body, .. } => (send(Upload::Whole(&body.bytes)), None),
            Held::Beginning(front) => {
                let length = exchange.body_length();
                let mut body = PassedBody::new(&front.bytes, &mut exchange);
                let answer = send(match length {
                    BodyLength::None => Upload::None,
                    BodyLength::Known(length) => Upload::Known(length, &mut body),
                    BodyLength::Chunked => Upload::Chunked(&mut body),
                });
                // Where the client's body failed, that is why the upstream's answer did.
                (answer, body.failure())
            }
        };
        // It has been sent, and the answer may be a long stream.
        drop(held);
        match (answer, failure) {
            (_, Some(error)) | (Err(error), None) => refuse(exchange, error, notes),
            (Ok(answer), None) => pass_on(exchange, answer, notes),
        }
    }
}

/// Counts, remembers and logs an exchange that has ended.
#[inline(never)] // what it needs of the stack is not for as long as the exchange lasts
fn tell(record: &Record<'_>, class: Class) {
    let sent = record.sent;
    let (times, bytes) = ((sent.first_byte, sent.total), (sent.bytes_in, sent.bytes_out));
    METRICS.ended(record.upstream, class.as_str(), record.status(), times, bytes, record.error);
    if !record.is_own {
        RECENT.add(record);
    }
    record.write();
}

/// Where a request goes.
struct Choice<'a> {
    offer: &'a Offer,
    /// What its model bears in front: the upstream's prefix, or nothing.
    prefix: &'a str,
}

impl Choice<'_> {
    /// Whether the filter keeps what is behind the prefix.
    fn keeps(&self, model: &str) -> bool {
        self.offer.filter.keeps(&model[self.prefix.len()..])
    }

    /// Whether the catalog would show a model of this id.
    fn is_listed(&self, id: &str) -> bool {
        self.prefix == self.offer.upstream.prefix() && self.keeps(id)
    }
}

/// Fetches one model, and gives it the prefix that its id has in the list.
fn relay_prefixed(exchange: Box<Exchange>, offer: &Offer, place: &str, notes: &mut Notes) -> Sent {
    let mut headers = passed(exchange.headers(), notes);
    // What is to be given its prefix must come uncompressed.
    headers.remove("accept-encoding");
    headers.push("Accept-Encoding", "identity");
    notes.upstream = Some(offer.upstream.name().to_owned());
    let method = exchange.method();
    let place = Place::Below(place);
    let request = Request { method, place, headers, upload: Upload::None };
    match offer.upstream.send(request, exchange.wanted()) {
        Ok(mut answer) if matches!(answer.status, 200..=299) => {
            if exchange.method() == "HEAD" {
                // It is that of a body without the prefix.
                answer.length = None;
                return pass_on(exchange, answer, notes);
            }
            let body = match answer.read_to_end(MODEL_LIMIT) {
                Ok(body) => body,
                Err(error) => return refuse(exchange, error, notes),
            };
            let text = std::str::from_utf8(&body).ok();
            let prefixed = text.and_then(|text| prefixed_model(text, offer.upstream.prefix()));
            let prefixed = prefixed.map(String::into_bytes);
            let headers = returned(&answer.headers, notes);
            let body = prefixed.unwrap_or(body);
            exchange.respond(&Reply { status: answer.status, headers, body })
        }
        Ok(answer) => pass_on(exchange, answer, notes),
        Err(error) => refuse(exchange, error, notes),
    }
}

/// Answers with an error of our own; who left is not answered.
fn refuse(exchange: Box<Exchange>, error: Error, notes: &mut Notes) -> Sent {
    let sent = match error.code {
        Code::ClientLeft => exchange.abandon(),
        _ => exchange.respond(&Reply::error(&error)),
    };
    notes.error = Some(error);
    sent
}

/// The fields of a request that may go to an upstream. The upstream's own name and the
/// framing of the body are written anew.
fn passed(headers: &Headers, notes: &Notes) -> Headers {
    let mut headers = headers.clone();
    headers.strip_hop_by_hop();
    if notes.keyed {
        headers.strip_credentials();
    }
    headers.remove("host");
    headers.remove("content-length");
    // The client is told to continue as soon as its body is read here.
    headers.remove("expect");
    headers
}

/// Whether a request wants another protocol. An offer of HTTP/2 is none: servers may go
/// on in HTTP/1.1 (RFC 7540, 3.2), and some clients send it with every first request.
fn asks_upgrade(headers: &Headers) -> bool {
    headers.lists("connection", "upgrade")
        && headers.contains("upgrade")
        && !headers.lists("upgrade", "h2c")
}
