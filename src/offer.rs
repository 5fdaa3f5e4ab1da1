//! The list of models of one upstream: fetched, filtered, cached.
//!
//! [`crate::list`] knows what a list looks like; here it is only asked for. Limits: a list is
//! read into memory, up to 64 MiB; only credentials and `openai-*` and `anthropic-*` fields
//! of a client's request go along, since others do not change a list.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::cache::{self, Asked, Cache, Origin, Size};
use crate::config::{self, Hidden};
use crate::error::Error;
use crate::facts::Entry;
use crate::filter::Filter;
use crate::headers::{Headers, is_credential};
use crate::list::{List, Written};
use crate::logging::Value;
use crate::metrics::{ListEvent, METRICS};
use crate::reply::Reply;
use crate::upstream::{Answer, Place, Request, Upload, Upstream};
use crate::wanted::Wanted;

/// The longest list that is read, in bytes.
const LIST_LIMIT: usize = 64 * 1024 * 1024;

/// The longest error body that is mirrored in place of a list, in bytes.
const REFUSAL_LIMIT: usize = 1024 * 1024;

/// How long the page is shown the same inventory.
const INVENTORY_TTL: Duration = Duration::from_secs(10);

/// The back-off after a failed fetch, if there are other upstreams.
const BACK_OFF: Duration = Duration::from_secs(5);

/// How long a list decides that a model does not exist, at least. After that, a request that names
/// an unknown model causes a fetch, and it may be a new one.
const ABSENCE_TTL: Duration = Duration::from_secs(10);

/// For how many keys the names of the last list are kept.
const MOST_NAMES: usize = 16;

/// How often a client that waits for a list is checked for having left.
const SLICE: Duration = Duration::from_millis(500);

/// One upstream with the rules for its models.
#[derive(Debug)]
pub struct Offer {
    /// The remote API.
    pub upstream: Upstream,
    /// Which of its models are kept.
    pub filter: Filter,
    /// What happens to a request that names a hidden model.
    pub hidden: Hidden,
    /// Whether its settings are below a name in the configuration.
    pub is_named: bool,
    /// The longest request body that is held in memory for it, in bytes.
    pub max_body: u64,
    list_timeout: Duration,
    /// Whether a failed refresh can go unnoticed, because other upstreams or a stale list
    /// cover for it.
    is_covered: bool,
    /// Whether a request is refused unless the last list has its model.
    judges_by_list: bool,
    /// How long a list decides that a model does not exist.
    absence_ttl: Duration,
    /// The models of the last list for each key, if requests are judged by them.
    last_names: Mutex<HashMap<Key, Arc<Names>>>,
    /// When a fetch last succeeded.
    last_success: Mutex<Option<Instant>>,
    cache: Arc<Cache<Key, Arc<Listing>, Refusal>>,
    inventories: Arc<Cache<Key, Arc<Inventory>, Refusal>>,
}

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

/// A filtered list.
#[derive(Debug)]
pub struct Listing {
    /// The response to clients if this is the only upstream.
    pub reply: Reply,
    /// The models within its body, with commas between them.
    models: Range<usize>,
    /// How many models are in it.
    pub kept: usize,
    /// How many the upstream listed.
    pub total: usize,
    /// The models in it, if requests are judged by them.
    names: Option<Arc<Names>>,
}

/// The kept models of a list, as the filter compares ids.
#[derive(Debug)]
struct Names {
    ids: HashSet<String>,
    fetched: Instant,
}

/// Why there is no list.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// The upstream responded with an error, which clients get unchanged.
    Mirrored(Arc<Reply>),
    /// There was no valid response, or the client left before it came (499).
    Failed(Error),
}

/// A request for a list, as one upstream gets it.
#[derive(Debug)]
pub struct Question {
    headers: Headers,
    key: Key,
}

/// What a list may depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    /// Header fields.
    fields: Vec<(String, Vec<u8>)>,
    query: Option<String>,
    /// Whether the ids have the prefix of the upstream.
    has_prefix: bool,
}

impl Question {
    /// The same, for a list of ids as the upstream names them.
    #[must_use]
    pub fn without_prefix(mut self) -> Question {
        self.key.has_prefix = false;
        self
    }
}

