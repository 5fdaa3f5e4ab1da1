//! The model of a body, against hand-written readers.
//!
//! JSON has two judges: one reads the grammar of RFC 8259 byte by byte, and so decides for every
//! document whether it is valid; the other compares the values that `serde_json` reads, if it can
//! represent them. The judge of multipart works line by line, as RFC 2046 describes it.
//! Replacements are compared byte for byte.

use std::fmt;
use std::ops::{Deref, Range};

use model_filter::model_field::{BodyKind, Form, ModelField, body_kind, find};
use proptest::prelude::*;
use proptest::sample::Index;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::cases;

/// The result of a judge: the name and its range, `None` without a model, `Err` if refused.
type Judgement = Result<Option<(String, Range<usize>)>, ()>;

fn judged(kind: &BodyKind, body: &[u8]) -> Judgement {
    match find(kind, body) {
        Ok(field) => Ok(field.map(|field| (field.name, field.span))),
        Err(_) => Err(()),
    }
}

/// A body that is printed as text.
#[derive(Clone)]
struct Body(Vec<u8>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Replaces the name and checks that no other byte changed.
fn replaced(field: &ModelField, body: &[u8], name: &str) -> Vec<u8> {
    let mut new = body.to_vec();
    field.replace(&mut new, name);
    let after = body.len() - field.span.end;
    assert_eq!(new[..field.span.start], body[..field.span.start]);
    assert_eq!(new[new.len() - after..], body[field.span.end..]);
    new
}

// JSON: the judge by grammar.

/// A reader of RFC 8259, from `at` on. `Err` if the text violates it.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

/// The range of a key or a value.
type Place = Range<usize>;

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
fn text_of(literal: &str) -> Option<String> {
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
fn members_of(body: &[u8]) -> Result<Option<Vec<(Place, Place)>>, ()> {
    let at = if body.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
    Reader { text: body, at }.document()
}

fn naive_json(body: &[u8]) -> Judgement {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let text = std::str::from_utf8(body).map_err(|_| ())?;
    let Some(members) = members_of(body)? else { return Ok(None) };
    let named = members.into_iter().filter_map(|(key, place)| Some((text_of(&text[key])?, place)));
    let mut models = named.filter(|(key, _)| key.to_lowercase() == "model");
    let Some((key, place)) = models.next() else { return Ok(None) };
    if models.next().is_some() || key != "model" || !text[place.clone()].starts_with('"') {
        return Err(());
    }
    Ok(Some((text_of(&text[place.clone()]).ok_or(())?, place)))
}

// JSON: the judge by values.

/// The members of an object, including repeated keys.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

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
fn values(document: &[u8]) -> Option<Vec<(String, Value)>> {
    let text = document.strip_prefix("\u{feff}".as_bytes()).unwrap_or(document);
    serde_json::from_slice(text).map(|Members(members)| members).ok()
}

fn name_among(members: &[(String, Value)]) -> Result<Option<String>, ()> {
    let models: Vec<&(String, Value)> =
        members.iter().filter(|(key, _)| key.to_lowercase() == "model").collect();
    match models[..] {
        [] => Ok(None),
        [(key, Value::String(name))] if key == "model" => Ok(Some(name.clone())),
        _ => Err(()),
    }
}

// JSON: documents.

fn space() -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(""), 2 => Just(" "), 1 => Just("\n"), 1 => Just("\t\r\n  ")]
        .prop_map(str::to_owned)
}

/// Text as a string literal, with some characters escaped in one of the possible ways.
fn literal(text: &str, choices: &[u8]) -> String {
    let escaped = |(at, c): (usize, char)| {
        let choice = choices[at % choices.len()];
        let short = match c {
            '"' | '\\' | '/' => Some(c),
            '\u{8}' => Some('b'),
            '\u{c}' => Some('f'),
            '\n' => Some('n'),
            '\r' => Some('r'),
            '\t' => Some('t'),
            _ => None,
        };
        let must = c < ' ' || c == '"' || c == '\\';
        match (choice % 8, short) {
            (4.., _) if !must => c.to_string(),
            (2.., Some(short)) => format!("\\{short}"),
            (digits, _) => {
                let units = |unit: &u16| match digits {
                    0 => format!("\\u{unit:04x}"),
                    _ => format!("\\u{unit:04X}"),
                };
                c.encode_utf16(&mut [0; 2]).iter().map(units).collect()
            }
        }
    };
    let written: String = text.chars().enumerate().map(escaped).collect();
    format!("\"{written}\"")
}

