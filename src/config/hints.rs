//! Advice for unknown keys: the key that was probably meant, and where it belongs.
//!
//! Limits: the words are those of other programs and of the first mistakes that people made.

use super::keys;
use crate::text::edits;

/// Words for `base_url`.
const URLS: [&str; 10] = [
    "url",
    "uri",
    "api_base",
    "openai_api_base",
    "api_url",
    "endpoint",
    "upstream_url",
    "openai_base_url",
    "base",
    "server_url",
];

/// Words for the mapping of all upstreams, which has no name here.
const WRAPPERS: [&str; 7] =
    ["providers", "provider", "upstreams", "upstream", "backends", "endpoints", "model_list"];

/// Words of other programs, and what to write instead.
const FOREIGN: [(&[&str], &str); 22] = [
    (
        &[
            "include",
            "includes",
            "allow",
            "allowed",
            "allowlist",
            "whitelist",
            "keep",
            "filter",
            "filters",
            "only",
            "match",
            "allowed_models",
        ],
        "use `regexp` for patterns or `simple` for ids",
    ),
    (&["pattern", "patterns", "regexps", "regexes", "glob", "globs"], "use `regexp`"),
    (&["exact", "ids", "id", "names"], "use `simple`"),
    (
        &[
            "deny",
            "denied",
            "denylist",
            "block",
            "blocked",
            "blocklist",
            "blacklist",
            "hide",
            "ignore",
            "skip",
            "remove",
        ],
        "use `exclude: {regexp: […], simple: […]}`",
    ),
    (&URLS, "use `base_url`"),
    (
        &["key", "token", "secret", "password", "bearer", "openai_api_key", "api_token"],
        "use `api_key`",
    ),
    (&["auth", "credentials"], "use `api_key` or `authorization`"),
    (&["ttl", "cache", "cache_time", "cache_seconds", "cache_duration"], "use `cache_ttl`"),
    (&["stale"], "use `cache_stale`"),
    (&["sort", "sort_by", "sorting"], "use `order`"),
    (
        &["price", "max_price", "context", "min_context", "supports", "capabilities"],
        "use `where: {max_price: …, min_context: …, supports: […]}`",
    ),
    (
        &["timeout", "timeouts", "request_timeout", "read_timeout"],
        "use `total_timeout` (until a response begins), `idle_timeout` (silence within it) or \
         `connection_timeout`",
    ),
    (&["connect_timeout"], "use `connection_timeout`"),
    (
        &WRAPPERS,
        "put the name of each upstream directly below `model_filter:`, and its settings below \
         the name",
    ),
    (&["header", "extra_headers", "default_headers"], "use `headers`"),
    (&["case_insensitive", "ignore_case"], "use `case_sensitive`"),
    (
        &["verify", "verify_ssl", "ssl_verify", "insecure", "ca", "ca_bundle", "ca_cert"],
        "use `tls: {ca_file: FILE}` with the certificate to trust; verification cannot be \
         turned off",
    ),
    (
        &["listen", "bind", "address", "addr", "hostname", "interface"],
        "use `host` and `port` below `server:`",
    ),
    (
        &["keys", "api_keys", "master_key", "client_key", "auth_keys", "passwords", "users"],
        "use `client_keys` below `server:`",
    ),
    (&["cors", "origins", "cors_origins"], "use `allowed_origins` below `server:`"),
    (
        &["log", "log_level", "loglevel", "logging", "level"],
        "set the environment variable LLM_MF_LOG",
    ),
    (&["reload", "hot_reload", "auto_reload"], "use `watch` below `server:`"),
];

/// What is wrong with a key that is unknown in a mapping with these known ones.
pub(super) fn unknown_key(key: &str, known: &[&str]) -> String {
    let all = || format!("unknown key, known are: {}", known.join(", "));
    advice(key, known).unwrap_or_else(all)
}

/// The advice for an unknown key, if it resembles a known one or is a word of another program.
pub(super) fn advice(key: &str, known: &[&str]) -> Option<String> {
    let word = key.trim().to_lowercase().replace(['-', ' '], "_");
    if !known.contains(&word.as_str()) {
        if keys::SERVER.contains(&word.as_str()) {
            return Some("unknown key here: it belongs below `server:`".to_owned());
        }
        if keys::UPSTREAM.contains(&word.as_str()) {
            let place = "it belongs to an upstream, below `model_filter:`";
            return Some(format!("unknown key here: {place}"));
        }
    }
    let foreign = FOREIGN.iter().find(|(words, _)| words.contains(&word.as_str()));
    if let Some((_, advice)) = foreign {
        return Some(format!("unknown key: {advice}"));
    }
    nearest(key, known).map(|near| format!("unknown key, did you mean {near:?}?"))
}

/// Whether `base_url` was probably meant.
pub(super) fn means_base_url(key: &str) -> bool {
    URLS.contains(&key) || nearest(key, &keys::UPSTREAM) == Some("base_url")
}

/// Whether upstreams were probably meant to be below this key.
pub(super) fn means_upstreams(key: &str) -> bool {
    WRAPPERS.contains(&key)
}

/// The known key that was probably meant.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let key = key.to_lowercase();
    let near = known.iter().map(|known| (edits(&key, known), *known)).min()?;
    // A third of the letters: `regex` means `regexp`, while `url` could mean anything.
    (near.0 <= (key.chars().count() / 3).max(1)).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_near() {
        let known = ["base_url", "regexp", "simple", "cache_ttl"];
        assert_eq!(nearest("regex", &known), Some("regexp"));
        assert_eq!(nearest("base_ur", &known), Some("base_url"));
        assert_eq!(nearest("Base-URL", &known), Some("base_url"));
        assert_eq!(nearest("simpel", &known), Some("simple"));
        assert_eq!(nearest("url", &known), None);
        assert_eq!(nearest("", &known), None);
    }

    #[test]
    fn words_of_other_programs_have_advice() {
        for (key, advice) in [
            ("include", "`regexp`"),
            ("whitelist", "`simple`"),
            ("deny", "`exclude"),
            ("url", "`base_url`"),
            ("key", "`api_key`"),
            ("ttl", "`cache_ttl`"),
            ("timeout", "`total_timeout`"),
            ("providers", "below `model_filter:`"),
            ("port", "below `server:`"),
            ("client-keys", "below `server:`"),
        ] {
            let message = unknown_key(key, &keys::UPSTREAM);
            assert!(message.contains(advice), "{key}: {message}");
        }
        assert!(unknown_key("regexp", &keys::SERVER).contains("below `model_filter:`"));
        assert!(unknown_key("quite-another-word", &keys::SERVER).contains("known are: host"));
    }

    #[test]
    fn no_word_is_a_key_or_listed_twice() {
        let words: Vec<_> = FOREIGN.iter().flat_map(|(words, _)| words.iter()).collect();
        for (index, word) in words.iter().enumerate() {
            assert!(!words[..index].contains(word), "{word}");
            assert!(!keys::UPSTREAM.contains(word) && !keys::SERVER.contains(word), "{word}");
        }
    }
}
