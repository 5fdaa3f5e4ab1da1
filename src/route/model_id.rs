//! Model ids in a path, and the prefix of an upstream.

use super::percent::{LAYERS, decode, first_byte};
use super::segments::name;

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

/// An id as a lenient server may read it: percent-decoded to the end, without what follows a `?` or
/// `#`, without parameters and blanks around each segment, and without empty segments.
pub fn folded(id: &str) -> String {
    let mut id = id.to_owned();
    for _ in 0..LAYERS {
        id = decode(&id);
    }
    let path = id.split(['?', '#']).next().unwrap_or_default();
    let names = path.split(['/', '\\']).map(name).filter(|name| !name.is_empty());
    names.collect::<Vec<_>>().join("/")
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

/// The methods that Google's APIs append to an id: of Gemini (ai.google.dev/api) and of Vertex AI.
const METHODS: [&str; 14] = [
    "generatecontent",
    "streamgeneratecontent",
    "batchgeneratecontent",
    "counttokens",
    "embedcontent",
    "batchembedcontents",
    "asyncbatchembedcontent",
    "predict",
    "predictlongrunning",
    "rawpredict",
    "streamrawpredict",
    "serverstreamingpredict",
    "computetokens",
    "generateanswer",
];

/// An id without the method behind it: `gemini:generateContent` is `gemini`, and `gpt:free` stays. The
/// case is ignored, since a server that ignores it must not get a hidden model.
pub fn without_method(id: &str) -> &str {
    match id.rsplit_once(':') {
        Some((id, method)) if METHODS.contains(&method.to_ascii_lowercase().as_str()) => id,
        _ => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_folded_as_lenient_servers_read_it() {
        for id in
            ["a/b", "a//b", ";x/a;y/b", " a /b\u{a0}", "a/b?c/d", "a\\b#c", "%2561%252Fb", "a%3b/b"]
        {
            assert_eq!(folded(id), "a/b", "{id}");
        }
        assert_eq!(folded("a%zz:free"), "a%zz:free");
    }

    #[test]
    fn a_method_is_no_part_of_an_id() {
        for (text, id) in [
            ("g:generateContent", "g"),
            ("p/g:free:COUNTTOKENS", "p/g:free"),
            ("g:free", "g:free"),
            ("g", "g"),
            ("g:predict:8b", "g:predict:8b"),
        ] {
            assert_eq!(without_method(text), id);
        }
    }

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
