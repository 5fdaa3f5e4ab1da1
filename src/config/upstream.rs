//! The section `model_filter`: from what was typed to upstreams.
//!
//! It holds the settings of one upstream, or names with the settings of one upstream below
//! each, in the order in which clients see their models. Limits: a name stands for one API;
//! there is no failover.

use std::time::Duration;

use super::environment::Sources;
use super::errors::{ConfigError, io_reason};
use super::hints::{self, unknown_key};
use super::node::{Fields, Node, Place};
use super::settings::{Authorization, BaseUrl, Hidden, Upstream};
use super::{address, credentials, keys, models, proxy, rules_file, url_advice};
use crate::text::quoted;

const MISSING: &str = "base_url is missing";
const NO_SETTINGS: &str = "expected an upstream's settings: a mapping with a base_url";

/// The context of every upstream, beside its own settings.
pub(super) struct Around<'a> {
    pub(super) sources: Sources<'a>,
    /// Whether `server.client_keys` is given.
    pub(super) has_client_keys: bool,
}

/// Reads the section.
pub(super) fn upstreams(
    section: &Node<'_>,
    around: &Around<'_>,
) -> Result<Vec<Upstream>, ConfigError> {
    if section.has("base_url") {
        return Ok(vec![upstream(None, section, true, around)?]);
    }
    let fields = section.fields()?;
    let named = named(&fields)?;
    let alone = named.len() == 1;
    let faults = section.place.faults;
    let mut upstreams: Vec<(Upstream, Place<'_>)> = Vec::new();
    for (name, node) in &named {
        if name.is_empty() || name.contains(char::is_control) {
            faults.add(node.error("a name is one line of text"));
            continue;
        }
        let read = upstream(Some(name), node, alone, around);
        let Some(upstream) = faults.keep(read) else { continue };
        let place = prefix_place(node)?;
        let clash = upstreams.iter().find(|(other, _)| other.prefix == upstream.prefix);
        if let Some((_, first)) = clash {
            let prefix = quoted(&upstream.prefix);
            let message = format!("the prefix {prefix} is already that of {}", first.keys());
            faults.add(place.error(message));
        }
        upstreams.push((upstream, place));
    }
    Ok(upstreams.into_iter().map(|(upstream, _)| upstream).collect())
}

/// The names of a section without a `base_url`, or what is wrong with it.
fn named<'f, 'a>(fields: &'f Fields<'a>) -> Result<Vec<&'f (&'a str, Node<'a>)>, ConfigError> {
    let entries = &fields.entries;
    let wraps =
        |(key, node): &&(&str, Node<'_>)| hints::means_upstreams(key) && !node.has("base_url");
    if let Some((key, node)) = entries.iter().find(wraps) {
        return Err(node.error(unknown_key(key, &keys::UPSTREAM)));
    }
    // An upstream may have the name of a key, such as `default`.
    let is_named = |(key, node): &(&str, Node<'_>)| {
        node.is_mapping() && (node.has("base_url") || !keys::UPSTREAM.contains(key))
    };
    if !entries.is_empty() && entries.iter().all(is_named) {
        return Ok(entries.iter().collect());
    }
    let Some((example, _)) = entries.iter().find(|(_, node)| node.has("base_url")) else {
        let mut unknown = entries.iter().filter(|(key, _)| !keys::UPSTREAM.contains(key));
        // A mistyped key is a better hint than a missing base_url.
        let has_hint = |(key, _): &&(&str, Node<'_>)| hints::advice(key, &keys::UPSTREAM).is_some();
        if let Some((key, node)) = unknown.clone().find(has_hint) {
            return Err(node.error(unknown_key(key, &keys::UPSTREAM)));
        }
        let odd = unknown.find(|(_, node)| !node.is_mapping());
        return Err(match odd.filter(|_| entries.iter().any(is_named)) {
            Some((_, node)) => node.error(NO_SETTINGS),
            None => fields.place.error(MISSING),
        });
    };
    let mut named = Vec::new();
    for entry in entries {
        let (key, node) = entry;
        let known = keys::UPSTREAM.contains(key);
        if node.is_mapping() && (node.has("base_url") || !keys::MAPPINGS.contains(key)) {
            named.push(entry);
        } else if known && !node.is_null() {
            let message = "this setting belongs below a name, such as";
            return Err(node.error(format!("{message} {}", quoted(example))));
        } else if !known {
            return Err(node.error(NO_SETTINGS));
        }
    }
    Ok(named)
}

/// The place that an upstream's prefix comes from.
fn prefix_place<'a>(node: &Node<'a>) -> Result<Place<'a>, ConfigError> {
    let fields = node.fields()?;
    Ok(fields.get("prefix").map_or_else(|| node.place.clone(), |prefix| prefix.place.clone()))
}

