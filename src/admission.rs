//! Who may call: client keys, and what browsers may do.
//!
//! The listening address or a key keeps programs on other machines out. A web page needs neither,
//! because the browser on this machine sends its requests. So `Host` must be a name of ours (which
//! stops DNS rebinding), and `Origin` must be allowed. Limits: a request without these fields does
//! not come from a browser and passes.

use std::net::{IpAddr, SocketAddr};

use crate::config;
use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::reply::Reply;
use crate::secret::Secret;
use crate::text::{cut, ip_address, is_loopback};

/// Header fields that a proxy adds to the requests of others.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// What a browser shows as a document: the values of `Sec-Fetch-Dest` of a navigation.
const DOCUMENTS: [&str; 6] = ["document", "iframe", "frame", "object", "embed", "fencedframe"];

/// The rules of who may call.
#[derive(Debug)]
pub struct Admission {
    /// The address that is listened on.
    ip: IpAddr,
    client_keys: Vec<Secret>,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
}

/// What a browser is told about cross-origin access; nothing for other clients.
#[derive(Debug, Default)]
pub struct Cors {
    /// Header fields for the response.
    pub headers: Headers,
    /// The whole response, if the request is a preflight.
    pub preflight: Option<Reply>,
}

impl Admission {
    /// The rules of a configuration, for a listener on this address.
    pub fn new(server: &config::Server, address: SocketAddr) -> Admission {
        Admission {
            ip: address.ip().to_canonical(),
            client_keys: server.client_keys.clone(),
            allowed_hosts: server.allowed_hosts.clone(),
            allowed_origins: server.allowed_origins.clone(),
        }
    }

    /// Checks where a request comes from. `is_own`: it is for a path below `/-/`.
    ///
    /// # Errors
    /// 403 for a page that may not call.
    pub fn check_origin(
        &self,
        method: &str,
        headers: &Headers,
        is_own: bool,
    ) -> Result<Cors, Error> {
        let forbidden = |what: String| Err(Error::client(Code::ForbiddenHost, what));
        let host = headers.get_str("host").map(str::to_ascii_lowercase);
        if let Some(host) = host.as_deref().filter(|host| !self.knows_host(host)) {
            return forbidden(format!("the host {:?} is not in server.allowed_hosts", cut(host)));
        }
        // It would answer for every path of ours from then on.
        if headers.contains("service-worker") || fetches(headers, "dest", "serviceworker") {
            return forbidden("no service worker may be installed from here".to_owned());
        }
        // A link may lead to our own pages, but to no page of an upstream, which would be shown as
        // one of ours. A page's image or script is requested without Origin.
        let is_shown = is_navigation(headers);
        let may_come = if is_shown { is_own } else { headers.contains("origin") };
        if fetches(headers, "site", "cross-site") && !may_come {
            return forbidden("a web page of another site may not load this".to_owned());
        }
        if !headers.contains("origin") {
            return Ok(Cors::default());
        }
        let origin = headers.get_str("origin").unwrap_or_default().to_ascii_lowercase();
        if !self.knows_origin(&origin, host.as_deref()) {
            let origin = cut(&origin);
            return forbidden(format!("the origin {origin:?} is not in server.allowed_origins"));
        }
        let is_preflight = method == "OPTIONS" && headers.contains("access-control-request-method");
        let preflight = is_preflight.then(|| preflight(headers));
        let headers = Headers::new()
            .with("Access-Control-Allow-Origin", origin)
            .with("Access-Control-Expose-Headers", "*")
            .with("Vary", "Origin");
        Ok(Cors { headers, preflight })
    }

    /// Checks the client's key. Returns whether its credentials were for this program, so that
    /// they must not reach an upstream.
    ///
    /// # Errors
    /// 401 for a client without a valid key, if keys are configured.
    pub fn check_key(&self, headers: &Headers) -> Result<bool, Error> {
        if self.client_keys.is_empty() {
            return Ok(false);
        }
        // Every key is compared, so that the time does not depend on which one matches.
        let is_known = |token: &str| {
            let keys = self.client_keys.iter();
            keys.fold(false, |known, key| known | key.matches(token.as_bytes()))
        };
        if headers.tokens().any(is_known) {
            return Ok(true);
        }
        let what = "a key of server.client_keys is needed, as Bearer or x-api-key";
        Err(Error::client(Code::InvalidApiKey, what))
    }

