//! One upstream with the rules for its models: its lists, filtered and cached.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::aliases::Aliases;
use super::fetch::{Fetched, ListSource, too_slow};
use super::idle_rules::IdleRules;
use super::listing::Listing;
use super::names::{LastNames, Names};
use super::outcome::{Inventory, Refusal};
use super::question::{Key, Question};
use crate::cache::{self, Asked, Asker, BackOff, Cache, Origin, Standing, Terms};
use crate::config::{self, Hidden, OwnModel, RulesFile};
use crate::error::Error;
use crate::facts::Entry;
use crate::filter::Filter;
use crate::headers::Headers;
use crate::list::{List, Prefixes};
use crate::metrics::{ListEvent, METRICS};
use crate::upstream::Upstream;
use crate::wanted::Wanted;

/// How long the page is shown the same inventory.
const INVENTORY_TTL: Duration = Duration::from_secs(10);

/// How long the page is shown an old inventory while the upstream has no list.
const INVENTORY_STALE: Duration = Duration::from_secs(24 * 3600);

/// The pauses after a failed fetch. A client waits for a list that failed once that is so long ago
/// that the upstream may well be back.
const BACK_OFF: BackOff = BackOff {
    first: Duration::from_secs(5),
    most: Duration::from_secs(60),
    memory: Duration::from_secs(120),
};

/// How long a client waits, at most, for the list of one of several upstreams if it failed last
/// time.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a list decides that a model does not exist, at least. After that, a request that names
/// an unknown model causes a fetch, and it may be a new one.
const ABSENCE_TTL: Duration = Duration::from_secs(10);

/// How often a client that waits for a list is checked for having left.
const SLICE: Duration = Duration::from_millis(500);

/// One upstream with the rules for its models.
#[derive(Debug)]
pub struct Offer {
    /// The remote API.
    pub upstream: Upstream,
    /// Which of its models are kept.
    pub filter: Filter,
    /// The treatment of a request that names a hidden model.
    pub hidden: Hidden,
    /// The file of its rules, if they have one of their own.
    pub rules_file: Option<RulesFile>,
    /// Whether its settings are below a name in the configuration.
    pub is_named: bool,
    /// The longest request body that is held in memory for it, in bytes.
    pub max_body: u64,
    /// Put before the displayed names of its models; may be empty.
    pub name_prefix: String,
    /// Other ids for models.
    pub aliases: Aliases,
    pub(super) source: ListSource,
    /// The models that the configuration names.
    own_models: Vec<OwnModel>,
    /// These models as a list.
    own_list: Vec<u8>,
    /// The filtered list, without and with the prefix, if it is made of these models alone.
    own_listings: Option<[OnceLock<Arc<Listing>>; 2]>,
    is_among_others: bool,
    /// Whether the last fetch got no response.
    has_failed: AtomicBool,
    /// Whether a failed refresh can go unnoticed, because other upstreams or a stale list
    /// cover for it.
    pub(super) is_covered: bool,
    /// Whether the last list decides which models there are, or which of them are kept.
    pub(super) judges_by_list: bool,
    /// How long a list decides that a model does not exist.
    pub(super) absence_ttl: Duration,
    /// The models of the last list for each key, if requests are judged by them.
    pub(super) last_names: LastNames,
    pub(super) idle_rules: IdleRules,
    /// When a fetch last succeeded.
    last_success: Mutex<Option<Instant>>,
    cache: Arc<Cache<Key, Arc<Listing>, Refusal>>,
    inventories: Arc<Cache<Key, Arc<Inventory>, Refusal>>,
}

