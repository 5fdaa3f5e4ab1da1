//! The model of generated JSON documents.

use model_filter::model_field::{BodyKind, Form, Names, find};
use proptest::prelude::*;
use serde_json::Value;

use super::body::{Body, edited, edits, judged, replaced};
use super::json_judge::{members_of, naive_json, name_among, values};
use crate::cases;

pub(super) fn space() -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(""), 2 => Just(" "), 1 => Just("\n"), 1 => Just("\t\r\n  ")]
        .prop_map(str::to_owned)
}

/// Text as a string literal, with some characters escaped in one of the possible ways.
pub(super) fn literal(text: &str, choices: &[u8]) -> String {
    let escaped = |(at, c): (usize, char)| {
        let choice = choices[at % choices.len()];
        let short = match c {
            '"' | '\\' | '/' => Some(c),
            '\u{8}' => Some('b'),
            '\u{c}' => Some('f'),
            '\n' => Some('n'),
            '\r' => Some('r'),
            '\t' => Some('t'),
            _ => None,
        };
        let must = c < ' ' || c == '"' || c == '\\';
        match (choice % 8, short) {
            (4.., _) if !must => c.to_string(),
            (2.., Some(short)) => format!("\\{short}"),
            (digits, _) => {
                let units = |unit: &u16| match digits {
                    0 => format!("\\u{unit:04x}"),
                    _ => format!("\\u{unit:04X}"),
                };
                c.encode_utf16(&mut [0; 2]).iter().map(units).collect()
            }
        }
    };
    let written: String = text.chars().enumerate().map(escaped).collect();
    format!("\"{written}\"")
}

pub(super) fn choices() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 8)
}

pub(super) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z/.:-]{0,8}",
        2 => ".{0,8}",
        1 => prop::sample::select(vec!["model", "\u{feff}", "😀", "\"model\":\"x\"", "\\", "\u{0}", "}"])
            .prop_map(str::to_owned),
    ]
}

pub(super) fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => (text(), choices()).prop_map(|(text, choices)| literal(&text, &choices)),
        // Lone surrogates, which the grammar allows.
        1 => prop::sample::select(vec![r#""\ud800""#, r#""a\uDC00""#, r#""\ud83d\ud83d\ude00""#])
            .prop_map(str::to_owned),
    ]
}

pub(super) fn model_key() -> impl Strategy<Value = String> {
    choices().prop_map(|choices| literal("model", &choices))
}

pub(super) fn other_key() -> impl Strategy<Value = String> {
    let like = prop::sample::select(vec![
        r#""Model""#,
        r#""models""#,
        r#""mode""#,
        r#"" model""#,
        r#""\\u006dodel""#,
        r#""model\u0000""#,
        r#""\ud800model""#,
        r#""mod\u00e9l""#,
    ]);
    // Sometimes `model` itself.
    prop_oneof![8 => string(), 2 => like.prop_map(str::to_owned)]
}

pub(super) fn value() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        4 => "-?(0|[1-9][0-9]{0,3})",
        2 => "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?",
        1 => Just("1e999".to_owned()),
    ];
    let word = prop_oneof![Just("null"), Just("true"), Just("false")].prop_map(str::to_owned);
    prop_oneof![4 => string(), 2 => number, 1 => word].prop_recursive(4, 24, 4, |inner| {
        let key = prop_oneof![model_key(), other_key()];
        let array = (prop::collection::vec((space(), inner.clone(), space()), 0..4), space());
        let object = prop::collection::vec(member(key, inner), 0..4);
        prop_oneof![
            array.prop_map(|(items, end)| {
                let items: Vec<String> =
                    items.into_iter().map(|(a, item, b)| a + &item + &b).collect();
                format!("[{}{end}]", items.join(","))
            }),
            object.prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

pub(super) fn member(
    key: impl Strategy<Value = String>,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    (space(), key, space(), space(), value, space())
        .prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"))
}

/// An object with this many members `model` at the top level.
pub(super) fn object(
    models: impl Strategy<Value = usize>,
    model: BoxedStrategy<String>,
) -> impl Strategy<Value = Body> {
    let members = models.prop_flat_map(move |models| {
        let models = prop::collection::vec(member(model_key(), model.clone()), models);
        let others = prop::collection::vec(member(other_key(), value()), 0..4);
        (models, others).prop_map(|(models, others)| [models, others].concat()).prop_shuffle()
    });
    (prop::bool::weighted(0.1), space(), members, space()).prop_map(|(mark, a, members, b)| {
        let mark = if mark { "\u{feff}" } else { "" };
        Body(format!("{mark}{a}{{{}}}{b}", members.join(",")).into_bytes())
    })
}

pub(super) fn document() -> impl Strategy<Value = Body> {
    let models = prop_oneof![2 => Just(0_usize), 6 => Just(1), 2 => Just(2), 1 => Just(3)];
    let model = prop_oneof![4 => string().boxed(), 1 => value().boxed()].boxed();
    let other =
        (space(), value(), space()).prop_map(|(a, value, b)| Body((a + &value + &b).into_bytes()));
    prop_oneof![8 => object(models, model), 1 => other]
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn the_model_of_a_json_document_is_found_as_the_grammar_has_it(body in document()) {
        prop_assert!(members_of(&body).is_ok(), "the generator writes valid documents");
        prop_assert_eq!(judged(&BodyKind::Json, &body), naive_json(&body));
        if let Some(members) = values(&body) {
            let found = judged(&BodyKind::Json, &body).map(|field| field.map(|(name, _)| name));
            prop_assert_eq!(found, name_among(&members));
        }
    }

    #[test]
    fn a_damaged_document_is_refused_where_it_is_none_any_more(
        body in document(),
        edits in edits(b"\"\\{}[]:,.-+eE01 \n\x0c\x00/umodel\xef\xbb\xbf"),
    ) {
        let body = edited(edits, body);
        prop_assert_eq!(judged(&BodyKind::Json, &body), naive_json(&body));
    }

    #[test]
    fn the_new_document_has_the_new_name_and_every_other_byte(
        body in object(Just(1), string().boxed()),
        new_name in prop_oneof![text(), any::<String>()],
    ) {
        prop_assume!(!new_name.contains('\0'));
        let Ok(Names { model: Some(field), .. }) = find(&BodyKind::Json, &body) else {
            // Some have a second model, or a name with a NUL or a lone surrogate.
            prop_assert!(naive_json(&body).is_err());
            return Ok(());
        };
        prop_assert_eq!(field.form, Form::Json);
        let new = replaced(&field, &body, &new_name);
        let again = find(&BodyKind::Json, &new).unwrap().model.unwrap();
        prop_assert_eq!(&again.name, &new_name);
        prop_assert_eq!(again.span.start, field.span.start);
        if let Some(mut members) = values(&body) {
            let model = members.iter_mut().find(|(key, _)| key == "model").unwrap();
            model.1 = Value::from(new_name);
            prop_assert_eq!(values(&new), Some(members));
        }
    }
}
