//! Reads a list of models in one pass over its text.
//!
//! A list may have megabytes, so nothing is read twice, and of values that do not matter only the
//! end is searched for.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{Member, span, unquoted};

/// The most items that an array may have.
pub(super) const MOST: usize = 100_000;

/// The members of an item in which its ids and displayed names may be.
pub(super) const NAMING: [&str; 5] = ["id", "key", "name", "model", "display_name"];

/// The parts of a list. `N` is the number of members that are looked for beside the arrays.
pub(super) struct Parts<'a, const N: usize> {
    /// In the order of the text.
    pub(super) arrays: Vec<RawArray<'a>>,
    /// The members of the list that were looked for.
    pub(super) members: [Member<'a>; N],
}

/// An array of models.
pub(super) struct RawArray<'a> {
    /// The member that holds it; empty if it is the whole list.
    pub(super) key: &'static str,
    /// Its place within the text.
    pub(super) span: Range<usize>,
    /// Its objects; none if it is `null`.
    pub(super) items: Option<Vec<RawItem<'a>>>,
    /// How many items it has, those that are no objects among them.
    pub(super) total: usize,
}

/// An object in an array of models.
pub(super) struct RawItem<'a> {
    pub(super) object: &'a str,
    /// The members of [`NAMING`].
    pub(super) naming: [Member<'a>; NAMING.len()],
}

/// Reads a list: an array, or an object that has arrays in the members `arrays`.
///
/// # Errors
/// If the text is not one JSON value of this shape.
pub(super) fn read<'a, const N: usize>(
    text: &'a str,
    arrays: &[&'static str],
    keys: [&'static str; N],
) -> serde_json::Result<Parts<'a, N>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parts = deserializer.deserialize_any(List { text, arrays, keys })?;
    deserializer.end()?;
    Ok(parts)
}

struct List<'a, 'k, const N: usize> {
    text: &'a str,
    arrays: &'k [&'static str],
    keys: [&'static str; N],
}

impl<'a, const N: usize> Visitor<'a> for List<'a, '_, N> {
    type Value = Parts<'a, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, array: A) -> Result<Self::Value, A::Error> {
        let (items, total) = items(self.text, array)?;
        let span = span(self.text.trim_ascii(), self.text.as_bytes());
        let array = RawArray { key: "", span, items: Some(items), total };
        Ok(Parts { arrays: vec![array], members: [Member::default(); N] })
    }

    fn visit_map<A: MapAccess<'a>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let text = self.text.as_bytes();
        let mut arrays: Vec<RawArray<'a>> = Vec::new();
        let mut members = [Member::default(); N];
        // Whether the last array still lacks the end of its span.
        let mut is_open = false;
        while let Some(key) = object.next_key::<&RawValue>()? {
            let place = span(key.get(), text);
            if std::mem::take(&mut is_open) {
                end_array(&mut arrays, &text[..place.start], b',');
            }
            let key = unquoted(key.get());
            if let Some(key) = self.arrays.iter().find(|name| ***name == *key) {
                if arrays.iter().any(|array| array.key == *key) {
                    // Clients differ in which of the two they read.
                    return Err(A::Error::custom(format!("`{key}` twice")));
                }
                let (items, total) = object.next_value_seed(Array(self.text))?;
                let start = text.len() - without(&text[place.end..], b':').len();
                arrays.push(RawArray { key, span: start..start, items, total });
                is_open = true;
            } else if let Some(at) = self.keys.iter().position(|name| *name == key) {
                let value = object.next_value()?;
                members[at].repeated = members[at].value.is_some();
                members[at].value.get_or_insert(value);
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        if is_open {
            end_array(&mut arrays, self.text.trim_ascii_end().as_bytes(), b'}');
        }
        Ok(Parts { arrays, members })
    }
}

/// Notes that the last array ends before this sign, the last one of `before`.
fn end_array(arrays: &mut [RawArray<'_>], before: &[u8], sign: u8) {
    let before = before.trim_ascii_end();
    let before = before.strip_suffix(&[sign]).unwrap_or(before);
    if let Some(array) = arrays.last_mut() {
        array.span.end = before.trim_ascii_end().len();
    }
}

/// The text behind a sign and the whitespace around it.
fn without(text: &[u8], sign: u8) -> &[u8] {
    let text = text.trim_ascii_start();
    text.strip_prefix(&[sign]).unwrap_or(text).trim_ascii_start()
}

/// An array of models, or `null`, in this text.
struct Array<'a>(&'a str);

type Items<'a> = (Vec<RawItem<'a>>, usize);

fn items<'a, A: SeqAccess<'a>>(text: &'a str, mut array: A) -> Result<Items<'a>, A::Error> {
    let (mut items, mut total) = (Vec::new(), 0);
    while let Some(item) = array.next_element_seed(Item(text))? {
        if total == MOST {
            return Err(A::Error::custom(format!("more than {MOST} items")));
        }
        total += 1;
        items.extend(item);
    }
    Ok((items, total))
}

impl<'a> DeserializeSeed<'a> for Array<'a> {
    type Value = (Option<Vec<RawItem<'a>>>, usize);

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Array<'a> {
    type Value = (Option<Vec<RawItem<'a>>>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of models")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok((None, 0))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, array: A) -> Result<Self::Value, A::Error> {
        let (items, total) = items(self.0, array)?;
        Ok((Some(items), total))
    }
}

/// An item of an array in this text; none if it is no object, or an empty one.
struct Item<'a>(&'a str);

impl<'a> DeserializeSeed<'a> for Item<'a> {
    type Value = Option<RawItem<'a>>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Item<'a> {
    type Value = Option<RawItem<'a>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a model")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut naming = [Member::default(); NAMING.len()];
        let mut range: Option<Range<usize>> = None;
        while let Some(key) = object.next_key::<&RawValue>()? {
            let value: &RawValue = object.next_value()?;
            let end = span(value.get(), self.0.as_bytes()).end;
            range = Some(match range {
                Some(range) => range.start..end,
                None => span(key.get(), self.0.as_bytes()).start..end,
            });
            let key = unquoted(key.get());
            if let Some(at) = NAMING.iter().position(|name| *name == key) {
                naming[at].repeated = naming[at].value.is_some();
                naming[at].value.get_or_insert(value);
            }
        }
        // The braces are the first signs before the first key and behind the last value.
        let object = range.and_then(|range| {
            let start = self.0[..range.start].rfind('{')?;
            let end = range.end + self.0[range.end..].find('}')? + 1;
            self.0.get(start..end)
        });
        Ok(object.map(|object| RawItem { object, naming }))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}
