//! Where a request's body names its model, and the body with another name in that place.
//!
//! Nothing is parsed into a tree and written again: [`find`] tells which bytes hold the name, in
//! JSON the value of the top-level `model` key, in multipart (RFC 7578) the content of the part
//! called `model`, and [`ModelField::replace`] exchanges these bytes only. A body that names two
//! models is refused, because an upstream might go by the other one. Limits: bodies are whole and
//! uncompressed; line ends in multipart are CRLF, as RFC 2046 has them, and what lax readers might
//! understand otherwise is refused; the charset of a part is not looked at.

use std::fmt;
use std::ops::Range;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::error::Error;
use crate::json;

/// The longest name, in bytes: those of real models have some dozens.
const LONGEST: usize = 1024;

/// Where a body names its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelField {
    /// The name, decoded.
    pub name: String,
    /// The bytes to replace: in JSON the string literal with its quotes, in multipart the content
    /// of the part.
    pub span: Range<usize>,
    /// How a name is written there.
    pub form: Form,
}

/// How a name is written into a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As a string literal.
    Json,
    /// As it is.
    Multipart,
}

impl ModelField {
    /// Gives the body another name, in its place: a body may be long, and there is to be one of
    /// it. `body` must be the one in which this field was found.
    pub fn replace(&self, body: &mut Vec<u8>, name: &str) {
        let written = match self.form {
            Form::Json => serde_json::Value::from(name).to_string(),
            Form::Multipart => name.to_owned(),
        };
        body.splice(self.span.clone(), written.into_bytes());
    }
}

/// What a body is, as far as names of models go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyKind {
    /// JSON.
    Json,
    /// Any `multipart/*` with a boundary.
    Multipart {
        /// What stands between the parts, without the leading dashes.
        boundary: String,
    },
    /// A `multipart/*` of which one server may see other parts than another.
    Ambiguous,
    /// Anything else: names no model.
    Opaque,
}

/// Tells what a body is by its `Content-Type`. Without one it is taken for JSON, as the common
/// servers do.
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
    // Some servers take what stands behind the word anywhere.
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

/// Finds where a body names its model. An empty body names none.
///
/// # Errors
/// 400 for a body that is not what `kind` says, and for one that names two models, a model that is
/// no text, or one whose name is too long.
pub fn find(kind: &BodyKind, body: &[u8]) -> Result<Option<ModelField>, Error> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    match kind {
        BodyKind::Json => find_in_json(body),
        BodyKind::Multipart { boundary } => find_in_multipart(body, boundary),
        BodyKind::Ambiguous => {
            Err(Error::bad_request("the boundary of the multipart body is not clear"))
        }
        BodyKind::Opaque => Ok(None),
    }
}

/// Judges how long a name is, in bytes. It is copied, for the log too, and so it must not take as
/// much memory as a body.
///
/// # Errors
/// 400 for more than 1,024 bytes.
pub fn check_length(length: usize) -> Result<(), Error> {
    if length > LONGEST {
        let what = format!("the name of the model is longer than {LONGEST} bytes");
        return Err(Error::bad_request(what));
    }
    Ok(())
}

fn two_models() -> Error {
    Error::bad_request("the body names its model twice")
}

fn find_in_json(body: &[u8]) -> Result<Option<ModelField>, Error> {
    let invalid = |cause: &dyn fmt::Display| {
        Error::bad_request(format!("the body is not valid JSON: {cause}"))
    };
    let text = std::str::from_utf8(body).map_err(|cause| invalid(&cause))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.trim_ascii_start().starts_with('{') {
        serde_json::from_str::<IgnoredAny>(text).map_err(|cause| invalid(&cause))?;
        return Ok(None);
    }
    let model = json::member(text, "model").map_err(|cause| invalid(&cause))?;
    if model.repeated {
        return Err(two_models());
    }
    if model.respelled {
        // Go's own JSON decoder, in many a server, does not tell them apart.
        let what = "the body has a key that is `model` but for upper and lower case";
        return Err(Error::bad_request(what));
    }
    let Some(literal) = model.value.map(RawValue::get) else { return Ok(None) };
    if !literal.starts_with('"') {
        return Err(Error::bad_request("`model` in the body is not a string"));
    }
    // Escaped, a byte takes six at most: what is longer even so need not be decoded.
    check_length((literal.len() - 2) / 6)?;
    let name: String = serde_json::from_str(literal).map_err(|cause| {
        Error::bad_request(format!("`model` in the body is not a valid string: {cause}"))
    })?;
    check_length(name.len())?;
    Ok(Some(ModelField { name, span: json::span(literal, body), form: Form::Json }))
}

