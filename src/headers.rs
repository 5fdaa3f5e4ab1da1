//! A list of header fields that keeps order and duplicates and compares names without case.
//!
//! It also knows the two kinds of fields that a proxy removes: hop-by-hop fields (RFC 9110 §7.6.1)
//! and credentials. Limits: values are bytes; only lists of names and bearer tokens are parsed.

use std::fmt;
use std::ops::Range;

/// Hop-by-hop fields, in addition to those that `Connection` names.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that may authenticate a client.
const CREDENTIALS: [&str; 6] =
    ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization"];

/// A list of header fields. It takes three allocations, because every exchange copies lists.
#[derive(Clone, Default)]
pub struct Headers {
    /// All names, concatenated, including those of removed fields.
    names: String,
    values: Vec<u8>,
    fields: Vec<Field>,
}

/// The ranges of a field in `names` and `values`.
#[derive(Clone)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

impl Headers {
    /// An empty list.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// An empty list with capacity for this many fields of usual length.
    pub fn with_capacity(fields: usize) -> Headers {
        let (names, values) = (String::with_capacity(16 * fields), Vec::with_capacity(32 * fields));
        Headers { names, values, fields: Vec::with_capacity(fields) }
    }

    /// Appends a field. Others of the same name stay.
    pub fn push(&mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) {
        let (name_start, value_start) = (self.names.len(), self.values.len());
        self.names.push_str(name.as_ref());
        self.values.extend_from_slice(value.as_ref());
        self.fields.push(Field {
            name: name_start..self.names.len(),
            value: value_start..self.values.len(),
        });
    }

    /// [`Headers::push`] for building a list in one expression.
    #[must_use]
    pub fn with(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Headers {
        self.push(name, value);
        self
    }

    /// The value of the first field of that name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The value of the first field of that name, if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all fields of that name, in order.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let of_name = move |(n, _): &(&str, &[u8])| n.eq_ignore_ascii_case(name);
        self.iter().filter(of_name).map(|(_, value)| value)
    }

    /// Whether the list has a field of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Removes every field of that name.
    pub fn remove(&mut self, name: &str) {
        self.retain(|n| !n.eq_ignore_ascii_case(name));
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let Headers { names, values, fields } = self;
        fields.iter().map(|field| (&names[field.name.clone()], &values[field.value.clone()]))
    }

    fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        let Headers { names, fields, .. } = self;
        fields.retain(|field| stays(&names[field.name.clone()]));
    }

    /// Removes the hop-by-hop fields: all that `Connection` lists, and the fixed list
    /// (RFC 9110 §7.6.1).
    pub fn strip_hop_by_hop(&mut self) {
        let lists = self.get_all("connection").collect::<Vec<_>>().join(&b',').to_ascii_lowercase();
        let mut listed: Vec<&[u8]> = list_of_names(&lists).collect();
        // Sorted, because a head may list thousands of names and have thousands of fields.
        listed.sort_unstable();
        self.retain(|name| {
            let lower = || name.bytes().map(|byte| byte.to_ascii_lowercase());
            let found = listed.binary_search_by(|other| other.iter().copied().cmp(lower()));
            found.is_err() && !is_hop_by_hop(name)
        });
    }

    /// Removes every credential.
    pub fn strip_credentials(&mut self) {
        self.retain(|name| !is_credential(name));
    }

    /// The credentials, in order.
    pub fn credentials(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter().filter(|(name, _)| is_credential(name))
    }

    /// The keys that a client presents: `Bearer` tokens, then `x-api-key`.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        let text = |value| std::str::from_utf8(value).ok().map(str::trim);
        let bearers = self.get_all("authorization").filter_map(move |value| {
            let (scheme, token) = text(value)?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        bearers.chain(self.get_all("x-api-key").filter_map(text))
    }

    /// Removes every field that has one of these names.
    pub fn remove_any(&mut self, names: &[&str]) {
        self.retain(|name| !names.iter().any(|other| other.eq_ignore_ascii_case(name)));
    }

    /// Removes every field whose name has this prefix.
    pub fn remove_all(&mut self, prefix: &str) {
        let has_prefix = |name: &str| {
            let start = name.as_bytes().get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        self.retain(|name| !has_prefix(name));
    }

    /// Whether a field that is a list of names, such as `Connection`, contains this one.
    pub fn lists(&self, field: &str, name: &str) -> bool {
        self.get_all(field).flat_map(list_of_names).any(|n| n.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// The media type in lower case, without parameters.
    pub fn media_type(&self) -> Option<String> {
        let value = self.get_str("content-type")?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Headers) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Whether a field of this name carries a credential.
pub fn is_credential(name: &str) -> bool {
    CREDENTIALS.iter().any(|credential| name.eq_ignore_ascii_case(credential))
}

/// Whether a field of this name is hop-by-hop.
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.iter().any(|field| name.eq_ignore_ascii_case(field))
}

fn list_of_names(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
}
