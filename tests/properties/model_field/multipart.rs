//! The model of generated multipart bodies.

use model_filter::model_field::{BodyKind, Form, Names, find};
use proptest::prelude::*;

use super::body::{Body, edited, edits, judged, replaced};
use super::json::{choices, text};
use super::multipart_judge::naive_multipart;
use crate::cases;

pub(super) fn boundary() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("B".to_owned()),
        2 => prop::sample::select(vec!["-", "--", "----WebKitFormBoundary7MA4YWxkTrZu0gW", "a.'b+_"])
            .prop_map(str::to_owned),
        2 => "[0-9a-zA-Z'+_.-]{1,12}",
    ]
}

pub(super) fn odd_case(word: &str, choices: &[u8]) -> String {
    let case = |(at, c): (usize, char)| match choices[at % choices.len()] % 2 {
        0 => c.to_ascii_lowercase(),
        _ => c.to_ascii_uppercase(),
    };
    word.chars().enumerate().map(case).collect()
}

/// Mostly what is plain, sometimes something else.
fn one_of(plain: &[&'static str], odd: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    let of = |words: &[&'static str]| prop::sample::select(words.to_vec()).prop_map(str::to_owned);
    prop_oneof![12 => of(plain), 1 => of(odd)]
}

fn value() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        6 => one_of(
            &["model", "model", "model", "file", "models", "prompt"],
            &["Model", " model", "model ", "model[]", "[model]", "model[0]", "_charset_", "", "mo\\del"],
        ),
        2 => one_of(
            &["a.wav", "x y.txt", "é.wav", "UTF-8''a.wav"],
            &["a; name=model", "a\"; name=\"model", "filename=1", "a=b", "é\u{85}"],
        ),
        1 => "[ -~]{0,6}",
    ];
    let written = one_of(&["V", "\"V\"", "\"V\""], &["\"V", "V\"", "'V'", " V", "\"V\"x"]);
    (text, written).prop_map(|(text, written)| {
        let is_bare = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric());
        if written == "V" && !is_bare { format!("\"{text}\"") } else { written.replace('V', &text) }
    })
}

fn disposition() -> impl Strategy<Value = String> {
    let file = one_of(
        &["filename", "filename", "filename*"],
        &["x", "name", "name*", "FILENAME", "filename "],
    );
    let files = prop::collection::vec((gap(), file, value()), 0..3);
    let start = one_of(
        &["form-data"; 3],
        &[
            "form-data ",
            "attachment",
            "Form-Data",
            "form-data; x=y",
            "form-data; filename=\"; name=model\"",
        ],
    );
    let name = one_of(&["name"; 3], &["NAME", "name*", "name ", "xname"]);
    let colon = one_of(&[":", ": ", ":\t"], &[" :", "", ":\r\n "]);
    let end = one_of(&["", "", " ", ";"], &[";;", "\n", ", x"]);
    (choices(), colon, start, (gap(), name, value()), files, end).prop_map(
        |(choices, colon, start, name, files, end)| {
            let field = odd_case("Content-Disposition", &choices);
            let files = files.into_iter().filter(|_| choices[0] % 3 == 0);
            let parameters = [name].into_iter().chain(files);
            let parameters = parameters.map(|(gap, name, value)| format!(";{gap}{name}={value}"));
            format!("{field}{colon}{start}{}{end}", parameters.collect::<String>())
        },
    )
}

fn gap() -> impl Strategy<Value = String> {
    one_of(&["", " ", "  ", "\t"], &["\r\n ", "\x0c", "x"])
}

/// `N` is replaced by the length of the content.
fn header() -> impl Strategy<Value = String> {
    let other = one_of(
        &[
            "Content-Type: text/plain",
            "Content-Type: text/plain; charset=\"UTF-8\"",
            "content-type:Text/Plain ;charset=iso-8859-1;",
            "X-Disposition: x; name=model",
            "X:",
            "Content-Length: N",
            "Content-Transfer-Encoding: 8bit",
        ],
        &[
            "Content-Type: text/plain; charset=utf-7",
            "Content-Type: application/json",
            "Content-Type: multipart/mixed; boundary=C",
            "Content-Type: message/rfc822",
            "Content-Disposition: form-data",
            "Content-Length: 0",
            "Content-Length: +N",
            "Content-Transfer-Encoding: base64",
            "Content-Encoding: gzip",
            "no colon",
            ": x",
            "X: \0",
            "X: y\nContent-Disposition: form-data; name=model",
            "X: y\rContent-Disposition: form-data; name=model",
        ],
    );
    let others = prop::collection::vec(other, 0..3);
    (prop::option::weighted(0.9, disposition()), others).prop_map(|(disposition, others)| {
        disposition.into_iter().chain(others).map(|line| line + "\r\n").collect()
    })
}

