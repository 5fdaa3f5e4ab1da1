//! What a list says about a model: its owner, its context window and its prices.
//!
//! No standard names these fields. The names here are those that OpenRouter, vLLM, Groq and
//! Mistral use. Limits: the first name that is present decides.

/// The fields that hold the context window.
const CONTEXT: [&str; 4] =
    ["context_length", "context_window", "max_model_len", "max_context_length"];

/// A model, with the facts that help to choose it.
#[derive(Debug, Clone, PartialEq)]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(object: &str) -> Entry {
        Entry::read("a".to_owned(), object).unwrap()
    }

    #[test]
    fn facts_are_read_under_the_names_that_providers_use() {
        let entry = read(
            r#"{"owned_by":"x","context_length":8,"pricing":{"prompt":"0.0000025","completion":0.00001}}"#,
        );
        assert_eq!((entry.owner.as_deref(), entry.context), (Some("x"), Some(8)));
        assert_eq!((entry.input, entry.output), (Some(2.5), Some(10.0)));
        for name in CONTEXT {
            assert_eq!(read(&format!(r#"{{"{name}":32768}}"#)).context, Some(32768), "{name}");
        }
    }

    #[test]
    fn a_fact_that_is_missing_or_of_another_type_is_unknown() {
        let unknown =
            Entry { id: "a".to_owned(), owner: None, context: None, input: None, output: None };
        for object in [
            "{}",
            r#"{"owned_by":1,"context_length":"8k","pricing":null}"#,
            r#"{"pricing":{"prompt":"-1","completion":"much"}}"#,
        ] {
            assert_eq!(read(object), unknown, "{object}");
        }
    }
}
