//! Facts about a model in a list: its owner, its context window and its prices.
//!
//! No standard names these fields. The names here are those that OpenRouter, vLLM, Groq and
//! Mistral use. Limits: the first name that is present decides.

use serde::Serialize;

/// The fields that hold the context window.
const CONTEXT: [&str; 4] =
    ["context_length", "context_window", "max_model_len", "max_context_length"];

/// A model, with the facts that help to choose it. The page reads it in JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its id, without our prefix.
    pub id: String,
    /// The organization that offers it.
    pub owner: Option<String>,
    /// The context window, in tokens.
    pub context: Option<u64>,
    /// US dollars per million input tokens.
    pub input: Option<f64>,
    /// US dollars per million output tokens.
    pub output: Option<f64>,
}

impl Entry {
    /// Reads the facts from a model's JSON object; none if it cannot be parsed.
    pub fn read(id: String, object: &str) -> Option<Entry> {
        let fields: serde_json::Value = serde_json::from_str(object).ok()?;
        let price = |of: &str| {
            let price = &fields["pricing"][of];
            let price = price.as_f64().or_else(|| price.as_str()?.parse().ok())?;
            // OpenRouter lists -1 if the price depends on the request. Rounding removes the
            // error of the multiplication.
            (price >= 0.0).then_some((price * 1e12).round() / 1e6)
        };
        let owner = fields["owned_by"].as_str().map(str::to_owned);
        let context = CONTEXT.iter().find_map(|name| fields[*name].as_u64());
        Some(Entry { id, owner, context, input: price("prompt"), output: price("completion") })
    }
}
