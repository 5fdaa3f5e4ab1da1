//! Model ids in a path: percent-decoding, and the prefix of an upstream.

/// The index of the longest prefix that a model begins with. An empty prefix fits every model,
/// and a request without a model.
pub fn by_prefix<'p>(
    prefixes: impl IntoIterator<Item = &'p str>,
    model: Option<&str>,
) -> Option<usize> {
    let model = model.unwrap_or_default();
    let fitting = prefixes.into_iter().enumerate().filter(|(_, prefix)| model.starts_with(prefix));
    fitting.max_by_key(|(_, prefix)| prefix.len()).map(|(index, _)| index)
}

/// An id as a server may read it that ignores empty segments of the path, and what follows a `;`.
pub fn folded(id: &str) -> String {
    let names = id.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    names.filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/")
}

/// A raw id, percent-encoded or not, without a decoded prefix: `p%2Fopenai%2Fgpt` without `p/` is
/// `openai%2Fgpt`. `None` if the id does not begin with the prefix.
pub fn strip_raw_prefix<'a>(raw_id: &'a str, prefix: &str) -> Option<&'a str> {
    let mut rest = raw_id.as_bytes();
    for &wanted in prefix.as_bytes() {
        let (byte, len) = first_byte(rest)?;
        if byte != wanted {
            return None;
        }
        rest = &rest[len..];
    }
    raw_id.get(raw_id.len() - rest.len()..)
}

/// Percent-decodes. Invalid escapes stay, and bytes that are not UTF-8 become U+FFFD.
pub fn decode(raw: &str) -> String {
    if !raw.contains('%') {
        return raw.to_owned();
    }
    let mut rest = raw.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((byte, len)) = first_byte(rest) {
        bytes.push(byte);
        rest = &rest[len..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first byte of a percent-encoded text, decoded, and the number of bytes that encode it.
fn first_byte(raw: &[u8]) -> Option<(u8, usize)> {
    let hex = |digit: u8| char::from(digit).to_digit(16);
    if let [b'%', high, low, ..] = *raw {
        if let (Some(high), Some(low)) = (hex(high), hex(low)) {
            return Some(((high * 16 + low) as u8, 3));
        }
    }
    raw.first().map(|&byte| (byte, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_comes_off_a_raw_id_however_it_is_encoded() {
        assert_eq!(strip_raw_prefix("p%2Fopenai%2Fgpt", "p/"), Some("openai%2Fgpt"));
        assert_eq!(strip_raw_prefix("%70/a", "p/"), Some("a"));
        assert_eq!(strip_raw_prefix("a%zz", ""), Some("a%zz"));
        assert_eq!(strip_raw_prefix("p/", "p/"), Some(""));
        assert_eq!(strip_raw_prefix("%c3%A9/é", "é/"), Some("é"));
        assert_eq!(strip_raw_prefix("é/a", "é/"), Some("a"));
        assert_eq!(strip_raw_prefix("%zz/a", "%zz/"), Some("a"));
        assert_eq!(strip_raw_prefix("p", "p/"), None);
        assert_eq!(strip_raw_prefix("P/a", "p/"), None);
        assert_eq!(strip_raw_prefix("p%252Fa", "p/"), None);
    }
}
