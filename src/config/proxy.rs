//! The proxy to reach an upstream by, and the hosts that `NO_PROXY` exempts as in curl and Go.
//!
//! Entries of `NO_PROXY` are names, each with all names below it, addresses, ranges of addresses
//! (`10.0.0.0/8`), or `*` for everything; names and addresses may have a port. Limits: only
//! `http://` proxies; no name is resolved, so an address exempts only a host that is written as
//! an address.

use std::net::IpAddr;

use super::address::{authority, host, host_and_port};
use super::environment::{Environment, variable};
use super::errors::ConfigError;
use super::settings::BaseUrl;
use crate::secret::Secret;
use crate::text::{ip_address, is_loopback};

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
        is_loopback(host) || covers(&direct, host, port.unwrap_or(default_port))
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

/// Whether one of the entries covers this host, an IPv6 address without its brackets.
fn covers(entries: &str, host: &str, port: u16) -> bool {
    let host = host.trim_end_matches('.');
    let mut entries = entries.split([',', ' ', '\t']);
    match ip_address(host) {
        Some(address) => entries.any(|entry| entry == "*" || has_address(entry, address, port)),
        None => entries.any(|entry| entry == "*" || has_name(entry, host, port)),
    }
}

fn has_name(entry: &str, host: &str, port: u16) -> bool {
    // curl covers the name itself too, Go only the names below it.
    let entry = entry.strip_prefix("*.").or(entry.strip_prefix('.')).unwrap_or(entry);
    let Some((name, only)) = host_and_port(entry) else { return false };
    let name = name.trim_end_matches('.');
    let Some((above, end)) = host.len().checked_sub(name.len()).map(|at| host.split_at(at)) else {
        return false;
    };
    let is_it = above.is_empty() || above.ends_with('.');
    is_it && end.eq_ignore_ascii_case(name) && only.is_none_or(|only| only == port)
}

fn has_address(entry: &str, host: IpAddr, port: u16) -> bool {
    if let Some((network, bits)) = entry.split_once('/') {
        return is_within(host, network, bits);
    }
    match (ip_address(entry), host_and_port(entry)) {
        (Some(entry), _) => entry == host,
        (None, Some((entry, only))) => {
            ip_address(entry) == Some(host) && only.is_none_or(|only| only == port)
        }
        (None, None) => false,
    }
}

fn is_within(host: IpAddr, network: &str, bits: &str) -> bool {
    let (Some(network), Ok(bits)) = (ip_address(network), bits.parse::<u32>()) else {
        return false;
    };
    let (difference, width) = match (host, network) {
        (IpAddr::V4(host), IpAddr::V4(network)) => {
            (u128::from(host.to_bits() ^ network.to_bits()), 32)
        }
        (IpAddr::V6(host), IpAddr::V6(network)) => (host.to_bits() ^ network.to_bits(), 128),
        _ => return false,
    };
    // A shift by the whole width is not defined.
    bits <= width && difference.checked_shr(width - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::super::address::base_url;
    use super::*;

    #[test]
    fn entries_cover_what_curl_and_go_take_them_for() {
        let table: [(&str, &[&str], &[&str]); 18] = [
            ("", &[], &["example.com"]),
            ("*", &["example.com", "10.0.0.1", "::1"], &[]),
            (
                "example.com",
                &["example.com", "api.example.com", "a.b.example.com", "EXAMPLE.com."],
                &["notexample.com", "example.com.org", "com", "example.org"],
            ),
            (".example.com", &["example.com", "api.example.com"], &["notexample.com"]),
            ("*.example.com", &["example.com", "api.example.com"], &["notexample.com"]),
            ("Example.COM.", &["example.com", "API.example.com"], &[]),
            ("com", &["example.com", "com"], &["example.org"]),
            ("example.com:443", &["example.com", "api.example.com"], &[]),
            ("example.com:8080,.example.com:80", &[], &["example.com", "api.example.com"]),
            (" a.lan , b.lan\tc.lan,,", &["a.lan", "b.lan", "c.lan"], &["d.lan", "lan"]),
            ("10.0.0.1", &["10.0.0.1", "::ffff:10.0.0.1"], &["10.0.0.10", "a.lan"]),
            ("0.0.1,.0.0.1", &[], &["10.0.0.1"]),
            ("10.0.0.1:443,[fd00::1]:443", &["10.0.0.1", "fd00::1"], &["10.0.0.2"]),
            ("10.0.0.1:80,[fd00::1]:80", &[], &["10.0.0.1", "fd00::1"]),
            (
                "10.1.2.3/8,192.168.1.0/24",
                &["10.0.0.0", "10.255.255.255", "192.168.1.9"],
                &["11.0.0.1", "192.168.2.1", "::", "10.example.com"],
            ),
            ("fd00::/8,[2001:db8::]/32", &["fd12::1", "2001:db8::1"], &["fe80::1", "10.0.0.1"]),
            ("0.0.0.0/0,::/0", &["10.0.0.1", "fd00::1"], &["example.com"]),
            (
                "::1,[0:0::2],10.0.0.0/33,10.0.0.0/x,/8,:443,.,*x,http://example.com",
                &["::1", "::2"],
                &["::3", "10.0.0.1", "example.com", "x"],
            ),
        ];
        for (entries, covered, others) in table {
            for host in covered {
                assert!(covers(entries, host, 443), "{entries:?} does not cover {host}");
            }
            for host in others {
                assert!(!covers(entries, host, 443), "{entries:?} covers {host}");
            }
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
            let proxy = proxy(&base_url(url).unwrap(), &env).unwrap();
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
            proxy(&base_url("https://a").unwrap(), &env).unwrap_err().to_string(),
            "ALL_PROXY: only proxies of the form http://host:port are supported"
        );
    }
}
