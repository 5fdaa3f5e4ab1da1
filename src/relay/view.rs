//! A view: the upstreams that a request may go to, and the names that their models have there.
//!
//! At `/v1/…` clients see all upstreams, with their prefixes; at `/<name>/v1/…` one of them, whose ids
//! have no prefix there.

use std::sync::Arc;

use super::hold::Holding;
use crate::catalog::{Catalog, Twins, catalog, list_without_prefix};
use crate::config::Alias;
use crate::error::Error;
use crate::headers::Headers;
use crate::list::Prefixes;
use crate::offer::Offer;
use crate::route::{by_prefix, decode, strip_raw_prefix, without_method};
use crate::wanted::Wanted;

/// The upstreams that a request may go to.
#[derive(Debug)]
pub(super) struct View {
    pub(super) offers: Vec<Arc<Offer>>,
    pub(super) holding: Holding,
    twins: Twins,
    /// The name in the path; none for the view of all upstreams.
    pub(super) name: Option<String>,
}

/// An upstream for a model.
pub(super) struct Choice<'a> {
    pub(super) offer: &'a Arc<Offer>,
    /// The prefix that the model has, or that of the alias's target: the upstream's, or none.
    pub(super) prefix: &'a str,
    /// The alias that the model is.
    pub(super) alias: Option<&'a Alias>,
}

/// An alias in a path.
pub(super) struct NamedAlias<'v, 'r> {
    pub(super) alias: &'v Alias,
    /// Its place among all aliases.
    pub(super) place: usize,
    /// The raw path behind it: a method such as `:generateContent`, a path from a `/` on, or nothing.
    pub(super) rest: &'r str,
}

impl<'a> Choice<'a> {
    /// The model's id as the upstream names it.
    pub(super) fn id<'m>(&self, model: &'m str) -> &'m str
    where
        'a: 'm,
    {
        match self.alias {
            Some(alias) => &alias.model,
            None => &model[self.prefix.len()..],
        }
    }
}

impl View {
    /// The view of all upstreams.
    pub(super) fn whole(offers: Vec<Arc<Offer>>) -> View {
        let has_prefix = offers.iter().any(|offer| !offer.upstream.prefix().is_empty());
        let has_aliases = offers.iter().any(|offer| !offer.aliases.all().is_empty());
        let holding = Holding::new(&offers, offers.len() > 1 || has_prefix || has_aliases);
        View { offers, holding, twins: Twins::default(), name: None }
    }

    /// The view of each upstream that has a name.
    pub(super) fn each(offers: &[Arc<Offer>]) -> Vec<View> {
        let view = |offer: &Arc<Offer>| {
            let offers = vec![Arc::clone(offer)];
            let name = Some(offer.upstream.name().to_owned());
            View { holding: Holding::new(&offers, false), offers, twins: Twins::default(), name }
        };
        offers.iter().filter(|offer| offer.is_named).map(view).collect()
    }

    /// The prefix of an upstream's ids in this view.
    pub(super) fn prefix<'a>(&self, offer: &'a Offer) -> &'a str {
        if self.name.is_some() { "" } else { offer.upstream.prefix() }
    }

    /// The texts that go before the ids and displayed names of an upstream's models in this view.
    pub(super) fn prefixes<'a>(&self, offer: &'a Offer) -> Prefixes<'a> {
        if self.name.is_some() { Prefixes::default() } else { offer.prefixes() }
    }

    /// The aliases of this view. Those of all upstreams have none below the name of one.
    pub(super) fn aliases(&self) -> &[Alias] {
        match self.offers.first() {
            Some(offer) if self.name.is_none() => offer.aliases.all(),
            _ => &[],
        }
    }

    /// The alias that a raw path behind `models` begins with; the longest one.
    pub(super) fn alias_in_path<'r>(&self, raw_id: &'r str) -> Option<NamedAlias<'_, 'r>> {
        let named = self.aliases().iter().enumerate().filter_map(|(place, alias)| {
            let rest = strip_raw_prefix(raw_id, &alias.id)?;
            let text = decode(rest);
            let ends_id = text.starts_with('/') || without_method(&text).is_empty();
            ends_id.then_some(NamedAlias { alias, place, rest })
        });
        named.max_by_key(|named| named.alias.id.len())
    }

    /// The only upstream, if there is one.
    pub(super) fn only(&self) -> Option<&Arc<Offer>> {
        match self.offers.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The list of models.
    ///
    /// # Errors
    /// As [`catalog`].
    pub(super) fn list(
        &self,
        headers: &Headers,
        query: Option<&str>,
        client: &dyn Wanted,
    ) -> Result<Catalog, Error> {
        match self.only().filter(|_| self.name.is_some()) {
            Some(offer) => list_without_prefix(offer, headers, query, client),
            None => catalog(&self.offers, &self.twins, headers, query, client),
        }
    }

    /// The upstream that a model points to.
    ///
    /// # Errors
    /// 404 for a model that has no upstream; 400 without a model.
    pub(super) fn choose(&self, model: Option<&str>) -> Result<Choice<'_>, Error> {
        let alias = model.and_then(|model| self.aliases().iter().find(|alias| alias.id == model));
        if let Some(alias) = alias {
            let offer = &self.offers[alias.upstream];
            let prefix = &alias.target[..alias.target.len() - alias.model.len()];
            return Ok(Choice { offer, prefix, alias: Some(alias) });
        }
        let prefixes = self.offers.iter().map(|offer| self.prefix(offer));
        match (by_prefix(prefixes, model), self.only()) {
            (Some(index), _) => {
                let offer = &self.offers[index];
                Ok(Choice { offer, prefix: self.prefix(offer), alias: None })
            }
            // As in the Python program: the only upstream gets every request.
            (None, Some(only)) => Ok(Choice { offer: only, prefix: "", alias: None }),
            (None, None) => Err(self.no_upstream(model)),
        }
    }

    fn no_upstream(&self, model: Option<&str>) -> Error {
        let list = |part: &dyn Fn(&Offer) -> String| {
            self.offers.iter().map(|offer| part(offer)).collect::<Vec<_>>().join(", ")
        };
        let known = list(&|offer| format!("{:?}", offer.upstream.prefix()));
        let known = format!("; models begin with one of {known}");
        let Some(model) = model else {
            let paths = list(&|offer| format!("/{}/v1/…", offer.upstream.name()));
            let what = "cannot choose an upstream: the request has no \"model\"";
            let how = format!("; a request without one can be sent to one of {paths}");
            return Error::bad_request([what, &known, &how].concat());
        };
        let mut error = Error::model_not_found(model);
        error.message += &known;
        error
    }
}