/// Texts that are easily mistaken for something else.
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
        let line_end = one_of(&["\r\n"; 3], &["\n", " \r\n", "\x0c\r\n", "x\r\n"]);
        let content =
            prop_oneof![2 => text().prop_map(String::into_bytes), 1 => content(boundary.clone())];
        let part = (line_end, header(), content);
        let before = one_of(&["", "", "\r\n"], &["x", "\n", "x\r\n"]);
        let close =
            one_of(&["--\r\n", "--"], &["--x", "--\r\nx", "--\r\n\r\n", "", "\r\n", "--\r\n--B"]);
        (Just(boundary), before, prop::collection::vec(part, 0..4), close).prop_map(
            |(boundary, before, parts, close)| {
                let mut body = before.into_bytes();
                for (line_end, header, content) in parts {
                    let header = header.replace('N', &content.len().to_string());
                    body.extend(format!("--{boundary}{line_end}{header}\r\n").into_bytes());
                    body.extend(content);
                    body.extend(b"\r\n");
                }
                body.extend(format!("--{boundary}{close}").into_bytes());
                (boundary, Body(body))
            },
        )
    })
}

/// A part of a form as clients send it: its name, its file name, and its content.
type Field = (&'static str, Option<&'static str>, Vec<u8>);

fn fields() -> impl Strategy<Value = Vec<Field>> {
    let name = prop::sample::select(vec!["model", "model", "file", "prompt", "models"]);
    let file = prop::sample::select(vec!["a.wav", "é b.wav", "a;b.wav", ""]);
    let content = prop_oneof![
        3 => text().prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => content("C".into()),
    ];
    prop::collection::vec((name, prop::option::weighted(0.3, file), content), 0..5)
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
        edits in edits(b"\r\n-- \t:B\"\\m;=\x0c\0"),
    ) {
        let body = edited(edits, body);
        let kind = BodyKind::Multipart { boundary: boundary.clone() };
        prop_assert_eq!(judged(&kind, &body), naive_multipart(&boundary, &body));
    }

    /// No judge: the generator knows the model.
    #[test]
    fn the_model_of_a_form_is_the_one_that_the_client_put_in(
        boundary in boundary(),
        fields in fields(),
        is_bare in any::<bool>(),
    ) {
        let delimiter = format!("--{boundary}").into_bytes();
        let mut body = Vec::new();
        let mut models = Vec::new();
        for (name, file, content) in &fields {
            prop_assume!(!content.windows(delimiter.len()).any(|window| window == delimiter));
            let name = if is_bare { (*name).to_owned() } else { format!("\"{name}\"") };
            let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
            let header = format!("Content-Disposition: form-data; name={name}{file}\r\n\r\n");
            body.extend(format!("--{boundary}\r\n{header}").into_bytes());
            if name.trim_matches('"') == "model" {
                models.push((content.clone(), body.len()..body.len() + content.len()));
            }
            body.extend(content);
            body.extend(b"\r\n");
        }
        body.extend(format!("--{boundary}--\r\n").into_bytes());
        let expected = match &models[..] {
            [] => Ok(None),
            [(content, span)] => match std::str::from_utf8(content) {
                Ok(name) if !name.contains('\0') => Ok(Some((name.to_owned(), span.clone()))),
                _ => Err(()),
            },
            _ => Err(()),
        };
        prop_assert_eq!(judged(&BodyKind::Multipart { boundary }, &body), expected);
    }

    #[test]
    fn the_new_form_has_the_new_name_and_every_other_byte(
        (boundary, body) in form(),
        new_name in "[ -~]{0,10}",
    ) {
        prop_assume!(!new_name.contains(&format!("--{boundary}")));
        let kind = BodyKind::Multipart { boundary };
        if let Ok(Names { model: Some(field), .. }) = find(&kind, &body) {
            prop_assert_eq!(field.form, Form::Multipart);
            let new = replaced(&field, &body, &new_name);
            let again = find(&kind, &new).unwrap().model.unwrap();
            prop_assert_eq!(&new[again.span], new_name.as_bytes());
            prop_assert_eq!(again.name, new_name);
        }
    }

    /// The rest of a name, without the prefix, must not be read as the start of another part.
    #[test]
    fn a_name_without_its_prefix_is_still_one_name(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "p/", "x", "--B", "\r\n", "--", "\r\n\r\n", "Content-Disposition: form-data; name=model",
        ]), 0..7),
    ) {
        let kind = BodyKind::Multipart { boundary: "B".into() };
        let name = format!("p/{}", pieces.concat());
        let header = "Content-Disposition: form-data; name=\"model\"";
        let body = format!("--B\r\n{header}\r\n\r\n{name}\r\n--B--\r\n").into_bytes();
        if let Ok(Names { model: Some(field), .. }) = find(&kind, &body) {
            let rest = field.name.strip_prefix("p/").unwrap().to_owned();
            let new = replaced(&field, &body, &rest);
            let span = field.span.start..field.span.start + rest.len();
            prop_assert_eq!(judged(&kind, &new), Ok(Some((rest, span))));
        }
    }
}
