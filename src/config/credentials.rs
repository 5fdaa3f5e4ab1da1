//! The credentials that an upstream gets: configured ones, and the client's.
//!
//! No error here shows a value. Limits: whether a key is valid is not checked.

use std::path::Path;

use super::environment::{Environment, Sources};
use super::errors::ConfigError;
use super::files::Files;
use super::node::{Node, Place};
use super::settings::{Authorization, Upstream};
use super::value;
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
        let value = secret(node, sources)?;
        if headers::is_credential(&name.to_ascii_lowercase()) {
            warn_if_literal(node, sources)?;
        }
        fixed.push(((*name).to_owned(), value));
    }
    Ok(fixed)
}

/// Reads `api_key`.
pub(super) fn api_key(node: &Node<'_>, sources: Sources<'_>) -> Result<Secret, ConfigError> {
    let key = secret(node, sources)?;
    match value::key_fault(key.expose()) {
        Some(fault) => Err(node.error(fault)),
        None => warn_if_literal(node, sources).map(|()| key),
    }
}

/// Reads a secret: see [`value::resolved`]. No error shows it.
pub(super) fn secret(node: &Node<'_>, sources: Sources<'_>) -> Result<Secret, ConfigError> {
    let text = node.string()?;
    value::resolved(text, node.place.keys(), sources).map_err(|message| node.error(message))
}

/// Warns of a literal secret in a file that every user of this machine can read.
pub(super) fn warn_if_literal(node: &Node<'_>, sources: Sources<'_>) -> Result<(), ConfigError> {
    let is_exposed = sources.is_public && !node.place.is_overridden();
    if is_exposed && value::is_literal(node.string()?) {
        let advice = "write ${NAME} or file:NAME, or make the file readable for its owner only";
        let message = format!("every user of this machine can read this secret: {advice}");
        node.place.faults.warn(&node.error(message));
    }
    Ok(())
}

/// The key that a command sends as a client would: literal, `${NAME}`, `os.environ/NAME` or
/// `file:NAME`, from the current folder.
///
/// # Errors
/// An unset variable, a file that cannot be read, a value that no header can hold.
pub fn client_key(
    key: Option<&Secret>,
    env: Environment<'_>,
) -> Result<Option<Secret>, ConfigError> {
    let files = Files::default();
    let sources = Sources { folder: Path::new(""), env, files: &files, is_public: false };
    let key = key.map(|key| value::resolved(key.expose(), "", sources));
    key.transpose().map_err(|message| ConfigError::new(format!("--key: {message}")))
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
