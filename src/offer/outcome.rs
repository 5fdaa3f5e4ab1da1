//! The results of a request for a list.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::Cached;
use crate::error::Error;
use crate::facts::Entry;
use crate::reply::Reply;

/// All models of an upstream, hidden ones among them.
#[derive(Debug)]
pub struct Inventory {
    /// In the upstream's order.
    pub entries: Vec<Entry>,
    /// How long the fetch took.
    pub took: Duration,
    /// When it ended.
    pub fetched: Instant,
}

/// Why there is no list.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// The upstream responded with an error, which clients get unchanged.
    Mirrored(Arc<Reply>),
    /// There was no valid response, or the client left before it came (499).
    Failed(Error),
}

impl Refusal {
    /// Whether the upstream asks for credentials.
    pub fn asks_for_key(&self) -> bool {
        matches!(self, Refusal::Mirrored(reply) if matches!(reply.status, 401 | 403))
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Failed(error)
    }
}

impl Cached for Arc<Inventory> {
    fn size(&self) -> usize {
        self.entries.iter().map(Entry::size).sum()
    }
}

impl Cached for Refusal {
    fn size(&self) -> usize {
        match self {
            Refusal::Mirrored(reply) => reply.body.len(),
            Refusal::Failed(error) => error.in_full().len(),
        }
    }
}
