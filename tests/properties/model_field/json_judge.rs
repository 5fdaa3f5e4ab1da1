//! The judges of JSON.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::body::Judgement;

/// A reader of RFC 8259, from `at` on. `Err` if the text violates it.
pub(super) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

/// The range of a key or a value.
pub(super) type Place = Range<usize>;

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip(&mut self, of: &[u8]) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| of.contains(&byte)) {
            self.at += 1;
        }
        self.at - start
    }

    fn space(&mut self) {
        self.skip(b" \t\r\n");
    }

    fn expect(&mut self, word: &str) -> Result<(), ()> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(());
        }
        self.at += word.len();
        Ok(())
    }

    /// The members of the object, if the whole text is one; `None` for other values.
    fn document(&mut self) -> Result<Option<Vec<(Place, Place)>>, ()> {
        self.space();
        let members = match self.peek() {
            Some(b'{') => Some(self.object()?),
            _ => {
                self.value()?;
                None
            }
        };
        self.space();
        if self.at == self.text.len() { Ok(members) } else { Err(()) }
    }

    fn value(&mut self) -> Result<Place, ()> {
        let start = self.at;
        match self.peek().ok_or(())? {
            b'{' => {
                self.object()?;
            }
            b'[' => self.array()?,
            b'"' => self.string()?,
            b't' => self.expect("true")?,
            b'f' => self.expect("false")?,
            b'n' => self.expect("null")?,
            _ => self.number()?,
        }
        Ok(start..self.at)
    }

    fn object(&mut self) -> Result<Vec<(Place, Place)>, ()> {
        let mut members = Vec::new();
        self.expect("{")?;
        self.space();
        if self.expect("}").is_ok() {
            return Ok(members);
        }
        loop {
            self.space();
            let start = self.at;
            self.string()?;
            let key = start..self.at;
            self.space();
            self.expect(":")?;
            self.space();
            members.push((key, self.value()?));
            self.space();
            if self.expect(",").is_err() {
                self.expect("}")?;
                return Ok(members);
            }
        }
    }

    fn array(&mut self) -> Result<(), ()> {
        self.expect("[")?;
        self.space();
        if self.expect("]").is_ok() {
            return Ok(());
        }
        loop {
            self.space();
            self.value()?;
            self.space();
            if self.expect(",").is_err() {
                return self.expect("]");
            }
        }
    }

    fn string(&mut self) -> Result<(), ()> {
        self.expect("\"")?;
        loop {
            let byte = self.peek().ok_or(())?;
            self.at += 1;
            match byte {
                b'"' => return Ok(()),
                b'\\' => {
                    let escape = self.peek().ok_or(())?;
                    self.at += 1;
                    if escape == b'u' {
                        let digits = self.text.get(self.at..self.at + 4).ok_or(())?;
                        if !digits.iter().all(u8::is_ascii_hexdigit) {
                            return Err(());
                        }
                        self.at += 4;
                    } else if !b"\"\\/bfnrt".contains(&escape) {
                        return Err(());
                    }
                }
                byte if byte < 0x20 => return Err(()),
                _ => {}
            }
        }
    }

    fn number(&mut self) -> Result<(), ()> {
        const DIGITS: &[u8] = b"0123456789";
        let _ = self.expect("-");
        if self.expect("0").is_err() && self.skip(DIGITS) == 0 {
            return Err(());
        }
        if self.expect(".").is_ok() && self.skip(DIGITS) == 0 {
            return Err(());
        }
        if self.expect("e").is_ok() || self.expect("E").is_ok() {
            let _ = self.expect("+").is_ok() || self.expect("-").is_ok();
            if self.skip(DIGITS) == 0 {
                return Err(());
            }
        }
        Ok(())
    }
}

