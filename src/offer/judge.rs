//! Which models of a list are kept, and which a request may name.

use std::collections::HashMap;
use std::mem::take;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::names::Names;
use super::outcome::Refusal;
use super::upstream::Offer;
use crate::cache::Asker;
use crate::facts::Facts;
use crate::filter::{Filter, Verdict};
use crate::headers::Headers;
use crate::list::{List, Model, Prefixes};
use crate::wanted::Wanted;

/// The models of an array, judged.
pub struct JudgedArray {
    /// The ids by which models go, each with the index of its model.
    ids: Vec<(String, usize)>,
    verdicts: Vec<Verdict>,
}

impl JudgedArray {
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The rule that hides each of them, by id.
    pub(super) fn names(&self, filter: &Filter) -> Names {
        let name = |(id, index): &(String, usize)| {
            let verdict = &self.verdicts[*index];
            (filter.folded(id), (!verdict.kept).then(|| verdict.rule.clone()))
        };
        Names::new(self.ids.iter().map(name).collect::<HashMap<_, _>>())
    }
}

impl Offer {
    /// Leaves the models that are kept, in the order in which clients see them. A model is judged
    /// by what its own entry says, unless the catalog has judged it already.
    pub fn choose(&self, models: &mut Vec<Model<'_>>, catalog: Option<&Names>) -> JudgedArray {
        let now = seconds_since_1970();
        let needs_facts = self.filter.needs_facts();
        let judge = |model: &Model<'_>| {
            let by_name = model.ids().map(|id| self.filter.verdict(id));
            // The verdict on its own id, unless another one of its ids is hidden.
            let by_name = by_name.reduce(|own, other| match own.kept && !other.kept {
                true => other,
                false => own,
            });
            let by_name = by_name.expect("a model has an id");
            // Reading the facts of hidden models would be most of the work.
            let is_needed = needs_facts && by_name.kept;
            let facts = if is_needed { model.facts() } else { Facts::default() };
            let known = catalog.and_then(|names| names.rule(&self.filter.folded(&model.id)));
            let verdict = match known {
                Some(Some(rule)) => Verdict { kept: false, rule: rule.clone() },
                Some(None) => by_name,
                None => self.filter.with_conditions(by_name, &facts, now),
            };
            (verdict, facts)
        };
        let (verdicts, facts): (Vec<Verdict>, Vec<Facts>) = models.iter().map(judge).unzip();
        let listed: Vec<_> = models.iter().map(|model| model.id.as_str()).zip(&facts).collect();
        let choice = self.filter.sorted(&listed, verdicts);
        let ids = models.iter().enumerate();
        let ids = ids.flat_map(|(at, model)| model.ids().map(move |id| (id.to_owned(), at)));
        let ids = ids.collect();
        let mut all: Vec<Option<Model<'_>>> = take(models).into_iter().map(Some).collect();
        models.extend(choice.kept.iter().filter_map(|&index| all[index].take()));
        JudgedArray { ids, verdicts: choice.verdicts }
    }

    /// Leaves the models of a list that `choose` leaves, and adds the aliases, which may be those of
    /// hidden models. Returns the prefixes to write it with. `has_prefix`: with prefixes before ids and
    /// displayed names, and with aliases, as clients see it among other upstreams. `logs`: aliases
    /// without a model are logged.
    pub(super) fn choose_all<'a>(
        &self,
        list: &mut List<'a>,
        has_prefix: bool,
        logs: bool,
        mut choose: impl FnMut(&mut Vec<Model<'a>>),
    ) -> Prefixes<'_> {
        if !has_prefix {
            list.filter(choose);
            return Prefixes::default();
        }
        self.aliases.add_to(list, logs);
        list.filter(|models| {
            choose(models);
            self.aliases.shadow(models, self.upstream.prefix());
        });
        self.prefixes()
    }

    /// A list of models in whichever shape, filtered. `has_prefix`: with prefixes before ids and
    /// displayed names, and with aliases, as clients see it among other upstreams.
    ///
    /// # Errors
    /// The end of a sentence that says why it is no list.
    pub fn filtered_body(
        &self,
        body: &[u8],
        has_prefix: bool,
        catalog: Option<&Names>,
    ) -> Result<String, String> {
        let mut list = List::find(body)?;
        let prefixes = self.choose_all(&mut list, has_prefix, false, |models| {
            self.choose(models, catalog);
        });
        Ok(list.write(prefixes).body)
    }

    /// As [`Offer::filtered_body`], for an answer that may be no list: none for a list without models.
    pub fn filtered_answer(
        &self,
        body: &[u8],
        has_prefix: bool,
        catalog: Option<&Names>,
    ) -> Option<String> {
        List::find(body).ok().filter(|list| !list.models().is_empty())?;
        self.filtered_body(body, has_prefix, catalog).ok()
    }

    /// Logs the rules that do nothing on a list.
    pub(super) fn log_idle_rules(&self, judged: &JudgedArray) {
        let ids: Vec<&str> = judged.ids.iter().map(|(id, _)| id.as_str()).collect();
        let upstream = (self.upstream.name(), self.upstream.prefix());
        self.idle_rules.log(&self.filter, &ids, &judged.verdicts, upstream);
    }

    /// The verdicts of the catalog by which other lists are judged, if models must meet conditions.
    ///
    /// # Errors
    /// As [`Offer::list`].
    pub fn catalog_names(
        self: &Arc<Self>,
        headers: &Headers,
        client: &dyn Wanted,
    ) -> Result<Option<Names>, Refusal> {
        if !self.filter.has_conditions() {
            return Ok(None);
        }
        let question = self.question(headers, None)?;
        let list = self.list(&self.ask_list(question, Asker::Client), Some(client), None)?;
        Ok(list.names.clone())
    }

    /// Which rule hides a model, given without the prefix; none if it is kept. If the rules need
    /// the list, the last one decides; it is fetched if there is none, or if the model is not kept
    /// in an old one.
    ///
    /// # Errors
    /// As [`Offer::list`].
    pub fn hidden_by(
        self: &Arc<Self>,
        model: &str,
        headers: &Headers,
        client: &dyn Wanted,
    ) -> Result<Option<String>, Refusal> {
        // An upstream may ignore what stands around a name.
        if model.starts_with(is_blank) || model.ends_with(is_blank) {
            return Ok(Some("begins or ends with a blank".to_owned()));
        }
        let verdict = self.filter.verdict(model);
        if !verdict.kept {
            return Ok(Some(verdict.rule.to_string()));
        }
        if verdict.rule.is_name() {
            return Ok(None);
        }
        // LiteLLM takes `a,b` for two models.
        if model.contains(',') {
            return Ok(Some("names several models".to_owned()));
        }
        if !self.judges_by_list {
            return Ok(None);
        }
        let question = self.question(headers, None)?;
        let id = self.filter.folded(model);
        if let Some(last) = self.last_names.get(&question.key) {
            let is_fresh = last.age() < self.absence_ttl;
            let hidden_by = last.hidden_by(&id);
            if is_fresh || hidden_by.is_none() {
                if !is_fresh {
                    // No client waits for it.
                    self.ask_list(question, Asker::Client);
                }
                return Ok(hidden_by);
            }
        }
        let list = self.list(&self.ask_list(question, Asker::Judge), Some(client), None)?;
        let names = list.names.as_ref();
        Ok(names.map_or(Some("not in the list".into()), |names| names.hidden_by(&id)))
    }
}

/// The time, as conditions compare it.
pub fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Whether a character is invisible: a blank, a control or a format character.
fn is_blank(c: char) -> bool {
    let is_format = matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    c.is_whitespace() || c.is_control() || is_format
}
