//! The kind of a body, by its `Content-Type`.

use super::names::Names;
use super::plain::{Plain, is_token, is_utf8, mentions};
use super::{form, json, multipart};
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
    /// A form post, `application/x-www-form-urlencoded`.
    Form,
    /// Data in another notation, such as YAML or MessagePack. Gin, Echo and Fiber read the fields of a
    /// request from many of them.
    Notation,
    /// Anything else. It names no model.
    Opaque,
}

impl BodyKind {
    /// The kind of a body. Without a `Content-Type` it is JSON, as common servers assume.
    ///
    /// # Errors
    /// 400 if servers might decode the body in different ways: the field is malformed, its charset is
    /// not UTF-8, or the boundary is not plain.
    pub fn of(content_type: Option<&str>) -> Result<BodyKind, Error> {
        let content_type = content_type.unwrap_or_default().trim();
        if content_type.is_empty() {
            return Ok(BodyKind::Json);
        }
        let malformed = || Error::bad_request("the request's Content-Type is malformed");
        let Plain { value, parameters } = Plain::parse(content_type).ok_or_else(malformed)?;
        let media_type = value.to_ascii_lowercase();
        let is_type = media_type.split_once('/').is_some_and(|(a, b)| is_token(a) && is_token(b));
        let is_multipart = media_type.starts_with("multipart/");
        // Lax servers search the whole field for these words.
        let is_plain = ["charset", "boundary"].iter().all(|word| {
            let mut others = parameters.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(word));
            let is_free = |text: &str| !mentions(text, word);
            is_free(value) && others.all(|(name, value)| is_free(name) && is_free(value))
        });
        let is_ambiguous = mentions(content_type, "multipart") && !is_multipart;
        if !is_type || !is_plain || is_ambiguous {
            return Err(malformed());
        }
        let get = |wanted: &str| {
            let found = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| *value)
        };
        if get("charset").is_some_and(|charset| !is_utf8(charset)) {
            let what = "the charset in the request's Content-Type is not utf-8";
            return Err(Error::bad_request(what));
        }
        if is_multipart {
            let boundary = get("boundary").filter(|boundary| is_boundary(boundary));
            let boundary = boundary.ok_or_else(|| {
                Error::bad_request(
                    "the Content-Type of the multipart body must have a boundary of 1 to 70 letters, \
                     digits and characters of '+_.-",
                )
            })?;
            return Ok(BodyKind::Multipart { boundary: boundary.to_owned() });
        }
        Ok(match media_type.as_str() {
            "application/json" => BodyKind::Json,
            "application/x-www-form-urlencoded" => BodyKind::Form,
            _ if media_type.ends_with("+json") => BodyKind::Json,
            _ if is_notation(&media_type) => BodyKind::Notation,
            _ => BodyKind::Opaque,
        })
    }
}

/// The words in media types of data in other notations than JSON.
const NOTATIONS: [&str; 13] = [
    "xml",
    "yaml",
    "yml",
    "toml",
    "msgpack",
    "messagepack",
    "cbor",
    "bson",
    "protobuf",
    "proto",
    "smile",
    "ubjson",
    "json5",
];

/// Whether a media type in lower case is one of data with named fields. An image in XML has none.
fn is_notation(media_type: &str) -> bool {
    let mut words = media_type.split(|c: char| !c.is_ascii_alphanumeric());
    !media_type.starts_with("image/") && words.any(|word| NOTATIONS.contains(&word))
}

fn is_boundary(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"'+_.-".contains(&byte);
    (1..=70).contains(&text.len()) && text.bytes().all(is_part)
}