impl Size for Arc<Listing> {
    fn size(&self) -> usize {
        self.reply.body.len()
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Failed(error)
    }
}

impl Size for Arc<Inventory> {
    fn size(&self) -> usize {
        self.entries.iter().map(|entry| size_of::<Entry>() + entry.id.len()).sum()
    }
}

impl Size for Refusal {
    fn size(&self) -> usize {
        match self {
            Refusal::Mirrored(reply) => reply.body.len(),
            Refusal::Failed(error) => error.in_full().len(),
        }
    }
}

impl Offer {
    /// An upstream with its rules. `among_others`: there are more upstreams, so fetches from
    /// this one back off after a failure.
    pub fn new(upstream: Upstream, settings: &config::Upstream, among_others: bool) -> Offer {
        let back_off = if among_others { BACK_OFF } else { Duration::ZERO };
        let time_to_live = settings.cache_ttl.unwrap_or_default();
        Offer {
            upstream,
            filter: settings.filter.clone(),
            hidden: settings.hidden,
            is_named: settings.is_named,
            max_body: settings.max_body,
            list_timeout: settings.list_timeout,
            is_covered: among_others || !settings.cache_stale.is_zero(),
            judges_by_list: settings.hidden == Hidden::Reject && settings.filter.needs_list(),
            absence_ttl: time_to_live.max(ABSENCE_TTL),
            last_names: Mutex::default(),
            last_success: Mutex::default(),
            cache: Arc::new(Cache::new(time_to_live, settings.cache_stale, back_off)),
            inventories: Arc::new(Cache::new(INVENTORY_TTL, Duration::ZERO, BACK_OFF)),
        }
    }

