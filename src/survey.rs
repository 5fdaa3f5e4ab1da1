//! `model-filter models`: which models are kept and which are hidden, and by which rule.
//!
//! Limits: each upstream gets one request, as from a client with the given key.

use std::fs;
use std::io::{self, Write};
use std::sync::Arc;

use serde_json::json;

use crate::catalog::inventories;
use crate::cli::Selection;
use crate::config::Alias;
use crate::error::Error;
use crate::facts::Entry;
use crate::filter::{Filter, Rule, Verdict};
use crate::headers::Headers;
use crate::list::List;
use crate::offer::{Inventory, Offer, Refusal};
use crate::secret::Secret;
use crate::text::one_line;

/// The judged models of one upstream, or why there are none.
struct Survey<'a> {
    upstream: &'a str,
    prefix: &'a str,
    filter: &'a Filter,
    aliases: Vec<&'a Alias>,
    models: Result<Vec<(String, Verdict)>, String>,
    seconds: f64,
}

/// Fetches or reads the lists, judges the models and prints them. `key` is the client's, as it is
/// sent. Returns whether every upstream had a list.
///
/// # Errors
/// If a saved list or the key cannot be read, or writing fails.
pub fn show(
    offers: &[Arc<Offer>],
    selection: &Selection,
    key: Option<&Secret>,
    colours: bool,
    out: &mut dyn Write,
) -> io::Result<bool> {
    let surveys = match &selection.from {
        Some(file) => {
            let list = if file.as_os_str() == "-" {
                let mut list = Vec::new();
                io::Read::read_to_end(&mut io::stdin(), &mut list).map(|_| list)
            } else {
                fs::read(file)
            };
            let named = |error: io::Error| {
                io::Error::new(error.kind(), format!("{}: {error}", file.display()))
            };
            saved(offers, &list.map_err(named)?)
        }
        None => asked(offers, key).map_err(io::Error::other)?,
    };
    if selection.json {
        write_json(&surveys, selection, out)?;
    } else {
        for (index, survey) in surveys.iter().enumerate() {
            write_text(survey, selection, Paint(colours), index > 0, out)?;
        }
    }
    Ok(surveys.iter().all(|survey| survey.models.is_ok()))
}

fn asked<'a>(offers: &'a [Arc<Offer>], key: Option<&Secret>) -> Result<Vec<Survey<'a>>, Error> {
    let mut headers = Headers::new();
    if let Some(key) = key {
        headers.push("Authorization", format!("Bearer {}", key.expose()));
    }
    let survey = |(offer, inventory): (&'a Offer, Result<Arc<Inventory>, Refusal>)| {
        let seconds = inventory.as_ref().map_or(0.0, |inventory| inventory.took.as_secs_f64());
        let entries = inventory.as_ref().map(|inventory| inventory.entries.as_slice());
        let entries = entries.map_err(|refusal| match refusal {
            Refusal::Mirrored(reply) => {
                let body = String::from_utf8_lossy(&reply.body).into_owned();
                format!("its list has status {}: {}", reply.status, one_line(&body))
            }
            Refusal::Failed(error) => error.in_full(),
        });
        Survey::new(offer, entries, seconds)
    };
    let inventories = inventories(offers, &headers, None)?;
    Ok(offers.iter().map(|offer| &**offer).zip(inventories).map(survey).collect())
}

/// Judges a saved list by the filter of each upstream.
fn saved<'a>(offers: &'a [Arc<Offer>], list: &[u8]) -> Vec<Survey<'a>> {
    let entries = List::find(list).map(|list| list.entries());
    let entries = entries.map_err(|what| format!("the saved list {what}"));
    let entries = || entries.as_deref().map_err(String::clone);
    offers.iter().map(|offer| Survey::new(offer, entries(), 0.0)).collect()
}

impl<'a> Survey<'a> {
    fn new(offer: &'a Offer, entries: Result<&[Entry], String>, seconds: f64) -> Survey<'a> {
        let judged = |entry: &Entry| (entry.id.clone(), offer.filter.verdict(&entry.id));
        let models = entries.map(|entries| entries.iter().map(judged).collect());
        let (upstream, prefix) = (offer.upstream.name(), offer.upstream.prefix());
        let aliases = offer.aliases.own().collect();
        Survey { upstream, prefix, filter: &offer.filter, aliases, models, seconds }
    }

    /// Whether an alias is in the list that clients see: whether its model is in the upstream's.
    fn lists(&self, alias: &Alias) -> bool {
        let models = self.models.as_ref().ok();
        models.is_some_and(|models| models.iter().any(|(id, _)| *id == alias.model))
    }

    /// The model that `default` moves to the front.
    fn first(&self) -> Option<&str> {
        let models = self.models.as_ref().ok()?.iter();
        self.filter.first(models.filter(|(_, verdict)| verdict.kept).map(|(id, _)| id.as_str()))
    }
}

impl Selection {
    fn takes(&self, id: &str, verdict: &Verdict) -> bool {
        let wanted = match (self.kept, self.hidden) {
            (true, false) => verdict.kept,
            (false, true) => !verdict.kept,
            _ => true,
        };
        let word = self.word.as_deref().unwrap_or_default().to_lowercase();
        wanted && id.to_lowercase().contains(&word)
    }