/// Reads the settings of one upstream. `alone`: it is the only one.
fn upstream(
    name: Option<&str>,
    node: &Node<'_>,
    alone: bool,
    around: &Around<'_>,
) -> Result<Upstream, ConfigError> {
    let fields = node.fields()?;
    fields.only(&keys::UPSTREAM);
    let sources = around.sources;
    let mistyped =
        |(key, _): &(&str, Node<'_>)| !keys::UPSTREAM.contains(key) && hints::means_base_url(key);
    if fields.get("base_url").is_none() && !fields.entries.iter().any(mistyped) {
        node.place.faults.add(node.error(MISSING));
    }
    let base_url = fields.read("base_url", |node| {
        let base_url = address::base_url(node.string()?).map_err(|error| node.error(error))?;
        check_url(node, &base_url, fields.get("api_key").is_some())?;
        Ok(base_url)
    });
    // If it is missing, the rest is still checked, and the configuration is refused.
    let base_url = base_url.unwrap_or(BaseUrl::Sample);
    let is_named = name.is_some();
    let default_title = name.map_or(String::new(), |name| format!("{name}: "));
    let default_prefix = name.map_or(String::new(), |name| format!("{name}/"));
    let name = match (name, &base_url) {
        (Some(name), _) => name.to_owned(),
        (None, BaseUrl::Sample) => "sample".to_owned(),
        (None, BaseUrl::Remote(url)) => address::authority(url).to_owned(),
    };
    let api_key = fields.read("api_key", |node| credentials::api_key(node, sources));
    let has_api_key = fields.get("api_key").is_some();
    let authorization = fields.read("authorization", |node| {
        credentials::authorization(node, &name, has_api_key, around.has_client_keys)
    });
    let authorization = match authorization {
        Some(authorization) => authorization,
        None if alone && !has_api_key && !around.has_client_keys => Authorization::Passthrough,
        None => Authorization::None,
    };
    let headers =
        fields.read("headers", |node| credentials::fixed_headers(node, has_api_key, sources));
    let cache_ttl = fields.read("cache_ttl", Node::duration);
    let seconds = |key: &str, default: u64| {
        fields.read(key, Node::timeout).unwrap_or(Duration::from_secs(default))
    };
    let list_path = fields.read("list_path", |node| {
        address::list_path(node.string()?, &base_url).map_err(|error| node.error(error))
    });
    let prefix = fields.read("prefix", prefix).unwrap_or(default_prefix);
    let total_timeout = seconds("total_timeout", 300);
    let list_timeout = fields.read("list_timeout", Node::timeout);
    let (filter, rules_file) = rules_file::read(&fields, sources)?;
    Ok(Upstream {
        models: fields.read("models", |node| models::models(node, &name)),
        list_path,
        name,
        is_named,
        name_prefix: fields.read("name_prefix", name_prefix).unwrap_or_else(|| {
            // Clients of a single upstream have nothing to confuse its models with.
            if alone || prefix.is_empty() { String::new() } else { default_title }
        }),
        prefix,
        authorization,
        api_key,
        headers: headers.unwrap_or_default(),
        cache_ttl: cache_ttl.filter(|ttl| !ttl.is_zero()),
        cache_stale: fields.read("cache_stale", Node::duration).unwrap_or_default(),
        connection_timeout: fields.read("connection_timeout", Node::timeout),
        total_timeout,
        // The configuration files of the Python program bound the list by `total_timeout`.
        list_timeout: list_timeout.unwrap_or(total_timeout.min(Duration::from_secs(10))),
        idle_timeout: seconds("idle_timeout", 300),
        max_body: fields.read("max_body", Node::size).unwrap_or(64 << 20),
        ca_file: fields.read("tls", |node| ca_file(node, sources)).flatten(),
        proxy: proxy::proxy(&base_url, sources.env)?,
        filter,
        rules_file,
        hidden: fields.read("hidden", hidden).unwrap_or(Hidden::Allow),
        base_url,
    })
}

/// Warns of slips in an address; the error if it is that of an endpoint.
fn check_url(node: &Node<'_>, base_url: &BaseUrl, has_api_key: bool) -> Result<(), ConfigError> {
    let BaseUrl::Remote(url) = base_url else { return Ok(()) };
    if let Some(fault) = url_advice::endpoint(url) {
        return Err(node.error(fault));
    }
    if let Some(warning) = url_advice::unversioned(url) {
        node.place.faults.warn(&node.error(warning));
    }
    if has_api_key && url_advice::is_readable_on_its_way(url) {
        let warning = "the api_key is sent unencrypted to a public host: use https://";
        node.place.faults.warn(&node.error(warning));
    }
    Ok(())
}

fn prefix(node: &Node<'_>) -> Result<String, ConfigError> {
    let text = node.string()?;
    if text.contains(char::is_control) {
        return Err(node.error("a prefix is one line of text"));
    }
    let slash = if text.is_empty() || text.ends_with('/') { "" } else { "/" };
    Ok(format!("{text}{slash}"))
}

fn name_prefix(node: &Node<'_>) -> Result<String, ConfigError> {
    let text = node.string()?;
    if text.contains(char::is_control) {
        return Err(node.error("a name_prefix is one line of text"));
    }
    Ok(text.to_owned())
}

fn hidden(node: &Node<'_>) -> Result<Hidden, ConfigError> {
    match node.string()? {
        "allow" => Ok(Hidden::Allow),
        "reject" => Ok(Hidden::Reject),
        other => Err(node.error(format!("{} is not one of allow, reject", quoted(other)))),
    }
}

fn ca_file(node: &Node<'_>, sources: Sources<'_>) -> Result<Option<Vec<u8>>, ConfigError> {
    let fields = node.fields()?;
    fields.only(&keys::TLS);
    Ok(fields.read("ca_file", |node| {
        let path = node.string()?;
        let fault = |message: &str| node.error(format!("{}: {message}", quoted(path)));
        let pem = sources.files.read(&sources.folder.join(path), node.place.keys());
        let pem = pem.map_err(|error| fault(&io_reason(&error)))?;
        if holds_certificate(&pem) { Ok(pem) } else { Err(fault("holds no certificate (PEM)")) }
    }))
}

fn holds_certificate(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    let Some((_, rest)) = text.split_once("-----BEGIN CERTIFICATE-----") else { return false };
    let Some((body, _)) = rest.split_once("-----END CERTIFICATE-----") else { return false };
    let base64 = |c: char| c.is_ascii_alphanumeric() || c.is_whitespace() || "+/=".contains(c);
    !body.trim().is_empty() && body.chars().all(base64)
}