/// Refuses UTF-16 and UTF-32, in which some servers read JSON without a charset.
///
/// # Errors
/// 400 for their byte order marks, and for a NUL among the first two bytes that are not blank.
pub fn check_encoding(body: &[u8]) -> Result<(), Error> {
    let marks: [&[u8]; 3] = [b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"];
    let is_marked = marks.iter().any(|mark| body.starts_with(mark));
    if is_marked || body.trim_ascii_start().iter().take(2).any(|&byte| byte == 0) {
        return Err(Error::bad_request("the request's body is not UTF-8 but UTF-16 or UTF-32"));
    }
    Ok(())
}

/// Finds the models that a body names. An empty body names none.
///
/// # Errors
/// 400 if the body does not match its kind, names its model twice, or a model is not text or too
/// long.
pub fn find(kind: &BodyKind, body: &[u8]) -> Result<Names, Error> {
    if body.trim_ascii().is_empty() {
        return Ok(Names::default());
    }
    match kind {
        BodyKind::Json => {
            check_encoding(body)?;
            json::find(body)
        }
        BodyKind::Multipart { boundary } => multipart::find(body, boundary).map(Names::from),
        BodyKind::Form => form::find(body),
        BodyKind::Notation => {
            let what = "the model of a body in this format cannot be judged; send JSON or \
                        multipart/form-data";
            Err(Error::bad_request(what))
        }
        BodyKind::Opaque => Ok(Names::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multipart(boundary: &str) -> BodyKind {
        BodyKind::Multipart { boundary: boundary.into() }
    }

    #[test]
    fn a_content_type_has_a_kind() {
        use BodyKind::{Json, Opaque};
        let kinds = [
            ("application/json", Json),
            ("Application/JSON ; Charset=\"UTF-8\"", Json),
            ("application/vnd.api+json;", Json),
            ("", Json),
            ("application/jsonl", Opaque),
            ("application/json-seq; charset=us-ascii", Opaque),
            ("text/plain;charset=utf8", Opaque),
            ("text/plain; boundary=a", Opaque),
            ("image/svg+xml", Opaque),
            ("text/XML", BodyKind::Notation),
            ("application/x-yaml", BodyKind::Notation),
            ("application/vnd.google.protobuf", BodyKind::Notation),
            ("Application/X-WWW-Form-Urlencoded", BodyKind::Form),
            (
                "Multipart/Form-Data; charset=utf-8; BOUNDARY=--Boundary; y=z",
                multipart("--Boundary"),
            ),
            ("multipart/mixed; x=\"; y=no\"; boundary=\"a'+_.-9\"", multipart("a'+_.-9")),
        ];
        for (content_type, kind) in kinds {
            assert_eq!(BodyKind::of(Some(content_type)), Ok(kind), "{content_type}");
        }
        assert_eq!(BodyKind::of(None), Ok(Json));
    }

    #[test]
    fn a_content_type_that_is_not_plain_is_refused() {
        let longest = "b".repeat(70);
        assert!(BodyKind::of(Some(&format!("multipart/form-data; boundary={longest}"))).is_ok());
        let boundaries = [
            "",
            "\"\"",
            "\"a b\"",
            "a b",
            "\"a ",
            "\"a",
            "\"a\"b",
            "a ;",
            "a,b",
            "a(b)",
            "a=b",
            "é",
            "\"a\\b\"",
            "a; boundary=a",
            "a; Boundary=b",
            "a; boundary*0=b",
            "a; x=\"; boundary=b\"",
            &format!("{longest}b"),
        ];
        for boundary in boundaries {
            let content_type = format!("multipart/form-data; boundary={boundary}");
            let error = BodyKind::of(Some(&content_type)).unwrap_err();
            assert!(error.message.contains("Content-Type"), "{content_type}: {error}");
        }
        for charset in ["utf-7", "utf-16", "cp037", "\"utf-8 \"", "'utf-8'", "utf-8,x", ""] {
            for kind in ["application/json", "text/plain", "multipart/form-data; boundary=B"] {
                let error = BodyKind::of(Some(&format!("{kind}; charset={charset}"))).unwrap_err();
                assert!(error.message.contains("Content-Type"), "{charset}: {error}");
            }
        }
        let others = [
            "json",
            ";",
            "a/b/c",
            "a b/c",
            "application/json charset=utf-7",
            "text/plain; charset",
            "text/plain; charset*=utf-7",
            "text/plain; xcharset=utf-7",
            "text/plain; x=\"charset=a\"",
            "text/plain; charset=utf-8; charset=utf-8",
            "application/json, text/plain",
            "multipart/form-data",
            "multipart/form-data; x=boundary; boundary=B",
            "multipart/boundary; x=y; boundary=B",
            "application/json; x=multipart",
            "x-multipart/a; boundary=B",
        ];
        for content_type in others {
            assert!(BodyKind::of(Some(content_type)).is_err(), "{content_type}");
        }
    }

    #[test]
    fn utf_16_and_utf_32_are_refused() {
        let wide: [&[u8]; 6] =
            [b"\xff\xfe", b"\xfe\xff{", b"\0\0\xfe\xff", b"\n{\0", b"\0{", b" \0\0\0{\0\0\0"];
        for body in wide {
            let error = find(&BodyKind::Json, body).unwrap_err();
            assert!(error.message.contains("UTF-16"), "{error}");
        }
        assert!(check_encoding("\u{feff}{}".as_bytes()).is_ok());
    }

    #[test]
    fn an_empty_body_names_no_model() {
        for kind in [BodyKind::Json, multipart("B"), BodyKind::Form, BodyKind::Opaque] {
            for body in ["", " \r\n"] {
                assert_eq!(find(&kind, body.as_bytes()).unwrap(), Names::default(), "{kind:?}");
            }
        }
    }
}
