//! The models as JSON.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::judged::{Judged, Survey};
use crate::cli::Selection;
use crate::config::Alias;

pub(super) fn write(
    surveys: &[Survey<'_>],
    selection: &Selection,
    out: &mut dyn Write,
) -> io::Result<()> {
    let upstream = |survey: &Survey<'_>| match &survey.models {
        Err(why) => json!({"upstream": survey.upstream, "error": why}),
        Ok(models) => {
            let sorted = models.sorted(selection.sort);
            let taken = sorted.iter().filter(|model| selection.takes(model));
            let models_json: Vec<Value> = taken.map(|model| object(model, survey.prefix)).collect();
            let alias = |alias: &&Alias| {
                let Alias { id, target, name, .. } = alias;
                json!({"id": id, "target": target, "name": name, "listed": models.lists(alias)})
            };
            let taken = survey.aliases.iter().filter(|alias| selection.takes_alias(alias));
            let aliases: Vec<Value> = taken.map(alias).collect();
            json!({
                "upstream": survey.upstream,
                "prefix": survey.prefix,
                "warnings": models.advice,
                "models": models_json,
                "aliases": aliases,
            })
        }
    };
    let upstreams: Vec<Value> = surveys.iter().map(upstream).collect();
    serde_json::to_writer_pretty(&mut *out, &upstreams)?;
    writeln!(out)
}

fn object(model: &Judged<'_>, prefix: &str) -> Value {
    let Judged { entry, verdict, is_first } = model;
    let facts = &entry.facts;
    let (list, index) = verdict.rule.place();
    let words = |said: &crate::facts::Said| said.words().map(str::to_owned).collect::<Vec<_>>();
    json!({
        "id": format!("{prefix}{}", entry.id),
        "kept": verdict.kept,
        "rule": verdict.rule.to_string(),
        "list": list,
        "index": index,
        "default": is_first,
        "name": facts.name,
        "owner": facts.owner,
        "kind": facts.kind,
        "created": facts.created,
        "context": facts.context,
        "output_limit": facts.output_limit,
        "price": {"input": facts.input_price, "output": facts.output_price},
        "accepts": words(&facts.input),
        "produces": words(&facts.output),
        "supports": words(&facts.supports),
    })
}