fn find_in_multipart(body: &[u8], boundary: &str) -> Result<Option<ModelField>, Error> {
    let malformed =
        |what: &str| Error::bad_request(format!("the multipart body is malformed: {what}"));
    // A search for literal bytes, which this crate does at several GB a second.
    let delimiter =
        regex::bytes::Regex::new(&format!(r"--{}(--|[ \t]*\r\n)?", regex::escape(boundary)))
            .map_err(|_| malformed("its boundary is too long"))?;

    let mut found = None;
    let mut part_start = None;
    for delimiter in delimiter.find_iter(body) {
        let before = &body[..delimiter.start()];
        let is_bare = delimiter.len() == boundary.len() + 2;
        // At the start of a line for those who take a lone LF or CR for its end.
        let lax = before.is_empty() || before.ends_with(b"\n") || before.ends_with(b"\r");
        let strict = before.is_empty() || before.ends_with(b"\r\n");
        let goes_on = || body.get(delimiter.end()).is_some_and(|byte| !b"\r\n \t".contains(byte));
        match (lax, strict) {
            (false, _) => continue,
            // A line that only begins like the boundary is content.
            (true, _) if is_bare && goes_on() => continue,
            (true, true) if !is_bare => {}
            _ => return Err(malformed("a boundary does not stand on a line that ends in CRLF")),
        }
        if part_start.is_none() && before.trim_ascii().starts_with(b"{") {
            return Err(malformed("it begins like JSON"));
        }
        if let Some(part_start) = part_start {
            // The line end before a delimiter belongs to it. Where two share one, there is no part
            // between them, and `get` finds the range to be none.
            let end = delimiter.start() - 2;
            let part = body.get(part_start..end);
            let (header, content) = part
                .and_then(split_part)
                .ok_or_else(|| malformed("a part's header does not end, or is too long"))?;
            if is_model(header)? {
                check_length(content.len())?;
                let name = std::str::from_utf8(content)
                    .map_err(|_| Error::bad_request("the part `model` of the body is not UTF-8"))?
                    .to_owned();
                // With its prefix taken off it could begin with what parts begin with.
                if name.contains(&format!("--{boundary}")) {
                    return Err(malformed("its model holds the boundary"));
                }
                let span = end - content.len()..end;
                if found.replace(ModelField { name, span, form: Form::Multipart }).is_some() {
                    return Err(two_models());
                }
            }
        }
        if delimiter.as_bytes().ends_with(b"--") {
            return Ok(found);
        }
        part_start = Some(delimiter.end());
    }
    Err(malformed("its closing boundary is missing"))
}

/// The longest header of a part, in bytes: browsers need a few hundred.
const PART_HEADER_LIMIT: usize = 16 * 1024;

/// The header and the content of a part.
fn split_part(part: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(content) = part.strip_prefix(b"\r\n") {
        return Some((&[], content));
    }
    let searched = &part[..part.len().min(PART_HEADER_LIMIT)];
    let end = searched.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&part[..end], &part[end + 4..]))
}

