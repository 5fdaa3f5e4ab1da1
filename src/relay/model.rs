//! Paths below `/models/`: judged by the model that they name, and what they answer is filtered.

use std::sync::Arc;

use super::admitted::Admitted;
use super::deliver::Outcome;
use super::hold::{Body, hold};
use super::lists::{changed, changed_head, unchanged};
use super::view::{Choice, View};
use crate::config::Hidden;
use crate::error::Error;
use crate::filter::Filter;
use crate::list::{self, Prefixes, aliased_model, prefixed_model};
use crate::model_field::check_length;
use crate::offer::{Offer, Refusal};
use crate::reply::Reply;
use crate::route::{Route, decode, folded, is_read, strip_raw_prefix, without_method};
use crate::upstream::Place;

/// The longest answer that is read to filter it, or to put the prefix before an id, in bytes.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// The id and the displayed name of a model as clients see them.
#[derive(Clone, Copy)]
pub(super) enum Naming<'n> {
    /// Those of the upstream behind prefixes.
    Prefixes(Prefixes<'n>),
    /// Those of an alias.
    Alias(list::Alias<'n>),
}

impl Naming<'_> {
    /// A model's object with these names; none if it stays, or is no model.
    fn rename(&self, object: &str) -> Option<String> {
        match self {
            Naming::Prefixes(prefixes) if prefixes.are_empty() => None,
            Naming::Prefixes(prefixes) => prefixed_model(object, *prefixes),
            Naming::Alias(alias) => aliased_model(object, alias),
        }
    }
}

impl Admitted<'_> {
    /// Relays a request for a path below `/models/`, if it may name that model.
    ///
    /// # Errors
    /// 404 for a model that is hidden, and if the path is read, for one that is not listed; the
    /// failure of the list that the model is judged by; those of the upstream.
    pub(super) fn model<'v>(
        mut self,
        view: &'v View,
        route: Route<'_>,
    ) -> Result<Outcome<'v>, Refusal> {
        let Route::Model { mut id, mut raw_id, slashed, beside, query } = route else {
            return Err(Error::bad_request("the path names no model").into());
        };
        check_length(id.len())?;
        if let Some(named) = view.alias_in_path(raw_id) {
            return self.alias(view, named, beside, query);
        }
        if let Some((slashed_id, raw)) = slashed_id(view, &id, slashed) {
            (id, raw_id) = (slashed_id, raw);
        }
        let reads = is_read(self.exchange.method());
        self.record.model = Some(without_method(&id).to_owned());
        let Choice { offer, prefix, .. } = view.choose(Some(&id))?;
        let is_known = prefix == view.prefix(offer);
        let may_be_named = is_known || !reads;
        if !may_be_named || !self.permits(offer, &id[prefix.len()..], reads)? {
            return Err(Error::model_not_found(without_method(&id)).into());
        }
        let rest = strip_raw_prefix(raw_id, prefix).unwrap_or(raw_id);
        let path = relayed_path(beside, rest, query);
        let place = if beside.is_some() { Place::Beside(&path) } else { Place::Below(&path) };
        let body = hold(self.exchange, &view.holding)?;
        self.judge_body(view, offer, &body)?;
        let own_id = folded(&id[prefix.len()..]);
        let prefixes = view.prefixes(offer);
        let is_relayed = prefixes.are_empty() && offer.filter.keeps_all();
        if reads && (!is_relayed || offer.own_model(&own_id).is_some()) {
            let naming = Naming::Prefixes(prefixes);
            return self.ask_and_filter(view, offer, naming, place, body, &own_id);
        }
        if !reads {
            return Ok(self.ask(offer, place, body).map(Outcome::Upstream)?);
        }
        let (headers, client) = (self.headers.clone(), self.exchange.wanted());
        let answer = self.ask(offer, place, body)?;
        if answer.status == 404 {
            // Here the view has no prefix.
            if let Some(model) = offer.listed_model(&own_id, false, &headers, &*client) {
                return Ok(Outcome::Own(Reply::json(200, model)));
            }
        }
        Ok(Outcome::Upstream(answer))
    }

    /// Judges the models in a body that goes to this upstream whatever it names. The path may name
    /// another.
    ///
    /// # Errors
    /// As [`Admitted::choose`], and 404 for a model of another upstream: its rules do not say what
    /// this one may be asked for.
    pub(super) fn judge_body(
        &mut self,
        view: &View,
        offer: &Arc<Offer>,
        body: &Body,
    ) -> Result<(), Refusal> {
        for model in body.models() {
            let chosen = self.choose(view, Some(model))?.offer;
            if offer.hidden == Hidden::Reject && !Arc::ptr_eq(chosen, offer) {
                return Err(Error::model_not_found(model).into());
            }
        }
        Ok(())
    }

    /// Whether a request may be about what this path names below `/models/`: a model that is kept,
    /// or something below one, such as `{id}/endpoints`. `reads`: a model that is not listed does
    /// not exist; else it depends on `hidden`.
    fn permits(&mut self, offer: &Arc<Offer>, path: &str, reads: bool) -> Result<bool, Refusal> {
        if !reads && offer.hidden == Hidden::Allow {
            return Ok(true);
        }
        // `a/b:generateContent` is a method of `a/b` and nothing below `a`.
        let below = path.rsplit_once('/').filter(|(_, last)| !last.contains(':'));
        let model = below.map(|(model, _)| model);
        let path = without_method(path);
        // Without rules that name ids, `{id}/endpoints` of a hidden model looks like an id.
        let is_below_hidden = model.is_some_and(|model| offer.filter.excludes(&plain(model)))
            && !offer.filter.verdict(path).rule.is_name();
        if is_below_hidden {
            return Ok(false);
        }
        for id in [Some(path), model].into_iter().flatten() {
            let is_admitted = keeps(&offer.filter, id) && self.admits(offer, id, reads)?;
            if is_admitted && self.admits(offer, &plain(id), reads)? {
                return Ok(true);
            }
        }
        let verdict = offer.filter.verdict(path);
        if !verdict.kept && offer.hidden == Hidden::Reject {
            self.record.hidden_by = Some(verdict.rule.to_string());
        }
        Ok(false)
    }

    /// Asks for a path, filters the answer if it is a list, and gives a model the id and the displayed
    /// name that clients see. If the upstream does not know a model that the configuration names or
    /// that it lists itself, the answer is ours.
    pub(super) fn ask_and_filter<'a>(
        self,
        view: &View,
        offer: &'a Arc<Offer>,
        naming: Naming<'_>,
        place: Place<'_>,
        body: Body,
        id: &str,
    ) -> Result<Outcome<'a>, Refusal> {
        let is_head = self.exchange.method() == "HEAD";
        let (headers, client) = (self.headers.clone(), self.exchange.wanted());
        let names = offer.catalog_names(&headers, &*client)?;
        let mut answer = self.ask_to_change(offer, place, body)?;
        if matches!(answer.status, 404 | 405 | 501) {
            if let Some(model) = offer.own_model(id) {
                let model = naming.rename(model).unwrap_or_else(|| model.to_owned());
                return Ok(Outcome::Own(Reply::json(200, model)));
            }
        }
        if let (404, Naming::Prefixes(prefixes)) = (answer.status, naming) {
            let (id, has_prefix) = (format!("{}{id}", prefixes.id), view.name.is_none());
            if let Some(model) = offer.listed_model(&id, has_prefix, &headers, &*client) {
                return Ok(Outcome::Own(Reply::json(200, model)));
            }
        }
        let is_events = answer.headers.media_type().as_deref() == Some("text/event-stream");
        if !matches!(answer.status, 200..=299) || is_events {
            return Ok(Outcome::Upstream(answer));
        }
        if is_head {
            return Ok(changed_head(answer));
        }
        let body = answer.read_decoded(ANSWER_LIMIT)?;
        let list = offer.filtered_answer(&body, view.name.is_none(), names.as_ref());
        let named = || std::str::from_utf8(&body).ok().and_then(|text| naming.rename(text));
        Ok(match list.or_else(named) {
            Some(new) => changed(answer, new),
            None => unchanged(answer, body),
        })
    }
}

