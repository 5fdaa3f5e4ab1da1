//! One part of a multipart body.

use super::field::malformed;
use super::plain::{BLANKS, Plain, is_token, is_utf8, mentions};
use crate::error::Error;

/// The longest header of a part, in bytes. Browsers send a few hundred.
const HEADER_LIMIT: usize = 16 * 1024;

/// A part of a multipart body.
pub(super) struct Part<'a> {
    pub(super) content: &'a [u8],
    /// Whether it is the field `model`.
    pub(super) is_model: bool,
    /// The value of its `Content-Length`.
    pub(super) length: Option<&'a str>,
}

impl<'a> Part<'a> {
    /// Reads a part, without its delimiters. One with a file name is a field, too: servers disagree
    /// on what a file name is.
    ///
    /// # Errors
    /// 400 if two servers might read the part differently.
    pub(super) fn parse(part: &'a [u8]) -> Result<Part<'a>, Error> {
        let (header, content) = split(part)
            .ok_or_else(|| malformed("the header of a part has no end or is too long"))?;
        let header = std::str::from_utf8(header)
            .map_err(|_| malformed("the header of a part is not UTF-8"))?;
        let (mut disposition, mut content_type, mut length) = (None, None, None);
        for line in header.split_terminator("\r\n") {
            let field = line.split_once(':').filter(|(name, value)| {
                is_token(name) && !value.contains(|c: char| c.is_control() && c != '\t')
            });
            let (name, value) =
                field.ok_or_else(|| malformed("a header field of a part is malformed"))?;
            let value = value.trim_matches(BLANKS);
            let name = name.to_ascii_lowercase();
            let previous = match name.as_str() {
                "content-disposition" => disposition.replace(value),
                "content-type" => content_type.replace(value),
                "content-length" => length.replace(value),
                // Some servers decode these.
                "content-encoding" | "content-transfer-encoding" if !is_identity(value) => {
                    return Err(malformed(&format!("a part has a {name}")));
                }
                _ => None,
            };
            if previous.is_some() {
                return Err(malformed(&format!("a part has two fields {name}")));
            }
        }
        if length.is_some_and(|length| length != content.len().to_string()) {
            return Err(malformed("a part has a wrong content-length"));
        }
        let name = disposition.map(name_in).transpose()?.unwrap_or_default();
        let is_model = name == "model";
        check_type(content_type.unwrap_or_default(), is_model, content.is_ascii())?;
        if !is_model && is_similar(name) {
            return Err(malformed("a part has a name that servers might read as `model`"));
        }
        // Some servers decode the other fields in the charset that this one names.
        if name == "_charset_" {
            return Err(malformed("a part is called `_charset_`"));
        }
        Ok(Part { content, is_model, length })
    }
}

/// Splits a part into header and content.
fn split(part: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(content) = part.strip_prefix(b"\r\n") {
        return Some((&[], content));
    }
    let searched = &part[..part.len().min(HEADER_LIMIT)];
    let end = searched.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&part[..end], &part[end + 4..]))
}

/// The name in a `Content-Disposition`.
fn name_in(value: &str) -> Result<&str, Error> {
    // Lax servers search the whole field for `name=`.
    let is_known = |(name, value): &(&str, &str)| {
        ["name", "filename", "filename*"].contains(name)
            && !(mentions(value, "name") && value.contains('='))
    };
    let plain = Plain::parse(value)
        .filter(|plain| plain.value == "form-data" && plain.parameters.iter().all(is_known));
    match plain.as_ref().and_then(|plain| plain.parameters.first()) {
        Some(("name", name)) => Ok(name),
        _ => Err(malformed(
            "a part has a Content-Disposition that is not `form-data` with a plain name",
        )),
    }
}

/// Checks the type of a part: the model must be text in UTF-8, and no part may contain others.
fn check_type(content_type: &str, is_model: bool, is_ascii: bool) -> Result<(), Error> {
    if ["multipart/", "message/"].iter().any(|kind| mentions(content_type, kind)) {
        return Err(malformed("a part contains parts of its own"));
    }
    if !is_model || content_type.is_empty() {
        return Ok(());
    }
    let is_utf8 = |(name, value): &(&str, &str)| {
        // Java's HttpClient sends ISO-8859-1.
        let is_latin = is_ascii && value.eq_ignore_ascii_case("iso-8859-1");
        name.eq_ignore_ascii_case("charset") && (is_utf8(value) || is_latin)
    };
    match Plain::parse(content_type) {
        Some(Plain { value, parameters })
            if value.eq_ignore_ascii_case("text/plain") && parameters.iter().all(is_utf8) =>
        {
            Ok(())
        }
        _ => Err(malformed("the part `model` is not plain text in utf-8")),
    }
}

/// Whether some servers read a name as `model`: frameworks ignore case, trim blanks, and split
/// `model[0]` and `[model]`.
fn is_similar(name: &str) -> bool {
    let is_edge = |c: char| c.is_whitespace() || c == '[';
    let name = name.trim_start_matches(is_edge);
    let name = name.split(['[', ']']).next().unwrap_or_default();
    name.trim_end().eq_ignore_ascii_case("model")
}

fn is_identity(coding: &str) -> bool {
    ["7bit", "8bit", "binary", "identity"].iter().any(|name| coding.eq_ignore_ascii_case(name))
}
