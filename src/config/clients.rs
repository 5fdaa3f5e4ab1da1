//! Client keys, and the hosts and origins that may call.
//!
//! Hosts and origins are stored as browsers write them, so that comparing the text is enough.
//! Limits: no wildcards; names in ASCII.

use std::net::Ipv6Addr;

use super::address;
use super::credentials::{secret, warn_if_literal};
use super::environment::Sources;
use super::errors::ConfigError;
use super::node::Node;
use super::settings::{Server, Upstream};
use crate::secret::Secret;
use crate::text::{is_loopback, quoted};

/// The shortest key, in characters: a shorter one can be guessed, or is a slip of the hand.
const MIN_KEY: usize = 8;

/// Reads `client_keys`. No error shows a key.
pub(super) fn client_keys(
    node: &Node<'_>,
    sources: Sources<'_>,
) -> Result<Vec<Secret>, ConfigError> {
    let items = node.items("keys")?;
    if items.is_empty() {
        return Err(node.error("the list is empty: no client could call"));
    }
    let mut keys: Vec<Secret> = Vec::new();
    for item in &items {
        let key = secret(item, sources)?;
        if key.expose().chars().count() < MIN_KEY {
            return Err(
                item.error(format!("too short to be a key (at least {MIN_KEY} characters)"))
            );
        }
        // A header can hold no other key.
        if !key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(item.error("a key is of ASCII letters, digits and signs, without spaces"));
        }
        if let Some(first) = keys.iter().position(|other| *other == key) {
            return Err(item.error(format!("the same key as {}", items[first].place.keys())));
        }
        warn_if_literal(item, sources)?;
        keys.push(key);
    }
    Ok(keys)
}

/// Reads `allowed_hosts`.
pub(super) fn allowed_hosts(node: &Node<'_>) -> Result<Vec<String>, ConfigError> {
    let host = |item: &Node<'_>| allowed_host(item.string()?).map_err(|error| item.error(error));
    node.each("strings", host)
}

/// Reads `allowed_origins`.
pub(super) fn allowed_origins(node: &Node<'_>) -> Result<Vec<String>, ConfigError> {
    let origin = |item: &Node<'_>| origin(item.string()?).map_err(|error| item.error(error));
    node.each("strings", origin)
}

fn allowed_host(text: &str) -> Result<String, String> {
    if text.contains('@') {
        return Err("the value (not shown) is not a host's name or address".to_owned());
    }
    let bare = text.parse::<Ipv6Addr>().is_ok();
    let (host, port) = if bare { Some((text, None)) } else { address::host_and_port(text) }
        .ok_or_else(|| format!("{} is not a host's name or address", quoted(text)))?;
    match port {
        Some(_) => Err(format!("{}: leave the port out", quoted(text))),
        None => Ok(canonical(host)),
    }
}

