//! A view: the upstreams that a request may go to, and the names that their models have there.
//!
//! At `/v1/…` clients see all upstreams, with their prefixes; at `/<name>/v1/…` one of them, whose ids
//! have no prefix there.

use std::sync::Arc;

use super::hold::Holding;
use crate::catalog::{Catalog, Twins, catalog, list_without_prefix};
use crate::error::Error;
use crate::headers::Headers;
use crate::offer::Offer;
use crate::route::by_prefix;
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
    /// The prefix that the model has: the upstream's, or none.
    pub(super) prefix: &'a str,
}

impl View {
    /// The view of all upstreams.
    pub(super) fn whole(offers: Vec<Arc<Offer>>) -> View {
        let has_prefix = offers.iter().any(|offer| !offer.upstream.prefix().is_empty());
        let holding = Holding::new(&offers, offers.len() > 1 || has_prefix);
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
        let prefixes = self.offers.iter().map(|offer| self.prefix(offer));
        match (by_prefix(prefixes, model), self.only()) {
            (Some(index), _) => {
                let offer = &self.offers[index];
                Ok(Choice { offer, prefix: self.prefix(offer) })
            }
            // As in the Python program: the only upstream gets every request.
            (None, Some(only)) => Ok(Choice { offer: only, prefix: "" }),
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
