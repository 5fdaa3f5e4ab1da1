//! `model-filter models` and `check --online`: which models are kept and which are hidden, by
//! which rule, and which rules do nothing.
//!
//! Limits: each upstream gets one request, as from a client with the given key.

mod json;
mod judged;
mod text;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

pub use self::text::Screen;

use self::judged::Survey;
use crate::catalog::inventories;
use crate::cli::Selection;
use crate::error::Error;
use crate::headers::Headers;
use crate::list::List;
use crate::offer::{Offer, Refusal};
use crate::secret::Secret;
use crate::text::one_line;

/// Fetches or reads the lists, judges the models and prints them. `key` is the client's, as it is
/// sent. Returns whether every upstream had a list.
///
/// # Errors
/// If a saved list or the key cannot be read, or writing fails.
pub fn show(
    offers: &[Arc<Offer>],
    selection: &Selection,
    key: Option<&Secret>,
    screen: Screen,
    out: &mut dyn Write,
) -> io::Result<bool> {
    let surveys = match &selection.from {
        Some(file) => saved(offers, &read(file)?),
        None => asked(offers, key).map_err(io::Error::other)?,
    };
    if selection.json {
        json::write(&surveys, selection, out)?;
    } else {
        text::write(&surveys, selection, screen, out)?;
    }
    Ok(surveys.iter().all(|survey| survey.models.is_ok()))
}

/// Fetches the lists and returns what is wrong with the rules, one line each, and whether every
/// upstream had a list.
///
/// # Errors
/// If the key cannot be sent.
pub fn advice(offers: &[Arc<Offer>], key: Option<&Secret>) -> Result<(Vec<String>, bool), Error> {
    let surveys = asked(offers, key)?;
    let mut lines = Vec::new();
    for survey in &surveys {
        match &survey.models {
            Ok(models) => {
                let advice = models.advice.iter();
                lines.extend(advice.map(|line| format!("warning: {}: {line}", survey.upstream)));
            }
            Err(why) => lines.push(format!("{}: {why}", survey.upstream)),
        }
    }
    Ok((lines, surveys.iter().all(|survey| survey.models.is_ok())))
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let list = if file.as_os_str() == "-" {
        let mut list = Vec::new();
        io::Read::read_to_end(&mut io::stdin(), &mut list).map(|_| list)
    } else {
        fs::read(file)
    };
    list.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}

fn asked<'a>(offers: &'a [Arc<Offer>], key: Option<&Secret>) -> Result<Vec<Survey<'a>>, Error> {
    let mut headers = Headers::new();
    if let Some(key) = key {
        headers.push("Authorization", format!("Bearer {}", key.expose()));
    }
    let inventories = inventories(offers, &headers, None)?;
    let surveys = offers.iter().zip(inventories).map(|(offer, inventory)| match inventory {
        Ok(inventory) => Survey::new(offer, Ok(&inventory.entries), inventory.took.as_secs_f64()),
        Err(Refusal::Failed(error)) => Survey::new(offer, Err(error.in_full()), 0.0),
        Err(Refusal::Mirrored(reply)) => {
            let body = one_line(&String::from_utf8_lossy(&reply.body));
            let what = format!("its list has status {}: {body}", reply.status);
            Survey::new(offer, Err(what), 0.0)
        }
    });
    Ok(surveys.collect())
}

/// Judges a saved list by the filter of each upstream.
fn saved<'a>(offers: &'a [Arc<Offer>], list: &[u8]) -> Vec<Survey<'a>> {
    let entries = List::find(list).map(|list| list.entries());
    let entries = entries.map_err(|what| format!("the saved list {what}"));
    let entries = || entries.as_deref().map_err(String::clone);
    offers.iter().map(|offer| Survey::new(offer, entries(), 0.0)).collect()
}
