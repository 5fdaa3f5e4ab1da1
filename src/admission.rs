//! Admission: client keys, and the rules for browsers.
//!
//! The listening address or a key keeps programs on other machines out. A web page needs neither,
//! because the browser on this machine sends its requests. So `Host` must be a name of ours (which
//! stops DNS rebinding), and `Origin` must be allowed. Limits: a request without these fields does
//! not come from a browser and passes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::config;
use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::reply::Reply;
use crate::secret::Secret;
use crate::text::{cut, ip_address, is_loopback};

/// How many wrong keys an address may present within [`WINDOW`] without being slowed down.
const WRONG_KEYS: u32 = 10;

/// The time in which the wrong keys of an address are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// How long the response to a further wrong key is delayed.
const DELAY: Duration = Duration::from_secs(1);

/// How many responses are delayed at once: each occupies a worker, and others need them too.
const DELAYED: usize = 16;

/// How many addresses are counted at once.
const ADDRESSES: usize = 4096;

/// The header fields of a response that a page may read. `*` means none if the page sends
/// credentials (Fetch §3.3.3), so the useful ones are named too.
const EXPOSED: &str = "*, Retry-After, X-Request-Id, X-Model-Filter-Error, X-Model-Filter-Missing";

/// The values of `Sec-Fetch-Dest` of a navigation: the browser shows the response as a document.
const DOCUMENTS: [&str; 6] = ["document", "iframe", "frame", "object", "embed", "fencedframe"];

/// The rules of who may call.
#[derive(Debug)]
pub struct Admission {
    /// The address that is listened on.
    ip: IpAddr,
    client_keys: Vec<Secret>,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    guesses: Guesses,
}

