//! The section `model_filter`: from what was typed to upstreams.
//!
//! It holds one upstream's settings, or one name with the settings below it, which
//! becomes the prefix. Limits: exactly one upstream, so far.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::node::{Fields, Node, nearest, quoted, unknown_key};
use super::{
    Authorization, BaseUrl, ConfigError, Environment, Upstream, address, io_reason, variable,
};
use crate::filter::{Filter, Rules};
use crate::headers;
use crate::secret::Secret;

const KEYS: [&str; 17] = [
    "base_url",
    "api_key",
    "authorization",
    "headers",
    "regexp",
    "simple",
    "exclude",
    "default",
    "case_sensitive",
    "cache_ttl",
    "cache_stale",
    "connection_timeout",
    "total_timeout",
    "list_timeout",
    "idle_timeout",
    "max_body",
    "tls",
];

const MISSING: &str = "base_url is missing";

/// Reads the section. `folder` is where relative paths in the file start.
pub(super) fn upstreams(
    section: &Node<'_>,
    folder: &Path,
    env: Environment<'_>,
) -> Result<Vec<Upstream>, ConfigError> {
    if section.has("base_url") {
        return Ok(vec![upstream(None, section, folder, env)?]);
    }
    let fields = section.fields()?;
    // An upstream may bear the name of a key, such as `default`.
    let is_named = |key: &str, node: &Node<'_>| {
        node.is_mapping() && (node.has("base_url") || !KEYS.contains(&key))
    };
    match &fields.entries[..] {
        [(name, node)] if is_named(name, node) => {
            if name.is_empty() || name.contains(char::is_control) {
                return Err(node.error("a prefix is one line of text"));
            }
            return Ok(vec![upstream(Some(name), node, folder, env)?]);
        }
        entries if entries.len() > 1 && entries.iter().all(|(name, node)| is_named(name, node)) => {
            let names: Vec<String> = entries.iter().map(|(name, _)| quoted(name)).collect();
            let names = names.join(", ");
            return Err(section.error(format!("several upstreams are not supported yet: {names}")));
        }
        _ => {}
    }
    // A mistyped key says more than the base_url that it may have been.
    let mistyped = |(key, _): &&(&str, Node<'_>)| !KEYS.contains(key);
    Err(
        match fields.entries.iter().filter(mistyped).find(|(key, _)| nearest(key, &KEYS).is_some())
        {
            Some((key, node)) => unknown_key(key, node, &KEYS),
            None => section.error(MISSING),
        },
    )
}

fn upstream(
    name: Option<&str>,
    node: &Node<'_>,
    folder: &Path,
    env: Environment<'_>,
) -> Result<Upstream, ConfigError> {
    let fields = node.fields()?;
    fields.only(&KEYS)?;
    let base_url = fields.get("base_url").ok_or_else(|| node.error(MISSING))?;
    let base_url = address::base_url(base_url.string()?).map_err(|e| base_url.error(e))?;
    let api_key = fields.read("api_key", |node| secret(node, env))?;
    let authorization = match fields.get("authorization") {
        Some(node) => authorization(node, api_key.is_some())?,
        None if api_key.is_some() => Authorization::None,
        None => Authorization::Passthrough,
    };
    let headers = fields.read("headers", |node| fixed_headers(node, api_key.is_some(), env))?;
    let cache_ttl = fields.read("cache_ttl", Node::duration)?;
    let seconds = |key: &str, default: u64| {
        Ok(fields.read(key, Node::timeout)?.unwrap_or(Duration::from_secs(default)))
    };
    Ok(Upstream {
        name: match (name, &base_url) {
            (Some(name), _) => name.to_owned(),
            (None, BaseUrl::Sample) => "sample".to_owned(),
            (None, BaseUrl::Remote(url)) => address::authority(url).to_owned(),
        },
        prefix: name.map_or(String::new(), |name| format!("{name}/")),
        authorization,
        api_key,
        headers: headers.unwrap_or_default(),
        cache_ttl: cache_ttl.filter(|ttl| !ttl.is_zero()),
        cache_stale: fields.read("cache_stale", Node::duration)?.unwrap_or_default(),
        connection_timeout: fields.read("connection_timeout", Node::timeout)?,
        total_timeout: seconds("total_timeout", 300)?,
        list_timeout: seconds("list_timeout", 10)?,
        idle_timeout: seconds("idle_timeout", 300)?,
        max_body: fields.read("max_body", Node::size)?.unwrap_or(64 << 20),
        ca_file: fields.read("tls", |node| ca_file(node, folder))?.flatten(),
        proxy: address::proxy(&base_url, env)?,
        filter: filter(&fields)?,
        base_url,
    })
}

