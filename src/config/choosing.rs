//! `where` and `order`: what models must be, and how they are sorted.

use std::time::Duration;

use super::errors::ConfigError;
use super::node::{Fields, Node};
use super::{keys, quantity};
use crate::facts::{Price, Set};
use crate::filter::{Conditions, Order, Word};
use crate::text::quoted;

/// Ten years.
const MAX_AGE: Duration = Duration::from_secs(315_360_000);

/// Reads `where`.
pub(super) fn conditions(node: &Node<'_>) -> Result<Conditions, ConfigError> {
    let fields = node.fields()?;
    fields.only(&keys::WHERE);
    let [max_input_price, max_output_price] = fields.read("max_price", prices).unwrap_or_default();
    let mut words = Vec::new();
    for (key, set) in [("input", Set::Input), ("output", Set::Output), ("supports", Set::Supports)]
    {
        let typed = fields.read(key, texts).unwrap_or_default();
        words.extend(typed.iter().map(|word| Word::new(set, word)));
    }
    Ok(Conditions {
        max_input_price,
        max_output_price,
        min_context: fields.read("min_context", tokens),
        words,
        max_age: fields.read("max_age", age),
        hides_unknown: fields.read("unknown", hides_unknown).unwrap_or(false),
    })
}

/// Reads `order`.
pub(super) fn order(node: &Node<'_>) -> Result<Order, ConfigError> {
    let word = node.string()?;
    Order::named(word).ok_or_else(|| {
        let known: Vec<&str> = Order::WORDS.iter().map(|(word, _)| *word).collect();
        node.error(format!("{} is not one of {}", quoted(word), known.join(", ")))
    })
}

/// One price for both, or one for input and one for output.
fn prices(node: &Node<'_>) -> Result<[Option<Price>; 2], ConfigError> {
    if node.is_mapping() {
        let fields: Fields<'_> = node.fields()?;
        fields.only(&["input", "output"]);
        return Ok(["input", "output"].map(|key| fields.read(key, price)));
    }
    Ok([Some(price(node)?); 2])
}

fn price(node: &Node<'_>) -> Result<Price, ConfigError> {
    let text = node.scalar();
    text.as_deref().and_then(Price::per_million).ok_or_else(|| {
        let what = "is not a price in US dollars per million tokens, such as 0, 0.5 or 15";
        node.error(format!("{} {what}", node.shown()))
    })
}

fn tokens(node: &Node<'_>) -> Result<u64, ConfigError> {
    node.scalar().and_then(|text| quantity::count(&text)).ok_or_else(|| {
        let what = "is not a number of tokens, such as 65536, 64k or 1M";
        node.error(format!("{} {what}", node.shown()))
    })
}

fn age(node: &Node<'_>) -> Result<Duration, ConfigError> {
    let age = node.scalar().and_then(|text| quantity::duration(&text));
    age.filter(|age| *age <= MAX_AGE).ok_or_else(|| {
        let what = "is not an age of at most ten years, such as 365d, 12h or 3600";
        node.error(format!("{} {what}", node.shown()))
    })
}

fn texts(node: &Node<'_>) -> Result<Vec<String>, ConfigError> {
    let words = node.strings()?;
    match words.iter().position(|word| word.trim().is_empty()) {
        Some(index) => Err(node.place.item(index).error("expected a word")),
        None => Ok(words),
    }
}

fn hides_unknown(node: &Node<'_>) -> Result<bool, ConfigError> {
    match node.string()? {
        "keep" => Ok(false),
        "hide" => Ok(true),
        other => Err(node.error(format!("{} is not one of keep, hide", quoted(other)))),
    }
}
