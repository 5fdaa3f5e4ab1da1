//! The kind of a body, by its `Content-Type`.

use super::field::ModelField;
use super::parameters::parameters;
use super::{json, multipart};
use crate::error::Error;

/// How a body names its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyKind {
    /// JSON.
    Json,
    /// Any `multipart/*` with a boundary.
    Multipart {
        /// The delimiter of its parts, without the leading dashes.
        boundary: String,
    },
    /// A `multipart/*` that servers may split into different parts.
    Ambiguous,
    /// Anything else. It names no model.
    Opaque,
}

/// The kind of a body. Without a `Content-Type` it is JSON, as common servers assume.
pub fn body_kind(content_type: Option<&str>) -> BodyKind {
    let content_type = content_type.unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence.is_empty() || essence == "application/json" || essence.ends_with("+json") {
        return BodyKind::Json;
    }
    let whole = content_type.to_ascii_lowercase();
    if !whole.contains("multipart") {
        return BodyKind::Opaque;
    }
    // Some servers search the whole field for the word.
    let mentions = |text: &str| text.to_ascii_lowercase().contains("boundary");
    let (mut own, others): (Vec<_>, Vec<_>) =
        parameters(content_type).into_iter().partition(|(name, _)| name == "boundary");
    let elsewhere =
        mentions(&essence) || others.iter().any(|(name, value)| mentions(name) || mentions(value));
    match (own.pop(), own.pop()) {
        (None, _) if !elsewhere => BodyKind::Opaque,
        (Some((_, boundary)), None) if !elsewhere && boundary.is_empty() => BodyKind::Opaque,
        (Some((_, boundary)), None) if !elsewhere && essence.starts_with("multipart/") => {
            BodyKind::Multipart { boundary }
        }
        _ => BodyKind::Ambiguous,
    }
}

/// Finds the model that a body names. An empty body names none.
///
/// # Errors
/// 400 if the body does not match its kind, names two models, or the model is not text or too
/// long.
pub fn find(kind: &BodyKind, body: &[u8]) -> Result<Option<ModelField>, Error> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    match kind {
        BodyKind::Json => json::find(body),
        BodyKind::Multipart { boundary } => multipart::find(body, boundary),
        BodyKind::Ambiguous => {
            Err(Error::bad_request("the boundary of the multipart body is not clear"))
        }
        BodyKind::Opaque => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multipart(boundary: &str) -> BodyKind {
        BodyKind::Multipart { boundary: boundary.into() }
    }

    #[test]
    fn a_content_type_tells_the_kind_of_body() {
        use BodyKind::{Ambiguous, Json, Opaque};
        let kinds = [
            ("application/json", Json),
            ("Application/JSON ; charset=utf-8", Json),
            ("application/vnd.api+json", Json),
            ("", Json),
            ("application/jsonl", Opaque),
            ("application/json-seq", Opaque),
            ("text/plain", Opaque),
            ("multipart/form-data", Opaque),
            ("multipart/form-data; boundary=", Opaque),
            ("multipart/form-data; xboundary=a", Ambiguous),
            ("multipart/form-data boundary=a", Ambiguous),
            ("multipart/form-data; charset=x boundary=a", Ambiguous),
            ("multipart/form-data; x=boundary=a", Ambiguous),
            ("text/plain; multipart/form-data; boundary=a", Ambiguous),
            ("text/plain, multipart/form-data; boundary=a", Ambiguous),
            ("text/plain; boundary=a", Opaque),
            ("Multipart/Form-Data; charset=x; BOUNDARY=--aB ; y=z", multipart("--aB")),
            ("multipart/mixed; x=\"; y=no\"; boundary=\"a; \\\"b\"", multipart("a; \"b")),
            ("multipart/mixed; x=\"; boundary=no\"; boundary=a", Ambiguous),
        ];
        for (content_type, kind) in kinds {
            assert_eq!(body_kind(Some(content_type)), kind, "{content_type}");
        }
        assert_eq!(body_kind(None), Json);
    }

    #[test]
    fn an_empty_body_names_no_model() {
        for kind in [BodyKind::Json, multipart("B"), BodyKind::Ambiguous, BodyKind::Opaque] {
            for body in ["", " \r\n"] {
                assert_eq!(find(&kind, body.as_bytes()).unwrap(), None, "{kind:?}");
            }
        }
    }
}
