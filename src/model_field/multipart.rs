//! The model of a multipart body.

use super::field::{Form, ModelField, check_length, two_models};
use super::parameters::parameters;
use crate::error::Error;

pub(super) fn find(body: &[u8], boundary: &str) -> Result<Option<ModelField>, Error> {
    let malformed =
        |what: &str| Error::bad_request(format!("the multipart body is malformed: {what}"));
    // The literal prefix is searched with SIMD, at several GB/s.
    let delimiter =
        regex::bytes::Regex::new(&format!(r"--{}(--|[ \t]*\r\n)?", regex::escape(boundary)))
            .map_err(|_| malformed("its boundary is too long"))?;

    let mut found = None;
    let mut part_start = None;
    for delimiter in delimiter.find_iter(body) {
        let before = &body[..delimiter.start()];
        let is_bare = delimiter.len() == boundary.len() + 2;
        // The start of a line, for readers that accept a lone LF or CR as its end.
        let lax = before.is_empty() || before.ends_with(b"\n") || before.ends_with(b"\r");
        let strict = before.is_empty() || before.ends_with(b"\r\n");
        let goes_on = || body.get(delimiter.end()).is_some_and(|byte| !b"\r\n \t".contains(byte));
        match (lax, strict) {
            (false, _) => continue,
            // A line that continues behind the boundary is content.
            (true, _) if is_bare && goes_on() => continue,
            (true, true) if !is_bare => {}
            _ => return Err(malformed("a boundary is not on a line that ends in CRLF")),
        }
        if part_start.is_none() && before.trim_ascii().starts_with(b"{") {
            return Err(malformed("it starts like JSON"));
        }
        if let Some(part_start) = part_start {
            // The line end before a delimiter is part of it. If two delimiters share one, there is
            // no part between them: `get` returns `None` for the reversed range.
            let end = delimiter.start() - 2;
            let part = body.get(part_start..end);
            let (header, content) = part
                .and_then(split_part)
                .ok_or_else(|| malformed("the header of a part has no end or is too long"))?;
            if is_model(header)? {
                check_length(content.len())?;
                let name = std::str::from_utf8(content)
                    .map_err(|_| Error::bad_request("the part `model` of the body is not UTF-8"))?
                    .to_owned();
                // Without the prefix, the name could start with a delimiter.
                if name.contains(&format!("--{boundary}")) {
                    return Err(malformed("its model contains the boundary"));
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

/// The longest header of a part, in bytes. Browsers send a few hundred.
const PART_HEADER_LIMIT: usize = 16 * 1024;

/// Splits a part into header and content.
fn split_part(part: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(content) = part.strip_prefix(b"\r\n") {
        return Some((&[], content));
    }
    let searched = &part[..part.len().min(PART_HEADER_LIMIT)];
    let end = searched.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&part[..end], &part[end + 4..]))
}

/// Whether a part with this header is the field `model`. A part with a file name is not.
///
/// # Errors
/// 400 for a transfer encoding, an empty file name, and `name*=`, which RFC 7578 forbids and some
/// servers decode.
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
            return Err(Error::bad_request("a part of the multipart body has a parameter `name*`"));
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

#[cfg(test)]
mod tests {
    use super::super::field::LONGEST;
    use super::*;
    use crate::error::Code;

    fn part(disposition: &str, content: &str) -> String {
        format!("--B\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
    }

    fn in_parts(body: impl AsRef<[u8]>) -> Result<Option<String>, Error> {
        let body = body.as_ref();
        let field = find(body, "B")?;
        Ok(field.map(|field| {
            assert_eq!(&body[field.span], field.name.as_bytes());
            field.name
        }))
    }

    #[test]
    fn the_part_called_model_is_replaced_and_no_other_byte() {
        let file = part("name=\"file\"; filename=\"a\"", "\0\r\n--\r\n--BX\r\nmodel x--B\r\n");
        let before = format!("preamble --B\r\n{file}");
        let after = "--B--\r\nepilogue\r\n--B\r\n";
        let body = |name| format!("{before}{}{after}", part("name=\"model\"", name));
        let field = find(body("p/whisper").as_bytes(), "B").unwrap().unwrap();
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
        assert_eq!(find(body, "a.(b)*").unwrap().unwrap().name, "m");
        assert!(find(body, "a..b..").is_err());
        let dashes = b"-----\r\nContent-Disposition: x; name=model\r\n\r\n----m\r\n-------\r\n";
        assert_eq!(find(dashes, "---").unwrap().unwrap().name, "----m");
    }

    #[test]
    fn a_name_has_1024_bytes_at_most() {
        let body = |length| part("name=model", &"m".repeat(length)) + "--B--";
        assert_eq!(in_parts(body(LONGEST)).unwrap().unwrap().len(), LONGEST);
        let error = in_parts(body(LONGEST + 1)).unwrap_err();
        assert!(error.message.contains("longer than 1024 bytes"), "{error}");
    }
}
