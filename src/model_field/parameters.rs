//! The parameters of a MIME header field.

/// The parameters of a header's value, with their names in lower case (RFC 2045 §5.1).
pub(super) fn parameters(value: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = value.split_once(';').map_or("", |(_, rest)| rest);
    while let Some((before, after)) = rest.split_once('=') {
        // A word that is followed by `;` has no value.
        let name = before.rsplit(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (value, following) = parameter_value(after.trim_start());
        parameters.push((name, value));
        rest = following;
    }
    parameters
}

/// Splits text into the quoted or bare value that it starts with and the rest.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return (text[..end].trim_end().to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    (value, chars.as_str())
}
