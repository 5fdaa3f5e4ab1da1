//! How long a request's body is, against a judge that reads the fields one by one.

use model_filter::framing::{BodyLength, MAX_BODY, MAX_HEAD, body_length};
use model_filter::headers::Headers;
use proptest::prelude::*;

use crate::cases;

/// The length, or the status of the error.
fn judged(fields: &[(&str, &str)], is_http_1_0: bool) -> Result<BodyLength, u16> {
    let mut headers = Headers::new();
    fields.iter().for_each(|(name, value)| headers.push(*name, *value));
    body_length("/", &headers, is_http_1_0).map_err(|error| error.code.status())
}

#[test]
fn plain_framing_is_understood() {
    assert_eq!(judged(&[], false), Ok(BodyLength::None));
    assert_eq!(judged(&[("Content-Length", "007")], false), Ok(BodyLength::Known(7)));
    let twice = [("Content-Length", "7"), ("content-length", "7")];
    assert_eq!(judged(&twice, true), Ok(BodyLength::Known(7)));
    assert_eq!(judged(&[("transfer-encoding", "Chunked")], false), Ok(BodyLength::Chunked));
}

#[test]
fn ambiguous_framing_is_refused() {
    let length = ("Content-Length", "5");
    for fields in [
        &[length, ("Content-Length", "6")][..],
        &[length, ("Transfer-Encoding", "chunked")],
        &[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
        &[("Transfer-Encoding", "gzip, chunked")],
        &[("Transfer-Encoding", "identity")],
        &[("Transfer-Encoding", "")],
        &[("Content-Length", "+5")],
        &[("Content-Length", "-5")],
        &[("Content-Length", "5, 5")],
        &[("Content-Length", "0x5")],
        &[("Content-Length", "")],
    ] {
        assert_eq!(judged(fields, false), Err(400), "{fields:?}");
    }
    assert_eq!(judged(&[("Transfer-Encoding", "chunked")], true), Err(400));
}

#[test]
fn lengths_out_of_bounds_are_too_large_and_not_zero() {
    for length in ["1073741825", "1000000000000", "18446744073709551615", "99999999999999999999"] {
        assert_eq!(judged(&[("Content-Length", length)], false), Err(413), "{length}");
    }
    assert_eq!(judged(&[("Content-Length", "1073741824")], false), Ok(BodyLength::Known(MAX_BODY)));
}

#[test]
fn control_characters_are_refused() {
    assert_eq!(judged(&[("Host", "x\nContent-Length: 37")], false), Err(400));
    assert_eq!(judged(&[("X", "a\0b")], false), Err(400));
    assert_eq!(judged(&[("X", "a\tb")], false), Ok(BodyLength::None));
}

#[test]
fn a_long_head_is_refused() {
    let long = "x".repeat(MAX_HEAD);
    assert_eq!(judged(&[("x", &long)], false), Err(400));
}

/// The length by the grammar of RFC 9112 §6: 400 for every request that is not certain. A second
/// length must be spelled like the first.
fn naive(fields: &[(&str, &str)], is_http_1_0: bool) -> Result<BodyLength, u16> {
    let mut found: Option<(BodyLength, &str)> = None;
    for (name, value) in fields {
        let length = match name.to_lowercase().as_str() {
            "content-length" => {
                let digits: Option<Vec<u32>> = value.chars().map(|c| c.to_digit(10)).collect();
                let digits = digits.filter(|digits| !digits.is_empty()).ok_or(400_u16)?;
                BodyLength::Known(digits.iter().fold(0, |n, digit| n * 10 + u64::from(*digit)))
            }
            "transfer-encoding" if value.to_lowercase() == "chunked" && !is_http_1_0 => {
                BodyLength::Chunked
            }
            "transfer-encoding" => return Err(400),
            _ => continue,
        };
        let is_first = found.is_none();
        let is_repeated = length != BodyLength::Chunked && found == Some((length, value));
        if !is_first && !is_repeated {
            return Err(400);
        }
        found = Some((length, value));
    }
    Ok(found.map_or(BodyLength::None, |(length, _)| length))
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn a_length_is_read_if_the_grammar_has_one_and_else_refused(
        fields in prop::collection::vec(
            (
                "(Content-Length|content-length|Transfer-Encoding|transfer-encoding|x)",
                prop_oneof!["[0-9]{1,3}", "5", "[Cc]hunked", "(gzip, )?chunked", "[ +,x0-9]{0,3}"],
            ),
            0..4,
        ),
        is_http_1_0 in any::<bool>(),
    ) {
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        prop_assert_eq!(judged(&fields, is_http_1_0), naive(&fields, is_http_1_0));
    }
}
