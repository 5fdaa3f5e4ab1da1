//! One model in a list: its ids and displayed names, and copies of it under other ones.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::value::RawValue;

use super::reader::{NAMING, RawItem};
use crate::facts::Facts;
use crate::json::{self, Member};

/// What Gemini writes before an id in `name`: the kind of the resource, not a part of the id.
const KIND: &str = "models/";

/// The texts that go before the ids and before the displayed names of models.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prefixes<'p> {
    /// Before ids.
    pub id: &'p str,
    /// Before `name` and `display_name`, which frontends show.
    pub name: &'p str,
}

impl Prefixes<'_> {
    /// Whether nothing changes.
    pub fn are_empty(&self) -> bool {
        self.id.is_empty() && self.name.is_empty()
    }
}

/// Another id for a model, with a displayed name.
#[derive(Debug, Clone, Copy)]
pub struct Alias<'p> {
    /// Its place among all aliases.
    pub place: usize,
    /// The id that clients see.
    pub id: &'p str,
    /// The id of the model, as the upstream names it.
    pub model: &'p str,
    /// The displayed name that was given; else the id is displayed.
    pub name: Option<&'p str>,
}

/// What is written in place of a part of an object.
type Edit<'p> = (Range<usize>, &'p str);

/// A model in a list.
#[derive(Debug, Clone)]
pub struct Model<'a> {
    object: &'a str,
    /// Its id, as the upstream names it.
    pub id: String,
    /// The range of the text of the id within the object.
    place: Range<usize>,
    /// The second field that names the model: its value and the range of that. Ollama gives
    /// `name` and `model`.
    second: Option<(String, Range<usize>)>,
    /// Where the texts of `name` and `display_name` are, if they are displayed names.
    titles: [Option<Range<usize>>; 2],
    has_name: bool,
    has_id: bool,
}

impl<'a> Model<'a> {
    /// Reads an item of a list; none if it has no id, or one that readers could understand in
    /// different ways.
    pub(super) fn read(item: RawItem<'a>) -> Option<Model<'a>> {
        let RawItem { object, naming: [id, key, name, model, display_name] } = item;
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
        let name_is_id = naming[1].is_some();
        let mut values = naming.into_iter().flatten().filter_map(|member| member.value);
        let read = |value: &'a RawValue| place(object, value.get(), has_id);
        let (id, place) = read(values.next()?)?;
        let second = values.next().map(read);
        let second = match second {
            Some(None) => return None,
            Some(second) => second,
            None => None,
        };
        let titles = [title(object, name).filter(|_| !name_is_id), title(object, display_name)];
        let has_name = name.value.is_some();
        Some(Model { object, id, place, second, titles, has_name, has_id })
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

    /// Writes the object with prefixes, which are escaped, before its ids and displayed names.
    pub(super) fn write(&self, prefixes: Prefixes<'_>, out: &mut String) {
        if prefixes.are_empty() {
            out.push_str(self.object);
            return;
        }
        let before = |place: &Range<usize>| place.start..place.start;
        let ids = self.places().map(|place| place.map(|place| (before(place), prefixes.id)));
        let titles = self.titles.each_ref().map(Option::as_ref);
        let titles = titles.map(|place| place.map(|place| (before(place), prefixes.name)));
        splice(self.object, ids, titles, out);
    }

    /// The same; a field `id` is added if there is none.
    pub(super) fn write_identified(&self, prefixes: Prefixes<'_>, out: &mut String) {
        let start = out.len();
        self.write(prefixes, out);
        if !self.has_id {
            let id = format!("\"id\":\"{}{}\",", prefixes.id, escaped(&self.id));
            out.insert_str(start + 1, &id);
        }
    }

    /// A copy of the object for an alias: other ids and displayed names, and nothing else. If a name
    /// is given and the object has none, it is added.
    pub(super) fn aliased(&self, alias: &Alias<'_>) -> String {
        let (id, name) = (escaped(alias.id), escaped(alias.name.unwrap_or(alias.id)));
        let ids = self.places().map(|place| place.map(|place| (place.clone(), id.as_str())));
        let titles = self.titles.each_ref().map(Option::as_ref);
        let has_title = titles.iter().any(Option::is_some);
        let titles = titles.map(|place| place.map(|place| (place.clone(), name.as_str())));
        let mut copy = String::with_capacity(self.object.len() + id.len() + name.len() + 16);
        splice(self.object, ids, titles, &mut copy);
        let lacks_name = self.has_id && !self.has_name && !has_title;
        if let Some(brace) = copy.find('{').filter(|_| alias.name.is_some() && lacks_name) {
            copy.insert_str(brace + 1, &format!("\"name\":\"{name}\","));
        }
        copy
    }

    /// Where its ids are.
    fn places(&self) -> [Option<&Range<usize>>; 2] {
        [Some(&self.place), self.second.as_ref().map(|(_, place)| place)]
    }
}

/// Writes an object with these parts replaced.
fn splice(
    object: &str,
    ids: [Option<Edit<'_>>; 2],
    titles: [Option<Edit<'_>>; 2],
    out: &mut String,
) {
    let [first, second] = ids;
    let [name, display_name] = titles;
    let mut edits = [first, second, name, display_name];
    edits.sort_unstable_by_key(|edit| edit.as_ref().map(|(place, _)| place.start));
    let mut copied = 0;
    for (place, text) in edits.into_iter().flatten() {
        out.push_str(&object[copied..place.start]);
        out.push_str(text);
        copied = place.end;
    }
    out.push_str(&object[copied..]);
}

/// Where the text of a displayed name is; none if it is not one text.
fn title(object: &str, member: Member<'_>) -> Option<Range<usize>> {
    let literal = member.value.filter(|_| !member.repeated)?.get();
    let place = json::span(literal, object.as_bytes());
    literal.starts_with('"').then(|| place.start + 1..place.end - 1)
}

/// The text of an id and its range within the object; none if it is not text.
fn place(object: &str, literal: &str, is_id: bool) -> Option<(String, Range<usize>)> {
    let id: Cow<'_, str> = match literal.contains('\\') {
        false => literal.strip_prefix('"')?.strip_suffix('"')?.into(),
        true => serde_json::from_str::<String>(literal).ok()?.into(),
    };
    let Range { start, end } = json::span(literal, object.as_bytes());
    let (start, end) = (start + 1, end - 1);
    match id.strip_prefix(KIND) {
        Some(bare) if !is_id && !bare.is_empty() => {
            Some((bare.to_owned(), start + written_length(&literal[1..], KIND.len())..end))
        }
        _ => Some((id.into_owned(), start..end)),
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

/// A model's JSON object with prefixes before its id and its displayed names; none if it has no id.
pub fn prefixed_model(object: &str, prefixes: Prefixes<'_>) -> Option<String> {
    let model = read(object)?;
    let (id, name) = (escaped(prefixes.id), escaped(prefixes.name));
    let mut prefixed = String::with_capacity(object.len() + id.len() + 2 * name.len());
    model.write(Prefixes { id: &id, name: &name }, &mut prefixed);
    Some(prefixed)
}

/// A copy of a model's JSON object for an alias; none if it has no id.
pub fn aliased_model(object: &str, alias: &Alias<'_>) -> Option<String> {
    Some(read(object)?.aliased(alias))
}

/// Reads a JSON object that is a model, with what surrounds it in the text.
pub(super) fn read(object: &str) -> Option<Model<'_>> {
    let object = without_mark(object);
    let naming = json::members(object, NAMING).ok()?;
    Model::read(RawItem { object, naming })
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
