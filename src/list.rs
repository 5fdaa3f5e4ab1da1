//! Every shape that a list of models has: finds the models in it, and writes it back with
//! those that are kept.
//!
//! Each model and everything around the models is passed on byte for byte. Only the value of
//! `id` changes, and only if there is a prefix. Limits: at most 100,000 models; a model
//! without an id, or with two, is not found.

use std::ops::Range;

use crate::facts::Entry;
use crate::json;

/// The most items that a list may have.
const MOST: usize = 100_000;

/// Where a list holds its models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `{"data": […]}`, as OpenAI and most others write it.
    Data,
    /// `[…]`.
    Array,
}

impl Shape {
    fn of(text: &str) -> Shape {
        if text.trim_ascii_start().starts_with('[') { Shape::Array } else { Shape::Data }
    }

    /// Finds the array of models.
    fn find(self, text: &str) -> Result<&str, String> {
        if self == Shape::Array {
            return Ok(text.trim_ascii());
        }
        let data =
            json::member(text, "data").map_err(|error| format!("is not valid JSON: {error}"))?;
        match data.value {
            // Clients differ in which of the two they read, so neither can be filtered for all.
            Some(_) if data.repeated => Err("has `data` twice".to_owned()),
            Some(array) => Ok(array.get()),
            None => Err("has no `data`".to_owned()),
        }
    }
}

/// A list of models as its upstream wrote it.
#[derive(Debug)]
pub struct List<'a> {
    text: &'a str,
    /// The array of models within the text.
    array: Range<usize>,
    models: Vec<Model<'a>>,
    total: usize,
}

/// A list that was written back.
#[derive(Debug)]
pub struct Written {
    /// The whole list.
    pub body: String,
    /// The models within the body, with commas between them.
    pub models: Range<usize>,
}

impl<'a> List<'a> {
    /// Finds the models in a list.
    ///
    /// # Errors
    /// What is wrong with the list, as the end of a sentence.
    pub fn find(body: &'a [u8]) -> Result<List<'a>, String> {
        let text = std::str::from_utf8(body).map_err(|error| format!("is not UTF-8: {error}"))?;
        let text = without_mark(text);
        let array = Shape::of(text).find(text)?;
        let items = json::items(array, MOST).map_err(|error| format!("is no array: {error}"))?;
        let models = items.iter().filter_map(|item| Model::read(item.get())).collect();
        Ok(List { text, array: json::span(array, text.as_bytes()), models, total: items.len() })
    }

    /// The models that were found, or what [`List::filter`] left of them.
    pub fn models(&self) -> &[Model<'a>] {
        &self.models
    }

    /// How many items the list has, models without an id among them.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Lets `choose` remove models and change their order.
    pub fn filter(&mut self, choose: impl FnOnce(&mut Vec<Model<'a>>)) {
        choose(&mut self.models);
    }

    /// Writes the list in its own shape, with a prefix before each id.
    pub fn write(&self, prefix: &str) -> Written {
        let prefix = escaped(prefix);
        let mut body = format!("{}[", &self.text[..self.array.start]);
        let start = body.len();
        for (index, model) in self.models.iter().enumerate() {
            if index > 0 {
                body.push(',');
            }
            model.write(&prefix, &mut body);
        }
        let models = start..body.len();
        body.push(']');
        body.push_str(&self.text[self.array.end..]);
        // It may be cached for hours.
        body.shrink_to_fit();
        Written { body, models }
    }

    /// What the list says about its models.
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |model: &Model<'_>| Entry::read(model.id.clone(), model.object);
        self.models.iter().filter_map(entry).collect()
    }
}

/// A model in a list.
#[derive(Debug)]
pub struct Model<'a> {
    object: &'a str,
    /// Where the text of the id begins within the object, behind its quote.
    id_start: usize,
    /// Its id, as the upstream names it.
    pub id: String,
}

impl<'a> Model<'a> {
    fn read(object: &'a str) -> Option<Model<'a>> {
        let id = json::member(object, "id").ok().filter(|id| !id.repeated)?;
        let literal = id.value?.get();
        let id = serde_json::from_str(literal).ok()?;
        Some(Model { object, id_start: json::span(literal, object.as_bytes()).start + 1, id })
    }

    fn write(&self, prefix: &str, out: &mut String) {
        let (before, id) = self.object.split_at(self.id_start);
        out.push_str(before);
        out.push_str(prefix);
        out.push_str(id);
    }
}

/// A model's JSON object with a prefix before its id; none if it has no id.
pub fn prefixed_model(object: &str, prefix: &str) -> Option<String> {
    let model = Model::read(without_mark(object))?;
    let mut prefixed = String::with_capacity(model.object.len() + prefix.len());
    model.write(&escaped(prefix), &mut prefixed);
    Some(prefixed)
}

/// Text without the byte order mark that some servers put before it.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// A text as it is written between the quotes of a JSON string.
fn escaped(text: &str) -> String {
    let mut quoted = serde_json::Value::from(text).to_string();
    quoted.pop();
    quoted.remove(0);
    quoted
}