    /// Whether client keys are configured.
    pub fn has_keys(&self) -> bool {
        !self.client_keys.is_empty()
    }

    /// Checks who requests a path below `/-/`: a program on this machine, or a client with a key.
    /// A request that another proxy forwards counts as remote, wherever that proxy runs.
    ///
    /// # Errors
    /// 403 for others; 401 if a key would help.
    pub fn check_own(&self, peer: SocketAddr, headers: &Headers) -> Result<(), Error> {
        let ip = peer.ip().to_canonical();
        let is_forwarded = FORWARDED.iter().any(|name| headers.contains(name));
        let is_local = (ip.is_loopback() || ip == self.ip) && !is_forwarded;
        if is_local || self.check_key(headers)? {
            return Ok(());
        }
        let what = "what is below /-/ is for this machine, and for keys of server.client_keys";
        Err(Error::client(Code::ForbiddenHost, what))
    }

    /// Whether a `Host` is one of ours. Only a listener on loopback knows all its names.
    fn knows_host(&self, host: &str) -> bool {
        let host = without_port(host);
        let name = host.trim_matches(['[', ']']);
        let name = name.strip_suffix('.').unwrap_or(name);
        !self.ip.is_loopback()
            || is_loopback(host)
            || self.allowed_hosts.iter().any(|allowed| allowed == name)
    }

    fn knows_origin(&self, origin: &str, host: Option<&str>) -> bool {
        if self.allowed_origins.iter().any(|allowed| allowed == origin) {
            return true;
        }
        let scheme = |scheme| origin.strip_prefix(scheme);
        let Some(authority) = scheme("http://").or_else(|| scheme("https://")) else {
            return false;
        };
        let name = without_port(authority);
        // Our own page, if the host is an address: an attacker can point any name here.
        let is_own = host == Some(authority) && ip_address(name).is_some();
        is_loopback(name) || is_own
    }
}

/// Whether a browser shows the response as a document. Without `Sec-Fetch-*`, which browsers send
/// only to hosts that they trust, a navigation is known by what it accepts.
pub fn is_navigation(headers: &Headers) -> bool {
    let accepts_html = || {
        let accepted = headers.get_all("accept").map(|value| String::from_utf8_lossy(value));
        accepted.map(|value| value.to_ascii_lowercase()).any(|value| value.contains("html"))
    };
    fetches(headers, "mode", "navigate")
        || DOCUMENTS.iter().any(|dest| fetches(headers, "dest", dest))
        || (!headers.contains("sec-fetch-mode") && accepts_html())
}

/// Whether a browser sends this value as `Sec-Fetch-<name>`.
fn fetches(headers: &Headers, name: &str, value: &str) -> bool {
    headers.get_str(&format!("sec-fetch-{name}")) == Some(value)
}

