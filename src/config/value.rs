//! The values of secrets: literal, or the variable or file that holds them.
//!
//! No error here shows a value. Limits: whether a key is valid is not checked.

use std::path::Path;

use super::environment::{Sources, variable};
use super::errors::io_reason;
use crate::secret::Secret;
use crate::text::quoted;

/// How other programs name a variable: what comes before the name.
const FOREIGN: [&str; 9] = [
    "env:",
    "env.",
    "env/",
    "$env:",
    "os.environ[",
    "os.environ.",
    "os.getenv(",
    "process.env.",
    "{{",
];

/// The secret that a text is or names. `key` is the key that holds it. The error does not show
/// the text, which may be a secret behind a prefix that does not belong to it.
pub(super) fn resolved(text: &str, key: &str, sources: Sources<'_>) -> Result<Secret, String> {
    let value = if let Some(name) = text.strip_prefix("os.environ/") {
        from_variable(name, sources)?
    } else if let Some(name) = text.strip_prefix("file:") {
        from_file(name, key, sources)?
    } else if let Some(name) = misnamed(text) {
        let name = if is_variable(name) { name } else { "NAME" };
        return Err(format!("the value looks like the name of a variable: write ${{{name}}}"));
    } else {
        interpolated(text, sources)?
    };
    if value.is_empty() {
        return Err("the value is empty".to_owned());
    }
    if !value.is_ascii() {
        return Err("the value holds a character that is not ASCII".to_owned());
    }
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err("the value holds a line break or another control character".to_owned());
    }
    Ok(Secret::new(value))
}

/// Whether the text is the secret itself, and not the name of a variable or file.
pub(super) fn is_literal(text: &str) -> bool {
    !text.starts_with("os.environ/") && !text.starts_with("file:") && !text.contains("${")
}

/// What is wrong with a key that is sent as Bearer token, if anything.
pub(super) fn key_fault(key: &str) -> Option<&'static str> {
    let word = key.split_whitespace().next().unwrap_or_default();
    if word.eq_ignore_ascii_case("bearer") {
        return Some("write the key without the word Bearer, which is added");
    }
    if key.contains(['"', '\'']) {
        return Some("the key holds a quotation mark: remove the quotes around it");
    }
    if key.contains([' ', '\t']) {
        return Some("the key holds a blank: remove it");
    }
    None
}

fn from_variable(name: &str, sources: Sources<'_>) -> Result<String, String> {
    let shown = if is_variable(name) { quoted(name) } else { "(not shown)".to_owned() };
    variable(sources.env, name)
        .ok_or_else(|| format!("the environment variable {shown} is not set"))
}

fn from_file(name: &str, key: &str, sources: Sources<'_>) -> Result<String, String> {
    let folder = sources.credentials_folder();
    let bytes = sources.files.read(&folder.join(name), key).map_err(|error| {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
        let folder = match Path::new(name).is_absolute() {
            true => String::new(),
            false => format!(" below {}", quoted(&folder.to_string_lossy())),
        };
        format!("the file (not shown){folder}: {}", io_reason(&error))
    })?;
    let text = String::from_utf8(bytes).map_err(|_| "the file (not shown) is not UTF-8")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The text with `${NAME}` replaced by the variable; `$${` is a literal `${`.
fn interpolated(text: &str, sources: Sources<'_>) -> Result<String, String> {
    let mut value = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            value.push_str(&rest[..at - 1]);
            value.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        value.push_str(&rest[..at]);
        let name = rest[at + 2..].split('}').next().unwrap_or_default();
        let is_closed = rest[at + 2..].len() > name.len();
        let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
        let is_name = name.starts_with(is_first)
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_closed || !is_name {
            let advice = "write ${NAME} with the name of a variable, or $${ for a literal ${";
            return Err(format!("the value has a ${{ that names no variable: {advice}"));
        }
        value.push_str(&from_variable(name, sources)?);
        rest = &rest[at + 2 + name.len() + 1..];
    }
    value.push_str(rest);
    Ok(value)
}

/// The name of a variable in another program's notation.
fn misnamed(text: &str) -> Option<&str> {
    let lower = text.to_ascii_lowercase();
    if let Some(prefix) = FOREIGN.iter().find(|prefix| lower.starts_with(**prefix)) {
        return Some(text[prefix.len()..].trim_matches(|c: char| !c.is_ascii_alphanumeric()));
    }
    if let Some(name) = text.strip_prefix('%').and_then(|rest| rest.strip_suffix('%')) {
        return Some(name);
    }
    if let Some(name) = text.strip_prefix('$').filter(|name| is_variable(name)) {
        return Some(name);
    }
    let ends = ["_KEY", "_TOKEN", "_SECRET"];
    (is_variable(text) && ends.iter().any(|end| text.ends_with(end))).then_some(text)
}

/// Whether a text is plainly the name of a variable, and no key: short words in capitals.
fn is_variable(text: &str) -> bool {
    let is_capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    !text.is_empty() && text.split('_').all(|word| word.len() < 16 && word.bytes().all(is_capital))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::files::Files;

    fn read(text: &str) -> Result<String, String> {
        let env = |name: &str| (name == "KEY").then(|| "hush".to_owned());
        let files = Files::default();
        let sources = Sources { folder: Path::new(""), env: &env, files: &files, is_public: false };
        resolved(text, "k", sources).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn variables_are_put_into_values() {
        for (text, value) in [
            ("sk-1", "sk-1"),
            ("os.environ/KEY", "hush"),
            ("${KEY}", "hush"),
            ("Token ${KEY}.${KEY}", "Token hush.hush"),
            ("$${KEY}", "${KEY}"),
            ("a$${b", "a${b"),
            ("$5 and $", "$5 and $"),
            ("sk-$KEY", "sk-$KEY"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn names_that_would_be_sent_as_keys_are_refused() {
        for text in [
            "$OPENROUTER_API_KEY",
            "env:OPENROUTER_API_KEY",
            "env.OPENROUTER_API_KEY",
            "$env:OPENROUTER_API_KEY",
            "%OPENROUTER_API_KEY%",
            "{{ OPENROUTER_API_KEY }}",
            "os.environ[\"OPENROUTER_API_KEY\"]",
            "OPENROUTER_API_KEY",
        ] {
            let error = read(text).unwrap_err();
            assert!(error.ends_with("write ${OPENROUTER_API_KEY}"), "{text}: {error}");
        }
        for text in ["${", "${}", "${KEY", "${KEY:-x}", "${1}", "a${b c}"] {
            assert!(read(text).unwrap_err().contains("$${ for a literal"), "{text}");
        }
        assert!(read("${NO_SUCH}").unwrap_err().contains("\"NO_SUCH\" is not set"));
    }

    #[test]
    fn a_key_has_no_scheme_blank_or_quote() {
        assert!(key_fault("Bearer sk-1").unwrap().contains("Bearer"));
        assert!(key_fault("\"sk-1\"").unwrap().contains("quotation mark"));
        assert!(key_fault("sk-1 ").unwrap().contains("blank"));
        assert_eq!(key_fault("sk-or-v1_a.b/c+d=="), None);
    }
}
