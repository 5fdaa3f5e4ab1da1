//! The judged models of an upstream.

use crate::cli::Selection;
use crate::config::Alias;
use crate::facts::{Entry, Facts};
use crate::filter::{Choice, Order, Verdict, nothing_kept};
use crate::offer::{Offer, seconds_since_1970};

/// The judged models of one upstream, or why there are none.
pub(super) struct Survey<'a> {
    pub(super) upstream: &'a str,
    pub(super) prefix: &'a str,
    pub(super) aliases: Vec<&'a Alias>,
    pub(super) models: Result<Models, String>,
    /// How long the fetch took.
    pub(super) seconds: f64,
}

/// The models of one upstream.
pub(super) struct Models {
    entries: Vec<Entry>,
    choice: Choice,
    /// The model that `default` moved to the front.
    first: Option<usize>,
    /// What is wrong with the rules, one line each.
    pub(super) advice: Vec<String>,
    /// When they were judged, in seconds since 1970.
    pub(super) now: u64,
}

/// One model.
pub(super) struct Judged<'a> {
    pub(super) entry: &'a Entry,
    pub(super) verdict: &'a Verdict,
    /// Whether `default` moved it to the front.
    pub(super) is_first: bool,
}

impl<'a> Survey<'a> {
    pub(super) fn new(
        offer: &'a Offer,
        entries: Result<&[Entry], String>,
        seconds: f64,
    ) -> Survey<'a> {
        let models = entries.map(|entries| Models::new(offer, entries));
        let (upstream, prefix) = (offer.upstream.name(), offer.upstream.prefix());
        let aliases = offer.aliases.own().collect();
        Survey { upstream, prefix, aliases, models, seconds }
    }
}

impl Models {
    fn new(offer: &Offer, entries: &[Entry]) -> Models {
        let (filter, now) = (&offer.filter, seconds_since_1970());
        let models = borrowed(entries);
        let choice = filter.choose(&models, now);
        let first = filter.first(&models, &choice);
        let ids: Vec<&str> = models.iter().map(|(id, _)| *id).collect();
        let finding = |idle| filter.finding(idle, &ids, offer.upstream.prefix()).to_string();
        let mut advice: Vec<String> = filter.idle(&ids).into_iter().map(finding).collect();
        advice.extend(nothing_kept(choice.verdicts.iter()));
        Models { entries: entries.to_vec(), choice, first, advice, now }
    }

    pub(super) fn kept(&self) -> usize {
        self.choice.kept.len()
    }

    /// Whether an alias is in the list that clients see: whether its model is in the upstream's.
    pub(super) fn lists(&self, alias: &Alias) -> bool {
        self.entries.iter().any(|entry| entry.id == alias.model)
    }

    pub(super) fn total(&self) -> usize {
        self.entries.len()
    }

    /// The kept models in the order that clients get, then the hidden ones in the upstream's; or
    /// both in another order.
    pub(super) fn sorted(&self, order: Option<Order>) -> Vec<Judged<'_>> {
        let mut kept = self.choice.kept.clone();
        let mut hidden: Vec<usize> = self.choice.hidden().collect();
        if let Some(order) = order {
            // Equal models keep the upstream's order.
            kept.sort_unstable();
            let models = borrowed(&self.entries);
            order.sort_indices(&mut kept, &models, &self.choice);
            order.sort_indices(&mut hidden, &models, &self.choice);
        }
        let judged = |at: usize| Judged {
            entry: &self.entries[at],
            verdict: &self.choice.verdicts[at],
            is_first: self.first == Some(at),
        };
        kept.into_iter().chain(hidden).map(judged).collect()
    }
}

fn borrowed(entries: &[Entry]) -> Vec<(&str, &Facts)> {
    entries.iter().map(|entry| (entry.id.as_str(), &entry.facts)).collect()
}

impl Selection {
    /// Whether a model is shown.
    pub(super) fn takes(&self, model: &Judged<'_>) -> bool {
        let wanted = match (self.kept, self.hidden) {
            (true, false) => model.verdict.kept,
            (false, true) => !model.verdict.kept,
            _ => true,
        };
        let word = self.word.as_deref().unwrap_or_default().to_lowercase();
        wanted && model.entry.id.to_lowercase().contains(&word)
    }

    /// Whether an alias is shown.
    pub(super) fn takes_alias(&self, alias: &Alias) -> bool {
        let word = self.word.as_deref().unwrap_or_default().to_lowercase();
        let has_word = |id: &str| id.to_lowercase().contains(&word);
        (self.kept || !self.hidden) && (has_word(&alias.id) || has_word(&alias.target))
    }
}
