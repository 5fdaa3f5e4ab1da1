//! One model of a list, for upstreams that list a model but do not know it by name.

use std::sync::Arc;

use super::listing::Listing;
use super::upstream::Offer;
use crate::cache::Asker;
use crate::headers::Headers;
use crate::list::List;
use crate::wanted::Wanted;

impl Offer {
    /// The JSON object of a model in the filtered list of this client; none if there is no such
    /// model or no list. `id` has the prefix of the upstream if `has_prefix`.
    pub fn listed_model(
        self: &Arc<Self>,
        id: &str,
        has_prefix: bool,
        headers: &Headers,
        client: &dyn Wanted,
    ) -> Option<String> {
        let question = self.question(headers, None).ok()?;
        let question = if has_prefix { question } else { question.without_prefix() };
        let asked = self.ask_list(question, Asker::Client);
        self.list(&asked, Some(client), None).ok()?.object(id)
    }
}

impl Listing {
    /// The JSON object of a model.
    fn object(&self, id: &str) -> Option<String> {
        let array = [b"[", self.models(), b"]"].concat();
        let list = List::find(&array).ok()?;
        let model = list.models().iter().find(|model| model.id == id)?;
        Some(model.object().to_owned())
    }
}
