//! Warns of ids that two upstreams list, each once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use crate::logging::Value;
use crate::offer::{Listing, Offer};
use crate::route::by_prefix;

/// The ids that two upstreams list, so that each is logged once.
#[derive(Debug, Default)]
pub struct Twins {
    logged: Mutex<HashSet<String>>,
    /// The lists that were last compared.
    compared: Mutex<Vec<u64>>,
}

/// The most ids that are logged.
const MOST_TWINS: usize = 1000;

impl Twins {
    /// Logs the ids that are in two of these lists.
    pub(super) fn look_for(&self, lists: &[(&Offer, Arc<Listing>)], offers: &[Arc<Offer>]) {
        let prefixes: Vec<&str> = offers.iter().map(|offer| offer.upstream.prefix()).collect();
        // Otherwise no two ids can be equal.
        let is_nested = |a: &&str| prefixes.iter().any(|b| b != a && b.starts_with(*a));
        if !prefixes.iter().any(is_nested) {
            return;
        }
        let digests: Vec<u64> = lists.iter().map(|(_, listing)| listing.digest).collect();
        let is_known = {
            let mut compared = self.compared.lock().expect("nothing panics under this lock");
            std::mem::replace(&mut *compared, digests.clone()) == digests
        };
        if is_known {
            return;
        }
        let mut logged = self.logged.lock().expect("nothing panics under this lock");
        let mut owners: HashMap<String, &Offer> = HashMap::new();
        for (offer, listing) in lists {
            for id in listing.ids() {
                let first = *owners.entry(id.clone()).or_insert(offer);
                if std::ptr::eq(first, *offer) || logged.len() >= MOST_TWINS {
                    continue;
                }
                let goes_to = by_prefix(prefixes.iter().copied(), Some(&id));
                let goes_to = goes_to.map_or("", |index| offers[index].upstream.name());
                let (first, second) = (first.upstream.name(), offer.upstream.name());
                if logged.insert(id.clone()) {
                    log::warn!(
                        "msg=\"two upstreams list the same id\" model={} upstreams={} requests_go_to={}",
                        Value(&id),
                        Value(&format!("{first}, {second}")),
                        Value(goes_to)
                    );
                }
            }
        }
    }
}
