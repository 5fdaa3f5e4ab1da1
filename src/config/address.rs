//! The address of an upstream, and the proxy to reach it by.
//!
//! Limits: only `http://` and `https://` URLs with an ASCII host; only `http://` proxies. No
//! name is resolved here.

use std::net::{IpAddr, Ipv6Addr};

use super::environment::{Environment, variable};
use super::errors::ConfigError;
use super::no_proxy;
use super::node::quoted;
use super::settings::BaseUrl;
use crate::secret::Secret;

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
    // It may hold a password, whatever else is wrong with it.
    let quoted = |text: &str| match text.contains('@') {
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

fn host(authority: &str) -> Option<&str> {
    host_and_port(authority).map(|(host, _)| host)
}

/// Whether a host can only be reached from this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let address = host.parse::<IpAddr>().map(|address| address.to_canonical().is_loopback());
    name == "localhost" || name.ends_with(".localhost") || address.unwrap_or(false)
}

/// The proxy that the environment names for this upstream; none for an upstream on loopback or
/// one that `NO_PROXY` covers.
///
/// # Errors
/// If the proxy is not an `http://` one. The error names the variable, not its value, which may
/// hold a password.
pub(super) fn proxy(
    base_url: &BaseUrl,
    env: Environment<'_>,
) -> Result<Option<Secret>, ConfigError> {
    let BaseUrl::Remote(url) = base_url else { return Ok(None) };
    let (names, default_port) = if url.starts_with("https:") {
        (["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"], 443)
    } else {
        (["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"], 80)
    };
    let direct = variable(env, "NO_PROXY").or_else(|| variable(env, "no_proxy"));
    let direct = direct.unwrap_or_default();
    let is_direct = |(host, port): (&str, Option<u16>)| {
        is_loopback(host) || no_proxy::covers(&direct, host, port.unwrap_or(default_port))
    };
    if host_and_port(authority(url)).is_some_and(is_direct) {
        return Ok(None);
    }
    let found = names.into_iter().find_map(|name| Some((name, variable(env, name)?)));
    let Some((name, value)) = found else { return Ok(None) };
    // As in curl, http is the default scheme of a proxy.
    let value = if value.contains("://") { value } else { format!("http://{value}") };
    let authority = value.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let host_port = authority.map(|all| all.rsplit_once('@').map_or(all, |(_, after)| after));
    if host_port.and_then(host).is_none() {
        let message = "only proxies of the form http://host:port are supported";
        return Err(ConfigError::new(format!("{name}: {message}")));
    }
    Ok(Some(Secret::new(value.trim_end_matches('/'))))
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
        for url in ["http://me:hush@a/v1", "me:hush@a/v1", "http://a/?key=hush", "http://a#hush"] {
            assert!(!base_url(url).unwrap_err().contains("hush"), "{url}");
        }
    }

    #[test]
    fn a_proxy_is_chosen_by_the_upstreams_scheme() {
        let env = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://s:1/".to_owned()),
            "http_proxy" => Some("p:2".to_owned()),
            "no_proxy" => Some("lan, b:443, [fd00::1]:80".to_owned()),
            _ => None,
        };
        let chosen = |url: &str| {
            let proxy = proxy(&remote(url), &env).unwrap();
            proxy.map(|proxy| proxy.expose().to_owned())
        };
        for url in ["https://a", "https://b:8443", "https://[fd00::1]"] {
            assert_eq!(chosen(url).as_deref(), Some("http://s:1"), "{url}");
        }
        for url in ["http://a", "http://b", "http://[fd00::1]:443"] {
            assert_eq!(chosen(url).as_deref(), Some("http://p:2"), "{url}");
        }
        for loopback in
            ["https://localhost", "http://a.localhost:1", "http://127.9.9.9", "http://[::1]"]
        {
            assert_eq!(chosen(loopback), None, "{loopback}");
        }
        for direct in ["https://a.lan:1", "https://b", "http://b:443", "http://[fd00::1]"] {
            assert_eq!(chosen(direct), None, "{direct}");
        }
        assert_eq!(proxy(&BaseUrl::Sample, &env).unwrap(), None);
    }

    #[test]
    fn a_proxy_of_another_kind_is_named_by_its_variable_and_not_shown() {
        let env = |name: &str| (name == "ALL_PROXY").then(|| "socks5://me:hush@p:1".to_owned());
        assert_eq!(
            proxy(&remote("https://a"), &env).unwrap_err().to_string(),
            "ALL_PROXY: only proxies of the form http://host:port are supported"
        );
    }
}
