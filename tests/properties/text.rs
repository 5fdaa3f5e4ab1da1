//! The helpers for text that others sent.

use model_filter::text::{cut, is_loopback, loggable, one_line, quoted};
use proptest::prelude::*;

use crate::cases;

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
    assert_eq!(cut(&"é".repeat(10_000)), "é".repeat(200) + "…");
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

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn no_text_breaks_a_line(text in any::<String>()) {
        for shown in [one_line(&text), quoted(&text)] {
            prop_assert!(!shown.contains(char::is_control), "{shown:?}");
        }
    }
}