/// The text of a valid string literal; `None` if it has a lone surrogate.
pub(super) fn text_of(literal: &str) -> Option<String> {
    let mut units = Vec::new();
    let mut chars = literal[1..literal.len() - 1].chars();
    while let Some(c) = chars.next() {
        let c = match (c, c == '\\') {
            (_, true) => match chars.next().unwrap() {
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    units.push(u16::from_str_radix(&digits, 16).unwrap());
                    continue;
                }
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                c => c,
            },
            (c, false) => c,
        };
        units.extend(c.encode_utf16(&mut [0; 2]).iter().copied());
    }
    String::from_utf16(&units).ok()
}

/// The members of a body that is an object, after an optional byte order mark.
pub(super) fn members_of(body: &[u8]) -> Result<Option<Vec<(Place, Place)>>, ()> {
    let at = if body.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
    Reader { text: body, at }.document()
}

pub(super) fn naive_json(body: &[u8]) -> Judgement {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let text = std::str::from_utf8(body).map_err(|_| ())?;
    let Some(members) = members_of(body)? else { return Ok(None) };
    let named = members.into_iter().filter_map(|(key, place)| Some((text_of(&text[key])?, place)));
    let named: Vec<(String, Place)> = named.collect();
    let similar = |to| named.iter().filter(move |(key, _)| is_similar(key, to));
    let mut fallbacks = similar("models");
    if let Some((key, place)) = fallbacks.next() {
        if fallbacks.next().is_some() || key != "models" || !are_names(&text[place.clone()]) {
            return Err(());
        }
    }
    let mut models = similar("model");
    let Some((key, place)) = models.next() else { return Ok(None) };
    if models.next().is_some() || key != "model" || !text[place.clone()].starts_with('"') {
        return Err(());
    }
    let name = text_of(&text[place.clone()]).filter(|name| !name.contains('\0')).ok_or(())?;
    Ok(Some((name, place.clone())))
}

/// Whether some readers take the key for this one.
fn is_similar(key: &str, to: &str) -> bool {
    key.split('\0').next().unwrap().to_lowercase() == to
}

/// Whether a valid value is `null` or an array of strings that may be names.
fn are_names(value: &str) -> bool {
    let mut rest = value.trim().to_owned();
    if rest == "null" {
        return true;
    }
    while let Some(start) = rest.find('"') {
        let mut at = start + 1;
        while !rest[at..].starts_with('"') {
            at += if rest[at..].starts_with('\\') { 2 } else { 1 };
            while !rest.is_char_boundary(at) {
                at += 1;
            }
        }
        if text_of(&rest[start..=at]).is_none_or(|name| name.contains('\0')) {
            return false;
        }
        rest.replace_range(start..=at, "s");
    }
    let rest: String = rest.split_ascii_whitespace().collect();
    let items = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    items.is_some_and(|items| items.is_empty() || items.split(',').all(|item| item == "s"))
}

/// The members of an object, including repeated keys.
pub(super) struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

pub(super) struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// The members' values; `None` if `serde_json` cannot represent them (lone surrogates, numbers
/// beyond a float), and for other values than objects.
pub(super) fn values(document: &[u8]) -> Option<Vec<(String, Value)>> {
    let text = document.strip_prefix("\u{feff}".as_bytes()).unwrap_or(document);
    serde_json::from_slice(text).map(|Members(members)| members).ok()
}

pub(super) fn name_among(members: &[(String, Value)]) -> Result<Option<String>, ()> {
    let similar = |to| members.iter().filter(move |(key, _)| is_similar(key, to));
    let is_name = |name: &Value| name.as_str().is_some_and(|name| !name.contains('\0'));
    let fallbacks: Vec<&(String, Value)> = similar("models").collect();
    match fallbacks[..] {
        [] => {}
        [(key, value)] if key == "models" && value.is_null() => {}
        [(key, Value::Array(names))] if key == "models" && names.iter().all(is_name) => {}
        _ => return Err(()),
    }
    let models: Vec<&(String, Value)> = similar("model").collect();
    match models[..] {
        [] => Ok(None),
        [(key, Value::String(name))] if key == "model" && !name.contains('\0') => {
            Ok(Some(name.clone()))
        }
        _ => Err(()),
    }
}
