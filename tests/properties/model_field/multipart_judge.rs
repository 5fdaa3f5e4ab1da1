//! The judge of multipart bodies: a strict grammar, as regular expressions over lines.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use regex::Regex;

use super::body::Judgement;

const TOKEN: &str = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const QUOTED: &str = r#""[^"\\\x00-\x1f\x7f\u{80}-\u{9f}]*""#;

thread_local! {
    static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
}

/// Whether a whole text matches a pattern, in which `T`, `Q` and `V` are a token, a quoted string
/// and either of them, and spaces mean nothing.
pub(super) fn is(pattern: &str, text: &str) -> bool {
    COMPILED.with_borrow_mut(|compiled| {
        let regex = compiled.entry(pattern.to_owned()).or_insert_with(|| {
            let pattern = pattern.replace([' ', '\n'], "").replace('V', "(?:T|Q)");
            let pattern = pattern.replace('T', TOKEN).replace('Q', QUOTED);
            Regex::new(&format!(r"\A(?s:{pattern})\z")).unwrap()
        });
        regex.is_match(text)
    })
}

/// A line and its place.
type Line = Range<usize>;

pub(super) fn naive_multipart(boundary: &str, body: &[u8]) -> Judgement {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let mut models = Vec::new();
    for lines in naive_parts(boundary, body)? {
        let blank = lines.iter().position(|line| line.is_empty()).ok_or(())?;
        let (header, content) = (&lines[..blank], &lines[blank + 1..]);
        let content = content.first().ok_or(())?.start..content.last().unwrap().end;
        let header = header.iter().map(|line| std::str::from_utf8(&body[line.clone()]));
        let header = header.collect::<Result<Vec<_>, _>>().map_err(|_| ())?;
        if naive_is_model(&header, &body[content.clone()])? {
            let name = std::str::from_utf8(&body[content.clone()]).map_err(|_| ())?;
            if name.contains('\0') {
                return Err(());
            }
            models.push((name.to_owned(), content));
        }
    }
    if models.len() > 1 { Err(()) } else { Ok(models.pop()) }
}

/// The lines of each part.
pub(super) fn naive_parts(boundary: &str, body: &[u8]) -> Result<Vec<Vec<Line>>, ()> {
    let mut lines = Vec::new();
    let mut start = 0;
    for end in (0..=body.len()).filter(|&end| body[end..].starts_with(b"\r\n") || end == body.len())
    {
        lines.push(start..end);
        start = end + 2;
    }
    let (open, close) = (format!("--{boundary}"), format!("--{boundary}--"));
    let text = |line: &Line| &body[line.clone()];
    let is_blank = |line: &Line| text(line).iter().all(|byte| b"\r\n".contains(byte));
    let has_boundary =
        |line: &Line| text(line).windows(open.len()).any(|window| window == open.as_bytes());

    let mut lines = lines.into_iter().skip_while(is_blank);
    let mut parts = Vec::new();
    let mut line = lines.next().ok_or(())?;
    while text(&line) != close.as_bytes() {
        if text(&line) != open.as_bytes() {
            return Err(());
        }
        let mut part = Vec::new();
        loop {
            line = lines.next().ok_or(())?;
            if has_boundary(&line) {
                break;
            }
            part.push(line);
        }
        parts.push(part);
    }
    if lines.all(|line| is_blank(&line)) { Ok(parts) } else { Err(()) }
}

fn naive_is_model(header: &[&str], content: &[u8]) -> Result<bool, ()> {
    let check = |holds: bool| if holds { Ok(()) } else { Err(()) };
    let mut seen = Vec::new();
    let mut name = "";
    let mut content_type = None;
    for line in header {
        check(is(r"T : [\t\x20-\x7e\u{a0}-\u{10ffff}]*", line))?;
        let (field, value) = line.split_once(':').unwrap();
        let (field, value) = (field.to_lowercase(), value.trim_matches([' ', '\t']));
        match field.as_str() {
            "content-disposition" => {
                check(is(
                    r"form-data [\x20\t]* ;[\x20\t]*name=V
                      (;[\x20\t]*(filename\*?)=V)* (;[\x20\t]*)?",
                    value,
                ))?;
                let values = values_in(value);
                let files = values.iter().filter(|(name, _)| name == "filename").count();
                let extended = values.iter().filter(|(name, _)| name == "filename*").count();
                check(files <= 1 && extended <= 1)?;
                check(
                    !values
                        .iter()
                        .any(|(_, value)| is(r"(?i:.*name.*)", value) && value.contains('=')),
                )?;
                name = values[0].1;
            }
            "content-type" => {
                check(!is("(?i:.*(multipart|message)/.*)", value))?;
                content_type = Some(value);
            }
            "content-length" => check(value == content.len().to_string())?,
            "content-encoding" | "content-transfer-encoding" => {
                check(is("(?i:7bit|8bit|binary|identity)", value))?;
                continue;
            }
            _ => continue,
        }
        check(!seen.contains(&field))?;
        seen.push(field);
    }
    if name == "model" {
        let charset = match content.is_ascii() {
            true => "(utf-8|utf8|us-ascii|iso-8859-1)",
            false => "(utf-8|utf8|us-ascii)",
        };
        let charset = format!(r#"(;[\x20\t]*charset=({charset}|"{charset}"))?"#);
        let plain = format!(r"(?i:(text/plain[\x20\t]*{charset}(;[\x20\t]*)?)?)");
        check(content_type.is_none_or(|content_type| is(&plain, content_type)))?;
        return Ok(true);
    }
    check(name != "_charset_" && !is(r"(?i: [\s\[]* model \s* ([\[\]].*)? )", name))?;
    Ok(false)
}

/// The parameters of a value that has passed the grammar.
pub(super) fn values_in(value: &str) -> Vec<(String, &str)> {
    let parameter = Regex::new(&format!(r";[ \t]*({TOKEN})=({QUOTED}|{TOKEN})")).unwrap();
    let found = parameter.captures_iter(value).map(|found| {
        let (name, value) = (found.get(1).unwrap().as_str(), found.get(2).unwrap().as_str());
        (name.to_lowercase(), value.trim_matches('"'))
    });
    found.collect()
}
