//! Helpers for text that clients and upstreams sent: shorten it, show it, compare it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

/// The most that errors and the page repeat of a foreign text, in characters.
const REPEATED: usize = 200;

/// The most of a foreign text that is shown on one line, in characters.
const LINE: usize = 500;

/// The beginning of a foreign text, for an error. It is short because an error that grew with
/// its request would take memory for as long as the client does not read it.
pub fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(REPEATED) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// The beginning of a foreign text, with blanks in place of control characters.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LINE).collect()
}

/// A text in quotes, on one line: control characters are escaped, backslashes stay as typed.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if c.is_control() { quoted.extend(c.escape_default()) } else { quoted.push(c) }
    }
    quoted + "\""
}

/// A number of tokens as people write it: 8K, 128K, 1M. Providers count in thousands or in 1,024s;
/// both are read from the number.
pub fn short_count(count: u64) -> String {
    let base = if count % 1000 != 0 && count % 1024 == 0 { 1024 } else { 1000 };
    if count < base {
        return count.to_string();
    }
    let (unit, name) = if count < base * base { (base, "K") } else { (base * base, "M") };
    // Two decimal places for millions, none for thousands.
    let places = if name == "M" { 100 } else { 1 };
    let rounded = (count * places + unit / 2) / unit;
    let (whole, part) = (rounded / places, rounded % places);
    match part {
        0 => format!("{whole}{name}"),
        part => format!("{whole}.{}{name}", format!("{part:02}").trim_end_matches('0')),
    }
}

/// A YAML scalar: in single quotes, which leave backslashes alone, or, if the text has control
/// characters, in double quotes like JSON.
pub fn yaml_quoted(text: &str) -> String {
    if text.chars().any(|c| c.is_control() || c == '\u{feff}') {
        return serde_json::Value::from(text).to_string();
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// The part of a request target that logs and errors may show: the path without the query, and
/// without the user name and password of a URL.
pub fn loggable(target: &str) -> &str {
    let end = target.find(['?', '#']).unwrap_or(target.len());
    let path = &target[..end];
    if !path.starts_with('/') && path.contains('@') {
        return path.split(':').next().unwrap_or_default();
    }
    path
}

/// A time in milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// An IP address, with or without the brackets of IPv6. An IPv4-mapped one is the IPv4 address.
pub fn ip_address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address: IpAddr = bare.unwrap_or(host).parse().ok()?;
    Some(address.to_canonical())
}

/// Whether a host, without its port, is this machine: `localhost`, a name below it, or a
/// loopback address. The name may end with the dot of the root.
pub fn is_loopback(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || ip_address(&host).is_some_and(|address| address.is_loopback())
}

/// The edit distance of two words: insertions, deletions, changes and swaps of neighbours.
pub fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                changed.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1)
            };
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                table[i][j] = table[i][j].min(table[i - 2][j - 2] + 1);
            }
        }
    }
    table[a.len()][b.len()]
}
