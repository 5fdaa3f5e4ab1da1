//! Paths below `/models/` that name an alias: relayed with the id of its model in that place.
//!
//! Limits: below a model, a path of one segment may be read, such as `{id}/endpoints`, unless it is
//! the id of an excluded model.

use super::admitted::Admitted;
use super::deliver::Outcome;
use super::hold::hold;
use super::model::{Naming, plain, relayed_path};
use super::view::{NamedAlias, View};
use crate::cache::Asker;
use crate::config::{Alias, Hidden};
use crate::error::Error;
use crate::list;
use crate::offer::{Offer, Refusal};
use crate::reply::Reply;
use crate::route::{decode, encode, is_read, without_method};
use crate::upstream::Place;

impl Admitted<'_> {
    /// Relays a request for a path that names an alias. The answer to a read has the id and the name
    /// of the alias. If the upstream has no such path, the answer is the alias in the list.
    ///
    /// # Errors
    /// 404 for a path below the alias that may be a hidden model; those of the upstream.
    pub(super) fn alias<'v>(
        mut self,
        view: &'v View,
        named: NamedAlias<'v, '_>,
        beside: Option<&str>,
        query: Option<&str>,
    ) -> Result<Outcome<'v>, Refusal> {
        let NamedAlias { alias, place: index, rest } = named;
        let offer = &view.offers[alias.upstream];
        let reads = is_read(self.exchange.method());
        self.record.model = Some(alias.id.clone());
        self.record.target = Some(alias.target.clone());
        let below = decode(rest);
        let below = below.trim_matches('/');
        let is_judged = reads || offer.hidden == Hidden::Reject;
        if is_judged && !may_be_below(offer, alias, below) {
            return Err(Error::model_not_found(&format!("{}{}", alias.id, decode(rest))).into());
        }
        let path = relayed_path(beside, &[&encode(&alias.model), rest].concat(), query);
        let place = if beside.is_some() { Place::Beside(&path) } else { Place::Below(&path) };
        let body = hold(self.exchange, &view.holding)?;
        self.judge_body(view, offer, &body)?;
        if !reads {
            return Ok(self.ask(offer, place, body).map(Outcome::Upstream)?);
        }
        let (headers, client) = (self.headers.clone(), self.exchange.wanted());
        let (id, model, name) = (&alias.id, &alias.model, alias.name.as_deref());
        let naming = Naming::Alias(list::Alias { place: index, id, model, name });
        let outcome = self.ask_and_filter(view, offer, naming, place, body, model)?;
        let is_unknown = matches!(
            &outcome,
            Outcome::Upstream(answer) if matches!(answer.status, 404 | 405 | 501)
        );
        if is_unknown && below.is_empty() {
            let asked = offer.ask_list(offer.question(&headers, None)?, Asker::Client);
            let list = offer.list(&asked, Some(&*client), None);
            let object = list.ok().and_then(|list| list.alias(index).map(<[u8]>::to_vec));
            if let Some(object) = object {
                return Ok(Outcome::Own(Reply::json(200, object)));
            }
        }
        Ok(outcome)
    }
}

/// Whether a path below an alias may be read.
fn may_be_below(offer: &Offer, alias: &Alias, below: &str) -> bool {
    let id = format!("{}/{below}", alias.model);
    without_method(below).is_empty()
        || (!below.contains(['/', '\\']) && !offer.filter.excludes(&plain(&id)))
}