    /// The request that this upstream gets for a client's header fields and query.
    ///
    /// # Errors
    /// 401 for a keyring that cannot be read.
    pub fn question(&self, headers: &Headers, query: Option<&str>) -> Result<Question, Error> {
        let mut sent = Headers::new();
        for (name, value) in headers.iter().filter(|(name, _)| changes_lists(name)) {
            sent.push(name, value);
        }
        self.upstream.decide_credentials(&mut sent, Place::Below(""))?;
        let fields = sent.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()));
        let query = self.upstream.query_for(query).map(Cow::into_owned);
        let key = Key { fields: fields.collect(), query, has_prefix: true };
        if let Some(agent) = headers.get("user-agent") {
            sent.push("User-Agent", agent);
        }
        sent.push("Accept-Encoding", "identity");
        Ok(Question { headers: sent, key })
    }

    /// Begins to fetch the filtered list, unless it is cached; [`Offer::list`] waits for it.
    pub fn ask_list(self: &Arc<Self>, question: Question) -> Asked<Arc<Listing>, Refusal> {
        let Question { headers, key } = question;
        let (offer, key_of_names) = (Arc::clone(self), key.clone());
        self.cache.ask(&key, move || {
            let Key { query, has_prefix, .. } = &key_of_names;
            let (query, prefix) = (query.as_deref(), offer.upstream.prefix());
            let prefix = if *has_prefix { prefix } else { "" };
            let fetched = offer.fetch(headers, query, |body| offer.filtered(body, query, prefix));
            offer.note(&fetched);
            if let Ok(Listing { names: Some(names), .. }) = &fetched {
                offer.keep_names(key_of_names, names);
            }
            fetched.map(Arc::new)
        })
    }

    /// Whether a request may name this model, given without the prefix: `hidden: reject`. If the
    /// rules need the list, the last one decides; it is fetched if there is none, or if the model is
    /// not in an old one.
    ///
    /// # Errors
    /// As [`Offer::list`].
    pub fn admits(
        self: &Arc<Self>,
        model: &str,
        headers: &Headers,
        client: &dyn Wanted,
    ) -> Result<bool, Refusal> {
        if self.hidden == Hidden::Allow {
            return Ok(true);
        }
        // An upstream may ignore what stands around a name.
        if model.starts_with(is_blank) || model.ends_with(is_blank) || !self.filter.keeps(model) {
            return Ok(false);
        }
        if !self.judges_by_list {
            return Ok(true);
        }
        let question = self.question(headers, None)?;
        let id = self.filter.folded(model);
        let last = self.last_names().get(&question.key).cloned();
        let is_fresh = |names: &Names| names.fetched.elapsed() < self.absence_ttl;
        let is_known = last.as_ref().is_some_and(|names| names.ids.contains(&id));
        if is_known || last.as_deref().is_some_and(is_fresh) {
            if !last.as_deref().is_some_and(is_fresh) {
                // Nobody waits for it.
                self.ask_list(question);
            }
            return Ok(is_known);
        }
        let list = self.list(&self.ask_list(question), Some(client))?;
        Ok(list.names.as_ref().is_some_and(|names| names.ids.contains(&id)))
    }

    fn keep_names(&self, key: Key, names: &Arc<Names>) {
        let mut last = self.last_names();
        if last.len() >= MOST_NAMES && !last.contains_key(&key) {
            let oldest = last.iter().min_by_key(|(_, names)| names.fetched);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.and_then(|key| last.remove(&key));
        }
        last.insert(key, Arc::clone(names));
    }

    fn last_names(&self) -> MutexGuard<'_, HashMap<Key, Arc<Names>>> {
        self.last_names.lock().expect("nothing panics under this lock")
    }

    /// Waits for a list for as long as the client is there.
    ///
    /// # Errors
    /// The upstream's refusal, unless a stale list may stand in. 499 if the client left.
    pub fn list(
        &self,
        asked: &Asked<Arc<Listing>, Refusal>,
        client: Option<&dyn Wanted>,
    ) -> Result<Arc<Listing>, Refusal> {
        let (list, origin) = wait(asked, client)?;
        match origin {
            Origin::Cache if list.is_ok() => METRICS.list(self.upstream.name(), ListEvent::Hit),
            Origin::Stale => METRICS.list(self.upstream.name(), ListEvent::Stale),
            Origin::Cache | Origin::Fetch => {}
        }
        list
    }

    /// Begins to fetch all models, unless they are cached; [`Offer::inventory`] waits for them.
    ///
    /// # Errors
    /// As [`Offer::question`].
    pub fn ask_inventory(
        self: &Arc<Self>,
        headers: &Headers,
    ) -> Result<Asked<Arc<Inventory>, Refusal>, Error> {
        let Question { headers, key } = self.question(headers, None)?;
        let offer = Arc::clone(self);
        Ok(self.inventories.ask(&key, move || {
            let started = Instant::now();
            let entries = offer.fetch(headers, None, |body| Ok(List::find(body)?.entries()))?;
            let fetched = Instant::now();
            Ok(Arc::new(Inventory { entries, took: fetched.duration_since(started), fetched }))
        }))
    }

    /// Waits for all models for as long as the client is there.
    ///
    /// # Errors
    /// As [`Offer::list`].
    pub fn inventory(
        &self,
        asked: &Asked<Arc<Inventory>, Refusal>,
        client: Option<&dyn Wanted>,
    ) -> Result<Arc<Inventory>, Refusal> {
        wait(asked, client)?.0
    }

    /// Whether a fetch succeeded within this time. A response that asks for credentials counts
    /// if clients bring them.
    pub fn was_well_within(&self, time: Duration) -> bool {
        let last = *self.last_success.lock().expect("nothing panics under this lock");
        last.is_some_and(|last| last.elapsed() <= time)
    }

    /// Counts and logs the end of a fetch.
    fn note(&self, fetched: &Result<Listing, Refusal>) {
        let (is_well, failure) = match fetched {
            Ok(_) => (true, None),
            Err(Refusal::Mirrored(reply)) => {
                let asks_for_key = matches!(reply.status, 401 | 403);
                let failure = format!("status={}", reply.status);
                (asks_for_key && self.upstream.passes_credentials(), Some(failure))
            }
            Err(Refusal::Failed(error)) => {
                (false, Some(format!("error={}", Value(&error.in_full()))))
            }
        };
        let event = if fetched.is_ok() { ListEvent::Refreshed } else { ListEvent::Failed };
        METRICS.list(self.upstream.name(), event);
        if let Some(failure) = failure.filter(|_| self.is_covered) {
            log::warn!("msg=\"no list\" upstream={} {failure}", Value(self.upstream.name()));
        }
        if is_well {
            let mut last = self.last_success.lock().expect("nothing panics under this lock");
            *last = Some(Instant::now());
        }
    }

    /// Requests the list, and lets `read` make something of its body.
    fn fetch<T>(
        &self,
        headers: Headers,
        query: Option<&str>,
        read: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<T, Refusal> {
        let rest = match query {
            Some(query) => format!("/models?{query}"),
            None => "/models".to_owned(),
        };
        let place = Place::Below(&rest);
        let request =
            Request { method: "GET", place, headers, upload: Upload::None, protocol: None };
        let mut answer =
            self.upstream.fetch(request, self.list_timeout).map_err(Refusal::Failed)?;
        match answer.status {
            // 203 is a 200 that a proxy has changed.
            200 | 203 => {}
            // The body may hold a list, which must not reach a client unfiltered.
            status @ 201..=299 => {
                let what = format!("its list of models has an unexpected status {status}");
                return Err(Refusal::Failed(answer.invalid(&what)));
            }
            _ => return Err(mirrored(&mut answer)),
        }
        let body = answer.read_to_end(LIST_LIMIT).map_err(Refusal::Failed)?;
        let invalid = |what| answer.invalid(&format!("its list of models {what}"));
        read(&body).map_err(|what| Refusal::Failed(invalid(what)))
    }

    /// An answer that has the shape of a list of models, filtered, with a prefix before its ids; none
    /// for any other.
    pub fn filtered_answer(&self, body: &[u8], prefix: &str) -> Option<String> {
        let mut list = List::find(body).ok().filter(|list| !list.models().is_empty())?;
        list.filter(|models| models.retain(|model| self.filter.keeps(&model.id)));
        Some(list.write(prefix).body)
    }

    fn filtered(&self, body: &[u8], query: Option<&str>, prefix: &str) -> Result<Listing, String> {
        let mut list = List::find(body)?;
        let total = list.total();
        if list.models().len() < total {
            let (name, dropped) = (self.upstream.name(), total - list.models().len());
            log::warn!("msg=\"dropped models without an id\" upstream={name:?} count={dropped}");
        }
        list.filter(|models| {
            models.retain(|model| self.filter.keeps(&model.id));
            self.filter.order(models, |model| &model.id);
        });
        let Written { body, models } = list.write(prefix);
        // A client's query may shorten the list.
        let names = (self.judges_by_list && query.is_none()).then(|| {
            let ids = list.models().iter().map(|model| self.filter.folded(&model.id));
            Arc::new(Names { ids: ids.collect(), fetched: Instant::now() })
        });
        let (reply, kept) = (Reply::json(200, body), list.models().len());
        Ok(Listing { reply, models, kept, total, names })
    }
}

