//! Every shape that a list of models has: finds the models in it, and writes it back with
//! those that are kept.
//!
//! | provider | shape | a model's id |
//! |---|---|---|
//! | OpenAI and most others | `{"data": […]}` | `id` |
//! | Together, GitHub Models | `[…]` | `id` |
//! | Cohere, Gemini, Ollama (`/api/tags`) | `{"models": […]}` | `name`, and `model` beside it |
//! | LM Studio (`/api/v1/models`) | `{"models": […]}` | `key` |
//! | llama.cpp | `{"models": […], "data": […]}` | as above, in each |
//!
//! Each model and everything around the models is passed on byte for byte. The changes are: the values
//! of ids and displayed names, if there are prefixes; and in a list of several pages, the fields that
//! speak of pages. Aliases come first, each as a copy of its model.
//! Limits: at most 100,000 models; a model without an id, or with two, is not found.

mod model;
mod pages;
mod reader;

use std::ops::Range;

pub use self::model::{Alias, Model, Prefixes, aliased_model, prefixed_model};
pub use self::pages::Next;

use self::model::{escaped, without_mark};
use self::pages::Paging;
use self::reader::{MOST, Parts, RawArray};
use crate::facts::Entry;

/// The members of a list that hold models.
const ARRAYS: [&str; 2] = ["data", "models"];

/// A list of models as its upstream wrote it.
#[derive(Debug)]
pub struct List<'a> {
    /// Of the first page.
    text: &'a str,
    /// At least one.
    arrays: Vec<Array<'a>>,
    paging: Paging,
    /// The id of the first alias.
    first_alias: Option<String>,
}

/// An array of models.
#[derive(Debug)]
struct Array<'a> {
    /// The member of the list that holds it; empty if it is the whole list.
    key: &'static str,
    /// Its place within the text.
    span: Range<usize>,
    /// Whether the text has `null` there, as Go writes an empty array.
    is_null: bool,
    models: Vec<Model<'a>>,
    /// The aliases of models, each with its place among all aliases.
    aliases: Vec<(usize, String)>,
    /// How many items it has, those without an id among them.
    total: usize,
}

/// A list that was written back.
#[derive(Debug)]
pub struct Written {
    /// The whole list.
    pub body: String,
    /// The models within the body, with commas between them.
    pub models: Range<usize>,
    /// The same models, each with an `id`; none if they have one in the body.
    pub identified: Option<String>,
    /// The aliases in the body, each with an `id`, with their places among all aliases.
    pub aliases: Vec<(usize, String)>,
}

