//! The judge of multipart bodies.

use std::ops::Range;

use super::body::Judgement;

pub(super) fn naive_multipart(boundary: &str, body: &[u8]) -> Judgement {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let mut models = Vec::new();
    for part in naive_parts(boundary, body)? {
        let content = naive_content(&body[part.clone()]).ok_or(())?;
        let (header, content) = (part.start..part.start + content, part.start + content..part.end);
        if naive_is_model(&body[header])? {
            let name = std::str::from_utf8(&body[content.clone()]).map_err(|_| ())?;
            // Without its prefix it could begin with what parts begin with.
            if name.contains(&format!("--{boundary}")) {
                return Err(());
            }
            models.push((name.to_owned(), content));
        }
    }
    if models.len() > 1 { Err(()) } else { Ok(models.pop()) }
}

/// The parts, each from behind its delimiter's line to before the line end of the next.
pub(super) fn naive_parts(boundary: &str, body: &[u8]) -> Result<Vec<Range<usize>>, ()> {
    let dashes = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut part = None;
    let mut at = 0;
    loop {
        let ended = body[at..].windows(2).position(|window| window == b"\r\n");
        let line = match ended {
            Some(end) => &body[at..at + end],
            None => &body[at..],
        };
        if let Some(rest) = line.strip_prefix(dashes.as_bytes()) {
            let closes = rest.starts_with(b"--");
            let opens = ended.is_some() && rest.iter().all(|byte| b" \t".contains(byte));
            if closes || opens {
                if let Some(start) = part {
                    // Two delimiters cannot share a line end.
                    parts.push(start..at.checked_sub(2).filter(|&end| end >= start).ok_or(())?);
                }
                part = Some(at + line.len() + 2);
            }
            if closes {
                return Ok(parts);
            }
            // It looks like a delimiter, and its line does not end as one.
            if rest.first().is_none_or(|byte| b" \t\r\n".contains(byte)) && !opens {
                return Err(());
            }
        }
        // A lone CR or LF ends a line for some.
        let follows = |start: usize| {
            let rest = line.get(start + 1..)?.strip_prefix(dashes.as_bytes())?;
            let ends = rest.first().is_none_or(|byte| b" \t\r\n".contains(byte));
            (ends || rest.starts_with(b"--")).then_some(())
        };
        let lax = (0..line.len()).filter(|&index| b"\r\n".contains(&line[index]));
        if lax.filter_map(follows).next().is_some() {
            return Err(());
        }
        at += ended.ok_or(())? + 2;
    }
}

/// How far into a part its content begins.
pub(super) fn naive_content(part: &[u8]) -> Option<usize> {
    if part.starts_with(b"\r\n") {
        return Some(2);
    }
    (4..=part.len()).find(|&at| part[at - 4..at] == *b"\r\n\r\n")
}

pub(super) fn naive_is_model(header: &[u8]) -> Result<bool, ()> {
    let header = String::from_utf8_lossy(header);
    let mut lines: Vec<String> = Vec::new();
    for line in header.split("\r\n") {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => last.push_str(line),
            _ => lines.push(line.to_owned()),
        }
    }
    let mut is_model = false;
    for line in &lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let parameters = naive_parameters(value);
        match name.trim().to_lowercase().as_str() {
            "content-disposition" => {
                let mut files = parameters.iter().filter(|(name, _)| name.starts_with("filename"));
                let named = parameters.contains(&("name".into(), "model".into()));
                let file = files.find(|(name, _)| name == "filename" || name == "filename*");
                // Some take an empty name for none.
                if named && file.is_some_and(|(_, file)| file.is_empty()) {
                    return Err(());
                }
                is_model |= named && file.is_none();
            }
            "content-transfer-encoding" => {
                let plain = ["7bit", "8bit", "binary"];
                if !plain.contains(&value.trim().to_lowercase().as_str()) {
                    return Err(());
                }
            }
            _ => {}
        }
    }
    Ok(is_model)
}

/// The parameters of a header's value, cut at each `;` that is not quoted.
pub(super) fn naive_parameters(value: &str) -> Vec<(String, String)> {
    let mut items = vec![Vec::new()];
    let mut quoted = false;
    let mut escaped = false;
    for c in value.chars() {
        let is_quote = c == '"' && !escaped;
        if c == ';' && !quoted {
            items.push(Vec::new());
            continue;
        }
        if is_quote {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
        // Escapes and quotes fall away; what they protect is kept.
        if !is_quote && !escaped {
            items.last_mut().unwrap().push((c, quoted));
        }
    }
    let mut parameters = Vec::new();
    for item in &items[1..] {
        let Some(equals) = item.iter().position(|&(c, quoted)| c == '=' && !quoted) else {
            continue;
        };
        let is_space = |&(c, quoted): &(char, bool)| !quoted && c.is_whitespace();
        let text = |item: &[(char, bool)]| -> String {
            let start = item.iter().take_while(|c| is_space(c)).count();
            let end = item.iter().rev().take_while(|c| is_space(c)).count();
            item.iter()
                .skip(start)
                .take(item.len().saturating_sub(start + end))
                .map(|c| c.0)
                .collect()
        };
        parameters.push((text(&item[..equals]).to_lowercase(), text(&item[equals + 1..])));
    }
    parameters
}
