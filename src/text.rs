//! Helpers for text that clients and upstreams sent: shorten it, show it, compare hosts.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_host_is_known_in_every_spelling() {
        let loopback = "localhost LocalHost. a.localhost 127.0.0.1 127.1.2.3 ::1 [::1] \
                        ::ffff:127.0.0.1 [::FFFF:7f00:1]";
        for host in loopback.split_whitespace() {
            assert!(is_loopback(host), "{host}");
        }
        let other = "localhost.evil.example notlocalhost 10.0.0.1 ::ffff:10.0.0.1 0.0.0.0 :: [::1 \
                     localhost:80 .";
        for host in other.split_whitespace().chain([""]) {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"é".repeat(10_000)), "é".repeat(REPEATED) + "…");
    }

    #[test]
    fn no_secret_of_a_target_is_loggable() {
        for (target, path) in [
            ("/v1/x?key=secret", "/v1/x"),
            ("/v1/x#secret", "/v1/x"),
            ("http://user:secret@host/x?a", "http"),
            ("/v1/a@b:c", "/v1/a@b:c"),
        ] {
            assert_eq!(loggable(target), path);
        }
    }
}