impl<'a> List<'a> {
    /// Finds the models in a list, or in one page of it.
    ///
    /// # Errors
    /// The fault of the list, as the end of a sentence.
    pub fn find(body: &'a [u8]) -> Result<List<'a>, String> {
        let text = std::str::from_utf8(body).map_err(|error| format!("is not UTF-8: {error}"))?;
        let text = without_mark(text);
        let Parts { arrays, members } = reader::read(text, &ARRAYS, pages::FIELDS)
            .map_err(|error| format!("is no list of models: {error}"))?;
        if arrays.is_empty() {
            return Err("has neither `data` nor `models`".to_owned());
        }
        let mut arrays: Vec<Array<'a>> = arrays.into_iter().map(Array::new).collect();
        arrays.sort_by_key(|array| ARRAYS.iter().position(|key| *key == array.key));
        Ok(List { text, arrays, paging: Paging::read(text, members)?, first_alias: None })
    }

    /// The address of the next page, if there is one.
    pub fn next(&self) -> Option<&Next> {
        self.paging.next.as_ref()
    }

    /// Adds the models of the next page.
    ///
    /// # Errors
    /// If the page does not go with those before it, as the end of a sentence.
    pub fn append(&mut self, page: List<'a>) -> Result<(), String> {
        for array in page.arrays {
            let own = self.arrays.iter_mut().find(|own| own.key == array.key);
            let own = own.ok_or("has pages of different shapes")?;
            own.extend(array.models, array.total)?;
        }
        self.paging.pages += 1;
        self.paging.next = page.paging.next;
        Ok(())
    }

    /// Adds the models of another list whose ids are not in this one.
    ///
    /// # Errors
    /// If there are too many.
    pub fn complete(&mut self, other: List<'a>) -> Result<(), String> {
        let main = self.main_index();
        let [first, ..] = other.arrays.as_slice() else { return Ok(()) };
        let is_new = |model: &&Model<'a>| self.models().iter().all(|own| own.id != model.id);
        let new: Vec<Model<'a>> = first.models.iter().filter(is_new).cloned().collect();
        let count = new.len();
        self.arrays[main].extend(new, count)
    }

    /// Adds aliases, in this order, before all models: those whose model is in the list. Returns the
    /// ids of the others.
    pub fn add_aliases<'p>(&mut self, aliases: &[Alias<'p>]) -> Vec<&'p str> {
        for array in &mut self.arrays {
            let of = |alias: &Alias<'_>| {
                let model = array.models.iter().find(|model| model.id == alias.model)?;
                Some((alias.place, model.aliased(alias)))
            };
            array.aliases = aliases.iter().filter_map(of).collect();
        }
        let listed = &self.arrays[self.main_index()].aliases;
        let is_missing = |alias: &&Alias<'p>| listed.iter().all(|(place, _)| *place != alias.place);
        self.first_alias = aliases.iter().find(|alias| !is_missing(alias)).map(|a| a.id.to_owned());
        aliases.iter().filter(is_missing).map(|alias| alias.id).collect()
    }

    /// The models that were found, or what [`List::filter`] left of them.
    pub fn models(&self) -> &[Model<'a>] {
        &self.arrays[self.main_index()].models
    }

    /// How many items the list has, models without an id among them.
    pub fn total(&self) -> usize {
        self.arrays[self.main_index()].total
    }

    /// The array that stands for the list: if it has two, the first one that is not empty.
    fn main_index(&self) -> usize {
        self.arrays.iter().position(|array| array.total > 0).unwrap_or_default()
    }

    /// Lets `choose` remove models and change their order, in each array.
    pub fn filter(&mut self, mut choose: impl FnMut(&mut Vec<Model<'a>>)) {
        for array in &mut self.arrays {
            choose(&mut array.models);
        }
    }

    /// Writes the list in its own shape, with prefixes before ids and displayed names.
    pub fn write(&self, prefixes: Prefixes<'_>) -> Written {
        let (id, name) = (escaped(prefixes.id), escaped(prefixes.name));
        let prefixes = Prefixes { id: &id, name: &name };
        let main = self.main_index();
        let arrays = self.arrays.iter().map(|array| (array.span.clone(), Change::Array(array)));
        let marks = self.paging.changes(&id, self.models(), self.first_alias.as_deref());
        let marks = marks.into_iter().map(|(span, text)| (span, Change::Text(text)));
        let mut changes: Vec<_> = arrays.chain(marks).collect();
        changes.sort_by_key(|(span, _)| span.start);
        let length = |array: &Array<'_>| array.length(prefixes);
        let models_length: usize = self.arrays.iter().map(length).sum();
        let arrays_length: usize = self.arrays.iter().map(|array| array.span.len()).sum();
        let mut body = String::with_capacity(self.text.len() - arrays_length + models_length + 64);
        let (mut models, mut copied) = (0..0, 0);
        for (span, change) in changes {
            body.push_str(&self.text[copied..span.start]);
            match change {
                Change::Text(text) => body.push_str(&text),
                Change::Array(array) => {
                    let written = array.write(prefixes, &mut body);
                    if span == self.arrays[main].span {
                        models = written;
                    }
                }
            }
            copied = span.end;
        }
        body.push_str(&self.text[copied..]);
        // It may be cached for hours.
        body.shrink_to_fit();
        let lacks_id = self.models().iter().any(|model| !model.has_id());
        let identified = lacks_id.then(|| {
            let mut text = String::new();
            join(self.models(), Model::write_identified, prefixes, &mut text);
            text
        });
        let aliases = self.arrays[main].aliases.iter();
        let aliases = aliases.map(|(place, alias)| (*place, with_id(alias))).collect();
        Written { body, models, identified, aliases }
    }

    /// The facts that the list has about its models.
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |model: &Model<'_>| Entry::read(model.id.clone(), model.object());
        self.models().iter().map(entry).collect()
    }
}

impl<'a> Array<'a> {
    fn new(array: RawArray<'a>) -> Array<'a> {
        let RawArray { key, span, items, total } = array;
        let is_null = items.is_none();
        let models = items.into_iter().flatten().filter_map(Model::read).collect();
        Array { key, span, is_null, models, aliases: Vec::new(), total }
    }

    fn extend(&mut self, models: Vec<Model<'a>>, total: usize) -> Result<(), String> {
        self.models.extend(models);
        self.total += total;
        if self.total > MOST { Err(format!("has more than {MOST} models")) } else { Ok(()) }
    }

    /// The length of what is written, at most.
    fn length(&self, prefixes: Prefixes<'_>) -> usize {
        let more = 2 * (prefixes.id.len() + prefixes.name.len()) + 1;
        let models = self.models.iter().map(|model| model.object().len() + more);
        let aliases = self.aliases.iter().map(|(_, alias)| alias.len() + 1);
        models.chain(aliases).sum::<usize>() + 4
    }

    /// Returns the position of the models.
    fn write(&self, prefixes: Prefixes<'_>, out: &mut String) -> Range<usize> {
        if self.is_null && self.models.is_empty() {
            out.push_str("null");
            return 0..0;
        }
        out.push('[');
        for (index, (_, alias)) in self.aliases.iter().enumerate() {
            out.push_str(alias);
            if index + 1 < self.aliases.len() || !self.models.is_empty() {
                out.push(',');
            }
        }
        let start = out.len();
        join(&self.models, Model::write, prefixes, out);
        let end = out.len();
        out.push(']');
        start..end
    }
}

/// A replacement for a part of the text.
enum Change<'l, 'a> {
    Text(String),
    Array(&'l Array<'a>),
}

/// Writes models with commas between them, each in the same way.
fn join<'a>(
    models: &[Model<'a>],
    write: impl Fn(&Model<'a>, Prefixes<'_>, &mut String),
    prefixes: Prefixes<'_>,
    out: &mut String,
) {
    for (index, model) in models.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(model, prefixes, out);
    }
}

/// The object of an alias with an `id`, which Ollama's and Gemini's models do not have.
fn with_id(alias: &str) -> String {
    match model::read(alias).filter(|model| !model.has_id()) {
        Some(model) => {
            let mut text = String::new();
            model.write_identified(Prefixes::default(), &mut text);
            text
        }
        None => alias.to_owned(),
    }
}
