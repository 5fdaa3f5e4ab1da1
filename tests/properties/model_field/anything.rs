//! Any bytes and any content type.

use model_filter::model_field::{BodyKind, find};
use proptest::prelude::*;

use super::body::{Body, edited, edits, replaced};
use super::json::document;
use super::multipart::{boundary, form};
use crate::cases;

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn no_bytes_make_it_panic(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60).prop_map(Body),
            "[-\r\nB:;=\"\\\\{}\\[\\]model,a ]{0,60}".prop_map(|text| Body(text.into_bytes())),
            (form(), edits(b"\r\n-B;=\"")).prop_map(|((_, body), edits)| edited(edits, body)),
            (document(), edits(b"\"\\{}[]:,")).prop_map(|(body, edits)| edited(edits, body)),
        ],
        boundary in prop_oneof![boundary().boxed(), ".{1,4}".boxed(), "[-\r\n]{1,3}".boxed()],
        new_name in ".{0,4}",
    ) {
        for kind in [BodyKind::Json, BodyKind::Multipart { boundary }, BodyKind::Form, BodyKind::Opaque] {
            let Ok(names) = find(&kind, &body) else { continue };
            for field in names.model.iter().chain(&names.models) {
                prop_assert!(std::str::from_utf8(&body[field.span.clone()]).is_ok());
                replaced(field, &body, &new_name);
            }
        }
    }

    #[test]
    fn no_content_type_makes_it_panic(content_type in prop_oneof![
        ".{0,40}",
        "multipart/[ -~é]{0,6}(; ?[a-z\"\\\\=;é ]{0,8}){0,3}",
        "multipart/x;boundary=[\"\\\\;= a]{0,8}",
    ]) {
        if let Ok(BodyKind::Multipart { boundary }) = BodyKind::of(Some(&content_type)) {
            prop_assert!(!boundary.is_empty());
        }
    }
}
