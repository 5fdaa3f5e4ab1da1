//! A strict reader of MIME header values: what two servers might read differently is refused.

/// A value with parameters, such as `text/plain; charset=utf-8`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plain<'a> {
    pub(super) value: &'a str,
    /// Names and values in order. No name is repeated, whatever its case.
    pub(super) parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Plain<'a> {
    /// Reads `value *( ";" [ name "=" ( token / quoted ) ] )`, where the list may end with `;` and
    /// blanks may follow each `;`. Quoted values contain no backslash, quote or control character.
    pub(super) fn parse(text: &'a str) -> Option<Plain<'a>> {
        let (value, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        let mut parameters: Vec<(&str, &str)> = Vec::new();
        while let Some(item) = rest.strip_prefix(';') {
            let item = item.trim_start_matches(BLANKS);
            if item.is_empty() {
                break;
            }
            let (name, after) = item.split_once('=')?;
            let value;
            (value, rest) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_at(after.find(';').unwrap_or(after.len())),
            };
            let is_plain = match after.starts_with('"') {
                true => !value.contains(|c: char| c == '\\' || c.is_control()),
                false => is_token(value),
            };
            let repeated = parameters.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
            if !is_token(name) || !is_plain || repeated {
                return None;
            }
            parameters.push((name, value));
        }
        let ended = rest.is_empty() || rest.starts_with(';');
        ended.then(|| Plain { value: value.trim_end_matches(BLANKS), parameters })
    }
}

/// Optional white space (RFC 9110 §5.6.3).
pub(super) const BLANKS: [char; 2] = [' ', '\t'];

/// Whether the text is a token (RFC 9110 §5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

/// Whether the text contains a word, in any case: lax servers search a whole field for it.
pub(super) fn mentions(text: &str, word: &str) -> bool {
    text.to_ascii_lowercase().contains(word)
}

/// Whether a charset leaves the bytes as they are read here.
pub(super) fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name))
}