    fn takes_alias(&self, alias: &Alias) -> bool {
        let word = self.word.as_deref().unwrap_or_default().to_lowercase();
        let has_word = |id: &str| id.to_lowercase().contains(&word);
        (self.kept || !self.hidden) && (has_word(&alias.id) || has_word(&alias.target))
    }
}

fn write_text(
    survey: &Survey<'_>,
    selection: &Selection,
    paint: Paint,
    is_further: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let name = paint.bold(survey.upstream);
    let models = match &survey.models {
        Err(why) => return writeln!(out, "{name}: {}", paint.red(why)),
        Ok(models) => models,
    };
    if is_further {
        writeln!(out)?;
    }
    let kept = models.iter().filter(|(_, verdict)| verdict.kept).count();
    write!(out, "{name}: {kept} of {} kept", models.len())?;
    match &selection.from {
        None => writeln!(out, ", in {:.2} s", survey.seconds)?,
        Some(_) => writeln!(out)?,
    }
    let shown =
        |kept: bool| models.iter().filter(move |(id, v)| v.kept == kept && selection.takes(id, v));
    let first = survey.first();
    let width = models.iter().map(|(id, _)| id.chars().count()).max().unwrap_or_default().min(60);
    for (id, verdict) in shown(true).chain(shown(false)) {
        let default = if first == Some(id) { ", default" } else { "" };
        let id = one_line(&format!("{}{id}", survey.prefix));
        let width = width + survey.prefix.chars().count();
        let (sign, id) = match verdict.kept {
            true => ("+", paint.green(&format!("{id:width$}"))),
            false => ("-", format!("{id:width$}")),
        };
        writeln!(out, "{sign} {id}  {}", paint.dim(&format!("{}{default}", verdict.rule)))?;
    }
    for alias in survey.aliases.iter().filter(|alias| selection.takes_alias(alias)) {
        let (id, target) = (one_line(&alias.id), one_line(&alias.target));
        let state =
            if survey.lists(alias) { "" } else { ", not listed: the upstream has no such model" };
        writeln!(
            out,
            "= {}  {}",
            paint.green(&id),
            paint.dim(&format!("alias of {target}{state}"))
        )?;
    }
    Ok(())
}

fn write_json(
    surveys: &[Survey<'_>],
    selection: &Selection,
    out: &mut dyn Write,
) -> io::Result<()> {
    let upstream = |survey: &Survey<'_>| match &survey.models {
        Err(why) => json!({"upstream": survey.upstream, "error": why}),
        Ok(models) => {
            let taken = models.iter().filter(|(id, verdict)| selection.takes(id, verdict));
            let first = survey.first();
            let model = |(id, verdict): &(String, Verdict)| {
                let default = first == Some(id);
                let id = format!("{}{id}", survey.prefix);
                let (list, index) = match &verdict.rule {
                    Rule::Entry { list, index, .. } => (Some(*list), Some(*index)),
                    Rule::NoneGiven | Rule::NoneMatched => (None, None),
                };
                let rule = verdict.rule.to_string();
                let kept = verdict.kept;
                json!({
                    "id": id, "kept": kept, "rule": rule, "list": list, "index": index,
                    "default": default,
                })
            };
            let models: Vec<_> = taken.map(model).collect();
            let alias = |alias: &&Alias| {
                let Alias { id, target, name, .. } = alias;
                json!({"id": id, "target": target, "name": name, "listed": survey.lists(alias)})
            };
            let taken = survey.aliases.iter().filter(|alias| selection.takes_alias(alias));
            let aliases: Vec<_> = taken.map(alias).collect();
            json!({
                "upstream": survey.upstream, "prefix": survey.prefix, "models": models,
                "aliases": aliases,
            })
        }
    };
    let upstreams: Vec<_> = surveys.iter().map(upstream).collect();
    serde_json::to_writer_pretty(&mut *out, &upstreams)?;
    writeln!(out)
}

/// Whether to print colours.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    fn red(self, text: &str) -> String {
        self.with("31", text)
    }
}
