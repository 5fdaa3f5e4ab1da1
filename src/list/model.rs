//! One model in a list: its ids, and the places of a prefix.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::reader::{NAMING, RawItem};
use crate::facts::Facts;
use crate::json;

/// What Gemini writes before an id in `name`: the kind of the resource, not a part of the id.
const KIND: &str = "models/";

/// A model in a list.
#[derive(Debug, Clone)]
pub struct Model<'a> {
    object: &'a str,
    /// Its id, as the upstream names it.
    pub id: String,
    /// The offset of the text of the id within the object.
    start: usize,
    /// The second field that names the model: its value and the offset of that. Ollama gives
    /// `name` and `model`.
    second: Option<(String, usize)>,
    has_id: bool,
}

impl<'a> Model<'a> {
    /// Reads an item of a list; none if it has no id, or one that readers could understand in
    /// different ways.
    pub(super) fn read(item: RawItem<'a>) -> Option<Model<'a>> {
        let RawItem { object, naming: [id, key, name, model] } = item;
        let has_id = id.value.is_some();
        // Beside an `id`, `name` is for display, and `key` and `model` mean something else.
        let naming = match (id.value, key.value) {
            (Some(_), _) => [Some(id), None],
            (None, Some(_)) => [Some(key), None],
            (None, None) => [Some(name), Some(model)],
        };
        if naming.iter().flatten().any(|member| member.repeated) {
            return None;
        }
        let mut values = naming.into_iter().flatten().filter_map(|member| member.value);
        let place = |value: &'a RawValue| place(object, value.get(), has_id);
        let (id, start) = place(values.next()?)?;
        let second = values.next().map(place);
        let second = match second {
            Some(None) => return None,
            Some(second) => second,
            None => None,
        };
        Some(Model { object, id, start, second, has_id })
    }

    /// All names by which the model goes in the list: its id, and another one if that differs.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let second = self.second.as_ref().map(|(id, _)| id.as_str());
        std::iter::once(self.id.as_str()).chain(second.filter(|second| *second != self.id))
    }

    /// What the list says about it.
    pub fn facts(&self) -> Facts {
        Facts::read(self.object)
    }

    /// Its object, as it stands in the list.
    pub fn object(&self) -> &'a str {
        self.object
    }

    /// Whether its id is in the field `id`.
    pub(super) fn has_id(&self) -> bool {
        self.has_id
    }

    /// Writes the object with a prefix, which is escaped, before its ids.
    pub(super) fn write(&self, prefix: &str, out: &mut String) {
        let mut places = [Some(self.start), self.second.as_ref().map(|(_, start)| *start)];
        places.sort_unstable();
        let mut copied = 0;
        for place in places.into_iter().flatten() {
            out.push_str(&self.object[copied..place]);
            out.push_str(prefix);
            copied = place;
        }
        out.push_str(&self.object[copied..]);
    }

    /// The same; a field `id` is added if there is none.
    pub(super) fn write_identified(&self, prefix: &str, out: &mut String) {
        let start = out.len();
        self.write(prefix, out);
        if !self.has_id {
            let id = format!("\"id\":\"{prefix}{}\",", escaped(&self.id));
            out.insert_str(start + 1, &id);
        }
    }
}

/// The text of an id and its offset within the object; none if it is not text.
fn place(object: &str, literal: &str, is_id: bool) -> Option<(String, usize)> {
    let id: Cow<'_, str> = match literal.contains('\\') {
        false => literal.strip_prefix('"')?.strip_suffix('"')?.into(),
        true => serde_json::from_str::<String>(literal).ok()?.into(),
    };
    let start = json::span(literal, object.as_bytes()).start + 1;
    match id.strip_prefix(KIND) {
        Some(bare) if !is_id && !bare.is_empty() => {
            Some((bare.to_owned(), start + written_length(&literal[1..], KIND.len())))
        }
        _ => Some((id.into_owned(), start)),
    }
}

/// How many bytes the first characters, which are ASCII, take in a string as it is written.
fn written_length(text: &str, characters: usize) -> usize {
    (0..characters).fold(0, |length, _| match &text.as_bytes()[length..] {
        [b'\\', b'u', ..] => length + 6,
        [b'\\', ..] => length + 2,
        _ => length + 1,
    })
}

/// A model's JSON object with a prefix before its id; none if it has no id.
pub fn prefixed_model(object: &str, prefix: &str) -> Option<String> {
    let object = without_mark(object);
    let naming = json::members(object, NAMING).ok()?;
    let model = Model::read(RawItem { object, naming })?;
    let mut prefixed = String::with_capacity(model.object.len() + prefix.len());
    model.write(&escaped(prefix), &mut prefixed);
    Some(prefixed)
}

/// A text as it is written between the quotes of a JSON string.
pub(super) fn escaped(text: &str) -> String {
    let mut quoted = serde_json::Value::from(text).to_string();
    quoted.pop();
    quoted.remove(0);
    quoted
}

/// Text without the byte order mark that some servers put before it.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}
