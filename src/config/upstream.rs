//! The section `model_filter`: from what was typed to upstreams.
//!
//! It holds the settings of one upstream, or names with the settings of one upstream below
//! each, in the order in which clients see their models. Limits: a name stands for one API;
//! there is no failover.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::environment::Sources;
use super::errors::{ConfigError, io_reason};
use super::node::{Fields, Node, Place, nearest, unknown_key};
use super::settings::{Authorization, BaseUrl, Hidden, Upstream};
use super::{address, credentials, models, proxy};
use crate::filter::{Filter, Rules};
use crate::text::quoted;

const KEYS: [&str; 22] = [
    "base_url",
    "prefix",
    "name_prefix",
    "api_key",
    "authorization",
    "headers",
    "regexp",
    "simple",
    "exclude",
    "default",
    "case_sensitive",
    "hidden",
    "cache_ttl",
    "cache_stale",
    "connection_timeout",
    "total_timeout",
    "list_timeout",
    "list_path",
    "models",
    "idle_timeout",
    "max_body",
    "tls",
];

/// The keys whose value is a mapping.
const MAPPINGS: [&str; 3] = ["headers", "exclude", "tls"];

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
    // An upstream may have the name of a key, such as `default`.
    let is_named = |(key, node): &(&str, Node<'_>)| {
        node.is_mapping() && (node.has("base_url") || !KEYS.contains(key))
    };
    if !entries.is_empty() && entries.iter().all(is_named) {
        return Ok(entries.iter().collect());
    }
    let Some((example, _)) = entries.iter().find(|(_, node)| node.has("base_url")) else {
        let mut unknown = entries.iter().filter(|(key, _)| !KEYS.contains(key));
        // A mistyped key is a better hint than a missing base_url.
        if let Some((key, node)) = unknown.clone().find(|(key, _)| nearest(key, &KEYS).is_some()) {
            return Err(unknown_key(key, node, &KEYS));
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
        let known = KEYS.contains(key);
        if node.is_mapping() && (node.has("base_url") || !MAPPINGS.contains(key)) {
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
    fields.only(&KEYS);
    let sources = around.sources;
    let mistyped = |(key, _): &(&str, Node<'_>)| {
        !KEYS.contains(key) && nearest(key, &KEYS) == Some("base_url")
    };
    if fields.get("base_url").is_none() && !fields.entries.iter().any(mistyped) {
        node.place.faults.add(node.error(MISSING));
    }
    let base_url = fields.read("base_url", |node| {
        address::base_url(node.string()?).map_err(|error| node.error(error))
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
    let api_key = fields.read("api_key", |node| credentials::secret(node, sources));
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
        ca_file: fields.read("tls", |node| ca_file(node, sources.folder)).flatten(),
        proxy: proxy::proxy(&base_url, sources.env)?,
        filter: filter(&fields),
        hidden: fields.read("hidden", hidden).unwrap_or(Hidden::Allow),
        base_url,
    })
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

fn ca_file(node: &Node<'_>, folder: &Path) -> Result<Option<Vec<u8>>, ConfigError> {
    let fields = node.fields()?;
    fields.only(&["ca_file"]);
    Ok(fields.read("ca_file", |node| {
        let path = node.string()?;
        let fault = |message: &str| node.error(format!("{}: {message}", quoted(path)));
        let pem = fs::read(folder.join(path)).map_err(|error| fault(&io_reason(&error)))?;
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

fn filter(fields: &Fields<'_>) -> Filter {
    let exclude = fields.read("exclude", |node| {
        let fields = node.fields()?;
        fields.only(&["regexp", "simple"]);
        Ok((fields.read("regexp", Node::strings), fields.read("simple", Node::strings)))
    });
    let (exclude_regexp, exclude_simple) = exclude.unwrap_or_default();
    let mut rules = Rules {
        case_sensitive: fields.read("case_sensitive", Node::boolean).unwrap_or(false),
        regexp: fields.read("regexp", Node::strings),
        simple: fields.read("simple", Node::strings),
        exclude_regexp: exclude_regexp.unwrap_or_default(),
        exclude_simple: exclude_simple.unwrap_or_default(),
        default: fields.read("default", |node| Ok(node.string()?.to_owned())),
    };
    loop {
        match Filter::new(&rules) {
            Ok(filter) => return filter,
            Err(error) => {
                let place = fields.place.at(&error.key);
                let message = format!("{}: {}", quoted(&error.pattern), error.message);
                place.faults.add(place.error(message));
                rules.forget(&error);
            }
        }
    }
}
