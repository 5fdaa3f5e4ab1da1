//! The model of generated multipart bodies.

use std::ops::Range;

use model_filter::model_field::{BodyKind, Form, body_kind, find};
use proptest::prelude::*;

use super::body::{Body, edited, edits, judged, replaced};
use super::json::{choices, text};
use super::multipart_judge::{naive_content, naive_multipart, naive_parts};
use crate::cases;

pub(super) fn boundary() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("B".to_owned()),
        2 => prop::sample::select(vec!["-", "--", "----WebKitFormBoundary7MA4YWxkTrZu0gW", "a b", "a.(b)*+?"])
            .prop_map(str::to_owned),
        2 => "[0-9a-zA-Z'()+_,./:=?-]{1,12}",
    ]
}

pub(super) fn quoted(text: &str, choices: &[u8]) -> String {
    let escaped = |(at, c): (usize, char)| match choices[at % choices.len()] % 4 {
        _ if c == '"' || c == '\\' => format!("\\{c}"),
        0 => format!("\\{c}"),
        _ => c.to_string(),
    };
    format!("\"{}\"", text.chars().enumerate().map(escaped).collect::<String>())
}

pub(super) fn odd_case(word: &str, choices: &[u8]) -> String {
    let case = |(at, c): (usize, char)| match choices[at % choices.len()] % 2 {
        0 => c.to_ascii_lowercase(),
        _ => c.to_ascii_uppercase(),
    };
    word.chars().enumerate().map(case).collect()
}

/// `name=value`, with the value bare where it may be.
pub(super) fn parameter() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "name",
        "name",
        "name",
        "name",
        "filename",
        "filename*",
        "x",
        "xname",
    ]);
    let value = prop_oneof![
        6 => Just("model".to_owned()),
        2 => prop::sample::select(vec![
            "models", "Model", "", "a; name=model", "a\"; name=\"model", "mo\\del", "é", "a=b", " model",
        ]).prop_map(str::to_owned),
        1 => "[ -~]{0,8}",
    ];
    (name, value, any::<bool>(), choices(), "[ \t]{0,1}", "[ \t]{0,1}").prop_map(
        |(name, value, bare, choices, a, b)| {
            let may_be_bare = !value.is_empty() && !value.contains(['"', ';', ' ', '\\', '=']);
            let value = if bare && may_be_bare { value } else { quoted(&value, &choices) };
            format!("{}{a}={b}{value}", odd_case(name, &choices))
        },
    )
}

pub(super) fn disposition() -> impl Strategy<Value = String> {
    let gap = prop::sample::select(vec!["", " ", "  ", "\r\n ", "\r\n\t", " \t"]);
    let parameters = prop::collection::vec((gap.clone(), parameter(), gap), 0..3);
    (choices(), "[ \t]{0,1}", "[ \t]{0,1}", parameters).prop_map(|(choices, a, b, parameters)| {
        let name = odd_case("Content-Disposition", &choices);
        let parameters =
            parameters.into_iter().map(|(a, parameter, b)| format!("{b};{a}{parameter}"));
        format!("{name}{a}:{b}form-data{}", parameters.collect::<String>())
    })
}

pub(super) fn header() -> impl Strategy<Value = Vec<u8>> {
    let other = prop::sample::select(vec![
        "Content-Type: text/plain",
        "X-Disposition: x; name=model",
        "no colon",
        "X:",
        ": ; name=model",
        "Content-Type: text/plain; name=\"model\"",
        "Content-Length: 0",
    ]);
    let line = prop_oneof![4 => disposition(), 2 => other.prop_map(str::to_owned)];
    prop::collection::vec(line, 0..3).prop_map(|lines| {
        lines.into_iter().map(|line| line + "\r\n").collect::<String>().into_bytes()
    })
}