/// The path of a model that is relayed, with its query.
pub(super) fn relayed_path(beside: Option<&str>, raw_id: &str, query: Option<&str>) -> String {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}{raw_id}{query}", beside.unwrap_or("/models/"))
}

/// The id with its slash in front, decoded and raw, if it is kept. A slash that is not encoded may be a
/// slip: then it belongs to the id only if the rules do not keep the id without it.
fn slashed_id<'r>(view: &View, id: &str, slashed: Option<&'r str>) -> Option<(String, &'r str)> {
    let raw = slashed?;
    let slashed = decode(raw).trim_end_matches('/').to_owned();
    let Choice { offer, prefix, .. } = view.choose(Some(&slashed)).ok()?;
    let filter = &offer.filter;
    let keeps = |id: &str| keeps(filter, without_method(id.strip_prefix(prefix).unwrap_or(id)));
    let is_meant = !raw.starts_with('/') || filter.keeps_all() || !keeps(id);
    (is_meant && keeps(&slashed)).then_some((slashed, raw))
}

/// An id in a path as a lenient server reads it. A slash in front stays, because the ids of some
/// servers are paths of files.
pub(super) fn plain(id: &str) -> String {
    let folded = folded(id);
    if id.starts_with('/') { format!("/{folded}") } else { folded }
}

/// Whether an id in a path is kept in each spelling that a server may read it in. Without a name, the
/// path would be that of the list.
fn keeps(filter: &Filter, id: &str) -> bool {
    let folded = folded(id);
    // A lenient server may drop the slash in front.
    let is_hidden_without_slash = id.starts_with('/') && filter.excludes(&folded);
    !folded.is_empty() && !is_hidden_without_slash && filter.keeps(id) && filter.keeps(&plain(id))
}
