//! Content types and encodings, against a strict grammar.

use model_filter::model_field::{BodyKind, check_encoding, find};
use proptest::prelude::*;

use super::json::{choices, object, string};
use super::multipart::{boundary, odd_case};
use super::multipart_judge::{is, values_in};
use crate::cases;

/// `Err` for what two servers may read differently.
fn naive_kind(content_type: &str) -> Result<BodyKind, ()> {
    let check = |holds: bool| if holds { Ok(()) } else { Err(()) };
    if content_type.trim().is_empty() {
        return Ok(BodyKind::Json);
    }
    let text = content_type.trim();
    check(is(r"T/T [\x20\t]* (;[\x20\t]*T=V)* (;[\x20\t]*)?", text))?;
    let media_type = text.split(';').next().unwrap().trim().to_lowercase();
    let parameters = values_in(text);
    let named = |wanted: &str| -> Vec<&str> {
        let found = parameters.iter().filter(|(name, _)| name == wanted);
        found.map(|(_, value)| *value).collect()
    };
    for (name, _) in &parameters {
        check(named(name).len() == 1)?;
    }
    for word in ["charset", "boundary"] {
        // The word is the name of one parameter, or nowhere.
        let mentions = text.to_lowercase().matches(word).count();
        let own = named(word).first().map_or(0, |value| value.to_lowercase().matches(word).count());
        let own = if word == "charset" { 0 } else { own };
        check(mentions == named(word).len() + own)?;
    }
    for charset in named("charset") {
        check(is("(?i:utf-8|utf8|us-ascii)", charset))?;
    }
    let mentions_multipart = text.to_lowercase().contains("multipart");
    if media_type.starts_with("multipart/") {
        let boundary = *named("boundary").first().ok_or(())?;
        check(is("[0-9A-Za-z'+_.-]{1,70}", boundary))?;
        return Ok(BodyKind::Multipart { boundary: boundary.to_owned() });
    }
    check(!mentions_multipart)?;
    Ok(match media_type.as_str() {
        "application/x-www-form-urlencoded" => BodyKind::Form,
        _ if is(r"application/json|.*\+json", &media_type) => BodyKind::Json,
        _ if is(r"(application|text)/(.*[^a-z])?(xml|yaml|msgpack)", &media_type) => {
            BodyKind::Notation
        }
        _ => BodyKind::Opaque,
    })
}

fn parameter() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "charset",
        "charset",
        "boundary",
        "boundary",
        "x",
        "y",
        "charset*",
        "boundary*0",
        "xcharset",
        "a b",
        "",
    ]);
    let value = prop_oneof![
        3 => prop::sample::select(vec![
            "utf-8", "UTF8", "us-ascii", "utf-7", "utf-16le", "cp037", "charset=utf-7", "; charset=utf-7",
            "boundary=B", "xBoundary", "multipart/form-data", "a=b", "é", "",
        ]).prop_map(str::to_owned),
        2 => boundary(),
        1 => "[ -~]{0,4}",
    ];
    let written = prop::sample::select(vec![
        "V", "V", "\"V\"", "\"V\"", "\"V", "V\"", "'V'", " V", "\"V\"x", "V ",
    ]);
    (name, value, written, choices()).prop_map(|(name, value, written, choices)| {
        format!("{}={}", odd_case(name, &choices), written.replace('V', &value))
    })
}

fn content_type() -> impl Strategy<Value = String> {
    let media_type = prop::sample::select(vec![
        "multipart/form-data",
        "multipart/form-data",
        "multipart/mixed",
        "application/json",
        "application/a+json",
        "application/a+xml",
        "text/yaml",
        "application/x-msgpack",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart",
        "multipart/boundary",
        "x-multipart/a",
        "a/b/c",
        "",
        "application/json, text/plain",
    ]);
    let separator = prop::sample::select(vec!["; ", "; ", ";", ";", " ;", ";\t", ";;", ",", " "]);
    let parameters = prop::collection::vec((separator, parameter()), 0..3);
    let end = prop::sample::select(vec!["", "", "", ";", "; ", " "]);
    (media_type, choices(), parameters, end).prop_map(|(media_type, choices, parameters, end)| {
        let parameters =
            parameters.into_iter().map(|(separator, text)| separator.to_owned() + &text);
        odd_case(media_type, &choices) + &parameters.collect::<String>() + end
    })
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn a_content_type_is_read_as_the_grammar_has_it_or_refused(content_type in prop_oneof![
        9 => content_type(),
        1 => "[ -~]{0,20}",
    ]) {
        prop_assert_eq!(BodyKind::of(Some(&content_type)).map_err(|_| ()), naive_kind(&content_type));
    }

    #[test]
    fn a_plain_boundary_is_read_in_any_spelling(
        boundary in "[0-9A-Za-z'+_.-]{1,70}",
        case in choices(),
        is_quoted in any::<bool>(),
        charset in prop::sample::select(vec!["", "; charset=utf-8"]),
    ) {
        prop_assume!(!boundary.to_lowercase().contains("charset"));
        let value = if is_quoted { format!("\"{boundary}\"") } else { boundary.clone() };
        let content_type = odd_case("multipart/form-data; boundary=", &case) + &value + charset;
        prop_assert_eq!(BodyKind::of(Some(&content_type)), Ok(BodyKind::Multipart { boundary }));
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn an_object_in_another_unicode_encoding_is_refused(
        body in object(Just(1), string().boxed()),
        is_marked in any::<bool>(),
        is_wide in any::<bool>(),
        is_little in any::<bool>(),
    ) {
        let text = std::str::from_utf8(&body).unwrap().trim_start_matches('\u{feff}');
        let text = if is_marked { format!("\u{feff}{text}") } else { text.to_owned() };
        let units: Vec<u32> = match is_wide {
            true => text.chars().map(u32::from).collect(),
            false => text.encode_utf16().map(u32::from).collect(),
        };
        let size = if is_wide { 4 } else { 2 };
        let encoded: Vec<u8> = units.into_iter().flat_map(|unit| match is_little {
            true => unit.to_le_bytes()[..size].to_vec(),
            false => unit.to_be_bytes()[4 - size..].to_vec(),
        }).collect();
        prop_assert!(check_encoding(&encoded).is_err());
        prop_assert!(find(&BodyKind::Json, &encoded).is_err());
        prop_assert!(check_encoding(&body).is_ok());
    }
}