/// What is likely to be taken for something else.
pub(super) fn content(boundary: String) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[a-z/.-]{0,6}".prop_map(String::into_bytes),
        2 => Just(b"\r\n".to_vec()),
        2 => prop::sample::select(vec!["--", "\n", "\r", " ", "--\r\n", "\r\n\r\n", "model"])
            .prop_map(|piece| piece.as_bytes().to_vec()),
        1 => Just(format!("--{boundary}").into_bytes()),
        1 => Just(format!("\r\n--{boundary}x").into_bytes()),
        1 => Just(format!("\r\n--{boundary}").into_bytes()),
        1 => Just(b"Content-Disposition: form-data; name=model\r\n".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// A boundary, and a body that keeps to it more or less.
pub(super) fn form() -> impl Strategy<Value = (String, Body)> {
    boundary().prop_flat_map(|boundary| {
        let padding = prop_oneof![6 => Just(""), 1 => Just(" \t")];
        let line_end = prop_oneof![12 => Just("\r\n"), 1 => Just("\n")];
        let part = (padding, line_end, header(), content(boundary.clone()));
        let outside = prop_oneof![3 => Just(Vec::new()), 1 => content(boundary.clone())];
        let close =
            prop_oneof![8 => Just("--\r\n"), 2 => Just("--"), 1 => Just(""), 1 => Just("--x")];
        (Just(boundary), outside.clone(), prop::collection::vec(part, 0..4), close, outside)
            .prop_map(|(boundary, preamble, parts, close, epilogue)| {
                let mut body = preamble;
                if !body.is_empty() {
                    body.extend(b"\r\n");
                }
                for (padding, line_end, header, content) in parts {
                    body.extend(format!("--{boundary}{padding}{line_end}").into_bytes());
                    body.extend(header);
                    body.extend(b"\r\n");
                    body.extend(content);
                    body.extend(b"\r\n");
                }
                body.extend(format!("--{boundary}{close}").into_bytes());
                body.extend(epilogue);
                (boundary, Body(body))
            })
    })
}

/// A part of a form as clients send it: its name, whether it is a file, and its content.
pub(super) type Field = (&'static str, bool, Vec<u8>);

pub(super) fn fields() -> impl Strategy<Value = Vec<Field>> {
    let name = prop::sample::select(vec!["model", "model", "file", "prompt", "models"]);
    let content = prop_oneof![
        3 => text().prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => content("C".into()),
    ];
    prop::collection::vec((name, prop::bool::weighted(0.2), content), 0..5)
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn the_model_of_a_form_is_found_where_its_lines_say((boundary, body) in form()) {
        let kind = BodyKind::Multipart { boundary: boundary.clone() };
        prop_assert_eq!(judged(&kind, &body), naive_multipart(&boundary, &body));
    }

    #[test]
    fn a_damaged_form_is_read_as_its_lines_say(
        (boundary, body) in form(),
        edits in edits(b"\r\n-- \t:B\"\\m"),
    ) {
        let body = edited(edits, body);
        let kind = BodyKind::Multipart { boundary: boundary.clone() };
        // A header that is damaged has no one right reading, so that only the parts are compared.
        let parts = naive_parts(&boundary, &body);
        prop_assert!(parts.is_ok() || body.trim_ascii().is_empty() || find(&kind, &body).is_err());
        if let (Ok(Some(field)), Ok(parts)) = (find(&kind, &body), parts) {
            let is_content = |part: &Range<usize>| {
                let content = naive_content(&body[part.clone()]).unwrap();
                (part.start + content..part.end) == field.span
            };
            prop_assert!(parts.iter().any(is_content));
        }
    }

    /// Here nobody reads: what was put in is known.
    #[test]
    fn the_model_of_a_form_is_the_one_that_the_client_put_in(
        boundary in boundary(),
        fields in fields(),
        content_type in choices(),
    ) {
        let foul = format!("\r\n--{boundary}").into_bytes();
        let mut body = Vec::new();
        let mut models = Vec::new();
        for (name, is_file, content) in &fields {
            let file = if *is_file { "; filename=\"a.wav\"" } else { "" };
            let header = format!("Content-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
            body.extend(format!("--{boundary}\r\n{header}").into_bytes());
            let content = [b"\r\n", content.as_slice()].concat();
            prop_assume!(!content.windows(foul.len() - 2).any(|window| window == &foul[2..]));
            if *name == "model" && !is_file {
                models.push((content[2..].to_vec(), body.len()..body.len() + content.len() - 2));
            }
            body.extend(&content[2..]);
            body.extend(b"\r\n");
        }
        body.extend(format!("--{boundary}--\r\n").into_bytes());
        let expected = match &models[..] {
            [] => Ok(None),
            [(content, span)] => match std::str::from_utf8(content) {
                Ok(name) => Ok(Some((name.to_owned(), span.clone()))),
                Err(_) => Err(()),
            },
            _ => Err(()),
        };
        let header = format!("multipart/form-data; boundary={}", quoted(&boundary, &content_type));
        let kind = body_kind(Some(&header));
        prop_assert_eq!(&kind, &BodyKind::Multipart { boundary });
        prop_assert_eq!(judged(&kind, &body), expected);
    }

    #[test]
    fn the_new_form_has_the_new_name_and_every_other_byte(
        (boundary, body) in form(),
        new_name in "([a-zA-Zé0-9/][ -~é]{0,10})?",
    ) {
        let kind = BodyKind::Multipart { boundary };
        if let Ok(Some(field)) = find(&kind, &body) {
            prop_assert_eq!(field.form, Form::Multipart);
            let new = replaced(&field, &body, &new_name);
            let span = field.span.start..field.span.start + new_name.len();
            prop_assert_eq!(judged(&kind, &new), Ok(Some((new_name, span))));
        }
    }

    /// As it is when a prefix is taken off: what the upstream then reads is what was left of it,
    /// and not a part that was hidden in the name.
    #[test]
    fn a_name_without_its_prefix_is_still_one_name(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "p/", "x", "--B", "\r\n", "--", "\r\n\r\n", "Content-Disposition: x; name=model",
        ]), 0..7),
    ) {
        let kind = BodyKind::Multipart { boundary: "B".into() };
        let name = format!("p/{}", pieces.concat());
        let header = "Content-Disposition: form-data; name=\"model\"";
        let body = format!("--B\r\n{header}\r\n\r\n{name}\r\n--B--\r\n").into_bytes();
        if let Ok(Some(field)) = find(&kind, &body) {
            let rest = field.name.strip_prefix("p/").unwrap().to_owned();
            let new = replaced(&field, &body, &rest);
            let span = field.span.start..field.span.start + rest.len();
            prop_assert_eq!(judged(&kind, &new), Ok(Some((rest, span))));
        }
    }

    #[test]
    fn a_boundary_is_read_however_it_is_written(
        boundary in boundary(),
        before in prop::collection::vec(("[a-z]{1,4}", "[ -~]{0,6}"), 0..3),
        case in choices(),
        bare in any::<bool>(),
    ) {
        prop_assume!(before.iter().all(|(name, _)| name != "boundary"));
        let mut header = odd_case("multipart/form-data", &case);
        for (name, value) in before {
            header += &format!("; {name}={}", quoted(&value, &case));
        }
        let bare = bare && !boundary.contains(' ');
        let value = if bare { boundary.clone() } else { quoted(&boundary, &case) };
        header += &format!(" ;{}={value}; charset=utf-8", odd_case("boundary", &case));
        prop_assert_eq!(body_kind(Some(&header)), BodyKind::Multipart { boundary });
    }
}