/// The answer to a browser's question about cross-origin access; empty for other clients.
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
            guesses: Guesses::default(),
        }
    }

    /// Checks the origin of a request. `is_own`: it is for a path below `/-/`.
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
        if headers.contains("service-worker")
            || headers.get_str("sec-fetch-dest") == Some("serviceworker")
        {
            return forbidden("no service worker may be installed from here".to_owned());
        }
        // A link may lead to our own pages, but to no page of an upstream, which would be shown as
        // one of ours. A page's image or script is requested without Origin.
        let is_shown = is_navigation(headers);
        let may_come = if is_shown { is_own } else { headers.contains("origin") };
        if headers.get_str("sec-fetch-site") == Some("cross-site") && !may_come {
            return forbidden("a web page of another site may not load this".to_owned());
        }
        if !headers.contains("origin") {
            return Ok(Cors::default());
        }
        let origin = headers.get_str("origin").unwrap_or_default().to_ascii_lowercase();
        let is_named = self.allowed_origins.contains(&origin);
        if !is_named && !self.knows_origin(&origin, host.as_deref()) {
            let origin = cut(&origin);
            return forbidden(format!(
                "the origin {origin:?} is not in server.allowed_origins: to let it in, add it to \
                 the configuration as server: {{allowed_origins: [{origin:?}]}}"
            ));
        }
        let is_preflight = method == "OPTIONS" && headers.contains("access-control-request-method");
        let preflight = is_preflight.then(|| preflight(headers));
        let mut headers = Headers::new()
            .with("Access-Control-Allow-Origin", origin)
            .with("Access-Control-Expose-Headers", EXPOSED)
            .with("Vary", "Origin");
        // Any page on this machine may call, but only named ones with what the browser remembers.
        if is_named {
            headers.push("Access-Control-Allow-Credentials", "true");
        }
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
        let what = "a key of server.client_keys is needed, as Bearer or in x-api-key, api-key or \
                    x-goog-api-key";
        Err(Error::client(Code::InvalidApiKey, what))
    }

    /// Notes a request that was refused with 401: after many wrong keys from one address, waits
    /// before the response to each further one, if this thread may wait. A right key is never
    /// delayed, because many clients may share an address behind a proxy.
    pub fn note_refused(&self, peer: SocketAddr, headers: &Headers, may_wait: bool) {
        let is_guess = self.has_keys() && headers.tokens().next().is_some();
        if is_guess && self.guesses.note(peer.ip()) && may_wait {
            self.guesses.delay();
        }
    }

    /// Whether client keys are configured.
    pub fn has_keys(&self) -> bool {
        !self.client_keys.is_empty()
    }

    /// Checks who requests a path below `/-/`: a program on this machine, or a client with a key.
    /// A request that another proxy forwards counts as remote, wherever that proxy runs, and so
    /// does one under a name that others can point here. nginx forwards with HTTP/1.0, and if it is
    /// configured to do no more, under the address listened on and without a field of its own.
    ///
    /// # Errors
    /// 403 for others; 401 if a key would help.
    pub fn check_own(
        &self,
        peer: SocketAddr,
        headers: &Headers,
        is_http_1_0: bool,
    ) -> Result<(), Error> {
        let ip = peer.ip().to_canonical();
        let is_here = (ip.is_loopback() || ip == self.ip) && !is_http_1_0;
        if (is_here && self.is_direct(headers)) || self.check_key(headers)? {
            return Ok(());
        }
        let what = "what is below /-/ is for this machine under a loopback name, \
                    and for keys of server.client_keys";
        Err(Error::client(Code::ForbiddenHost, what))
    }

    /// Whether a request from this machine was addressed to this program, by a program or by our
    /// own page.
    fn is_direct(&self, headers: &Headers) -> bool {
        let mut hosts = headers.get_all("host");
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let host = std::str::from_utf8(host).unwrap_or_default().to_ascii_lowercase();
        let name = without_port(&host);
        let is_ours = is_loopback(name) || ip_address(name) == Some(self.ip);
        let of_our_page = |origin: &[u8]| origin == format!("http://{host}").as_bytes();
        is_ours
            && headers.get_all("origin").all(of_our_page)
            && !headers.iter().any(|(name, _)| is_of_proxy(name))
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

    /// Whether an origin may call without being named: a page on this machine, or our own.
    fn knows_origin(&self, origin: &str, host: Option<&str>) -> bool {
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

/// Whether a browser sent the request, or an app that is built on one. Without `Sec-Fetch-*`, it is
/// known by its name.
pub fn is_from_browser(headers: &Headers) -> bool {
    let agent = headers.get_str("user-agent").unwrap_or_default();
    headers.is_of_page() || agent.starts_with("Mozilla/")
}

/// Whether a browser shows the response as a document. Without `Sec-Fetch-*`, which browsers send
/// only to hosts that they trust, a navigation is known by what it accepts.
pub fn is_navigation(headers: &Headers) -> bool {
    let accepts_html = || {
        let accepted = headers.get_all("accept").map(|value| String::from_utf8_lossy(value));
        accepted.map(|value| value.to_ascii_lowercase()).any(|value| value.contains("html"))
    };
    let mode = headers.get_str("sec-fetch-mode");
    mode == Some("navigate")
        || headers.get_str("sec-fetch-dest").is_some_and(|dest| DOCUMENTS.contains(&dest))
        || (mode.is_none() && accepts_html())
}

/// The wrong keys that were presented, by address.
#[derive(Debug, Default)]
struct Guesses {
    /// When the count began, and the count.
    counts: Mutex<HashMap<IpAddr, (Instant, u32)>>,
    /// How many responses are delayed now.
    delayed: AtomicUsize,
}

impl Guesses {
    /// Counts a wrong key from this address. Returns whether there were many; logs that once.
    fn note(&self, ip: IpAddr) -> bool {
        let count = self.count(ip, Instant::now());
        if count == WRONG_KEYS {
            let what = "many wrong client keys: responses to further ones are delayed";
            log::warn!("msg=\"{what}\" client={ip} count={count} seconds={}", WINDOW.as_secs());
        }
        count >= WRONG_KEYS
    }

    fn delay(&self) {
        if self.delayed.fetch_add(1, Ordering::Relaxed) < DELAYED {
            thread::sleep(DELAY);
        }
        self.delayed.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number of wrong keys from this address in its window, this one included.
    fn count(&self, ip: IpAddr, now: Instant) -> u32 {
        let mut counts = self.counts.lock().expect("nothing panics under this lock");
        let is_open = |began: Instant| now.duration_since(began) < WINDOW;
        if counts.len() >= ADDRESSES {
            counts.retain(|_, (began, _)| is_open(*began));
        }
        if counts.len() >= ADDRESSES && !counts.contains_key(&network(ip)) {
            return 0;
        }
        let (began, count) = counts.entry(network(ip)).or_insert((now, 0));
        if !is_open(*began) {
            (*began, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count
    }
}

/// An address as it is counted: of IPv6, the network that one client usually has.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip => ip,
    }
}

/// Whether a field of this name was added by a proxy to the request of another client.
fn is_of_proxy(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let starts = ["forwarded", "x-forwarded", "x-original-", "x-envoy-", "x-azure-", "cf-"];
    let ends = ["-ip", "-host", "-for"];
    ["via", "cdn-loop", "x-scheme"].contains(&name.as_str())
        || starts.iter().any(|start| name.starts_with(start))
        || ends.iter().any(|end| name.ends_with(end))
}

/// The response to a preflight: everything that the browser asks for is allowed.
fn preflight(headers: &Headers) -> Reply {
    let mut reply = Reply::empty(204);
    for (asked, allowed) in [
        ("access-control-request-method", "Access-Control-Allow-Methods"),
        ("access-control-request-headers", "Access-Control-Allow-Headers"),
        ("access-control-request-private-network", "Access-Control-Allow-Private-Network"),
    ] {
        if let Some(value) = headers.get(asked) {
            reply.headers.push(allowed, value);
        }
    }
    reply.headers.push("Access-Control-Max-Age", "600");
    reply
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
            guesses: Guesses::default(),
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
