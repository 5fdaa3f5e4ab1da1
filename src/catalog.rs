//! The list that clients see: the union of what the upstreams offer.
//!
//! The upstreams are asked side by side, each with a deadline of its own; one that fails
//! costs its own models and nothing else. Limits: the order is that of the configuration;
//! nothing is merged where two upstreams show the same id. A union is never put together in
//! memory: its parts are sent from where they are, so that clients that do not read share them.

use std::sync::Arc;

use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::offer::{Inventory, Listing, Offer, Refusal};
use crate::record::Sent;
use crate::reply::Reply;
use crate::server::Exchange;
use crate::wanted::Wanted;

/// The header that names the upstreams whose lists are missing.
pub const MISSING: &str = "x-model-filter-missing";

/// A list that can be sent.
pub enum Catalog {
    /// That of the only upstream, as it is in the cache.
    Only(Arc<Listing>),
    /// Those of several upstreams, one behind another.
    Union {
        /// The lists that could be had.
        lists: Vec<Arc<Listing>>,
        /// The names of the upstreams without one, with commas between them.
        missing: String,
    },
}

impl Catalog {
    /// Answers a client.
    pub fn send(&self, exchange: Box<Exchange>) -> Sent {
        let (lists, missing) = match self {
            Catalog::Only(listing) => return exchange.respond(&listing.reply),
            Catalog::Union { lists, missing } => (lists, missing),
        };
        let mut head = Reply::json(200, br#"{"object":"list","data":["#);
        if !missing.is_empty() {
            head.headers.push(MISSING, missing.as_str());
        }
        let mut pieces: Vec<&[u8]> = Vec::new();
        for list in lists.iter().filter(|list| !list.models().is_empty()) {
            if !pieces.is_empty() {
                pieces.push(b",");
            }
            pieces.push(list.models());
        }
        pieces.push(b"]}");
        exchange.respond_with(&head, &pieces)
    }
}

/// What each upstream gave, in their order; an error where the client left meanwhile.
pub type Answers<T> = Result<Vec<Result<Arc<T>, Refusal>>, Error>;

/// The list for a client that sent these fields and this query.
///
/// # Errors
/// Where no upstream gave a list: what the first of them gave instead. And 499 where the
/// client left meanwhile.
pub fn catalog(
    offers: &[Arc<Offer>],
    headers: &Headers,
    query: Option<&str>,
    client: &dyn Wanted,
) -> Result<Catalog, Refusal> {
    let lists = lists(offers, headers, query, Some(client)).map_err(Refusal::Failed)?;
    if let [list] = lists.as_slice() {
        return list.clone().map(Catalog::Only);
    }
    let mut had = Vec::new();
    let mut missing: Vec<&str> = Vec::new();
    let mut refusal = None;
    for (offer, list) in offers.iter().zip(lists) {
        match list {
            Ok(listing) => had.push(listing),
            Err(failed) => {
                missing.push(offer.upstream.name());
                refusal.get_or_insert(failed);
            }
        }
    }
    match refusal {
        Some(refusal) if had.is_empty() => Err(refusal),
        _ => Ok(Catalog::Union { lists: had, missing: missing.join(", ") }),
    }
}

/// Every upstream's list, in their order; those that must be asked are asked at once.
///
/// # Errors
/// 499 where the client, if it is for one, left meanwhile.
pub fn lists(
    offers: &[Arc<Offer>],
    headers: &Headers,
    query: Option<&str>,
    client: Option<&dyn Wanted>,
) -> Answers<Listing> {
    let ask = |offer: &Arc<Offer>| offer.ask_list(offer.question(headers, query));
    let asked: Vec<_> = offers.iter().map(ask).collect();
    answers(offers.iter().zip(&asked).map(|(offer, asked)| offer.list(asked, client)))
}

/// All models of every upstream, in their order.
///
/// # Errors
/// As [`lists`].
pub fn inventories(
    offers: &[Arc<Offer>],
    headers: &Headers,
    client: Option<&dyn Wanted>,
) -> Answers<Inventory> {
    let asked: Vec<_> = offers.iter().map(|offer| offer.ask_inventory(headers)).collect();
    answers(offers.iter().zip(&asked).map(|(offer, asked)| offer.inventory(asked, client)))
}

/// One upstream that failed costs its own models alone; a client that left ends the whole.
fn answers<T>(answers: impl Iterator<Item = Result<Arc<T>, Refusal>>) -> Answers<T> {
    let answer = |answer| match answer {
        Err(Refusal::Failed(error)) if error.code == Code::ClientLeft => Err(error),
        other => Ok(other),
    };
    answers.map(answer).collect()
}