/// Whether a part with this header is the field `model`. An uploaded file is not, whatever it is
/// called.
///
/// # Errors
/// 400 for a name in the form `name*=`, which RFC 7578 does not allow and some servers decode.
fn is_model(header: &[u8]) -> Result<bool, Error> {
    let unfolded = String::from_utf8_lossy(header).replace("\r\n ", "  ").replace("\r\n\t", "  ");
    let mut is_model = false;
    let transfer = |(name, value): (&str, &str)| {
        name.trim().eq_ignore_ascii_case("content-transfer-encoding")
            && !["7bit", "8bit", "binary"].iter().any(|c| value.trim().eq_ignore_ascii_case(c))
    };
    if unfolded.split("\r\n").filter_map(|line| line.split_once(':')).any(transfer) {
        let what = "a part of the multipart body has a Content-Transfer-Encoding";
        return Err(Error::bad_request(what));
    }
    for (name, value) in unfolded.split("\r\n").filter_map(|line| line.split_once(':')) {
        if !name.trim().eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        let parameters = parameters(value);
        if parameters.iter().any(|(name, _)| name.starts_with("name*")) {
            return Err(Error::bad_request("a part of the multipart body has its name as `name*`"));
        }
        let named = parameters.iter().any(|(name, value)| name == "name" && value == "model");
        let file = parameters.iter().find(|(name, _)| name == "filename" || name == "filename*");
        match file {
            Some((_, file)) if named && file.is_empty() => {
                return Err(Error::bad_request("the part `model` has an empty file name"));
            }
            Some(_) => {}
            None => is_model |= named,
        }
    }
    Ok(is_model)
}