fn choices() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 8)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z/.:-]{0,8}",
        2 => ".{0,8}",
        1 => prop::sample::select(vec!["model", "\u{feff}", "😀", "\"model\":\"x\"", "\\", "\u{0}", "}"])
            .prop_map(str::to_owned),
    ]
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => (text(), choices()).prop_map(|(text, choices)| literal(&text, &choices)),
        // Lone surrogates, which the grammar allows.
        1 => prop::sample::select(vec![r#""\ud800""#, r#""a\uDC00""#, r#""\ud83d\ud83d\ude00""#])
            .prop_map(str::to_owned),
    ]
}

fn model_key() -> impl Strategy<Value = String> {
    choices().prop_map(|choices| literal("model", &choices))
}

fn other_key() -> impl Strategy<Value = String> {
    let like = prop::sample::select(vec![
        r#""Model""#,
        r#""models""#,
        r#""mode""#,
        r#"" model""#,
        r#""\\u006dodel""#,
        r#""model\u0000""#,
        r#""\ud800model""#,
        r#""mod\u00e9l""#,
    ]);
    // Sometimes `model` itself.
    prop_oneof![8 => string(), 2 => like.prop_map(str::to_owned)]
}

fn value() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        4 => "-?(0|[1-9][0-9]{0,3})",
        2 => "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?",
        1 => Just("1e999".to_owned()),
    ];
    let word = prop_oneof![Just("null"), Just("true"), Just("false")].prop_map(str::to_owned);
    prop_oneof![4 => string(), 2 => number, 1 => word].prop_recursive(4, 24, 4, |inner| {
        let key = prop_oneof![model_key(), other_key()];
        let array = (prop::collection::vec((space(), inner.clone(), space()), 0..4), space());
        let object = prop::collection::vec(member(key, inner), 0..4);
        prop_oneof![
            array.prop_map(|(items, end)| {
                let items: Vec<String> =
                    items.into_iter().map(|(a, item, b)| a + &item + &b).collect();
                format!("[{}{end}]", items.join(","))
            }),
            object.prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

fn member(
    key: impl Strategy<Value = String>,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    (space(), key, space(), space(), value, space())
        .prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"))
}

/// An object with this many members `model` at the top level.
fn object(
    models: impl Strategy<Value = usize>,
    model: BoxedStrategy<String>,
) -> impl Strategy<Value = Body> {
    let members = models.prop_flat_map(move |models| {
        let models = prop::collection::vec(member(model_key(), model.clone()), models);
        let others = prop::collection::vec(member(other_key(), value()), 0..4);
        (models, others).prop_map(|(models, others)| [models, others].concat()).prop_shuffle()
    });
    (prop::bool::weighted(0.1), space(), members, space()).prop_map(|(mark, a, members, b)| {
        let mark = if mark { "\u{feff}" } else { "" };
        Body(format!("{mark}{a}{{{}}}{b}", members.join(",")).into_bytes())
    })
}

fn document() -> impl Strategy<Value = Body> {
    let models = prop_oneof![2 => Just(0_usize), 6 => Just(1), 2 => Just(2), 1 => Just(3)];
    let model = prop_oneof![4 => string().boxed(), 1 => value().boxed()].boxed();
    let other =
        (space(), value(), space()).prop_map(|(a, value, b)| Body((a + &value + &b).into_bytes()));
    prop_oneof![8 => object(models, model), 1 => other]
}

/// Removes, inserts or replaces a few bytes.
fn edited(edits: Vec<(Index, u8, u8)>, Body(mut body): Body) -> Body {
    for (at, kind, byte) in edits {
        let at = at.index(body.len() + 1);
        match kind % 3 {
            0 => body.insert(at, byte),
            1 if at < body.len() => body[at] = byte,
            _ if at < body.len() => {
                body.remove(at);
            }
            _ => {}
        }
    }
    Body(body)
}

fn edits(of: &'static [u8]) -> impl Strategy<Value = Vec<(Index, u8, u8)>> {
    let byte = prop_oneof![4 => prop::sample::select(of), 1 => any::<u8>()];
    prop::collection::vec((any::<Index>(), any::<u8>(), byte), 1..4)
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn the_model_of_a_json_document_is_found_as_the_grammar_has_it(body in document()) {
        prop_assert!(members_of(&body).is_ok(), "the generator writes valid documents");
        prop_assert_eq!(judged(&BodyKind::Json, &body), naive_json(&body));
        if let Some(members) = values(&body) {
            let found = judged(&BodyKind::Json, &body).map(|field| field.map(|(name, _)| name));
            prop_assert_eq!(found, name_among(&members));
        }
    }

    #[test]
    fn a_damaged_document_is_refused_where_it_is_none_any_more(
        body in document(),
        edits in edits(b"\"\\{}[]:,.-+eE01 \n\x0c\x00/umodel\xef\xbb\xbf"),
    ) {
        let body = edited(edits, body);
        prop_assert_eq!(judged(&BodyKind::Json, &body), naive_json(&body));
    }

    #[test]
    fn the_new_document_has_the_new_name_and_every_other_byte(
        body in object(Just(1), string().boxed()),
        new_name in prop_oneof![text(), any::<String>()],
    ) {
        let Ok(Some(field)) = find(&BodyKind::Json, &body) else {
            // Some have a second model, or a surrogate alone in the name.
            prop_assert!(naive_json(&body).is_err());
            return Ok(());
        };
        prop_assert_eq!(field.form, Form::Json);
        let new = replaced(&field, &body, &new_name);
        let again = find(&BodyKind::Json, &new).unwrap().unwrap();
        prop_assert_eq!(&again.name, &new_name);
        prop_assert_eq!(again.span.start, field.span.start);
        if let Some(mut members) = values(&body) {
            let model = members.iter_mut().find(|(key, _)| key == "model").unwrap();
            model.1 = Value::from(new_name);
            prop_assert_eq!(values(&new), Some(members));
        }
    }
}

// Multipart: the judge.

fn naive_multipart(boundary: &str, body: &[u8]) -> Judgement {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let mut models = Vec::new();
    for part in naive_parts(boundary, body)? {
        let content = naive_content(&body[part.clone()]).ok_or(())?;
        let (header, content) = (part.start..part.start + content, part.start + content..part.end);
        if naive_is_model(&body[header])? {
            let name = std::str::from_utf8(&body[content.clone()]).map_err(|_| ())?;
            // Without its prefix it could begin with what parts begin with.
            if name.contains(&format!("--{boundary}")) {
                return Err(());
            }
            models.push((name.to_owned(), content));
        }
    }
    if models.len() > 1 { Err(()) } else { Ok(models.pop()) }
}

/// The parts, each from behind its delimiter's line to before the line end of the next.
fn naive_parts(boundary: &str, body: &[u8]) -> Result<Vec<Range<usize>>, ()> {
    let dashes = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut part = None;
    let mut at = 0;
    loop {
        let ended = body[at..].windows(2).position(|window| window == b"\r\n");
        let line = match ended {
            Some(end) => &body[at..at + end],
            None => &body[at..],
        };
        if let Some(rest) = line.strip_prefix(dashes.as_bytes()) {
            let closes = rest.starts_with(b"--");
            let opens = ended.is_some() && rest.iter().all(|byte| b" \t".contains(byte));
            if closes || opens {
                if let Some(start) = part {
                    // Two delimiters cannot share a line end.
                    parts.push(start..at.checked_sub(2).filter(|&end| end >= start).ok_or(())?);
                }
                part = Some(at + line.len() + 2);
            }
            if closes {
                return Ok(parts);
            }
            // It looks like a delimiter, and its line does not end as one.
            if rest.first().is_none_or(|byte| b" \t\r\n".contains(byte)) && !opens {
                return Err(());
            }
        }
        // A lone CR or LF ends a line for some.
        let follows = |start: usize| {
            let rest = line.get(start + 1..)?.strip_prefix(dashes.as_bytes())?;
            let ends = rest.first().is_none_or(|byte| b" \t\r\n".contains(byte));
            (ends || rest.starts_with(b"--")).then_some(())
        };
        let lax = (0..line.len()).filter(|&index| b"\r\n".contains(&line[index]));
        if lax.filter_map(follows).next().is_some() {
            return Err(());
        }
        at += ended.ok_or(())? + 2;
    }
}

/// How far into a part its content begins.
fn naive_content(part: &[u8]) -> Option<usize> {
    if part.starts_with(b"\r\n") {
        return Some(2);
    }
    (4..=part.len()).find(|&at| part[at - 4..at] == *b"\r\n\r\n")
}

fn naive_is_model(header: &[u8]) -> Result<bool, ()> {
    let header = String::from_utf8_lossy(header);
    let mut lines: Vec<String> = Vec::new();
    for line in header.split("\r\n") {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => last.push_str(line),
            _ => lines.push(line.to_owned()),
        }
    }
    let mut is_model = false;
    for line in &lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let parameters = naive_parameters(value);
        match name.trim().to_lowercase().as_str() {
            "content-disposition" => {
                let mut files = parameters.iter().filter(|(name, _)| name.starts_with("filename"));
                let named = parameters.contains(&("name".into(), "model".into()));
                let file = files.find(|(name, _)| name == "filename" || name == "filename*");
                // Some take an empty name for none.
                if named && file.is_some_and(|(_, file)| file.is_empty()) {
                    return Err(());
                }
                is_model |= named && file.is_none();
            }
            "content-transfer-encoding" => {
                let plain = ["7bit", "8bit", "binary"];
                if !plain.contains(&value.trim().to_lowercase().as_str()) {
                    return Err(());
                }
            }
            _ => {}
        }
    }
    Ok(is_model)
}

/// The parameters of a header's value, cut at each `;` that is not quoted.
fn naive_parameters(value: &str) -> Vec<(String, String)> {
    let mut items = vec![Vec::new()];
    let mut quoted = false;
    let mut escaped = false;
    for c in value.chars() {
        let is_quote = c == '"' && !escaped;
        if c == ';' && !quoted {
            items.push(Vec::new());
            continue;
        }
        if is_quote {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
        // Escapes and quotes fall away; what they protect is kept.
        if !is_quote && !escaped {
            items.last_mut().unwrap().push((c, quoted));
        }
    }
    let mut parameters = Vec::new();
    for item in &items[1..] {
        let Some(equals) = item.iter().position(|&(c, quoted)| c == '=' && !quoted) else {
            continue;
        };
        let is_space = |&(c, quoted): &(char, bool)| !quoted && c.is_whitespace();
        let text = |item: &[(char, bool)]| -> String {
            let start = item.iter().take_while(|c| is_space(c)).count();
            let end = item.iter().rev().take_while(|c| is_space(c)).count();
            item.iter()
                .skip(start)
                .take(item.len().saturating_sub(start + end))
                .map(|c| c.0)
                .collect()
        };
        parameters.push((text(&item[..equals]).to_lowercase(), text(&item[equals + 1..])));
    }
    parameters
}

// Multipart: bodies.

fn boundary() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("B".to_owned()),
        2 => prop::sample::select(vec!["-", "--", "----WebKitFormBoundary7MA4YWxkTrZu0gW", "a b", "a.(b)*+?"])
            .prop_map(str::to_owned),
        2 => "[0-9a-zA-Z'()+_,./:=?-]{1,12}",
    ]
}