impl Offer {
    /// An upstream with its rules. `among_others`: there are more upstreams, so fetches from
    /// this one back off after a failure.
    pub fn new(upstream: Upstream, settings: &config::Upstream, among_others: bool) -> Offer {
        let time_to_live = settings.cache_ttl.unwrap_or_default();
        let own_models = settings.models.clone().unwrap_or_default();
        let objects: Vec<&str> = own_models.iter().map(|model| model.object.as_str()).collect();
        let asks_nobody = settings.models.is_some() && settings.list_path.is_none();
        let lists = Terms {
            time_to_live,
            stale: settings.cache_stale,
            refreshes_ahead: true,
            back_off: BACK_OFF,
            keeps_failures: among_others,
        };
        let inventories = Terms {
            time_to_live: INVENTORY_TTL,
            stale: INVENTORY_STALE,
            refreshes_ahead: false,
            back_off: BackOff { most: BACK_OFF.first, memory: Duration::ZERO, ..BACK_OFF },
            keeps_failures: true,
        };
        Offer {
            upstream,
            filter: settings.filter.clone(),
            hidden: settings.hidden,
            rules_file: settings.rules_file.clone(),
            is_named: settings.is_named,
            max_body: settings.max_body,
            name_prefix: settings.name_prefix.clone(),
            aliases: Aliases::default(),
            source: ListSource { path: settings.list_path.clone(), timeout: settings.list_timeout },
            own_list: format!("{{\"object\":\"list\",\"data\":[{}]}}", objects.join(",")).into(),
            own_models,
            own_listings: asks_nobody.then(Default::default),
            is_among_others: among_others,
            has_failed: AtomicBool::new(false),
            is_covered: among_others || !settings.cache_stale.is_zero(),
            judges_by_list: settings.filter.has_conditions()
                || (settings.hidden == Hidden::Reject && settings.filter.needs_list()),
            absence_ttl: time_to_live.max(ABSENCE_TTL),
            last_names: LastNames::default(),
            idle_rules: IdleRules::default(),
            last_success: Mutex::default(),
            cache: Arc::new(Cache::new(lists)),
            inventories: Arc::new(Cache::new(inventories)),
        }
    }

