//! Invariants of every body in which a model was found, and of every list of models.

pub mod list;

use model_filter::model_field::{BodyKind, Form, ModelField, find};

/// Replaces the name by others, and by what is left of it behind every prefix.
///
/// # Panics
/// If another byte than those of the name and of its part's length changed, or if the new body does
/// not have the new name in its place.
pub fn check(kind: &BodyKind, body: &[u8], field: &ModelField) {
    let old = &body[field.span.clone()];
    if field.form == Form::Multipart {
        assert_eq!(old, field.name.as_bytes());
    }
    rename(kind, body, field, "");
    rename(kind, body, field, "openai/gpt-4.1:free \"x\\");
    if field.form == Form::Json {
        rename(kind, body, field, "--\r\n\u{1}\u{7f}\u{2028}\u{10ffff}");
    }
    // Prefixes end with a slash.
    for (at, _) in field.name.match_indices('/').take(4) {
        rename(kind, body, field, &field.name[at + 1..]);
    }
}

fn rename(kind: &BodyKind, body: &[u8], field: &ModelField, name: &str) {
    let mut new = body.to_vec();
    field.replace(&mut new, name);
    let mut before = body[..field.span.start].to_vec();
    if let Some(length) = &field.length {
        before.splice(length.clone(), name.len().to_string().into_bytes());
    }
    let after = &body[field.span.end..];
    assert!(new.starts_with(&before), "the bytes before the name changed");
    assert!(new[before.len()..].ends_with(after), "the bytes behind the name changed");
    let written = &new[before.len()..new.len() - after.len()];

    let again = find(kind, &new).expect("the new body is read as the old one was");
    let again = again.model.expect("the new body names a model");
    assert_eq!(again.name, name);
    assert_eq!(again.span, before.len()..before.len() + written.len());
    assert_eq!(again.form, field.form);
    match field.form {
        Form::Json => assert_eq!(serde_json::from_slice::<String>(written).unwrap(), name),
        Form::Multipart => assert_eq!(written, name.as_bytes()),
    }
}
