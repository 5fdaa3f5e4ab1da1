//! The credentials that an upstream gets: configured ones, and the client's.
//!
//! No error here shows a value. Limits: whether a key is valid is not checked.

use std::fs;

use super::environment::{Sources, variable};
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
        other => {
            let message = "is not one of passthrough, none, keyring";
            return Err(node.error(format!("{} {message}", quoted(other))));
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
    if authorization == Authorization::Keyring && (!name.is_ascii() || name.contains(['=', ','])) {
        return Err(node.error("keyring needs a name in ASCII without \"=\" and \",\""));
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
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(node.error("not a header's name"));
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
    let text = node.string()?;
    let value = if let Some(name) = text.strip_prefix("os.environ/") {
        variable(sources.env, name).ok_or_else(|| {
            node.error(format!("the environment variable {} is not set", quoted(name)))
        })?
    } else if let Some(name) = text.strip_prefix("file:") {
        let path = sources.credentials_folder().join(name);
        let text = fs::read_to_string(&path).map_err(|error| {
            let path = quoted(&path.display().to_string());
            node.error(format!("{path}: {}", io_reason(&error)))
        })?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        text.to_owned()
    };
    if value.is_empty() {
        return Err(node.error("the value is empty"));
    }
    if !value.is_ascii() {
        return Err(node.error("the value holds a character that is not ASCII"));
    }
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(node.error("the value holds a line break or another control character"));
    }
    Ok(Secret::new(value))
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
