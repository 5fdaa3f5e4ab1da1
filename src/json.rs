//! Members of a JSON object, as slices of the text.
//!
//! No tree is built: other values are skipped at any depth, so that every byte keeps its spelling.
//! Limits: the text must be UTF-8.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The member of an object that has a given key.
#[derive(Debug, Default, Clone, Copy)]
pub struct Member<'a> {
    /// Its value. If the key is repeated, the first one.
    pub value: Option<&'a RawValue>,
    /// Whether the object has the key more than once.
    pub repeated: bool,
    /// Whether the object has a key that some readers take for it: it differs in ASCII case, or in
    /// what follows a NUL.
    pub respelled: bool,
}

/// Finds a member of a JSON object.
///
/// # Errors
/// If the text is not exactly one JSON object.
pub fn member<'a>(text: &'a str, key: &str) -> serde_json::Result<Member<'a>> {
    members(text, [key]).map(|[member]| member)
}

/// Finds several members of a JSON object in one pass.
///
/// # Errors
/// As [`member`].
pub fn members<'a, const N: usize>(
    text: &'a str,
    keys: [&str; N],
) -> serde_json::Result<[Member<'a>; N]> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = Search { keys }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(members)
}

/// The range of `part` in `whole`, from which it must be borrowed.
pub fn span(part: &str, whole: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// Decodes a string literal. Empty if it is not valid text.
pub fn unquoted(literal: &str) -> Cow<'_, str> {
    let plain = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match plain.filter(|text| !text.contains('\\')) {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(serde_json::from_str(literal).unwrap_or_default()),
    }
}

struct Search<'k, const N: usize> {
    keys: [&'k str; N],
}

impl<'de, const N: usize> DeserializeSeed<'de> for Search<'_, N> {
    type Value = [Member<'de>; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Search<'_, N> {
    type Value = [Member<'de>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut members = [Member::default(); N];
        let longest = self.keys.iter().map(|key| key.len()).max().unwrap_or_default();
        // Raw, because a key that is not valid text (a lone surrogate) must not be an error.
        while let Some(key) = object.next_key::<&RawValue>()? {
            let literal = key.get();
            // An escaped letter takes six bytes. A longer literal is another key; do not copy it,
            // unless readers of C strings may take it for a shorter one.
            let key = match literal.len() > 6 * longest + 2 && !literal.contains(r"\u0000") {
                true => Cow::Borrowed(literal),
                false => unquoted(literal),
            };
            let Some(found) = self.keys.iter().position(|other| *other == key) else {
                let key = key.split('\0').next().unwrap_or_default();
                for (member, other) in members.iter_mut().zip(self.keys) {
                    member.respelled |= key.eq_ignore_ascii_case(other);
                }
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            if members[found].value.is_none() {
                members[found].value = Some(object.next_value()?);
            } else {
                object.next_value::<IgnoredAny>()?;
                members[found].repeated = true;
            }
        }
        Ok(members)
    }
}