fn authorization(node: &Node<'_>, has_api_key: bool) -> Result<Authorization, ConfigError> {
    match node.string()? {
        "passthrough" if has_api_key => {
            Err(node.error("passthrough beside an api_key: one of the two must go"))
        }
        "passthrough" => Ok(Authorization::Passthrough),
        "none" => Ok(Authorization::None),
        other => Err(node.error(format!("{} is not one of passthrough, none", quoted(other)))),
    }
}

fn fixed_headers(
    node: &Node<'_>,
    has_api_key: bool,
    env: Environment<'_>,
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
        fixed.push(((*name).to_owned(), secret(node, env)?));
    }
    Ok(fixed)
}

/// A value to be sent in a header, literal or `os.environ/NAME`. No error shows it.
fn secret(node: &Node<'_>, env: Environment<'_>) -> Result<Secret, ConfigError> {
    let text = node.string()?;
    let value = match text.strip_prefix("os.environ/") {
        Some(name) => variable(env, name).ok_or_else(|| {
            node.error(format!("the environment variable {} is not set", quoted(name)))
        })?,
        None => text.to_owned(),
    };
    if value.is_empty() {
        return Err(node.error("the value is empty"));
    }
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(node.error("the value holds a line break or another control character"));
    }
    Ok(Secret::new(value))
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn ca_file(node: &Node<'_>, folder: &Path) -> Result<Option<Vec<u8>>, ConfigError> {
    let fields = node.fields()?;
    fields.only(&["ca_file"])?;
    fields.read("ca_file", |node| {
        let path = node.string()?;
        let fault = |message: &str| node.error(format!("{}: {message}", quoted(path)));
        let pem = fs::read(folder.join(path)).map_err(|error| fault(&io_reason(&error)))?;
        if holds_certificate(&pem) { Ok(pem) } else { Err(fault("holds no certificate (PEM)")) }
    })
}

fn holds_certificate(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    let Some((_, rest)) = text.split_once("-----BEGIN CERTIFICATE-----") else { return false };
    let Some((body, _)) = rest.split_once("-----END CERTIFICATE-----") else { return false };
    let base64 = |c: char| c.is_ascii_alphanumeric() || c.is_whitespace() || "+/=".contains(c);
    !body.trim().is_empty() && body.chars().all(base64)
}

fn filter(fields: &Fields<'_>) -> Result<Filter, ConfigError> {
    let exclude = fields.read("exclude", |node| {
        let fields = node.fields()?;
        fields.only(&["regexp", "simple"])?;
        Ok((fields.read("regexp", Node::strings)?, fields.read("simple", Node::strings)?))
    })?;
    let (exclude_regexp, exclude_simple) = exclude.unwrap_or_default();
    let rules = Rules {
        case_sensitive: fields.read("case_sensitive", Node::boolean)?.unwrap_or(false),
        regexp: fields.read("regexp", Node::strings)?,
        simple: fields.read("simple", Node::strings)?,
        exclude_regexp: exclude_regexp.unwrap_or_default(),
        exclude_simple: exclude_simple.unwrap_or_default(),
        default: fields.read("default", |node| Ok(node.string()?.to_owned()))?,
    };
    Filter::new(&rules).map_err(|error| {
        let place = fields.place.at(&error.key);
        place.error(format!("{}: {}", quoted(&error.pattern), error.message))
    })
}
