//! The model of a multipart body.

use std::ops::Range;

use super::field::{Form, ModelField, check_name, malformed, two_models};
use super::part::Part;
use crate::error::Error;
use crate::json;

/// Finds the part that names the model.
pub(super) fn find(body: &[u8], boundary: &str) -> Result<Option<ModelField>, Error> {
    let mut found = None;
    each_part(body, boundary, |range| {
        let Part { content, is_model, length } = Part::parse(&body[range.clone()])?;
        if !is_model {
            return Ok(());
        }
        let name = std::str::from_utf8(content).map_err(|_| malformed("its model is not UTF-8"))?;
        check_name(name)?;
        let field = ModelField {
            name: name.to_owned(),
            span: range.end - content.len()..range.end,
            form: Form::Multipart,
            length: length.map(|digits| json::span(digits, body)),
        };
        match found.replace(field) {
            Some(_) => Err(two_models()),
            None => Ok(()),
        }
    })?;
    Ok(found)
}

/// Splits a body into its parts. Stricter than RFC 2046: delimiters are lines that end in CRLF, and
/// nothing but line ends is before the first and behind the last.
fn each_part(
    body: &[u8],
    boundary: &str,
    mut visit: impl FnMut(Range<usize>) -> Result<(), Error>,
) -> Result<(), Error> {
    // A literal is searched with SIMD, at several GB/s.
    let delimiter = regex::bytes::Regex::new(&regex::escape(&format!("--{boundary}")))
        .map_err(|_| malformed("its boundary is too long"))?;
    let mut part_start = None;
    let mut is_closed = false;
    for delimiter in delimiter.find_iter(body) {
        let (before, after) = (&body[..delimiter.start()], &body[delimiter.end()..]);
        let closing = after.strip_prefix(b"--");
        let starts_line = before.is_empty() || before.ends_with(b"\r\n");
        let ends_line = closing.unwrap_or(after).starts_with(b"\r\n") || closing == Some(b"");
        if is_closed || !starts_line || !ends_line {
            return Err(malformed("a boundary is not a line of its own or is behind the end"));
        }
        match part_start {
            // A delimiter includes the line end before it. Two delimiters cannot share one.
            Some(start) if start + 2 > delimiter.start() => {
                return Err(malformed("a part is missing"));
            }
            Some(start) => visit(start..delimiter.start() - 2)?,
            None if before.iter().all(is_line_end) => {}
            None => return Err(malformed("it does not start with its boundary")),
        }
        is_closed = closing.is_some();
        if closing.is_some_and(|rest| !rest.iter().all(is_line_end)) {
            return Err(malformed("it does not end with its boundary"));
        }
        part_start = Some(delimiter.end() + 2);
    }
    if is_closed { Ok(()) } else { Err(malformed("its closing boundary is missing")) }
}