fn quoted(text: &str, choices: &[u8]) -> String {
    let escaped = |(at, c): (usize, char)| match choices[at % choices.len()] % 4 {
        _ if c == '"' || c == '\\' => format!("\\{c}"),
        0 => format!("\\{c}"),
        _ => c.to_string(),
    };
    format!("\"{}\"", text.chars().enumerate().map(escaped).collect::<String>())
}

fn odd_case(word: &str, choices: &[u8]) -> String {
    let case = |(at, c): (usize, char)| match choices[at % choices.len()] % 2 {
        0 => c.to_ascii_lowercase(),
        _ => c.to_ascii_uppercase(),
    };
    word.chars().enumerate().map(case).collect()
}

/// `name=value`, with the value bare where it may be.
fn parameter() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "name",
        "name",
        "name",
        "name",
        "filename",
        "filename*",
        "x",
        "xname",
    ]);
    let value = prop_oneof![
        6 => Just("model".to_owned()),
        2 => prop::sample::select(vec![
            "models", "Model", "", "a; name=model", "a\"; name=\"model", "mo\\del", "é", "a=b", " model",
        ]).prop_map(str::to_owned),
        1 => "[ -~]{0,8}",
    ];
    (name, value, any::<bool>(), choices(), "[ \t]{0,1}", "[ \t]{0,1}").prop_map(
        |(name, value, bare, choices, a, b)| {
            let may_be_bare = !value.is_empty() && !value.contains(['"', ';', ' ', '\\', '=']);
            let value = if bare && may_be_bare { value } else { quoted(&value, &choices) };
            format!("{}{a}={b}{value}", odd_case(name, &choices))
        },
    )
}

