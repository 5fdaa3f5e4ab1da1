//! Fetches lists again before they expire, so that no client waits for one.
//!
//! Only lists that are the same for every client: those of upstreams with a key of their own, or
//! with none. One thread for all upstreams of a configuration; it ends with them.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::upstream::Offer;

/// How long a client's question keeps a list fresh.
const INTEREST: Duration = Duration::from_secs(60 * 60);

/// The longest and the shortest time between two looks at the lists.
const LONGEST: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_millis(100);

/// Keeps the lists of these upstreams fresh for as long as they exist.
pub fn keep_fresh(offers: &[Arc<Offer>]) {
    let has_one_list = |offer: &&Arc<Offer>| !offer.upstream.passes_credentials();
    let offers = offers.iter().filter(has_one_list).filter(|offer| offer.is_cached());
    let offers: Vec<Weak<Offer>> = offers.map(Arc::downgrade).collect();
    if offers.is_empty() {
        return;
    }
    let refresh = move || loop {
        let mut pause = LONGEST;
        for offer in &offers {
            let Some(offer) = offer.upgrade() else { return };
            pause = pause.min(offer.refresh_if_due(INTEREST));
        }
        thread::sleep(pause.max(SHORTEST));
    };
    // Without the thread, lists are refreshed once a client asks.
    let _ = thread::Builder::new().name("refresh".into()).spawn(refresh);
}