fn is_line_end(byte: &u8) -> bool {
    b"\r\n".contains(byte)
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
        let file = part("name=\"file\"; filename=\"a\"", "\0\r\n--\r\n-B\r\nmodel x\r\n");
        let body = |name| format!("{file}{}--B--\r\n", part("name=\"model\"", name));
        let field = find(body("p/whisper").as_bytes(), "B").unwrap().unwrap();
        assert_eq!(field.name, "p/whisper");
        let mut replaced = body("p/whisper").into_bytes();
        field.replace(&mut replaced, "whis\"per");
        assert_eq!(String::from_utf8(replaced).unwrap(), body("whis\"per"));
    }

    #[test]
    fn the_length_of_the_part_changes_with_its_name() {
        let body = |name: &str| {
            let length = format!("name=model\r\nContent-Length: {}", name.len());
            part(&length, name) + "--B--\r\n"
        };
        let mut replaced = body("p/whisper").into_bytes();
        find(&replaced, "B").unwrap().unwrap().replace(&mut replaced, "w");
        assert_eq!(String::from_utf8(replaced).unwrap(), body("w"));
        assert!(in_parts(body("m").replace("Length: 1", "Length: +1")).is_err());
    }

    #[test]
    fn the_model_part_is_recognised_in_every_plain_spelling() {
        let headers = [
            "Content-Disposition: form-data; name=\"model\"",
            "content-disposition:form-data;name=model",
            "X: y\r\nCONTENT-DISPOSITION: form-data;\tname=model;\r\nContent-Type: text/plain",
            "Content-Disposition: form-data; name=\"model\"; filename=\"é; x\"",
            "Content-Disposition: form-data; name=model; filename*=utf-8''m",
            "Content-Transfer-Encoding: 8bit\r\nContent-Type: text/plain; charset=ISO-8859-1\r\n\
             Content-Disposition: form-data; name=model",
        ];
        for header in headers {
            let body = format!("\r\n--B\r\n{header}\r\n\r\nm\r\n--B--");
            assert_eq!(in_parts(body).unwrap().as_deref(), Some("m"), "{header}");
        }
    }

    #[test]
    fn other_parts_are_not_the_model() {
        for disposition in ["name=\"models\"", "name=x; filename=\"model\"", "name=xmodel"] {
            let body = part(disposition, "m") + "--B--\r\n";
            assert_eq!(in_parts(body).unwrap(), None, "{disposition}");
        }
        assert_eq!(in_parts("--B\r\n\r\nname=model\r\n--B--").unwrap(), None);
        assert_eq!(in_parts("--B--\r\n").unwrap(), None);
        let nested = part("name=x", "\r\nContent-Disposition: form-data; name=model\r\n\r\nm");
        assert_eq!(in_parts(nested + "--B--").unwrap(), None);
    }

    #[test]
    fn a_part_that_servers_may_read_differently_is_refused() {
        let dispositions = [
            "name=Model",
            "name=\"model[]\"",
            "name=\" [model]\"",
            "name=\"model \"",
            "NAME=model",
            "name = model",
            "name=model x",
            "name=\"mod\\el\"",
            "name=\"x\"\"",
            "name=\"x",
            "name=",
            "x=y",
            "name=x; name=model",
            "name=x; x=y",
            "filename=x; name=model",
            "name*=utf-8''model",
            "name=x; filename=\"; name=model\"",
            "name=x; filename=\"a\"; filename=\"b\"",
            "name=_charset_",
            "\r\n name=model",
            "name=x\r\nContent-Disposition: form-data; name=model",
            "name=x\r\nContent-Transfer-Encoding: base64",
            "name=x\r\nContent-Encoding: gzip",
            "name=x\r\nContent-Length: 2",
            "name=x\r\nContent-Type: multipart/mixed; boundary=C",
            "name=x\r\nno colon",
            "name=x\r\nX : y",
            "name=x\r\nX: y\nX: y",
            "name=x\r\nX: y\r",
            "name=model\r\nContent-Type: text/plain; charset=utf-7",
            "name=x\r\nX: \0",
            "name=model\r\nContent-Type: application/json",
        ];
        for disposition in dispositions {
            let error = in_parts(part(disposition, "m") + "--B--").unwrap_err();
            assert!(error.message.contains("malformed"), "{disposition}: {error}");
        }
        let latin = part("name=model\r\nContent-Type: text/plain; charset=iso-8859-1", "é");
        assert!(in_parts(latin + "--B--").is_err());
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
            format!("x{model}--B--"),
            format!("x\r\n{model}--B--"),
            format!("{model}--B--x"),
            format!("{model}--B--\r\nx"),
            format!("{model}--B--\r\n--B--"),
            format!("{model}--B \r\n\r\n\r\n--B--"),
            part("name=x", "x--B") + "--B--",
            part("name=x", "\n--B\n") + "--B--",
            model.replace("\r\n", "\n") + "--B--",
            "--B\r\n--B--".to_owned(),
            "--B\r\nContent-Disposition: form-data; name=model\r\n--B--".to_owned(),
            format!("--B\r\nX: {}\r\n\r\nm\r\n--B--", "x".repeat(16 * 1024)),
        ];
        for body in hostile {
            let error = in_parts(&body).unwrap_err();
            assert_eq!(error.code, Code::BadRequest);
            assert!(error.message.contains("malformed"), "{error}");
        }
        let not_text = b"--B\r\nContent-Disposition: form-data; name=model\r\n\r\n\xff\r\n--B--";
        assert!(in_parts(not_text).unwrap_err().message.contains("UTF-8"));
    }

    #[test]
    fn a_boundary_is_taken_literally() {
        let body = |boundary: &str| {
            part("name=model", "----m").replace("--B", &format!("--{boundary}"))
                + &format!("--{boundary}--\r\n")
        };
        for boundary in ["a.'b+", "---"] {
            assert_eq!(find(body(boundary).as_bytes(), boundary).unwrap().unwrap().name, "----m");
        }
        assert!(find(body("a.b").as_bytes(), "a..").is_err());
    }

    #[test]
    fn a_name_has_1024_bytes_at_most() {
        let body = |length| part("name=model", &"m".repeat(length)) + "--B--";
        assert_eq!(in_parts(body(LONGEST)).unwrap().unwrap().len(), LONGEST);
        let error = in_parts(body(LONGEST + 1)).unwrap_err();
        assert!(error.message.contains("longer than 1024 bytes"), "{error}");
    }
}
