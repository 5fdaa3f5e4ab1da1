//! Decides on a request: admits the client and routes by path. [`super::admitted`] routes by model and
//! asks the upstream.

use std::sync::Arc;

use super::admitted::{Admitted, strip_for_client};
use super::deliver::Outcome;
use super::redirect::Address;
use super::view::View;
use crate::admin::{self, Program};
use crate::admission::{Admission, Cors, is_from_browser, is_navigation};
use crate::catalog::Catalog;
use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::offer::{Offer, Refusal};
use crate::record::Record;
use crate::reply::Reply;
use crate::route::{Class, Route, by_name, route};
use crate::server::Exchange;
use crate::upstream::Place;

/// Fields by which some servers take a request for another one, so that its path or method would
/// not have been judged.
const OVERRIDES: [&str; 5] = [
    "x-original-url",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// Fields that say how a body must be read.
const OF_THE_BODY: [&str; 4] =
    ["content-type", "content-length", "content-encoding", "transfer-encoding"];

/// Further fields of a request that are not for an upstream.
const NOT_SENT: [&str; 7] = [
    // Judged here. An upstream that judges them again, as Ollama does, would refuse pages that the
    // configuration allows.
    "origin",
    "access-control-request-method",
    "access-control-request-headers",
    "access-control-request-private-network",
    // The request to the upstream has its own.
    "host",
    "content-length",
    // `100 Continue` is sent here, when the body is read.
    "expect",
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
        let request = Admitted { exchange, record, headers, path, address, has_cors, is_shown };
        let outcome = match route {
            Route::Catalog { query } => request.list(view, query).map_err(Refusal::Failed),
            Route::Native { is_below: true, target } => request.native(view, Place::Below(target)),
            Route::Native { is_below: false, target } => {
                request.native(view, Place::Beside(target))
            }
            Route::Own { path } => return self.own(request.exchange, path, program),
            Route::Model { .. } => request.model(view, route),
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

/// The header fields of a request that may go to an upstream, without `Host` and those that frame
/// the body.
fn for_upstream(headers: &Headers, has_our_key: bool) -> Headers {
    let mut headers = headers.end_to_end();
    if has_our_key {
        headers.strip_credentials();
    }
    headers.remove_any(&NOT_SENT);
    headers.remove_any(&OVERRIDES);
    headers.remove_look_alikes(&[&OVERRIDES[..], &OF_THE_BODY[..]]);
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
