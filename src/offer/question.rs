//! The request for a list, as one upstream gets it, and its key in the cache.
//!
//! Of a client's request only that goes along which may change a list: credentials, `openai-*`
//! and `anthropic-*` fields, and the query. Pages are no affair of the client's: it gets the whole
//! list.

use std::borrow::Cow;

use crate::error::Error;
use crate::headers::{Headers, is_credential};
use crate::route::decode;
use crate::upstream::{Place, Upstream};

/// The parameters by which clients ask for a page, or name their user.
const NOT_FORWARDED: [&str; 16] = [
    "after",
    "after_id",
    "before",
    "before_id",
    "cursor",
    "limit",
    "offset",
    "page",
    "pageSize",
    "pageToken",
    "page_size",
    "page_token",
    "per_page",
    "size",
    "starting_after",
    "user",
];

/// A request for a list.
#[derive(Debug)]
pub struct Question {
    pub(super) headers: Headers,
    pub(super) key: Key,
}

/// All that a list may depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    /// Header fields.
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) query: Option<String>,
    /// Whether the ids have the prefix of the upstream.
    pub(super) has_prefix: bool,
}

impl Question {
    /// The same, for a list of ids as the upstream names them.
    #[must_use]
    pub fn without_prefix(mut self) -> Question {
        self.key.has_prefix = false;
        self
    }

    /// The request that an upstream gets for a client's header fields and query.
    ///
    /// # Errors
    /// 401 for a keyring that cannot be read.
    pub(super) fn new(
        upstream: &Upstream,
        headers: &Headers,
        query: Option<&str>,
    ) -> Result<Question, Error> {
        let mut sent = Headers::new();
        for (name, value) in headers.iter().filter(|(name, _)| changes_lists(name)) {
            sent.push(name, value);
        }
        upstream.decide_credentials(&mut sent, Place::Below(""))?;
        let fields = sent.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()));
        let query = upstream.query_for(query).and_then(without_pages);
        let key = Key { fields: fields.collect(), query, has_prefix: true };
        if let Some(agent) = headers.get("user-agent") {
            sent.push("User-Agent", agent);
        }
        sent.push("Accept-Encoding", "identity");
        Ok(Question { headers: sent, key })
    }
}

/// Whether a header field of a client may change the list. Such fields are sent to the
/// upstream and are part of the cache key; all others are neither.
fn changes_lists(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    is_credential(&name) || name.starts_with("openai-") || name.starts_with("anthropic-")
}

/// A query without the parameters that are not forwarded; none if nothing else is in it.
fn without_pages(query: Cow<'_, str>) -> Option<String> {
    let is_forwarded = |parameter: &&str| {
        let name = decode(parameter.split('=').next().unwrap_or_default());
        !NOT_FORWARDED.contains(&name.as_str())
    };
    let left: Vec<&str> = query.split('&').filter(is_forwarded).collect();
    (left.iter().any(|parameter| !parameter.is_empty())).then(|| left.join("&"))
}