    /// The texts that go before the ids and displayed names of its models.
    pub fn prefixes(&self) -> Prefixes<'_> {
        Prefixes { id: self.upstream.prefix(), name: &self.name_prefix }
    }

    /// The request that this upstream gets for a client's header fields and query.
    ///
    /// # Errors
    /// 401 for a keyring that cannot be read.
    pub fn question(&self, headers: &Headers, query: Option<&str>) -> Result<Question, Error> {
        Question::new(&self.upstream, headers, query)
    }

    /// The JSON object of a model that the configuration names.
    pub fn own_model(&self, id: &str) -> Option<&str> {
        let model = self.own_models.iter().find(|model| model.id == id);
        model.map(|model| model.object.as_str())
    }

    /// Begins to fetch the filtered list, unless it is cached; [`Offer::list`] waits for it.
    pub fn ask_list(
        self: &Arc<Self>,
        question: Question,
        asker: Asker,
    ) -> Asked<Arc<Listing>, Refusal> {
        let Question { headers, key } = question;
        let has_prefix = key.has_prefix;
        if let Some(listings) = &self.own_listings {
            let listing = listings[usize::from(key.has_prefix)].get_or_init(|| {
                let listing = self.filtered(empty_list(), None, has_prefix);
                self.note(&Ok(()));
                Arc::new(listing.expect("no configuration has that many models"))
            });
            if let Some(names) = &listing.names {
                self.last_names.keep(key, names);
            }
            return Asked::known(Arc::clone(listing));
        }
        let (offer, key_of_names) = (Arc::clone(self), key.clone());
        self.cache.ask(&key, asker, move |last| {
            let query = key_of_names.query.as_deref();
            let etag = last.as_ref().and_then(|last| last.etag.as_deref());
            let fetched =
                offer.source.fetch(&offer.upstream, &headers, query, etag, |list, etag| {
                    let mut listing = offer.filtered(list, query, has_prefix)?;
                    listing.etag = etag.map(<[u8]>::to_vec);
                    Ok(listing)
                });
            offer.note(&fetched);
            let listing = match (fetched?, last) {
                (Fetched::New(listing), last) => {
                    offer.note_changes(&listing, last.as_deref());
                    Arc::new(listing)
                }
                (Fetched::Unchanged, Some(last)) => last,
                (Fetched::Unchanged, None) => unreachable!("only a known list has an ETag"),
            };
            if let Some(names) = &listing.names {
                offer.last_names.keep(key_of_names, names);
            }
            Ok(listing)
        })
    }

    /// Whether lists are fetched and kept.
    pub(super) fn is_cached(&self) -> bool {
        self.own_listings.is_none() && !self.cache.terms().time_to_live.is_zero()
    }

    /// Begins to fetch the list of clients without credentials if it is due, because some client
    /// asked within `interest`. Returns how long nothing is due, at most.
    pub(super) fn refresh_if_due(self: &Arc<Self>, interest: Duration) -> Duration {
        let Ok(question) = self.question(&Headers::new(), None) else { return interest };
        // A client may ask for the first time at any moment.
        let soon = self.cache.terms().time_to_live / 5;
        match self.cache.due(&question.key, interest) {
            None => soon,
            Some(due) if due > Instant::now() => soon.min(due.duration_since(Instant::now())),
            Some(_) => {
                self.ask_list(question, Asker::Program);
                soon
            }
        }
    }

    /// The state of the cached list of a client that sends these header fields.
    pub fn standing(&self, headers: &Headers) -> Option<Standing> {
        let question = self.question(headers, None).ok()?;
        self.cache.standing(&question.key)
    }

    /// Until when a client waits for this list that was asked for at this time, if one of several
    /// upstreams failed last time.
    pub fn patience(&self, asked_at: Instant) -> Option<Instant> {
        let is_short = self.is_among_others && self.has_failed.load(Ordering::Relaxed);
        is_short.then(|| asked_at + PATIENCE)
    }

    /// Waits for a list for as long as the client is there, and at most until this time.
    ///
    /// # Errors
    /// The upstream's refusal, unless a stale list may stand in. 499 if the client left.
    pub fn list(
        &self,
        asked: &Asked<Arc<Listing>, Refusal>,
        client: Option<&dyn Wanted>,
        until: Option<Instant>,
    ) -> Result<Arc<Listing>, Refusal> {
        let answer = wait(asked, client, until)?;
        let (list, origin) =
            answer.ok_or_else(|| Refusal::Failed(too_slow(&self.upstream, PATIENCE)))?;
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
        // A stale one is for when there is no other.
        Ok(self.inventories.ask(&key, Asker::Judge, move |_| {
            let started = Instant::now();
            let entries = if offer.own_listings.is_some() {
                offer.entries(empty_list()).unwrap_or_default()
            } else {
                match offer
                    .source
                    .fetch(&offer.upstream, &headers, None, None, |list, _| offer.entries(list))?
                {
                    Fetched::New(entries) => entries,
                    Fetched::Unchanged => unreachable!("no list was known"),
                }
            };
            let fetched = Instant::now();
            Ok(Arc::new(Inventory { entries, took: fetched.duration_since(started), fetched }))
        }))
    }

    /// Why the page has an old inventory; none if it is a new one.
    pub fn inventory_failure(&self, headers: &Headers) -> Option<Refusal> {
        self.inventories.failure(&self.question(headers, None).ok()?.key)
    }

    /// Makes all lists stale, so that the next question fetches them.
    pub fn expire(&self) {
        self.cache.expire();
        self.inventories.expire();
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
        wait(asked, client, None)?.expect("it has no deadline").0
    }

    /// Whether a fetch succeeded within this time. A response that asks for credentials counts
    /// if clients bring them.
    pub fn was_well_within(&self, time: Duration) -> bool {
        if self.own_listings.is_some() {
            return true;
        }
        let last = *self.last_success.lock().expect("nothing panics under this lock");
        last.is_some_and(|last| last.elapsed() <= time)
    }

    /// Counts and logs the end of a fetch.
    fn note<T>(&self, fetched: &Result<T, Refusal>) {
        let is_well = match fetched {
            Ok(_) => true,
            Err(refusal) => refusal.asks_for_key() && self.upstream.passes_credentials(),
        };
        let event = if fetched.is_ok() { ListEvent::Refreshed } else { ListEvent::Failed };
        METRICS.list(self.upstream.name(), event);
        let got_nothing = matches!(fetched, Err(Refusal::Failed(_)));
        let had_failed = self.has_failed.swap(got_nothing, Ordering::Relaxed);
        if let Some(refusal) = fetched.as_ref().err().filter(|_| self.is_covered) {
            // One line for an upstream that sleeps all night.
            self.log_missing(
                refusal,
                if had_failed { log::Level::Debug } else { log::Level::Warn },
            );
        }
        if is_well {
            let mut last = self.last_success.lock().expect("nothing panics under this lock");
            *last = Some(Instant::now());
        }
    }

    fn note_changes(&self, new: &Listing, last: Option<&Listing>) {
        // An empty list does not replace another at once: see the cache.
        let Some(last) = last.filter(|_| !new.is_empty()) else { return };
        if new.log_changes(last, self.upstream.name()) {
            METRICS.list(self.upstream.name(), ListEvent::Changed);
        }
    }

    /// A list with the models that the configuration names.
    fn completed<'a>(&'a self, mut list: List<'a>) -> Result<List<'a>, String> {
        if !self.own_models.is_empty() {
            list.complete(List::find(&self.own_list)?)?;
        }
        Ok(list)
    }

    fn entries(&self, list: List<'_>) -> Result<Vec<Entry>, String> {
        self.completed(list).map(|list| list.entries())
    }

    fn filtered(
        &self,
        list: List<'_>,
        query: Option<&str>,
        has_prefix: bool,
    ) -> Result<Listing, String> {
        let mut list = self.completed(list)?;
        let total = list.total();
        if list.models().len() < total {
            let (name, dropped) = (self.upstream.name(), total - list.models().len());
            log::warn!("msg=\"dropped models without an id\" upstream={name:?} count={dropped}");
        }
        let mut names: Option<Names> = None;
        let is_whole = query.is_none();
        let mut is_main = is_whole;
        let prefixes = self.choose_all(&mut list, has_prefix, has_prefix && is_whole, |models| {
            let judged = self.choose(models, names.as_ref());
            // If there are two arrays, the first one that is not empty stands for the list. A
            // client's query may shorten it.
            if is_main && !judged.is_empty() {
                is_main = false;
                self.log_idle_rules(&judged);
                names = self.judges_by_list.then(|| judged.names(&self.filter));
            }
        });
        let written = list.write(prefixes);
        let mut listing = Listing::new(written, list.models().len(), total);
        listing.names = names;
        Ok(listing)
    }
}

/// A list without models.
fn empty_list() -> List<'static> {
    List::find(br#"{"object":"list","data":[]}"#).expect("this is a list")
}

/// Waits for what was asked for, for as long as the client is there; none if that takes longer
/// than until this time.
fn wait<V: Clone>(
    asked: &Asked<V, Refusal>,
    client: Option<&dyn Wanted>,
    until: Option<Instant>,
) -> Result<Option<cache::Answer<V, Refusal>>, Refusal> {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let slice = left.map_or(SLICE, |left| left.min(SLICE));
        if let Some(answer) = asked.within(slice) {
            return Ok(Some(answer));
        }
        if client.is_some_and(|client| !client.is_wanted()) {
            return Err(Refusal::Failed(Error::client_left()));
        }
        if left.is_some_and(|left| left <= slice) {
            return Ok(None);
        }
    }
}
