//! The list that clients see: the union of what the upstreams offer.
//!
//! The upstreams are asked side by side, each with a deadline of its own; one that fails
//! costs its own models and nothing else. Limits: the order is that of the configuration;
//! nothing is merged where two upstreams show the same id.

use std::sync::Arc;
use std::thread;

use crate::headers::Headers;
use crate::offer::{Inventory, Listing, Offer, Refusal};
use crate::reply::Reply;

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

/// The list for a client that sent these fields and this query.
///
/// # Errors
/// Where no upstream gave a list: what the first of them gave instead.
pub fn catalog(
    offers: &[Offer],
    headers: &Headers,
    query: Option<&str>,
) -> Result<Catalog, Refusal> {
    let lists = lists(offers, headers, query);
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
pub fn lists(
    offers: &[Offer],
    headers: &Headers,
    query: Option<&str>,
) -> Vec<Result<Arc<Listing>, Refusal>> {
    let known = |offer: &Offer| offer.known(&offer.question(headers, query));
    side_by_side(offers, known, |offer| offer.list(offer.question(headers, query)))
}

/// All models of every upstream, in their order.
pub fn inventories(offers: &[Offer], headers: &Headers) -> Vec<Result<Arc<Inventory>, Refusal>> {
    side_by_side(offers, |_| None, |offer| offer.inventory(headers))
}

/// What each upstream gives, where that is not known already: asked at once.
fn side_by_side<T: Send>(
    offers: &[Offer],
    known: impl Fn(&Offer) -> Option<T>,
    ask: impl Fn(&Offer) -> T + Sync,
) -> Vec<T> {
    if let [only] = offers {
        return vec![known(only).unwrap_or_else(|| ask(only))];
    }
    thread::scope(|scope| {
        let mut pending = Vec::new();
        for offer in offers {
            let ask = &ask;
            pending.push(match known(offer) {
                Some(answer) => Pending::Known(answer),
                None => {
                    let thread = thread::Builder::new().name("list".into());
                    match thread.spawn_scoped(scope, move || ask(offer)) {
                        Ok(thread) => Pending::Asked(thread),
                        // Without a thread to spare they are asked one after the other.
                        Err(_) => Pending::Known(ask(offer)),
                    }
                }
            });
        }
        pending.into_iter().map(Pending::wait).collect()
    })
}

enum Pending<'scope, T> {
    Known(T),
    Asked(thread::ScopedJoinHandle<'scope, T>),
}

impl<T> Pending<'_, T> {
    fn wait(self) -> T {
        match self {
            Pending::Known(answer) => answer,
            Pending::Asked(thread) => {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        }
    }
}
