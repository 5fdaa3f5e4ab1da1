//! Slips in a `base_url` that parse: a path of one endpoint, no version, no encryption.
//!
//! Pure. Limits: the address is not asked.

use std::net::IpAddr;

use super::address;
use crate::text::{ip_address, is_loopback, quoted};

/// Ends of names that no public DNS server knows.
const PRIVATE_NAMES: [&str; 9] = [
    ".local",
    ".lan",
    ".internal",
    ".home",
    ".localdomain",
    ".home.arpa",
    ".svc",
    ".test",
    ".intranet",
];

/// Paths of single endpoints, which clients append themselves.
const ENDPOINTS: [&str; 6] =
    ["/chat/completions", "/completions", "/embeddings", "/models", "/responses", "/messages"];

/// The error if the URL is that of an endpoint.
pub(super) fn endpoint(url: &str) -> Option<String> {
    let end = ENDPOINTS.iter().find(|end| url.ends_with(**end))?;
    Some(format!("{} is the address of one endpoint: leave {end} out", quoted(url)))
}

/// The warning if the URL ends neither in a version nor in `/openai`.
pub(super) fn unversioned(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let last = path.rsplit('/').next().unwrap_or_default();
    let is_version = last.strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit())
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
    });
    if is_version || last == "openai" {
        return None;
    }
    let message = "has no version at its end; most APIs are at";
    Some(format!("{} {message} {url}/v1", quoted(url)))
}

/// Whether what is sent to this URL can be read on its way: plain HTTP to a public host.
pub(super) fn is_readable_on_its_way(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let Some(host) = address::host(rest.split('/').next().unwrap_or_default()) else {
        return false;
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    match ip_address(&host) {
        Some(address) => !is_private(address),
        None => {
            let is_private = PRIVATE_NAMES.iter().any(|end| host.ends_with(end));
            host.contains('.') && !is_loopback(&host) && !is_private
        }
    }
}

/// Whether an address is of a private network, this machine, or the net of a carrier (RFC 6598),
/// which VPNs use.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            let is_shared = a == 100 && b & 0xc0 == 64;
            address.is_private() || address.is_loopback() || address.is_link_local() || is_shared
        }
        IpAddr::V6(address) => {
            let first = address.segments()[0];
            address.is_loopback() || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_ends_the_address() {
        for url in [
            "https://openrouter.ai/api/v1",
            "https://api.cohere.ai/compatibility/v1",
            "https://g.example/v1beta/openai",
            "https://g.example/v1beta",
            "https://api.example/v4.1",
        ] {
            assert_eq!(unversioned(url), None, "{url}");
        }
        let warning = unversioned("http://localhost:11434").unwrap();
        assert!(warning.ends_with("http://localhost:11434/v1"), "{warning}");
        for url in ["https://openrouter.ai/api", "https://v1", "https://a/vendor", "https://a/v"] {
            assert!(unversioned(url).is_some(), "{url}");
        }
    }

    #[test]
    fn an_endpoint_is_no_base() {
        for url in ["https://a/v1/models", "https://a/v1/chat/completions"] {
            assert!(endpoint(url).unwrap().contains("leave /"), "{url}");
        }
        assert_eq!(endpoint("https://a/v1"), None);
    }

    #[test]
    fn plain_http_to_a_public_host_is_readable() {
        for url in ["http://api.example.com/v1", "http://8.8.8.8/v1", "http://[2001:db8::1]/v1"] {
            assert!(is_readable_on_its_way(url), "{url}");
        }
        for url in [
            "https://api.example.com/v1",
            "http://localhost/v1",
            "http://127.0.0.1:1/v1",
            "http://192.168.1.2/v1",
            "http://100.64.0.1/v1",
            "http://[fd00::1]/v1",
            "http://ollama:11434/v1",
            "http://box.local/v1",
            "http://host.docker.internal/v1",
        ] {
            assert!(!is_readable_on_its_way(url), "{url}");
        }
    }
}