fn disposition() -> impl Strategy<Value = String> {
    let gap = prop::sample::select(vec!["", " ", "  ", "\r\n ", "\r\n\t", " \t"]);
    let parameters = prop::collection::vec((gap.clone(), parameter(), gap), 0..3);
    (choices(), "[ \t]{0,1}", "[ \t]{0,1}", parameters).prop_map(|(choices, a, b, parameters)| {
        let name = odd_case("Content-Disposition", &choices);
        let parameters =
            parameters.into_iter().map(|(a, parameter, b)| format!("{b};{a}{parameter}"));
        format!("{name}{a}:{b}form-data{}", parameters.collect::<String>())
    })
}

fn header() -> impl Strategy<Value = Vec<u8>> {
    let other = prop::sample::select(vec![
        "Content-Type: text/plain",
        "X-Disposition: x; name=model",
        "no colon",
        "X:",
        ": ; name=model",
        "Content-Type: text/plain; name=\"model\"",
        "Content-Length: 0",
    ]);
    let line = prop_oneof![4 => disposition(), 2 => other.prop_map(str::to_owned)];
    prop::collection::vec(line, 0..3).prop_map(|lines| {
        lines.into_iter().map(|line| line + "\r\n").collect::<String>().into_bytes()
    })
}

/// What is likely to be taken for something else.
fn content(boundary: String) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[a-z/.-]{0,6}".prop_map(String::into_bytes),
        2 => Just(b"\r\n".to_vec()),
        2 => prop::sample::select(vec!["--", "\n", "\r", " ", "--\r\n", "\r\n\r\n", "model"])
            .prop_map(|piece| piece.as_bytes().to_vec()),
        1 => Just(format!("--{boundary}").into_bytes()),
        1 => Just(format!("\r\n--{boundary}x").into_bytes()),
        1 => Just(format!("\r\n--{boundary}").into_bytes()),
        1 => Just(b"Content-Disposition: form-data; name=model\r\n".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// A boundary, and a body that keeps to it more or less.
fn form() -> impl Strategy<Value = (String, Body)> {
    boundary().prop_flat_map(|boundary| {
        let padding = prop_oneof![6 => Just(""), 1 => Just(" \t")];
        let line_end = prop_oneof![12 => Just("\r\n"), 1 => Just("\n")];
        let part = (padding, line_end, header(), content(boundary.clone()));
        let outside = prop_oneof![3 => Just(Vec::new()), 1 => content(boundary.clone())];
        let close =
            prop_oneof![8 => Just("--\r\n"), 2 => Just("--"), 1 => Just(""), 1 => Just("--x")];
        (Just(boundary), outside.clone(), prop::collection::vec(part, 0..4), close, outside)
            .prop_map(|(boundary, preamble, parts, close, epilogue)| {
                let mut body = preamble;
                if !body.is_empty() {
                    body.extend(b"\r\n");
                }
                for (padding, line_end, header, content) in parts {
                    body.extend(format!("--{boundary}{padding}{line_end}").into_bytes());
                    body.extend(header);
                    body.extend(b"\r\n");
                    body.extend(content);
                    body.extend(b"\r\n");
                }
                body.extend(format!("--{boundary}{close}").into_bytes());
                body.extend(epilogue);
                (boundary, Body(body))
            })
    })
}

/// A part of a form as clients send it: its name, whether it is a file, and its content.
type Field = (&'static str, bool, Vec<u8>);

fn fields() -> impl Strategy<Value = Vec<Field>> {
    let name = prop::sample::select(vec!["model", "model", "file", "prompt", "models"]);
    let content = prop_oneof![
        3 => text().prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => content("C".into()),
    ];
    prop::collection::vec((name, prop::bool::weighted(0.2), content), 0..5)
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn the_model_of_a_form_is_found_where_its_lines_say((boundary, body) in form()) {
        let kind = BodyKind::Multipart { boundary: boundary.clone() };
        prop_assert_eq!(judged(&kind, &body), naive_multipart(&boundary, &body));
    }

    #[test]
    fn a_damaged_form_is_read_as_its_lines_say(
        (boundary, body) in form(),
        edits in edits(b"\r\n-- \t:B\"\\m"),
    ) {
        let body = edited(edits, body);
        let kind = BodyKind::Multipart { boundary: boundary.clone() };
        // A header that is damaged has no one right reading, so that only the parts are compared.
        let parts = naive_parts(&boundary, &body);
        prop_assert!(parts.is_ok() || body.trim_ascii().is_empty() || find(&kind, &body).is_err());
        if let (Ok(Some(field)), Ok(parts)) = (find(&kind, &body), parts) {
            let is_content = |part: &Range<usize>| {
                let content = naive_content(&body[part.clone()]).unwrap();
                (part.start + content..part.end) == field.span
            };
            prop_assert!(parts.iter().any(is_content));
        }
    }

    /// Here nobody reads: what was put in is known.
    #[test]
    fn the_model_of_a_form_is_the_one_that_the_client_put_in(
        boundary in boundary(),
        fields in fields(),
        content_type in choices(),
    ) {
        let foul = format!("\r\n--{boundary}").into_bytes();
        let mut body = Vec::new();
        let mut models = Vec::new();
        for (name, is_file, content) in &fields {
            let file = if *is_file { "; filename=\"a.wav\"" } else { "" };
            let header = format!("Content-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
            body.extend(format!("--{boundary}\r\n{header}").into_bytes());
            let content = [b"\r\n", content.as_slice()].concat();
            prop_assume!(!content.windows(foul.len() - 2).any(|window| window == &foul[2..]));
            if *name == "model" && !is_file {
                models.push((content[2..].to_vec(), body.len()..body.len() + content.len() - 2));
            }
            body.extend(&content[2..]);
            body.extend(b"\r\n");
        }
        body.extend(format!("--{boundary}--\r\n").into_bytes());
        let expected = match &models[..] {
            [] => Ok(None),
            [(content, span)] => match std::str::from_utf8(content) {
                Ok(name) => Ok(Some((name.to_owned(), span.clone()))),
                Err(_) => Err(()),
            },
            _ => Err(()),
        };
        let header = format!("multipart/form-data; boundary={}", quoted(&boundary, &content_type));
        let kind = body_kind(Some(&header));
        prop_assert_eq!(&kind, &BodyKind::Multipart { boundary });
        prop_assert_eq!(judged(&kind, &body), expected);
    }

    #[test]
    fn the_new_form_has_the_new_name_and_every_other_byte(
        (boundary, body) in form(),
        new_name in "([a-zA-Zé0-9/][ -~é]{0,10})?",
    ) {
        let kind = BodyKind::Multipart { boundary };
        if let Ok(Some(field)) = find(&kind, &body) {
            prop_assert_eq!(field.form, Form::Multipart);
            let new = replaced(&field, &body, &new_name);
            let span = field.span.start..field.span.start + new_name.len();
            prop_assert_eq!(judged(&kind, &new), Ok(Some((new_name, span))));
        }
    }

    /// As it is when a prefix is taken off: what the upstream then reads is what was left of it,
    /// and not a part that was hidden in the name.
    #[test]
    fn a_name_without_its_prefix_is_still_one_name(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "p/", "x", "--B", "\r\n", "--", "\r\n\r\n", "Content-Disposition: x; name=model",
        ]), 0..7),
    ) {
        let kind = BodyKind::Multipart { boundary: "B".into() };
        let name = format!("p/{}", pieces.concat());
        let header = "Content-Disposition: form-data; name=\"model\"";
        let body = format!("--B\r\n{header}\r\n\r\n{name}\r\n--B--\r\n").into_bytes();
        if let Ok(Some(field)) = find(&kind, &body) {
            let rest = field.name.strip_prefix("p/").unwrap().to_owned();
            let new = replaced(&field, &body, &rest);
            let span = field.span.start..field.span.start + rest.len();
            prop_assert_eq!(judged(&kind, &new), Ok(Some((rest, span))));
        }
    }

    #[test]
    fn a_boundary_is_read_however_it_is_written(
        boundary in boundary(),
        before in prop::collection::vec(("[a-z]{1,4}", "[ -~]{0,6}"), 0..3),
        case in choices(),
        bare in any::<bool>(),
    ) {
        prop_assume!(before.iter().all(|(name, _)| name != "boundary"));
        let mut header = odd_case("multipart/form-data", &case);
        for (name, value) in before {
            header += &format!("; {name}={}", quoted(&value, &case));
        }
        let bare = bare && !boundary.contains(' ');
        let value = if bare { boundary.clone() } else { quoted(&boundary, &case) };
        header += &format!(" ;{}={value}; charset=utf-8", odd_case("boundary", &case));
        prop_assert_eq!(body_kind(Some(&header)), BodyKind::Multipart { boundary });
    }
}

