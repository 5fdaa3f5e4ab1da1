//! Text that must not be printed: keys, header values, proxy URLs with a password.
//!
//! A [`Secret`] prints as `***`, so that no log line, error or debug output reveals it by accident.
//! Limits: the text is not erased from memory.

use std::fmt;
use std::hint::black_box;

/// Text whose `Debug` and `Display` hide it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for sending it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in constant time: the duration depends on the lengths only, so that the text cannot
    /// be guessed byte by byte.
    pub fn matches(&self, presented: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let pairs = own.iter().zip(presented);
        let different = pairs.fold(0, |different, (a, b)| black_box(different | (a ^ b)));
        own.len() == presented.len() && different == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("sk-1");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.expose(), "sk-1");
    }

    #[test]
    fn only_the_whole_text_matches() {
        let secret = Secret::new("sk-1");
        assert!(secret.matches(b"sk-1"));
        for wrong in ["", "s", "sk-", "sk-2", "xk-1", "sk-11", "SK-1"] {
            assert!(!secret.matches(wrong.as_bytes()), "{wrong}");
        }
        assert!(Secret::new("").matches(b""));
    }
}
