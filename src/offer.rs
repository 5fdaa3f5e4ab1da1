//! One upstream and what of it clients may see: its list fetched, filtered, prefixed, put
//! in order and cached.
//!
//! Model objects are passed on as they stand, byte for byte; only the value of `id`
//! changes, and only where there is a prefix. Limits: a list is read into memory, up to
//! 64 MiB; fields of the request that could change the list are those in `asks`.

use std::ops::Range;
use std::sync::{Arc, Mutex};
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

/// The longest answer that is mirrored where there is no list, in bytes.
const REFUSAL_LIMIT: usize = 1024 * 1024;

/// How long the page is shown the same list.
const GLIMPSE: Duration = Duration::from_secs(10);

/// How long an upstream whose list failed is left in peace, where others can serve.
const REST: Duration = Duration::from_secs(5);

/// How long a list is waited for before it is asked whether its client is still there.
const SLICE: Duration = Duration::from_millis(500);

/// One upstream and what of it clients may see.
#[derive(Debug)]
pub struct Offer {
    /// The remote API.
    pub upstream: Upstream,
    /// Which of its models are kept.
    pub filter: Filter,
    /// What becomes of a request that names a hidden one.
    pub hidden: Hidden,
    /// Whether its settings stand below a name in the configuration.
    pub is_named: bool,
    /// The longest body that is held for it, in bytes.
    pub max_body: u64,
    list_timeout: Duration,
    /// Whether clients may not notice that its list failed: others stand in, or an old one.
    covered: bool,
    /// When a list could last be had.
    well: Mutex<Option<Instant>>,
    cache: Arc<Cache<Key, Arc<Listing>, Refusal>>,
    inventories: Arc<Cache<Key, Arc<Inventory>, Refusal>>,
}

/// All models of an upstream.
#[derive(Debug)]
pub struct Inventory {
    /// In its order.
    pub entries: Vec<Entry>,
    /// How long the list took.
    pub took: Duration,
    /// When it came.
    pub fetched: Instant,
}

/// A filtered list.
#[derive(Debug)]
pub struct Listing {
    /// What clients get where there is no other upstream.
    pub reply: Reply,
    /// Where in its body the models stand, with the commas between them.
    models: Range<usize>,
    /// How many models are in it.
    pub kept: usize,
    /// How many the upstream listed.
    pub total: usize,
}

/// Why there is no list.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// The upstream answered with something else than a list; clients get the same.
    Mirrored(Arc<Reply>),
    /// There was no answer, or none that can be understood.
    Failed(Error),
}

/// A question for a list, as one upstream gets it.
#[derive(Debug)]
pub struct Question {
    headers: Headers,
    key: Key,
}

/// What a list may depend on: what is sent, and the query.
type Key = (Vec<(String, Vec<u8>)>, Option<String>);

impl Size for Arc<Listing> {
    fn size(&self) -> usize {
        self.reply.body.len()
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
            Refusal::Failed(error) => error.message.len(),
        }
    }
}

impl Offer {
    /// An upstream with its rules. `among_others` says that there are more of them, so that
    /// one whose list fails is not asked again at once.
    pub fn new(upstream: Upstream, settings: &config::Upstream, among_others: bool) -> Offer {
        let rest = if among_others { REST } else { Duration::ZERO };
        let time_to_live = settings.cache_ttl.unwrap_or_default();
        Offer {
            upstream,
            filter: settings.filter.clone(),
            hidden: settings.hidden,
            is_named: settings.is_named,
            max_body: settings.max_body,
            list_timeout: settings.list_timeout,
            covered: among_others || !settings.cache_stale.is_zero(),
            well: Mutex::default(),
            inventories: Arc::new(Cache::new(GLIMPSE, Duration::ZERO, REST)),
            cache: Arc::new(Cache::new(time_to_live, settings.cache_stale, rest)),
        }
    }