// Anything at all.

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn no_bytes_make_it_panic(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60).prop_map(Body),
            "[-\r\nB:;=\"\\\\{}\\[\\]model,a ]{0,60}".prop_map(|text| Body(text.into_bytes())),
            (form(), edits(b"\r\n-B;=\"")).prop_map(|((_, body), edits)| edited(edits, body)),
            (document(), edits(b"\"\\{}[]:,")).prop_map(|(body, edits)| edited(edits, body)),
        ],
        boundary in prop_oneof![boundary().boxed(), ".{1,4}".boxed(), "[-\r\n]{1,3}".boxed()],
        new_name in ".{0,4}",
    ) {
        for kind in [BodyKind::Json, BodyKind::Multipart { boundary }, BodyKind::Opaque] {
            if let Ok(Some(field)) = find(&kind, &body) {
                prop_assert!(std::str::from_utf8(&body[field.span.clone()]).is_ok());
                replaced(&field, &body, &new_name);
            }
        }
    }

    #[test]
    fn no_content_type_makes_it_panic(content_type in prop_oneof![
        ".{0,40}",
        "multipart/[ -~é]{0,6}(; ?[a-z\"\\\\=;é ]{0,8}){0,3}",
        "multipart/x;boundary=[\"\\\\;= a]{0,8}",
    ]) {
        if let BodyKind::Multipart { boundary } = body_kind(Some(&content_type)) {
            prop_assert!(!boundary.is_empty());
        }
    }
}
