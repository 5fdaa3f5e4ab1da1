//! The way of a request: decide, then deliver.
//!
//! 1. `decide`: who may call, and by which route;
//! 2. `admitted`: which upstream is asked, and its answer; `lists`, `model`, `alias` and `upgrade` are
//!    the routes with rules of their own;
//! 3. `hold`: the client's body, if its model must be known for that;
//! 4. `deliver`: the one place that responds, with the outcome or with an error.
//!
//! A [`Record`] collects the facts: those that are known from deciding, then what was sent.
//! Limits: no trailers.

mod admitted;
mod alias;
mod decide;
mod deliver;
mod hint;
mod hold;
mod lists;
mod model;
mod redirect;
mod upgrade;
mod view;

use std::sync::Arc;

use self::decide::Router;
use self::deliver::deliver;
use crate::admin::Program;
use crate::admission::Admission;
use crate::catalog::lists;
use crate::error::Code;
use crate::headers::Headers;
use crate::logging::log_exchange;
use crate::metrics::METRICS;
use crate::offer::{Listing, Offer, Refusal};
use crate::recent::RECENT;
use crate::record::Record;
use crate::route::{Class, origin_form};
use crate::server::Exchange;

/// The proxy: who may call, where requests go, and what clients see.
#[derive(Debug)]
pub struct Relay {
    router: Router,
}

impl Relay {
    /// A relay to these upstreams. `root_path` is stripped from the front of paths.
    pub fn new(offers: Vec<Arc<Offer>>, admission: Admission, root_path: String) -> Relay {
        Relay { router: Router::new(offers, admission, root_path) }
    }

    /// The upstreams.
    pub fn offers(&self) -> &[Arc<Offer>] {
        self.router.offers()
    }

    /// The list of each upstream, with its name, as a client without credentials gets it.
    pub fn lists(&self) -> Vec<(&str, Result<Arc<Listing>, Refusal>)> {
        let offers = self.router.offers();
        let names = offers.iter().map(|offer| offer.upstream.name());
        // Without a client that could leave, there is always an answer.
        let lists = lists(offers, &Headers::new(), None, None).unwrap_or_default();
        names.zip(lists).collect()
    }

    /// Responds to a request; counts and logs the exchange.
    pub fn exchange(&self, mut exchange: Box<Exchange>, program: &dyn Program) {
        let _open = METRICS.open();
        let target = origin_form(exchange.target()).into_owned();
        let mut record = Record::new(exchange.peer(), exchange.method(), &target);
        let outcome = self.router.decide(&mut exchange, &target, &mut record, program);
        drop(target);
        if outcome.as_ref().is_err_and(|error| error.code == Code::InvalidApiKey) {
            self.router.note_refused(&exchange);
        }
        deliver(exchange, outcome, &mut record);
        conclude(&record);
    }
}

#[inline(never)] // keeps its temporaries off the stack while a response is streamed
fn conclude(record: &Record) {
    METRICS.ended(record);
    if record.class != Class::Own {
        RECENT.add(record);
    }
    log_exchange(record);
}
