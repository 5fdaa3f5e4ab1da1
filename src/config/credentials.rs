//! The credentials that an upstream gets: configured ones, and the client's.
//!
//! No error here shows a value. Limits: whether a key is valid is not checked.

use std::fs;
use std::path::Path;

use super::environment::{Environment, Sources, variable};
use super::errors::{ConfigError, io_reason};
use super::node::{Node, Place};
use super::settings::{Authorization, Upstream};
use crate::headers;
use crate::secret::Secret;
use crate::text::quoted;

/// Reads `authorization` of the upstream with this name.
pub(super) fn authorization(
    node: &Node<'_>,
    name: &str,
    has_api_key: bool,
    has_client_keys: bool,
) -> Result<Authorization, ConfigError> {
    let typed = node.string()?;
    let authorization = match typed {
        "none" => return Ok(Authorization::None),
        "passthrough" => Authorization::Passthrough,
        "keyring" => Authorization::Keyring,
        // Not shown: `authorization: Bearer sk-…` is a likely slip.
        _ => {
            let message = "not one of passthrough, none, keyring; a key belongs in api_key";
            return Err(node.error(message));
        }
    };
    let beside = match (has_api_key, has_client_keys) {
        (true, _) => Some("an api_key"),
        (false, true) => Some("server.client_keys"),
        (false, false) => None,
    };
    if let Some(other) = beside {
        return Err(node.error(format!("{typed} beside {other}: one of the two must go")));
    }
    // A client sends `name=secret,name=secret` in a header, which must be ASCII.
    let is_separator = |byte: u8| b"=,;".contains(&byte) || !byte.is_ascii_graphic();
    if authorization == Authorization::Keyring && name.bytes().any(is_separator) {
        let message = "keyring needs a name in ASCII without \"=\", \",\", \";\" and blanks";
        return Err(node.error(message));
    }
    Ok(authorization)
}

/// Reads `headers`.
pub(super) fn fixed_headers(
    node: &Node<'_>,
    has_api_key: bool,
    sources: Sources<'_>,
) -> Result<Vec<(String, Secret)>, ConfigError> {
    let fields = node.fields()?;
    let mut fixed = Vec::new();
    for (name, _) in &fields.entries {
        let Some(node) = fields.get(name) else { continue };
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        // Not shown: a name with a blank may be a whole header, with its value.
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(fields.place.error("a name here (not shown) is not a header's name"));
        }
        if headers::is_hop_by_hop(name) || is("host") || is("content-length") {
            return Err(node.error("this header belongs to the connection and cannot be set"));
        }
        if has_api_key && is("authorization") {
            return Err(node.error("api_key sets this header: one of the two must go"));
        }
        fixed.push(((*name).to_owned(), secret(node, sources)?));
    }
    Ok(fixed)
}

/// Reads the value of a header: literal, `os.environ/NAME` or `file:NAME`. No error shows it.
pub(super) fn secret(node: &Node<'_>, sources: Sources<'_>) -> Result<Secret, ConfigError> {
    resolved(node.string()?, sources).map_err(|message| node.error(message))
}

/// The key that a command sends as a client would: literal, `os.environ/NAME` or `file:NAME`,
/// from the current folder.
///
/// # Errors
/// An unset variable, a file that cannot be read, a value that no header can hold.
pub fn client_key(
    key: Option<&Secret>,
    env: Environment<'_>,
) -> Result<Option<Secret>, ConfigError> {
    let sources = Sources { folder: Path::new(""), env };
    let key = key.map(|key| resolved(key.expose(), sources));
    key.transpose().map_err(|message| ConfigError::new(format!("--key: {message}")))
}

/// The secret that a text is or names. The error does not show the text, which may be a secret
/// behind a prefix that does not belong to it.
fn resolved(text: &str, sources: Sources<'_>) -> Result<Secret, String> {
    let value = if let Some(name) = text.strip_prefix("os.environ/") {
        let shown = if is_variable(name) { quoted(name) } else { "(not shown)".to_owned() };
        variable(sources.env, name)
            .ok_or_else(|| format!("the environment variable {shown} is not set"))?
    } else if let Some(name) = text.strip_prefix("file:") {
        let folder = sources.credentials_folder();
        let text = fs::read_to_string(folder.join(name)).map_err(|error| {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
            let folder = match Path::new(name).is_absolute() {
                true => String::new(),
                false => format!(" below {}", quoted(&folder.to_string_lossy())),
            };
            format!("the file (not shown){folder}: {}", io_reason(&error))
        })?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        text.to_owned()
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

/// Whether a text is plainly the name of a variable, and no key: short words in capitals.
fn is_variable(text: &str) -> bool {
    let is_capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    text.split('_').all(|word| word.len() < 16 && word.bytes().all(is_capital))
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The warning if several upstreams get the same credentials of the client.
///
/// # Errors
/// If one upstream would see the key ring of others.
pub(super) fn shared(
    section: &Place<'_>,
    upstreams: &[Upstream],
) -> Result<Option<String>, ConfigError> {
    let passing = upstreams.iter().filter(|u| u.authorization == Authorization::Passthrough);
    let names: Vec<String> = passing.map(|upstream| quoted(&upstream.name)).collect();
    if !names.is_empty() && upstreams.iter().any(|u| u.authorization == Authorization::Keyring) {
        let names = names.join(", ");
        return Err(section.error(format!(
            "{names} with authorization: passthrough would see the key ring of the others"
        )));
    }
    let message = "have authorization: passthrough: each of them sees the same credentials of the \
                   client (keyring keeps them apart)";
    let warning = section.error(format!("{} {message}", names.join(", "))).to_string();
    Ok((names.len() > 1).then_some(warning))
}