/// Waits for what was asked for, for as long as the client is there.
fn wait<V: Clone>(
    asked: &Asked<V, Refusal>,
    client: Option<&dyn Wanted>,
) -> Result<cache::Answer<V, Refusal>, Refusal> {
    loop {
        if let Some(answer) = asked.within(SLICE) {
            return Ok(answer);
        }
        if client.is_some_and(|client| !client.is_wanted()) {
            return Err(Refusal::Failed(Error::client_left()));
        }
    }
}

impl Listing {
    /// The models, with commas between them.
    pub fn models(&self) -> &[u8] {
        &self.reply.body[self.models.clone()]
    }
}

/// Whether a header field of a client may change the list. Such fields are sent to the
/// upstream and are part of the cache key; all others are neither.
fn changes_lists(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    is_credential(&name) || name.starts_with("openai-") || name.starts_with("anthropic-")
}

/// Whether a character is invisible: a blank, a control or a format character.
fn is_blank(c: char) -> bool {
    let is_format = matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    c.is_whitespace() || c.is_control() || is_format
}

fn mirrored(answer: &mut Answer<'_>) -> Refusal {
    let passed =
        ["content-type", "content-encoding", "retry-after", "www-authenticate", "location"];
    let mut headers = Headers::new();
    for (name, value) in answer.headers.iter().filter(|(name, _)| passed.contains(name)) {
        headers.push(name, value);
    }
    match answer.read_to_end(REFUSAL_LIMIT) {
        Ok(body) => Refusal::Mirrored(Arc::new(Reply { status: answer.status, headers, body })),
        Err(error) => Refusal::Failed(error),
    }
}