    /// Puts together what this upstream is sent for a client's fields and query.
    pub fn question(&self, headers: &Headers, query: Option<&str>) -> Question {
        let mut asking = Headers::new();
        for (name, value) in headers.iter().filter(|(name, _)| asks(name)) {
            asking.push(name, value);
        }
        self.upstream.decide_credentials(&mut asking, Place::Below(""));
        let fields = asking.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()));
        let key = (fields.collect(), query.map(str::to_owned));
        if let Some(agent) = headers.get("user-agent") {
            asking.push("User-Agent", agent);
        }
        asking.push("Accept-Encoding", "identity");
        Question { headers: asking, key }
    }

    /// Asks for the list: [`Offer::list`] has it.
    pub fn ask_list(self: &Arc<Self>, question: Question) -> Asked<Arc<Listing>, Refusal> {
        let Question { headers, key } = question;
        let (offer, query) = (Arc::clone(self), key.1.clone());
        self.cache.ask(&key, move || {
            let fetched = offer.fetch(headers, query.as_deref());
            match &fetched {
                Err(refusal) if offer.covered => offer.tell(refusal),
                _ => {}
            }
            offer.note(&fetched);
            fetched
        })
    }

    /// The list that was asked for; or its refusal, where the upstream gave none and there is
    /// no old one that may serve.
    ///
    /// # Errors
    /// 499 where the client left meanwhile.
    pub fn list(
        &self,
        asked: &Asked<Arc<Listing>, Refusal>,
        client: Option<&dyn Wanted>,
    ) -> Result<Result<Arc<Listing>, Refusal>, Error> {
        awaited(asked, client).map(|answer| self.counted(answer))
    }

    /// Whether a list could be had within this time; or an answer that asks for the
    /// credentials that clients bring.
    pub fn was_well_within(&self, time: Duration) -> bool {
        let well = *self.well.lock().expect("nothing panics under this lock");
        well.is_some_and(|well| well.elapsed() <= time)
    }

    fn note(&self, fetched: &Result<Arc<Listing>, Refusal>) {
        let event = if fetched.is_ok() { ListEvent::Refreshed } else { ListEvent::Failed };
        METRICS.list(self.upstream.name(), event);
        let is_well = match fetched {
            Ok(_) => true,
            Err(Refusal::Mirrored(reply)) => {
                self.upstream.passes_credentials() && matches!(reply.status, 401 | 403)
            }
            Err(Refusal::Failed(_)) => false,
        };
        if is_well {
            let mut well = self.well.lock().expect("nothing panics under this lock");
            *well = Some(Instant::now());
        }
    }

    fn counted(
        &self,
        (answer, origin): cache::Answer<Arc<Listing>, Refusal>,
    ) -> Result<Arc<Listing>, Refusal> {
        match origin {
            Origin::Cache if answer.is_ok() => METRICS.list(self.upstream.name(), ListEvent::Hit),
            Origin::Stale => METRICS.list(self.upstream.name(), ListEvent::Stale),
            Origin::Cache | Origin::Fetch => {}
        }
        answer
    }

    fn tell(&self, refusal: &Refusal) {
        let upstream = Value(self.upstream.name());
        match refusal {
            Refusal::Mirrored(reply) => {
                log::warn!("msg=\"no list\" upstream={upstream} status={}", reply.status);
            }
            Refusal::Failed(error) => {
                let error = Value(&error.message);
                log::warn!("msg=\"no list\" upstream={upstream} error={error}");
            }
        }
    }

    fn fetch(&self, headers: Headers, query: Option<&str>) -> Result<Arc<Listing>, Refusal> {
        self.ask(headers, query, |body| self.filtered(body).map(Arc::new))
    }

    /// Asks the upstream for its list, and makes something of it.
    fn ask<T>(
        &self,
        headers: Headers,
        query: Option<&str>,
        understand: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<T, Refusal> {
        let rest = match query {
            Some(query) => format!("/models?{query}"),
            None => "/models".to_owned(),
        };
        let place = Place::Below(&rest);
        let request = Request { method: "GET", place, headers, upload: Upload::None };
        let mut answer =
            self.upstream.fetch(request, self.list_timeout).map_err(Refusal::Failed)?;
        match answer.status {
            // 203 is what something in between has changed.
            200 | 203 => {}
            // It may hold a list, which nobody is to see unfiltered.
            status @ 201..=299 => {
                let what = format!("its list of models has an unexpected status {status}");
                return Err(Refusal::Failed(answer.invalid(&what)));
            }
            _ => return Err(mirrored(&mut answer)),
        }
        let body = answer.read_to_end(LIST_LIMIT).map_err(Refusal::Failed)?;
        understand(&body)
            .map_err(|what| Refusal::Failed(answer.invalid(&format!("its list of models {what}"))))
    }

    /// Asks for all models that the upstream lists, as the page shows them: from a moment ago,
    /// or now. [`Offer::inventory`] has them.
    pub fn ask_inventory(self: &Arc<Self>, headers: &Headers) -> Asked<Arc<Inventory>, Refusal> {
        let Question { headers, key } = self.question(headers, None);
        let offer = Arc::clone(self);
        self.inventories.ask(&key, move || {
            let started = Instant::now();
            let entries = offer.ask(headers, None, |body| Ok(List::find(body)?.entries()))?;
            let now = Instant::now();
            let took = now.duration_since(started);
            Ok(Arc::new(Inventory { entries, took, fetched: now }))
        })
    }

    /// The models that were asked for; or the refusal, as [`Offer::list`].
    ///
    /// # Errors
    /// 499 where the client left meanwhile.
    pub fn inventory(
        &self,
        asked: &Asked<Arc<Inventory>, Refusal>,
        client: Option<&dyn Wanted>,
    ) -> Result<Result<Arc<Inventory>, Refusal>, Error> {
        awaited(asked, client).map(|(inventory, _)| inventory)
    }

    fn filtered(&self, body: &[u8]) -> Result<Listing, String> {
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
        let Written { body, models } = list.write(self.upstream.prefix());
        Ok(Listing { reply: Reply::json(200, body), models, kept: list.models().len(), total })
    }
}

/// Waits for what was asked for, for as long as the client is there.
fn awaited<V: Clone>(
    asked: &Asked<V, Refusal>,
    client: Option<&dyn Wanted>,
) -> Result<cache::Answer<V, Refusal>, Error> {
    loop {
        if let Some(answer) = asked.within(SLICE) {
            return Ok(answer);
        }
        if client.is_some_and(|client| !client.is_wanted()) {
            return Err(Error::client_left());
        }
    }
}

impl Listing {
    /// The models, with commas between them.
    pub fn models(&self) -> &[u8] {
        &self.reply.body[self.models.clone()]
    }
}

/// Whether a field of a client may change what it is shown, and so goes to the upstream
/// and into the key of the cache. All others do neither.
fn asks(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    is_credential(&name) || name.starts_with("openai-") || name.starts_with("anthropic-")
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
