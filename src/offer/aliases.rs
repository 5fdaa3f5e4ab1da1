//! The aliases, from the point of view of one upstream's list.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use crate::config::Alias;
use crate::list::{self, List, Model};
use crate::logging::Value;

/// All aliases, with the index of the upstream whose list they are for.
#[derive(Debug, Default)]
pub struct Aliases {
    all: Arc<[Alias]>,
    upstream: usize,
    /// The aliases that a warning was logged for.
    logged: Mutex<HashSet<usize>>,
}

impl Aliases {
    /// All aliases, for the list of the upstream with this index.
    pub fn new(all: Arc<[Alias]>, upstream: usize) -> Aliases {
        Aliases { all, upstream, logged: Mutex::default() }
    }

    /// All aliases, those of other upstreams among them.
    pub fn all(&self) -> &[Alias] {
        &self.all
    }

    /// Those of this upstream.
    pub fn own(&self) -> impl Iterator<Item = &Alias> {
        self.all.iter().filter(|alias| alias.upstream == self.upstream)
    }

    /// Those of this upstream, as its list needs them.
    fn entries(&self) -> Vec<list::Alias<'_>> {
        let numbered = self.all.iter().enumerate();
        let own = numbered.filter(|(_, alias)| alias.upstream == self.upstream);
        own.map(|(place, alias)| list::Alias {
            place,
            id: &alias.id,
            model: &alias.model,
            name: alias.name.as_deref(),
        })
        .collect()
    }

    /// Adds those of this upstream to its list. `logs`: the list is that of all clients, so aliases of
    /// models that are not in it are logged.
    pub(super) fn add_to(&self, list: &mut List<'_>, logs: bool) {
        let own = self.entries();
        if own.is_empty() {
            return;
        }
        let is_empty = list.models().is_empty();
        for missing in list.add_aliases(&own) {
            let alias = own.iter().find(|alias| alias.id == missing);
            let Some(alias) = alias.filter(|_| logs && !is_empty) else { continue };
            if self.is_new(alias.place) {
                let target = Value(&self.all[alias.place].target);
                let what =
                    "the model of an alias is not in its upstream's list: the alias is not listed";
                log::warn!("msg=\"{what}\" alias={} model={target}", Value(alias.id));
            }
        }
    }

    /// Removes models whose ids, with their prefix, are those of aliases.
    pub(super) fn shadow(&self, models: &mut Vec<Model<'_>>, prefix: &str) {
        let is_alias = |model: &Model<'_>| {
            let place = self.all.iter().position(|alias| {
                alias.id.strip_prefix(prefix).is_some_and(|id| model.ids().any(|own| own == id))
            });
            if let Some(place) = place.filter(|place| self.is_new(*place)) {
                let Alias { id, target, .. } = &self.all[place];
                let what = "an alias has the id of a model, which it replaces";
                log::warn!("msg=\"{what}\" alias={} model={}", Value(id), Value(target));
            }
            place.is_some()
        };
        if !self.all.is_empty() {
            models.retain(|model| !is_alias(model));
        }
    }

    /// Whether nothing was logged about an alias yet.
    fn is_new(&self, place: usize) -> bool {
        self.logged.lock().expect("nothing panics under this lock").insert(place)
    }
}
