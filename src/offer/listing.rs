//! A filtered list, ready to be sent.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::sync::Arc;

use super::names::Names;
use crate::cache::Cached;
use crate::list::{List, Written};
use crate::logging::Value;
use crate::reply::Reply;

/// How many ids a log line shows.
const SHOWN: usize = 5;

/// A filtered list.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The response to clients if this is the only upstream.
    pub reply: Reply,
    /// The models within its body, with commas between them.
    models: Range<usize>,
    /// The same models, each with an `id`, if some have none in the body.
    identified: Option<Vec<u8>>,
    /// The aliases in it, each with an `id`, with their places among all aliases.
    pub aliases: Vec<(usize, Vec<u8>)>,
    /// How many models are in it.
    pub kept: usize,
    /// How many the upstream listed.
    pub total: usize,
    /// A digest of the body.
    pub digest: u64,
    /// The `ETag` that the upstream gave.
    pub(super) etag: Option<Vec<u8>>,
    /// The models in it, if requests are judged by them.
    pub(super) names: Option<Names>,
}

impl Cached for Arc<Listing> {
    fn size(&self) -> usize {
        let aliases = self.aliases.iter().map(|(_, alias)| alias.len()).sum::<usize>();
        self.reply.body.len() + self.identified.as_ref().map_or(0, Vec::len) + aliases
    }

    fn is_empty(&self) -> bool {
        Listing::is_empty(self)
    }
}

impl Listing {
    /// A list of `kept` of `total` models as it was written.
    pub(super) fn new(written: Written, kept: usize, total: usize) -> Listing {
        let Written { body, models, identified, aliases } = written;
        let digest = digest(&[body.as_bytes()]);
        let mut reply = Reply::json(200, body);
        add_validator(&mut reply, digest);
        let identified = identified.map(String::into_bytes);
        let bytes = |(place, alias): (usize, String)| (place, alias.into_bytes());
        let aliases = aliases.into_iter().map(bytes).collect();
        let (etag, names) = (None, None);
        Listing { reply, models, identified, aliases, kept, total, digest, etag, names }
    }

    /// Whether the upstream listed nothing.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The models, each with an `id`, with commas between them.
    pub fn models(&self) -> &[u8] {
        match &self.identified {
            Some(models) => models,
            None => &self.reply.body[self.models.clone()],
        }
    }

    /// The object of the alias with this place among all aliases.
    pub fn alias(&self, place: usize) -> Option<&[u8]> {
        let found = self.aliases.iter().find(|(other, _)| *other == place);
        found.map(|(_, object)| object.as_slice())
    }

    /// The ids of the models, with the prefix.
    pub fn ids(&self) -> Vec<String> {
        let array = [b"[", self.models(), b"]"].concat();
        let list = List::find(&array);
        list.map_or_else(
            |_| Vec::new(),
            |list| list.models().iter().map(|m| m.id.clone()).collect(),
        )
    }

    /// Logs which models are new and which are gone. Returns whether there are any.
    pub(super) fn log_changes(&self, last: &Listing, upstream: &str) -> bool {
        if self.digest == last.digest {
            return false;
        }
        let (new, old) = (self.ids(), last.ids());
        let (added, removed) = (missing_in(&old, &new), missing_in(&new, &old));
        let mut changes = String::new();
        for (name, ids) in [("added", &added), ("removed", &removed)] {
            if !ids.is_empty() {
                changes += &format!(" {name}={}", Value(&some_of(ids)));
            }
        }
        if !changes.is_empty() {
            log::info!("msg=\"models changed\" upstream={}{changes}", Value(upstream));
        }
        !changes.is_empty()
    }
}

fn missing_in<'a>(ids: &[String], others: &'a [String]) -> Vec<&'a str> {
    let known: HashSet<&String> = ids.iter().collect();
    others.iter().filter(|id| !known.contains(id)).map(String::as_str).collect()
}

fn some_of(ids: &[&str]) -> String {
    match ids.len() - ids.len().min(SHOWN) {
        0 => ids.join(", "),
        more => format!("{} and {more} more", ids[..SHOWN].join(", ")),
    }
}

/// A digest of some bytes, the same in every process.
pub fn digest(pieces: &[&[u8]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for piece in pieces {
        hasher.write(piece);
    }
    hasher.finish()
}

/// Lets clients ask whether a list has changed.
pub fn add_validator(reply: &mut Reply, digest: u64) {
    reply.headers.push("ETag", format!("\"{digest:016x}\""));
    reply.headers.push("Cache-Control", "no-cache");
}
