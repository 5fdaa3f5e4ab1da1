//! Who may call: client keys, and what browsers may do.
//!
//! A program on another machine is kept out by the address that is listened on, or by a
//! key. A web page needs neither: the browser on this machine carries its requests here.
//! So the `Host` must be one that we are known by (a name that an attacker pointed here is
//! not: DNS rebinding), and the `Origin` one that is allowed. Limits: a request without
//! these fields comes from no browser, and is not held up by them.

use std::net::{IpAddr, SocketAddr};

use crate::config;
use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::reply::Reply;
use crate::secret::Secret;
use crate::text::{cut, ip_address, is_loopback};

/// The rules of who may call.
#[derive(Debug)]
pub struct Admission {
    /// Whether the port can be reached from this machine only.
    loopback: bool,
    /// The address that is listened on.
    ip: IpAddr,
    client_keys: Vec<Secret>,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
}

/// Fields by which a proxy says that it passes somebody else's request on.
const PASSED_ON: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// What an admitted request is answered with.
#[derive(Debug, Default)]
pub struct Admitted {
    /// Fields for its response.
    pub headers: Headers,
    /// The whole answer, where the request is a browser's question whether it may ask.
    pub preflight: Option<Reply>,
}

impl Admission {
    /// The rules as configured, for a port at this address.
    pub fn new(server: &config::Server, address: SocketAddr) -> Admission {
        Admission {
            loopback: address.ip().is_loopback(),
            ip: address.ip(),
            client_keys: server.client_keys.clone(),
            allowed_hosts: server.allowed_hosts.clone(),
            allowed_origins: server.allowed_origins.clone(),
        }
    }

    /// Judges where a request comes from.
    ///
    /// # Errors
    /// 403 for a browser that must not ask.
    pub fn origin(&self, method: &str, headers: &Headers) -> Result<Admitted, Error> {
        let host = headers.get_str("host").map(str::to_ascii_lowercase);
        match &host {
            Some(host) if self.loopback && !self.knows_host(host) => {
                let what = format!("the host {:?} is not in server.allowed_hosts", cut(host));
                return Err(Error::client(Code::ForbiddenHost, what));
            }
            _ => {}
        }
        // A page's image or script has no Origin, but browsers say where it is from.
        let from = |name| headers.get_str(name).unwrap_or_default();
        let embedded = from("sec-fetch-mode") != "navigate" && !headers.contains("origin");
        if from("sec-fetch-site") == "cross-site" && embedded {
            let what = "a web page of another site may not load this";
            return Err(Error::client(Code::ForbiddenHost, what));
        }
        let mut admitted = Admitted::default();
        if headers.contains("origin") {
            let origin = headers.get_str("origin").unwrap_or_default().to_ascii_lowercase();
            if !self.knows_origin(&origin, host.as_deref()) {
                let what =
                    format!("the origin {:?} is not in server.allowed_origins", cut(&origin));
                return Err(Error::client(Code::ForbiddenHost, what));
            }
            admitted.headers = shared_with(&origin);
            if method == "OPTIONS" && headers.contains("access-control-request-method") {
                admitted.preflight = Some(preflight(headers));
            }
        }
        Ok(admitted)
    }

    /// Judges the key that a client presents; says whether its credentials were for us, and
    /// go no further.
    ///
    /// # Errors
    /// 401 for a client without a key, where one is needed.
    pub fn key(&self, headers: &Headers) -> Result<bool, Error> {
        if self.client_keys.is_empty() {
            return Ok(false);
        }
        // Every key is compared, so that the time does not tell which came close.
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

    /// Whether clients can have a key of ours.
    pub fn has_keys(&self) -> bool {
        !self.client_keys.is_empty()
    }

    /// Judges who asks for what is below `/-/`: this machine, or a client with a key. What
    /// another proxy passes on does not come from this machine, wherever that proxy runs.
    ///
    /// # Errors
    /// 403 for others; 401 where a key would do.
    pub fn own(&self, peer: SocketAddr, headers: &Headers) -> Result<(), Error> {
        let ip = peer.ip().to_canonical();
        let passed_on = PASSED_ON.iter().any(|name| headers.contains(name));
        if (ip.is_loopback() || ip == self.ip) && !passed_on || self.key(headers)? {
            return Ok(());
        }
        let what = "what is below /-/ is for this machine, and for keys of server.client_keys";
        Err(Error::client(Code::ForbiddenHost, what))
    }

    fn knows_host(&self, host: &str) -> bool {
        let host = without_port(host).trim_matches(['[', ']']);
        // A name may be written with the dot of the root.
        let host = host.strip_suffix('.').unwrap_or(host);
        is_loopback(host) || self.allowed_hosts.iter().any(|allowed| allowed == host)
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
        // A page of our own. Only an address is proof of that: a name may have been made to
        // point here.
        let own = host == Some(authority) && ip_address(name).is_some();
        is_loopback(name) || own
    }
}

fn shared_with(origin: &str) -> Headers {
    Headers::new()
        .with("Access-Control-Allow-Origin", origin)
        .with("Access-Control-Expose-Headers", "*")
        .with("Vary", "Origin")
}

/// The answer to a browser that asks before it asks: whatever it wants to send, it may.
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
            loopback,
            ip: [127, 0, 0, 1].into(),
            client_keys: Vec::new(),
            allowed_hosts: vec!["box.lan".into()],
            allowed_origins: vec!["https://chat.example.com".into()],
        }
    }

    fn admits(loopback: bool, fields: &[(&str, &str)]) -> bool {
        let mut headers = Headers::new();
        fields.iter().for_each(|(name, value)| headers.push(*name, *value));
        rules(loopback).origin("GET", &headers).is_ok()
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
        assert!(from("cross-site", "navigate"), "a link");
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
