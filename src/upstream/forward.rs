//! An HTTP proxy for a plain `http://` upstream, which is asked in absolute form (RFC 9112 §3.2.2).

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

/// Base64 (RFC 4648 §4).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("fooba~", "Zm9vYmF+")]
        {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_proxy_has_an_address_and_may_have_credentials() {
        let forward = |url| Forward::new(&ureq::Proxy::new(url).unwrap());
        assert_eq!(forward("http://squid:3128").address, "squid:3128");
        assert!(forward("http://squid").credentials.is_none());
        let credentials = forward("http://me:hush@squid:3128").credentials.unwrap();
        assert_eq!(credentials.expose(), "Basic bWU6aHVzaA==");
    }
}
