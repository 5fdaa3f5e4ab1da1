//! An HTTP proxy for a plain `http://` upstream, which is asked in absolute form (RFC 9112 §3.2.2).

use crate::base64::base64;
use crate::secret::Secret;

/// The proxy.
#[derive(Debug)]
pub(super) struct Forward {
    /// `host:port`.
    pub(super) address: String,
    /// The value of `Proxy-Authorization`.
    pub(super) credentials: Option<Secret>,
}

impl Forward {
    pub(super) fn new(proxy: &ureq::Proxy) -> Forward {
        let credentials = proxy.username().is_some() || proxy.password().is_some();
        let credentials = credentials.then(|| {
            let (user, password) = (proxy.username(), proxy.password());
            let pair = [user.unwrap_or_default(), ":", password.unwrap_or_default()].concat();
            Secret::new(format!("Basic {}", base64(pair.as_bytes())))
        });
        Forward { address: format!("{}:{}", proxy.host(), proxy.port()), credentials }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_has_an_address_and_may_have_credentials() {
        let forward = |url| Forward::new(&ureq::Proxy::new(url).unwrap());
        assert_eq!(forward("http://squid:3128").address, "squid:3128");
        assert!(forward("http://squid").credentials.is_none());
        let credentials = forward("http://me:hush@squid:3128").credentials.unwrap();
        assert_eq!(credentials.expose(), "Basic bWU6aHVzaA==");
    }
}
