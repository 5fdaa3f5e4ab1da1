//! Form posts, against a reader that decodes every key.

use model_filter::model_field::{BodyKind, find};
use proptest::prelude::*;

use crate::cases;

/// The keys of a form, decoded.
fn keys(form: &str) -> Vec<String> {
    let key = |pair: &str| {
        let mut bytes = Vec::new();
        let mut rest = pair.split('=').next().unwrap();
        while let Some(c) = rest.chars().next() {
            let code = rest.strip_prefix("%u00").or(rest.strip_prefix('%'));
            let digits = code.and_then(|code| code.get(..2));
            match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                Some(byte) => {
                    bytes.push(byte);
                    rest = &code.unwrap()[2..];
                }
                None => {
                    bytes.extend(if c == '+' { " " } else { &rest[..c.len_utf8()] }.bytes());
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    form.split(['&', ';']).map(key).collect()
}

/// Whether some server takes the key for `model`.
fn is_similar(key: &str) -> bool {
    let is_edge = |c: char| c.is_ascii_whitespace() || c == '[';
    let key = key.trim_start_matches(is_edge).split(['[', ']', '\0']).next().unwrap();
    key.trim_ascii_end().eq_ignore_ascii_case("model")
}

fn is_refused(form: &str) -> bool {
    find(&BodyKind::Form, form.as_bytes()).is_err()
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn a_form_whose_decoded_keys_have_a_model_is_refused(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "m", "o", "d", "e", "l", "model", "model", "MOD", "%6d", "%4F", "%u0064", "%65", "%6C", "&", ";", "=", "+",
            " ", "%20", "[", "]", "%5b", "%5D", "%00", "x", "%", "é", "\n",
        ]), 0..12),
    ) {
        let form = pieces.concat();
        if keys(&form).iter().any(|key| is_similar(key)) {
            prop_assert!(is_refused(&form));
        }
    }

    #[test]
    fn a_plain_form_is_refused_for_its_model_alone(
        pairs in prop::collection::vec(("(model|models|xmodel|mode|[a-z_]{0,6})", "[a-z=%+]{0,6}"), 1..4),
    ) {
        let written: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let names_model = pairs.iter().any(|(key, _)| key == "model");
        prop_assert_eq!(is_refused(&written.join("&")), names_model);
    }
}
