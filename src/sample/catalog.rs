//! The sample's models, read from a table and written in the shape of OpenRouter's list.
//!
//! Limits: fields that the table does not have (descriptions, modalities, parameters) are
//! composed from others.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use serde::Serialize;

const TABLE: &str = include_str!("models.tsv");

/// The list as JSON, with the place of each model in it.
pub(super) struct Catalog {
    list: String,
    models: HashMap<&'static str, Range<usize>>,
}

/// The catalog, made on first use.
pub(super) fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| Catalog::of(TABLE))
}

impl Catalog {
    fn of(table: &'static str) -> Catalog {
        let mut list = String::from(r#"{"data":["#);
        let mut models = HashMap::new();
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let row = Row::of(line).expect("a test reads every row of models.tsv");
            if !models.is_empty() {
                list.push(',');
            }
            let start = list.len();
            let model = serde_json::to_string(&Model::of(&row));
            list.push_str(&model.expect("a model has string keys only and does not fail"));
            models.insert(row.id, start..list.len());
        }
        list.push_str("]}");
        Catalog { list, models }
    }

    /// All models: the response to `GET /v1/models`.
    pub(super) fn list(&self) -> &str {
        &self.list
    }

    /// One model's object.
    pub(super) fn model(&self, id: &str) -> Option<&str> {
        self.models.get(id).map(|range| &self.list[range.clone()])
    }
}

/// A line of the table, whose first line names the columns.
struct Row {
    id: &'static str,
    name: &'static str,
    hugging_face_id: &'static str,
    created: u64,
    context: u64,
    longest_answer: Option<u64>,
    inputs: Vec<&'static str>,
    tokenizer: &'static str,
    instruct_type: Option<&'static str>,
    prompt_price: &'static str,
    completion_price: &'static str,
    features: Vec<&'static str>,
}

impl Row {
    fn of(line: &'static str) -> Option<Row> {
        let given = |field: &'static str| (field != "-").then_some(field);
        let fields: [&str; 12] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
        let [id, name, hf, created, context, longest, inputs, tokenizer, instruct, .., features] =
            fields;
        Some(Row {
            id,
            name,
            hugging_face_id: given(hf).unwrap_or_default(),
            created: created.parse().ok()?,
            context: context.parse().ok()?,
            longest_answer: given(longest).map(str::parse).transpose().ok()?,
            inputs: inputs.split('+').collect(),
            tokenizer,
            instruct_type: given(instruct),
            prompt_price: fields[9],
            completion_price: fields[10],
            features: features.split('+').collect(),
        })
    }

    fn has(&self, feature: &str) -> bool {
        self.features.contains(&feature)
    }

    fn outputs(&self) -> Vec<&'static str> {
        match (self.has("embeds"), self.has("draws")) {
            (true, _) => vec!["embeddings"],
            (false, true) => vec!["image", "text"],
            (false, false) => vec!["text"],
        }
    }

    fn description(&self) -> String {
        let (maker, name) = self.name.split_once(": ").unwrap_or(("an unknown maker", self.name));
        let mut text = format!(
            "{name} by {maker} takes {} and gives {}, with room for {} tokens.",
            self.inputs.join(", "),
            self.outputs().join(", "),
            self.context,
        );
        for (feature, sentence) in [
            ("reasoning", " It reasons before it answers."),
            ("tools", " It can call tools."),
            ("structured", " It can be held to a JSON schema."),
            ("web", " It searches the web."),
        ] {
            if self.has(feature) {
                text.push_str(sentence);
            }
        }
        text
    }

    fn supported_parameters(&self) -> Vec<&'static str> {
        if self.has("embeds") {
            return vec!["dimensions", "encoding_format"];
        }
        let mut parameters = vec![
            "frequency_penalty",
            "max_tokens",
            "presence_penalty",
            "seed",
            "stop",
            "temperature",
            "top_p",
        ];
        for (feature, more) in [
            ("reasoning", ["include_reasoning", "reasoning"].as_slice()),
            ("structured", &["response_format", "structured_outputs"]),
            ("tools", &["tool_choice", "tools"]),
            ("web", &["web_search_options"]),
        ] {
            if self.has(feature) {
                parameters.extend(more);
            }
        }
        parameters
    }
}

