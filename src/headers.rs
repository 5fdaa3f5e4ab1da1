//! A list of header fields that keeps order and duplicates and compares names without case.
//!
//! It also knows the two kinds of fields that a proxy removes: hop-by-hop fields (RFC 9110 §7.6.1)
//! and credentials, and credentials in a query. Limits: values are bytes; only lists of names and
//! bearer tokens are parsed.

use std::borrow::Cow;
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

/// The ends of names of fields that may authenticate a client, in lower case and without signs:
/// `apikey` stands for `api-key` and `api_key` too.
const CREDENTIALS: [&str; 14] = [
    "authorization",
    "authentication",
    "auth",
    "bearer",
    "token",
    "key",
    "secret",
    "password",
    "credential",
    "credentials",
    "cookie",
    "cookie2",
    "jwt",
    "assertion",
];

/// The fields that hold a bare key: of Anthropic's, Azure's and Google's SDKs.
const KEYS: [&str; 3] = ["x-api-key", "api-key", "x-goog-api-key"];

/// The subprotocol of a WebSocket that is a key. The script of a page cannot set header fields.
const KEY_PROTOCOL: &str = "openai-insecure-api-key.";

/// The ends of names that only look like that.
const NO_CREDENTIALS: [&str; 4] = ["idempotencykey", "websocketkey", "cachekey", "surrogatekey"];

/// The ends of names of parameters that do it in a query. Fewer: `page_token` is no credential.
const QUERY_CREDENTIALS: [&str; 12] = [
    "authorization",
    "apikey",
    "accesskey",
    "secretkey",
    "subscriptionkey",
    "accesstoken",
    "authtoken",
    "idtoken",
    "bearertoken",
    "secret",
    "password",
    "jwt",
];

/// Whole names of such parameters.
const QUERY_CREDENTIAL_NAMES: [&str; 5] = ["key", "token", "auth", "bearer", "sig"];