/// The parameters behind the first `;` of a header's value, with their names in lower case
/// (RFC 2045, section 5.1).
fn parameters(value: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = value.split_once(';').map_or("", |(_, rest)| rest);
    while let Some((before, after)) = rest.split_once('=') {
        // What stands before a further `;` is a word without a value.
        let name = before.rsplit(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (value, following) = parameter_value(after.trim_start());
        parameters.push((name, value));
        rest = following;
    }
    parameters
}

/// The value that a text begins with, quoted or bare, and the text behind it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return (text[..end].trim_end().to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    (value, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn json(body: &str) -> Option<ModelField> {
        find(&BodyKind::Json, body.as_bytes()).unwrap()
    }

    fn refusal(body: impl AsRef<[u8]>) -> String {
        let error = find(&BodyKind::Json, body.as_ref()).unwrap_err();
        assert_eq!(error.code, Code::BadRequest);
        error.message
    }

    fn renamed(body: &str, name: &str) -> String {
        let field = json(body).unwrap();
        let mut body = body.as_bytes().to_vec();
        field.replace(&mut body, name);
        String::from_utf8(body).unwrap()
    }

    fn multipart(boundary: &str) -> BodyKind {
        BodyKind::Multipart { boundary: boundary.into() }
    }

    fn part(disposition: &str, content: &str) -> String {
        format!("--B\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
    }

    fn in_parts(body: impl AsRef<[u8]>) -> Result<Option<String>, Error> {
        let body = body.as_ref();
        let field = find(&multipart("B"), body)?;
        Ok(field.map(|field| {
            assert_eq!(&body[field.span], field.name.as_bytes());
            field.name
        }))
    }

    #[test]
    fn only_the_name_is_replaced_and_no_other_byte() {
        let body = "{ \"a\" : 1.00e0 ,\t\"model\" :  \"p\\/gpt\" , \"b\":[ ]}\n";
        assert_eq!(json(body).unwrap().name, "p/gpt");
        let renamed = renamed(body, "gpt");
        assert_eq!(renamed, "{ \"a\" : 1.00e0 ,\t\"model\" :  \"gpt\" , \"b\":[ ]}\n");
    }

    #[test]
    fn a_new_name_is_escaped() {
        let renamed = renamed(r#"{"model":"x"}"#, "a\"\\\n\u{1}é");
        assert_eq!(renamed, "{\"model\":\"a\\\"\\\\\\n\\u0001é\"}");
    }

    #[test]
    fn a_model_below_the_top_level_is_not_it() {
        assert_eq!(json(r#"{"a":{"model":"x"},"b":[{"model":1}],"c":"model"}"#), None);
        let body = r#"{"a":{"model":"x"},"model":"y"}"#;
        assert_eq!(renamed(body, "z"), r#"{"a":{"model":"x"},"model":"z"}"#);
    }

    #[test]
    fn keys_and_names_may_be_escaped() {
        let field = json(r#"{"\u006dod\u0065l":"\u0067pt\ud83d\ude00"}"#).unwrap();
        assert_eq!(field.name, "gpt😀");
        assert_eq!(field.span, 19..41);
    }

    #[test]
    fn two_models_are_refused_in_whatever_spelling() {
        assert!(refusal(r#"{"model":"a","model":"a"}"#).contains("twice"));
        assert!(refusal(r#"{"model":"a","\u006Dodel":"b"}"#).contains("twice"));
        assert!(refusal(r#"{"model":"a","model":null}"#).contains("twice"));
    }

    #[test]
    fn a_model_that_is_no_string_is_refused() {
        for value in ["null", "1", "true", "[\"a\"]", "{}"] {
            assert!(refusal(format!("{{\"model\":{value}}}")).contains("not a string"));
        }
        assert!(refusal(r#"{"model":"\ud800"}"#).contains("`model`"));
    }

    #[test]
    fn a_body_that_is_no_object_names_no_model() {
        for body in ["", " \r\n", "[{\"model\":\"a\"}]", "\"model\"", "null", "1.5", "{}"] {
            assert_eq!(json(body), None, "{body}");
        }
    }

    #[test]
    fn a_byte_order_mark_does_not_move_the_name() {
        let body = "\u{feff} {\"model\":\"x\"}";
        assert_eq!(renamed(body, "y"), "\u{feff} {\"model\":\"y\"}");
        assert_eq!(json("\u{feff}[]"), None);
    }

    #[test]
    fn a_name_has_1024_bytes_at_most() {
        let (longest, longer) = ("é".repeat(LONGEST / 2), "\u{1}".repeat(LONGEST + 1));
        let in_json = |name: &str| format!("{{\"model\":{}}}", serde_json::Value::from(name));
        let in_part = |name: &str| part("name=model", name) + "--B--";
        assert_eq!(json(&in_json(&longest)).unwrap().name, longest);
        assert_eq!(in_parts(in_part(&longest)).unwrap().unwrap(), longest);
        let escaped = format!("{{\"model\":\"{}\"}}", "\\u0061".repeat(LONGEST));
        assert_eq!(json(&escaped).unwrap().name.len(), LONGEST);

        assert!(refusal(in_json(&longer)).contains("longer than 1024 bytes"));
        assert!(refusal(in_json(&longer.repeat(9))).contains("longer than 1024 bytes"));
        let error = in_parts(in_part(&longer)).unwrap_err();
        assert!(error.message.contains("longer than 1024 bytes"), "{error}");
    }

    #[test]
    fn invalid_json_is_refused_with_its_place() {
        let message = refusal("{\"model\":\"a\",\n \"b\":}");
        assert!(message.starts_with("the body is not valid JSON: "), "{message}");
        assert!(message.ends_with("line 2 column 6"), "{message}");
        let hostile = [
            "{\"model\":\"a\"} x",
            "{\"model\":\"a\"}{\"model\":\"b\"}",
            "{\"model\":\"a\",}",
            "{\"model\":\"a\"",
            "{model:\"a\"}",
            "{'model':'a'}",
            "{1:2}",
            "{\"a\":01}",
            "{\"a\":\"\n\"}",
            "[1] x",
            "\u{feff}",
            "\u{feff}\u{feff}{}",
            "\u{a0}{}",
            "nul",
        ];
        for body in hostile {
            refusal(body);
        }
        assert!(refusal(b"{\"a\":\"\xff\"}").contains("utf-8"));
        assert!(refusal(b"{\"model\":\"\xed\xa0\x80\"}").contains("utf-8"));
    }

    #[test]
    fn a_lone_surrogate_elsewhere_is_none_of_our_business() {
        let body = r#"{"a":"\ud800","\udc00":["\ud800x"],"model":"m"}"#;
        assert_eq!(json(body).unwrap().name, "m");
        assert_eq!(json(r#"["\ud800"]"#), None);
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let deep = |open: &str, close: &str| open.repeat(100_000) + "1" + &close.repeat(100_000);
        let body = format!("{{\"a\":{},\"model\":\"m\"}}", deep("[", "]"));
        assert_eq!(json(&body).unwrap().name, "m");
        assert_eq!(json(&deep("[", "]")), None);
        assert_eq!(json(&deep("{\"model\":", "}").replacen("model", "a", 1)), None);
        assert!(refusal(deep("{\"model\":", "}")).contains("not a string"));
        refusal("[".repeat(100_000));
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
    fn the_part_called_model_is_replaced_and_no_other_byte() {
        let file = part("name=\"file\"; filename=\"a\"", "\0\r\n--\r\n--BX\r\nmodel x--B\r\n");
        let before = format!("preamble --B\r\n{file}");
        let after = "--B--\r\nepilogue\r\n--B\r\n";
        let body = |name| format!("{before}{}{after}", part("name=\"model\"", name));
        let field = find(&multipart("B"), body("p/whisper").as_bytes()).unwrap().unwrap();
        assert_eq!(field.name, "p/whisper");
        let mut replaced = body("p/whisper").into_bytes();
        field.replace(&mut replaced, "whis\"per");
        assert_eq!(String::from_utf8(replaced).unwrap(), body("whis\"per"));
    }

    #[test]
    fn the_model_part_is_recognised_in_every_spelling() {
        let headers = [
            "Content-Disposition: form-data; name=\"model\"",
            "content-disposition:form-data;NAME=model",
            "X: y\r\nCONTENT-DISPOSITION : form-data; a=b ; name = model \r\nContent-Type: text/plain",
            "Content-Disposition: form-data;\r\n\tname=\"mod\\el\"",
        ];
        for header in headers {
            let body = format!("--B \t\r\n{header}\r\n\r\nm\r\n--B--");
            assert_eq!(in_parts(body).unwrap().as_deref(), Some("m"), "{header}");
        }
    }

    #[test]
    fn other_parts_are_not_the_model() {
        let others = [
            "name=\"models\"",
            "name=\"Model\"",
            "name=\"model\"; filename=\"model\"",
            "name=\"model\"; filename*=UTF-8''model",
            "name=\"x\"; filename=\"; name=model\"",
            "name=\"x\\\"; name=model\"",
            "xname=model",
        ];
        for disposition in others {
            let body = part(disposition, "m") + "--B--\r\n";
            assert_eq!(in_parts(body).unwrap(), None, "{disposition}");
        }
        assert_eq!(in_parts("--B\r\n\r\nname=model\r\n--B--").unwrap(), None);
        assert_eq!(in_parts("--B--\r\n").unwrap(), None);
        assert_eq!(in_parts("").unwrap(), None);
        let nested = part("name=x", "\r\nContent-Disposition: form-data; name=model\r\n\r\nm");
        assert_eq!(in_parts(nested + "--B--").unwrap(), None);
    }

    #[test]
    fn two_model_parts_are_refused() {
        let body = part("name=model", "a") + &part("name=\"model\"", "a") + "--B--";
        assert!(in_parts(body).unwrap_err().message.contains("twice"));
    }

    #[test]
    fn malformed_multipart_is_refused() {
        let model = part("name=model", "m");
        let hostile = [
            "x".to_owned(),
            model.clone(),
            format!("{model}--B"),
            format!("{model}--BX--"),
            format!("{model} --B--"),
            model.replace("\r\n", "\n") + "--B--",
            "--B\r\n--B--".to_owned(),
            "--B\r\nContent-Disposition: form-data; name=model\r\n--B--".to_owned(),
            format!("--B\r\nX: {}\r\n\r\nm\r\n--B--", "x".repeat(PART_HEADER_LIMIT)),
        ];
        for body in hostile {
            let error = in_parts(&body).unwrap_err();
            assert_eq!(error.code, Code::BadRequest);
            assert!(error.message.contains("malformed"), "{error}");
        }
        let error = in_parts(b"--B\r\nContent-Disposition: x; name=model\r\n\r\n\xff\r\n--B--");
        assert!(error.unwrap_err().message.contains("UTF-8"));
    }

    #[test]
    fn a_boundary_is_taken_literally() {
        let body = b"--a.(b)*\r\nContent-Disposition: x; name=model\r\n\r\nm\r\n--a.(b)*--";
        assert_eq!(find(&multipart("a.(b)*"), body).unwrap().unwrap().name, "m");
        assert!(find(&multipart("a..b.."), body).is_err());
        let dashes = b"-----\r\nContent-Disposition: x; name=model\r\n\r\n----m\r\n-------\r\n";
        assert_eq!(find(&multipart("---"), dashes).unwrap().unwrap().name, "----m");
    }
}