/// A model as OpenRouter lists it, fields in its order.
#[derive(Serialize)]
struct Model {
    id: &'static str,
    canonical_slug: &'static str,
    hugging_face_id: &'static str,
    name: &'static str,
    created: u64,
    description: String,
    context_length: u64,
    architecture: Architecture,
    pricing: Pricing,
    top_provider: TopProvider,
    per_request_limits: Option<()>,
    supported_parameters: Vec<&'static str>,
}

#[derive(Serialize)]
struct Architecture {
    modality: String,
    input_modalities: Vec<&'static str>,
    output_modalities: Vec<&'static str>,
    tokenizer: &'static str,
    instruct_type: Option<&'static str>,
}

/// US dollars a token, a request, an image or a search, as decimal strings.
#[derive(Serialize)]
struct Pricing {
    prompt: &'static str,
    completion: &'static str,
    request: &'static str,
    image: &'static str,
    web_search: &'static str,
    internal_reasoning: &'static str,
}

#[derive(Serialize)]
struct TopProvider {
    context_length: u64,
    max_completion_tokens: Option<u64>,
    is_moderated: bool,
}

impl Model {
    fn of(row: &Row) -> Model {
        let outputs = row.outputs();
        Model {
            id: row.id,
            canonical_slug: row.id.split(':').next().unwrap_or(row.id),
            hugging_face_id: row.hugging_face_id,
            name: row.name,
            created: row.created,
            description: row.description(),
            context_length: row.context,
            architecture: Architecture {
                modality: format!("{}->{}", row.inputs.join("+"), outputs.join("+")),
                input_modalities: row.inputs.clone(),
                output_modalities: outputs,
                tokenizer: row.tokenizer,
                instruct_type: row.instruct_type,
            },
            pricing: Pricing {
                prompt: row.prompt_price,
                completion: row.completion_price,
                request: "0",
                image: "0",
                web_search: if row.has("web") { "0.01" } else { "0" },
                internal_reasoning: "0",
            },
            top_provider: TopProvider {
                context_length: row.context,
                max_completion_tokens: row.longest_answer,
                is_moderated: row.has("moderated"),
            },
            per_request_limits: None,
            supported_parameters: row.supported_parameters(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_row_is_a_model_and_no_id_comes_twice() {
        let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
        let unread: Vec<&str> = rows.clone().filter(|line| Row::of(line).is_none()).collect();
        assert_eq!(unread, [""; 0]);
        let rows = rows.count();
        assert!((320..=360).contains(&rows), "{rows} models");
        assert_eq!(catalog().models.len(), rows, "an id comes twice");
        let list: Value = serde_json::from_str(catalog().list()).unwrap();
        assert_eq!(list["data"].as_array().unwrap().len(), rows);
    }

    #[test]
    fn prices_are_decimal_strings() {
        for row in TABLE.lines().filter_map(Row::of) {
            for price in [row.prompt_price, row.completion_price] {
                assert!(
                    price.parse::<f64>().is_ok() && !price.contains('e'),
                    "{}: {price}",
                    row.id
                );
            }
        }
    }

    #[test]
    fn the_models_that_the_documentation_names_are_there() {
        for id in [
            "openai/gpt-4o",
            "openai/gpt-4o-mini",
            "openai/gpt-4.1",
            "openai/text-embedding-3-small",
            "anthropic/claude-sonnet-4",
            "anthropic/claude-3.5-haiku",
            "google/gemini-2.5-flash",
            "google/gemini-2.5-pro",
            "meta-llama/llama-3.1-8b-instruct",
            "meta-llama/llama-3.3-70b-instruct",
            "meta-llama/llama-3.3-70b-instruct:free",
            "meta-llama/llama-4-maverick",
            "mistralai/mistral-small-3.2-24b-instruct",
            "deepseek/deepseek-r1",
            "deepseek/deepseek-chat-v3-0324",
            "qwen/qwen3-32b",
        ] {
            let model = catalog().model(id).unwrap_or_else(|| panic!("{id} is missing"));
            assert!(model.starts_with(&format!(r#"{{"id":"{id}","canonical_slug":"#)), "{model}");
        }
    }
}