/// An origin as browsers write it (RFC 6454 §6.2): without the default port of its scheme. Desktop
/// apps and extensions have schemes of their own; `null` is the origin of sandboxed pages.
fn origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Err("\"*\" would let every web page in: name the origins".to_owned());
    }
    let text = text.to_ascii_lowercase();
    if text == "null" {
        return Ok(text);
    }
    let parts = text.split_once("://").and_then(|(scheme, rest)| {
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if !is_scheme(scheme) {
            return None;
        }
        // A page of an Android app has no host.
        if scheme == "file" && authority.is_empty() {
            return Some((scheme, String::new(), None));
        }
        let own_port = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let (host, port) = address::host_and_port(authority)?;
        Some((scheme, canonical(host), port.filter(|port| Some(*port) != own_port)))
    });
    // The value is not shown: it may be a URL with a password.
    let examples = "such as https://chat.example.com or chrome-extension://ID";
    let (scheme, host, port) = parts.ok_or_else(|| format!("not an origin {examples}"))?;
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(match port {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// Whether a text in lower case is a scheme (RFC 3986 §3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// A host in lower case, without a dot at its end; an IPv6 address in its short form.
fn canonical(host: &str) -> String {
    let name = host.strip_suffix('.').unwrap_or(host);
    let address = host.parse::<Ipv6Addr>().map(|address| address.to_string());
    address.unwrap_or_else(|_| name.to_ascii_lowercase())
}

/// The warning if anyone who can reach the port can use the configured secrets.
pub(super) fn exposed(server: &Server, upstreams: &[Upstream]) -> Option<String> {
    if is_loopback(&server.host) || !server.client_keys.is_empty() {
        return None;
    }
    let names = |chosen: &dyn Fn(&Upstream) -> bool| {
        let chosen = upstreams.iter().filter(|upstream| chosen(upstream));
        chosen.map(|upstream| quoted(&upstream.name)).collect::<Vec<_>>().join(", ")
    };
    let secrets = [
        ("api_key", names(&|upstream| upstream.api_key.is_some())),
        ("headers", names(&|upstream| upstream.api_key.is_none() && !upstream.headers.is_empty())),
    ];
    let secrets = secrets.iter().filter(|(_, names)| !names.is_empty());
    let secrets: Vec<_> = secrets.map(|(key, names)| format!("the {key} of {names}")).collect();
    if secrets.is_empty() {
        return None;
    }
    let host = &server.host;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let address = if server.port == 0 { host } else { format!("{host}:{}", server.port) };
    let secrets = secrets.join(" and ");
    Some(format!("anyone who can reach {address} can use {secrets}: set server.client_keys"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_kept_as_browsers_write_them() {
        for (typed, meant) in [
            ("Chat.Example.COM", "chat.example.com"),
            ("chat.example.com.", "chat.example.com"),
            ("192.168.1.9", "192.168.1.9"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("[::1]", "::1"),
        ] {
            assert_eq!(allowed_host(typed).as_deref(), Ok(meant));
        }
        for wrong in ["", "*", "*.lan", "http://a", "a/b", "a b", "a:b", "ä.example", "me@a"] {
            let error = allowed_host(wrong).unwrap_err();
            assert!(error.ends_with("is not a host's name or address"), "{wrong}: {error}");
        }
        for with_port in ["a:80", "[::1]:80", "127.0.0.1:8080"] {
            let error = allowed_host(with_port).unwrap_err();
            assert_eq!(error, format!("{with_port:?}: leave the port out"));
        }
    }

    #[test]
    fn origins_are_kept_as_browsers_write_them() {
        for (typed, meant) in [
            ("https://Chat.Example.com/", "https://chat.example.com"),
            ("HTTP://host:3000", "http://host:3000"),
            ("https://host:443", "https://host"),
            ("http://host:80/", "http://host"),
            ("https://host:80", "https://host:80"),
            ("http://[0:0::1]:3000", "http://[::1]:3000"),
            ("app://obsidian.md", "app://obsidian.md"),
            ("tauri://localhost/", "tauri://localhost"),
            ("capacitor://localhost:80", "capacitor://localhost:80"),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
            ("moz-extension://F745c4ad-86bf/", "moz-extension://f745c4ad-86bf"),
            ("file://", "file://"),
            ("null", "null"),
        ] {
            assert_eq!(origin(typed).as_deref(), Ok(meant));
        }
        for wrong in [
            "",
            "host",
            "host:3000",
            "://host",
            "a b://host",
            "1a://host",
            "app://",
            "https://",
            "https://a/b",
            "https://a//",
            "https://a?b",
            "https://me:hush@a",
            "https://*.a",
            "https://a:0",
            "https://a:",
            "http://ä",
        ] {
            let error = origin(wrong).unwrap_err();
            assert!(error.starts_with("not an origin such as"), "{wrong}: {error}");
        }
        assert!(origin("*").unwrap_err().ends_with("name the origins"));
    }
}
