//! The list that clients see: the union of what the upstreams offer.
//!
//! The upstreams are asked side by side, each with a deadline of its own; one that fails
//! costs its own models and nothing else. Limits: the order is that of the configuration;
//! nothing is merged where two upstreams show the same id.

use std::sync::Arc;

use crate::error::Error;
use crate::headers::Headers;
use crate::offer::{Inventory, Listing, Offer, Refusal};
use crate::reply::Reply;
use crate::server::Client;

/// The header that names the upstreams whose lists are missing.
pub const MISSING: &str = "x-model-filter-missing";

/// A list that can be sent.
pub enum Catalog {
    /// That of the only upstream, as it is in the cache.
    Only(Arc<Listing>),
    /// One that was put together.
    Union(Reply),
}

impl Catalog {
    /// The answer to a client.
    pub fn reply(&self) -> &Reply {
        match self {
            Catalog::Only(listing) => &listing.reply,
            Catalog::Union(reply) => reply,
        }
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
    client: &Client,
) -> Result<Catalog, Refusal> {
    let lists = lists(offers, headers, query, Some(client)).map_err(Refusal::Failed)?;
    if let [list] = lists.as_slice() {
        return list.clone().map(Catalog::Only);
    }
    let mut body = Vec::from(br#"{"object":"list","data":["#);
    let mut missing: Vec<&str> = Vec::new();
    let mut refusal = None;
    let mut separator: &[u8] = b"";
    for (offer, list) in offers.iter().zip(lists) {
        match list {
            Ok(listing) if listing.models().is_empty() => {}
            Ok(listing) => {
                body.extend_from_slice(separator);
                body.extend_from_slice(listing.models());
                separator = b",";
            }
            Err(failed) => {
                missing.push(offer.upstream.name());
                refusal.get_or_insert(failed);
            }
        }
    }
    match refusal {
        Some(refusal) if missing.len() == offers.len() => Err(refusal),
        _ => {
            body.extend_from_slice(b"]}");
            let mut reply = Reply::json(200, body);
            if !missing.is_empty() {
                reply.headers.push(MISSING, missing.join(", "));
            }
            Ok(Catalog::Union(reply))
        }
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
    client: Option<&Client>,
) -> Answers<Listing> {
    let ask = |offer: &Arc<Offer>| offer.ask_list(offer.question(headers, query));
    let asked: Vec<_> = offers.iter().map(ask).collect();
    offers.iter().zip(&asked).map(|(offer, asked)| offer.list(asked, client)).collect()
}

/// All models of every upstream, in their order.
///
/// # Errors
/// As [`lists`].
pub fn inventories(
    offers: &[Arc<Offer>],
    headers: &Headers,
    client: Option<&Client>,
) -> Answers<Inventory> {
    let asked: Vec<_> = offers.iter().map(|offer| offer.ask_inventory(headers)).collect();
    offers.iter().zip(&asked).map(|(offer, asked)| offer.inventory(asked, client)).collect()
}