/// The separators of parameters. Some servers take `;` for `&`, and some clients add a second `?`.
const SEPARATORS: [char; 3] = ['&', ';', '?'];

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

    /// A copy without what is not for an upstream: the hop-by-hop fields, and the cookies that a
    /// browser sends by itself, whichever page asks.
    pub fn end_to_end(&self) -> Headers {
        let mut headers = self.clone();
        headers.strip_hop_by_hop();
        // In `self`, because `Connection` may have listed them.
        if self.is_of_page() {
            headers.retain(|name| !ends_in(name, "cookie") && !ends_in(name, "cookie2"));
        }
        headers
    }

    /// Whether a browser sent the request, for a page or for its user: it then says so.
    pub fn is_of_page(&self) -> bool {
        let says_so =
            |name: &str| has_prefix(name, "sec-fetch-") || name.eq_ignore_ascii_case("origin");
        self.iter().any(|(name, _)| says_so(name))
    }

    /// Removes every credential.
    pub fn strip_credentials(&mut self) {
        self.retain(|name| !is_credential(name));
        self.strip_key_protocol();
    }

    /// Removes the keys among the subprotocols of a WebSocket.
    fn strip_key_protocol(&mut self) {
        const FIELD: &str = "sec-websocket-protocol";
        if self.key_protocols().next().is_none() {
            return;
        }
        let lists = self.get_all(FIELD).flat_map(list_of_names);
        let rest: Vec<&[u8]> = lists.filter(|name| key_of_protocol(name).is_none()).collect();
        let rest = rest.join(&b", "[..]);
        self.remove(FIELD);
        if !rest.is_empty() {
            self.push("Sec-WebSocket-Protocol", rest);
        }
    }

    fn key_protocols(&self) -> impl Iterator<Item = &[u8]> {
        self.get_all("sec-websocket-protocol").flat_map(list_of_names).filter_map(key_of_protocol)
    }

    /// The credentials, in order.
    pub fn credentials(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter().filter(|(name, _)| is_credential(name))
    }

    /// The keys that a client presents: `Bearer` tokens, then those in `x-api-key` and its like, then
    /// that in a subprotocol of a WebSocket.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        let text = |value| std::str::from_utf8(value).ok().map(str::trim);
        let bearers = self.get_all("authorization").filter_map(move |value| {
            let (scheme, token) = text(value)?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let keys = KEYS.iter().flat_map(|name| self.get_all(name));
        bearers.chain(keys.chain(self.key_protocols()).filter_map(text))
    }

    /// Removes every field that has one of these names.
    pub fn remove_any(&mut self, names: &[&str]) {
        self.retain(|name| !names.iter().any(|other| other.eq_ignore_ascii_case(name)));
    }

    /// Removes every field with a `_` that CGI and WSGI take for one of these names: there, both `-` and
    /// `_` are `_`.
    pub fn remove_look_alikes(&mut self, lists: &[&[&str]]) {
        let is_similar = |name: &str| {
            let name = name.replace('_', "-");
            lists.iter().flat_map(|names| *names).any(|other| name.eq_ignore_ascii_case(other))
        };
        self.retain(|name| !name.contains('_') || !is_similar(name));
    }

    /// Removes every field whose name has this prefix.
    pub fn remove_all(&mut self, prefix: &str) {
        self.retain(|name| !has_prefix(name, prefix));
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
    CREDENTIALS.iter().any(|end| ends_in(name, end))
        && !NO_CREDENTIALS.iter().any(|end| ends_in(name, end))
        || has_prefix(name, "x-auth-")
        || has_prefix(name, "x_auth_")
}

/// Whether a parameter of this name, as it stands in a query, carries a credential.
pub fn is_query_credential(name: &str) -> bool {
    let name = percent_decoded(name);
    QUERY_CREDENTIALS.iter().any(|end| ends_in(&name, end))
        || QUERY_CREDENTIAL_NAMES.iter().any(|whole| letters(&name).eq(whole.bytes()))
}

/// A query without the parameters that carry a credential; the rest is unchanged.
pub fn strip_query_credentials(query: &str) -> Cow<'_, str> {
    let is_credential =
        |parameter: &&str| is_query_credential(parameter.split('=').next().unwrap_or_default());
    if !query.split(SEPARATORS).any(|parameter| is_credential(&parameter)) {
        return Cow::Borrowed(query);
    }
    let mut left = String::with_capacity(query.len());
    for parameter in query.split_inclusive(SEPARATORS) {
        let bare = parameter.strip_suffix(SEPARATORS).unwrap_or(parameter);
        if !is_credential(&bare) {
            left.push_str(parameter);
        }
    }
    if !query.ends_with(SEPARATORS) && left.ends_with(SEPARATORS) {
        left.pop();
    }
    Cow::Owned(left)
}

/// Whether the letters and digits of a name end like this.
fn ends_in(name: &str, end: &str) -> bool {
    let mut letters = letters(name).rev();
    end.bytes().rev().all(|byte| letters.next() == Some(byte))
}

/// The letters and digits of a name, in lower case.
fn letters(name: &str) -> impl DoubleEndedIterator<Item = u8> {
    let letters = name.bytes().filter(u8::is_ascii_alphanumeric);
    letters.map(|byte| byte.to_ascii_lowercase())
}

fn has_prefix(name: &str, prefix: &str) -> bool {
    let start = name.as_bytes().get(..prefix.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// A name with its `%XX` decoded, byte by byte: only ASCII matters here.
fn percent_decoded(name: &str) -> String {
    let mut decoded = String::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, after @ ..] = rest {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        let (byte, left) = match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => ((16 * high + low) as u8, &after[2..]),
            _ => (*first, after),
        };
        decoded.push(byte.into());
        rest = left;
    }
    decoded
}

/// The key in a subprotocol of a WebSocket.
fn key_of_protocol(name: &[u8]) -> Option<&[u8]> {
    let (front, key) = name.split_at_checked(KEY_PROTOCOL.len())?;
    front.eq_ignore_ascii_case(KEY_PROTOCOL.as_bytes()).then_some(key)
}

/// Whether a field of this name is hop-by-hop.
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.iter().any(|field| name.eq_ignore_ascii_case(field))
}

fn list_of_names(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
}
