//! Upgrades (WebSocket): asked for end to end, and relayed behind the upstream's 101.
//!
//! Limits: what is sent over the connection is not read, so a model that only it names is not judged,
//! and keeps its prefix.

use std::borrow::Cow;

use super::admitted::Admitted;
use super::deliver::Outcome;
use super::hold::Body;
use super::view::{Choice, View};
use crate::config::Hidden;
use crate::error::{Code, Error};
use crate::offer::{Offer, Refusal};
use crate::route::{QueryModel, encode, model_in_query, strip_raw_prefix};
use crate::upstream::Place;

impl Admitted<'_> {
    /// Relays a request to switch to another protocol. The query names the model, because there is no
    /// body.
    ///
    /// # Errors
    /// 426 if the upstream is not known or ignores the offer; 404 for a model that is hidden or has no
    /// upstream; 503 if there are too many upgrades.
    pub(super) fn upgrade<'v>(
        mut self,
        view: &'v View,
        place: Place<'_>,
        protocol: &str,
    ) -> Result<Outcome<'v>, Refusal> {
        let target = place.target();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (offer, target): (&Offer, _) = match model_in_query(query)? {
            Some(QueryModel { model, value }) => {
                self.record.model = Some(model.clone());
                let Choice { offer, prefix, alias } = self.choose(view, Some(&model))?;
                self.record.target = alias.map(|alias| alias.target.clone());
                let raw = &query[value.clone()];
                let id = match alias {
                    Some(alias) => Cow::Owned(encode(&alias.model)),
                    None => Cow::Borrowed(strip_raw_prefix(raw, prefix).unwrap_or(raw)),
                };
                let (front, behind) = (&query[..value.start], &query[value.end..]);
                (offer, Cow::Owned([path, "?", front, &id, behind].concat()))
            }
            None => (certain(view)?, Cow::Borrowed(target)),
        };
        self.exchange.reserve_upgrade()?;
        let place = place.with(&target);
        let answer = self.ask_to_switch(offer, place, Body::default(), Some(protocol))?;
        match answer.status {
            // RFC 9110 §7.8: a server may ignore the field. Codex asks six times over unless the status is
            // 426.
            200..=299 => {
                let what = "the upstream ignored the upgrade: use HTTP";
                Err(Error::client(Code::UpgradeUnsupported, what).into())
            }
            _ => Ok(Outcome::Upstream(answer)),
        }
    }
}

/// The upstream for an upgrade without a model, if there is only one and its models need neither be
/// judged nor renamed: a client that is refused uses HTTP, where they can.
fn certain(view: &View) -> Result<&Offer, Error> {
    let has_own_ids = |offer: &Offer| view.prefix(offer).is_empty() && view.aliases().is_empty();
    let only = view.only().filter(|offer| has_own_ids(offer));
    only.filter(|offer| offer.hidden == Hidden::Allow).map(|offer| &**offer).ok_or_else(|| {
        let what = "cannot choose an upstream for this upgrade: name the model in the query \
                    (?model=…), or use HTTP";
        Error::client(Code::UpgradeUnsupported, what)
    })
}
