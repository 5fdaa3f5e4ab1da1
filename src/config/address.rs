//! Hosts, ports and URLs of upstreams.
//!
//! Limits: only `http://` and `https://` URLs with an ASCII host. No name is resolved here.

use std::net::Ipv6Addr;

use super::settings::BaseUrl;
use crate::text::quoted;

/// Checks a `base_url`. The error is the message alone; it shows the value only if that
/// cannot hold a password or a key.
pub(super) fn base_url(text: &str) -> Result<BaseUrl, String> {
    if text == "sample:" {
        return Ok(BaseUrl::Sample);
    }
    if text.contains(['?', '#']) {
        return Err("a URL with a query or a fragment is not supported here".to_owned());
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        let instead = "put the secret into api_key or headers";
        return Err(format!("a URL with a user name is not supported: {instead}"));
    }
    // It may hold a password, or be a key, whatever else is wrong with it.
    let quoted = |text: &str| match text.contains('@') || !text.contains([':', '/', '.']) {
        true => "the value (not shown)".to_owned(),
        false => quoted(text),
    };
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err(format!("{} is not an http:// or https:// URL, or \"sample:\"", quoted(text)));
    }
    if host(authority).is_none() {
        return Err(format!("{} has no valid host and port", quoted(text)));
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{} holds a character that has to be %-encoded", quoted(text)));
    }
    Ok(BaseUrl::Remote(format!("{scheme}://{authority}{}", path.trim_end_matches('/'))))
}

/// Checks the address of a list: a path below the base URL, or a URL of its origin.
pub(super) fn list_path(text: &str, base_url: &BaseUrl) -> Result<String, String> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        let what = "holds a # or a character that has to be %-encoded";
        return Err(format!("{} {what}", quoted(text)));
    }
    let path = text.split('?').next().unwrap_or_default();
    let is_dotted = |segment: &str| matches!(segment, "." | "..");
    if path.split('/').any(is_dotted) {
        return Err(format!("{} holds a . or .. segment", quoted(text)));
    }
    if text.starts_with('/') && !text.starts_with("//") {
        return Ok(text.to_owned());
    }
    let BaseUrl::Remote(base_url) = base_url else {
        return Err(format!("{} is no path: it must begin with one slash", quoted(text)));
    };
    let (scheme, rest) = base_url.split_once("://").unwrap_or_default();
    let origin = format!("{scheme}://{}", rest.split('/').next().unwrap_or_default());
    match text.strip_prefix(&origin) {
        Some(path) if path.is_empty() || path.starts_with(['/', '?']) => Ok(text.to_owned()),
        _ => Err(format!(
            "{} is neither a path below base_url, such as /models/user, nor a URL at {origin}: \
             the key is sent to no other server",
            quoted(text)
        )),
    }
}

/// `host[:port]` of a URL that [`base_url`] accepted.
pub(super) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// The host in `host[:port]`, an IPv6 address without its brackets, and the port.
pub(super) fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || !host.bytes().all(valid) {
                return None;
            }
            (host, port)
        }
    };
    if port.is_empty() {
        return Some((host, None));
    }
    let digits = port.strip_prefix(':').filter(|port| port.bytes().all(|b| b.is_ascii_digit()))?;
    let port = digits.parse().ok().filter(|port| *port != 0)?;
    Some((host, Some(port)))
}

pub(super) fn host(authority: &str) -> Option<&str> {
    host_and_port(authority).map(|(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(url: &str) -> BaseUrl {
        base_url(url).unwrap()
    }

    #[test]
    fn a_base_url_loses_its_trailing_slashes() {
        for (typed, meant) in [
            ("http://a:1/v1///", "http://a:1/v1"),
            ("HTTPS://a/", "https://a"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(remote(typed), BaseUrl::Remote(meant.to_owned()));
        }
        assert_eq!(remote("sample:"), BaseUrl::Sample);
    }

    #[test]
    fn a_base_url_that_may_hold_a_secret_is_not_shown() {
        for url in [
            "http://me:hush@a/v1",
            "me:hush@a/v1",
            "http://a/?key=hush",
            "http://a#hush",
            "sk-hush",
        ] {
            assert!(!base_url(url).unwrap_err().contains("hush"), "{url}");
        }
    }
}
