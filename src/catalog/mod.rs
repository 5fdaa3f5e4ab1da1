//! The list that clients see: the union of the upstreams' lists.
//!
//! The upstreams are asked side by side, each with its own deadline; one that fails costs only its
//! own models. Limits: the order is that of the configuration, with aliases first; if two upstreams
//! list the same id, both stay, and a warning names them. A union is never copied into one buffer: it
//! is sent from the cached lists, so that clients that read slowly share them.

mod twins;

use std::sync::Arc;
use std::time::Instant;

pub use self::twins::Twins;
use crate::cache::Asker;
use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::offer::{Inventory, Listing, Offer, Refusal, add_validator, digest};
use crate::reply::Reply;
use crate::wanted::Wanted;

/// The header that names the upstreams whose lists are missing.
const MISSING: &str = "x-model-filter-missing";

/// A response to a request for the list.
pub enum Catalog {
    /// The list of the only upstream, as cached.
    Single(Arc<Listing>),
    /// The only upstream's response, if it is not a list.
    Mirrored(Arc<Reply>),
    /// The lists of several upstreams, one behind the other.
    Union {
        /// The head, and the beginning of the body.
        head: Reply,
        /// The lists.
        lists: Vec<Arc<Listing>>,
    },
}

impl Catalog {
    /// The head of the response with the beginning of its body.
    pub fn head(&self) -> &Reply {
        match self {
            Catalog::Single(listing) => &listing.reply,
            Catalog::Mirrored(reply) => reply,
            Catalog::Union { head, .. } => head,
        }
    }

    /// The pieces of the body behind that beginning.
    pub fn rest(&self) -> Vec<&[u8]> {
        let Catalog::Union { lists, .. } = self else { return Vec::new() };
        let mut aliases: Vec<_> = lists.iter().flat_map(|list| &list.aliases).collect();
        aliases.sort_by_key(|(place, _)| *place);
        let aliases = aliases.into_iter().map(|(_, alias)| alias.as_slice());
        let models = lists.iter().map(|list| list.models()).filter(|models| !models.is_empty());
        let mut pieces: Vec<&[u8]> = Vec::new();
        for piece in aliases.chain(models) {
            if !pieces.is_empty() {
                pieces.push(b",");
            }
            pieces.push(piece);
        }
        pieces.push(b"]}");
        pieces
    }
}

/// The answer of each upstream, in their order; an error if the client left meanwhile, or its
/// keyring cannot be read.
pub type Answers<T> = Result<Vec<Result<Arc<T>, Refusal>>, Error>;

/// The list for a client that sent these header fields and this query.
///
/// # Errors
/// If no upstream has a list, the failure of the first one. 401 for a keyring that cannot be
/// read; 499 if the client left meanwhile.
pub fn catalog(
    offers: &[Arc<Offer>],
    twins: &Twins,
    headers: &Headers,
    query: Option<&str>,
    client: &dyn Wanted,
) -> Result<Catalog, Error> {
    let answers = lists(offers, headers, query, Some(client))?;
    if let [Ok(listing)] = answers.as_slice() {
        return Ok(Catalog::Single(Arc::clone(listing)));
    }
    let mut lists = Vec::new();
    let mut missing: Vec<&str> = Vec::new();
    let mut first_refusal = None;
    for (offer, answer) in offers.iter().zip(answers) {
        match answer {
            Ok(listing) => lists.push((&**offer, listing)),
            Err(refusal) => {
                missing.push(offer.upstream.name());
                first_refusal.get_or_insert(refusal);
            }
        }
    }
    match first_refusal {
        Some(Refusal::Failed(error)) if lists.is_empty() => return Err(error),
        Some(Refusal::Mirrored(reply)) if lists.is_empty() => return Ok(Catalog::Mirrored(reply)),
        _ => {}
    }
    twins.look_for(&lists, offers);
    let lists: Vec<Arc<Listing>> = lists.into_iter().map(|(_, listing)| listing).collect();
    let mut head = Reply::json(200, br#"{"object":"list","data":["#);
    let digests: Vec<[u8; 8]> = lists.iter().map(|list| list.digest.to_be_bytes()).collect();
    add_validator(&mut head, digest(&[digests.concat().as_slice()]));
    if !missing.is_empty() {
        head.headers.push(MISSING, missing.join(", "));
    }
    Ok(Catalog::Union { head, lists })
}

/// The list of one upstream, with its ids as it names them.
///
/// # Errors
/// As [`catalog`].
pub fn list_without_prefix(
    offer: &Arc<Offer>,
    headers: &Headers,
    query: Option<&str>,
    client: &dyn Wanted,
) -> Result<Catalog, Error> {
    let question = offer.question(headers, query)?.without_prefix();
    match offer.list(&offer.ask_list(question, Asker::Client), Some(client), None) {
        Ok(listing) => Ok(Catalog::Single(listing)),
        Err(Refusal::Mirrored(reply)) => Ok(Catalog::Mirrored(reply)),
        Err(Refusal::Failed(error)) => Err(error),
    }
}

/// The list of every upstream, in their order, all requested at once.
///
/// # Errors
/// 401 for a keyring that cannot be read; 499 if the client, if there is one, left meanwhile.
pub fn lists(
    offers: &[Arc<Offer>],
    headers: &Headers,
    query: Option<&str>,
    client: Option<&dyn Wanted>,
) -> Answers<Listing> {
    let questions = offers.iter().map(|offer| offer.question(headers, query));
    let questions = questions.collect::<Result<Vec<_>, Error>>()?;
    let asker = if client.is_some() { Asker::Client } else { Asker::Program };
    let begun = Instant::now();
    let ask = |(offer, question): (&Arc<Offer>, _)| offer.ask_list(question, asker);
    let asked: Vec<_> = offers.iter().zip(questions).map(ask).collect();
    let wait = |(offer, asked): (&Arc<Offer>, _)| offer.list(asked, client, offer.patience(begun));
    answers(offers.iter().zip(&asked).map(wait))
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
    let asked = offers.iter().map(|offer| offer.ask_inventory(headers));
    let asked = asked.collect::<Result<Vec<_>, Error>>()?;
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