/// The response to a preflight: everything that the browser asks for is allowed.
fn preflight(headers: &Headers) -> Reply {
    let mut answer = Headers::new();
    for (asked, allowed) in [
        ("access-control-request-method", "Access-Control-Allow-Methods"),
        ("access-control-request-headers", "Access-Control-Allow-Headers"),
        ("access-control-request-private-network", "Access-Control-Allow-Private-Network"),
    ] {
        if let Some(value) = headers.get(asked) {
            answer.push(allowed, value);
        }
    }
    answer.push("Access-Control-Max-Age", "600");
    Reply { status: 204, headers: answer, body: Vec::new() }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(loopback: bool) -> Admission {
        Admission {
            ip: if loopback { [127, 0, 0, 1].into() } else { [0, 0, 0, 0].into() },
            client_keys: Vec::new(),
            allowed_hosts: vec!["box.lan".into()],
            allowed_origins: vec!["https://chat.example.com".into()],
        }
    }

    fn admits(loopback: bool, fields: &[(&str, &str)]) -> bool {
        let mut headers = Headers::new();
        fields.iter().for_each(|(name, value)| headers.push(*name, *value));
        rules(loopback).check_origin("GET", &headers, false).is_ok()
    }

    #[test]
    fn on_loopback_a_host_must_be_known() {
        for host in [
            "localhost:8080",
            "LOCALHOST",
            "127.0.0.1:1",
            "[::1]:8080",
            "a.localhost",
            "box.lan:80",
            "localhost.:8080",
            "[::ffff:127.0.0.1]:8080",
        ] {
            assert!(admits(true, &[("Host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:8080",
            "10.0.0.1",
            "evil.example.",
            "",
        ] {
            assert!(!admits(true, &[("Host", host)]), "{host}");
            assert!(admits(false, &[("Host", host)]), "{host}");
        }
        assert!(admits(true, &[]));
    }

    #[test]
    fn an_origin_must_be_known_wherever_we_listen() {
        for loopback in [true, false] {
            for origin in ["http://localhost:3000", "https://chat.example.com", "http://127.0.0.1"]
            {
                assert!(admits(loopback, &[("Host", "localhost"), ("Origin", origin)]), "{origin}");
            }
            for origin in ["null", "https://evil.example", "http://chat.example.com", "file://", ""]
            {
                assert!(
                    !admits(loopback, &[("Host", "localhost"), ("Origin", origin)]),
                    "{origin}"
                );
            }
        }
    }

    #[test]
    fn what_a_page_of_another_site_embeds_is_not_given() {
        let from = |site, mode| {
            admits(
                true,
                &[("Host", "localhost"), ("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", mode)],
            )
        };
        assert!(!from("cross-site", "no-cors"));
        assert!(from("same-origin", "cors") && from("none", "navigate"));
        assert!(!from("cross-site", "navigate"));
    }

    #[test]
    fn a_link_leads_to_our_own_pages_alone() {
        for dest in DOCUMENTS {
            for origin in [None, Some("http://localhost:3000")] {
                let mut headers = Headers::new()
                    .with("Sec-Fetch-Site", "cross-site")
                    .with("Sec-Fetch-Dest", dest);
                origin.into_iter().for_each(|origin| headers.push("Origin", origin));
                assert!(rules(true).check_origin("GET", &headers, false).is_err(), "{dest}");
                assert!(rules(true).check_origin("GET", &headers, true).is_ok(), "{dest}");
            }
        }
    }

    #[test]
    fn no_service_worker_is_given() {
        for field in [("Service-Worker", "script"), ("Sec-Fetch-Dest", "serviceworker")] {
            let headers = Headers::new().with(field.0, field.1);
            assert!(rules(true).check_origin("GET", &headers, true).is_err());
        }
    }

    #[test]
    fn a_navigation_is_known_by_its_fields_or_by_what_it_accepts() {
        let shown = |fields: &[(&str, &str)]| {
            let fields = fields.iter();
            is_navigation(&fields.fold(Headers::new(), |all, (name, value)| all.with(name, value)))
        };
        assert!(shown(&[("Sec-Fetch-Mode", "navigate")]));
        assert!(shown(&[("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "embed")]));
        assert!(shown(&[("Accept", "text/HTML,*/*;q=0.8")]));
        assert!(!shown(&[("Accept", "text/html"), ("Sec-Fetch-Mode", "cors")]));
        assert!(!shown(&[("Accept", "*/*")]) && !shown(&[]));
    }

    #[test]
    fn a_page_of_our_own_is_known_by_its_address_and_not_by_a_name() {
        let from = |name: &str| [("Host", name.to_owned()), ("Origin", format!("http://{name}"))];
        let admits = |fields: [(&str, String); 2]| {
            admits(false, &fields.each_ref().map(|(name, value)| (*name, value.as_str())))
        };
        assert!(admits(from("10.0.0.1:8080")));
        assert!(!admits(from("rebound.example:8080")));
    }
}
