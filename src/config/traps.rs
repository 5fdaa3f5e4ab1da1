//! Errors of the YAML parser in the words of a person who does not know YAML's traps.
//!
//! Pure. Limits: the parser stops at its first error; a value of the file is never shown, since it
//! may be a secret.

/// What is wrong, with the line and what to do; none if the parser's own message is all there is.
///
/// `message` is the parser's, `line` and `column` (from 1) its place in `text`.
pub(super) fn explained(message: &str, line: usize, column: usize, text: &str) -> Option<String> {
    let typed = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let indent = &typed[..typed.len() - typed.trim_start().len()];
    // The parser may report the line after the tab.
    if indent.contains('\t') || before(typed, column).ends_with('\t') {
        return Some(format!("line {line}: a tab; YAML indents with spaces"));
    }
    if message.contains("unknown escape character") {
        let advice = "a backslash in double quotes; put the pattern in single quotes: '…'";
        return Some(format!("line {line}: {advice}"));
    }
    if message.contains("alias") || message.contains("unknown anchor") {
        let advice = "a value that begins with * must be in quotes; a pattern for anything is '.*'";
        return Some(format!("line {line}: {advice}"));
    }
    if message.contains("scanning an anchor") {
        return Some(format!("line {line}: a value that begins with & must be in quotes"));
    }
    if message.contains("cannot start any token") {
        let advice = "a value that begins with this character must be in quotes";
        return Some(format!("line {line} column {column}: {advice}"));
    }
    if message.contains("mapping values are not allowed") {
        let advice = "\": \" within a value, or wrong indentation; put the value in single quotes";
        return Some(format!("line {line}: {advice}"));
    }
    if message.contains("block sequence entries") || message.contains("'-' indicator") {
        return Some(format!("line {line}: \"- \" begins an item: put it on a line below its key"));
    }
    if typed.contains("${") && message.contains("while parsing a flow") {
        let advice = "within [ ] or { }, ${NAME} must be in quotes";
        return Some(format!("line {line}: {advice}"));
    }
    if message.contains("did not find expected node content") {
        return Some(format!("line {line}: a value is missing between two commas"));
    }
    if message.contains("',' or ']'") || message.contains("',' or '}'") {
        let advice = "a value that begins with [ or { or holds a comma must be in quotes; or the \
                      bracket is not closed";
        return Some(format!("line {line}: {advice}"));
    }
    if message.contains("could not find expected ':'") {
        return Some(format!(
            "line {line}: a key needs a colon and a space behind it: `key: value`"
        ));
    }
    if message.contains("found unexpected end of stream") {
        return Some(format!("line {line}: a quotation mark is not closed"));
    }
    None
}

/// The text of a line before a column.
fn before(line: &str, column: usize) -> &str {
    let end = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
    &line[..end]
}

/// The lines, from 1, on which a key stands twice in a mapping in block style that begins at
/// this line and column; none if it is in flow style.
pub(super) fn both_lines(
    key: &str,
    line: usize,
    column: usize,
    text: &str,
) -> Option<(usize, usize)> {
    let mut found = Vec::new();
    for (index, typed) in text.lines().enumerate().skip(line.saturating_sub(1)) {
        let content = typed.trim_start_matches([' ', '-']);
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let indent = typed.chars().count() - content.chars().count();
        if indent + 1 < column {
            break;
        }
        let name = content.split(':').next().unwrap_or_default().trim();
        if indent + 1 == column && name.trim_matches(['"', '\'']) == key {
            found.push(index + 1);
        }
    }
    match found.as_slice() {
        [first, second, ..] => Some((*first, *second)),
        _ => None,
    }
}

/// Whether a key at the top level of the file holds an anchor (`&name`), so that other values can
/// refer to it.
pub(super) fn holds_anchor(key: &str, text: &str) -> bool {
    let is_anchor = |line: &str| {
        line.match_indices('&').any(|(at, _)| {
            let is_begin = line[..at].is_empty() || line[..at].ends_with([' ', '[', '{', ',', ':']);
            is_begin && line[at + 1..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
        })
    };
    // In flow style, the whole file is one value.
    let starts_with_brace = |line: &str| line.starts_with('{');
    if text.lines().any(starts_with_brace) {
        return text.lines().any(is_anchor);
    }
    let mut is_within = false;
    for line in text.lines() {
        if line.starts_with(|c: char| !c.is_whitespace() && c != '#' && c != '-') {
            let name = line.split(':').next().unwrap_or_default().trim();
            is_within = name.trim_matches(['"', '\'']) == key;
        }
        if is_within && !line.trim_start().starts_with('#') && is_anchor(line) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The explanation of the parser's error about this text.
    fn explanation(text: &str) -> String {
        let error = serde_yaml::from_str::<serde_yaml::Value>(text).unwrap_err();
        let (line, column) =
            error.location().map_or((1, 1), |place| (place.line(), place.column()));
        let explained = explained(&error.to_string(), line, column, text);
        explained.unwrap_or_else(|| panic!("{error} has no explanation"))
    }

    #[test]
    fn the_traps_of_yaml_are_explained() {
        for (text, expected) in [
            ("a:\n\tb: 1", "line 2: a tab"),
            ("a:\n  \tb: 1", "line 2: a tab"),
            ("a:\n  b: - 1", "line 2: \"- \" begins an item"),
            ("a:\n  - \"llama-3\\.3.*\"", "line 2: a backslash"),
            ("a:\n  - *gpt-5*", "begins with *"),
            ("a:\n  - *", "begins with *"),
            ("a: *gpt", "begins with *"),
            ("a: [*gpt*]", "begins with *"),
            ("a: @gpt", "line 1 column 4: a value that begins with this character"),
            ("a: %x", "must be in quotes"),
            ("a: b: c", "line 1: \": \" within a value"),
            ("a:\n  - [a-z]+x", ""),
            ("a: [a, b", "the bracket is not closed"),
            ("a: {b: ${NAME}}", "${NAME} must be in quotes"),
            ("a: [b, , c]", "between two commas"),
            ("a: 'b", "a quotation mark is not closed"),
            ("a: 1\nbc\nd: 2", "a key needs a colon"),
        ] {
            let message = explanation(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn both_lines_of_a_key_are_found() {
        let text = "model_filter:\n  # regexp: no\n  regexp: [a]\n  exclude:\n    regexp: [b]\n  'regexp': [c]\n";
        assert_eq!(both_lines("regexp", 3, 3, text), Some((3, 6)));
        assert_eq!(both_lines("regexp", 2, 3, text), Some((3, 6)));
        assert_eq!(both_lines("other", 2, 3, text), None);
        assert_eq!(both_lines("a", 1, 1, "{a: 1, a: 2}"), None);
    }

    #[test]
    fn anchors_are_found_in_the_block_of_their_key() {
        let text = "plain: {a: 1}\n# &no\nbase: &base\n  a: 1\nlist:\n- &one x\ndeep:\n  a: {b: &c 1}\nurl: http://a/?b&c\n";
        for (key, holds) in
            [("plain", false), ("base", true), ("list", true), ("deep", true), ("url", false)]
        {
            assert_eq!(holds_anchor(key, text), holds, "{key}");
        }
        assert!(holds_anchor("a", "{a: &x 1, model_filter: *x}"));
    }
}
