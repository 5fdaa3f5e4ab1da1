//! The section `server`: the listening address, access control and limits.
//!
//! Limits: the host is not resolved here.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::environment::{Environment, Sources, variable};
use super::errors::ConfigError;
use super::limits::Limits;
use super::node::Node;
use super::settings::Server;
use super::{clients, keys};
use crate::cli::{self, Options};
use crate::secret::Secret;
use crate::text::quoted;

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 8080;
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// The section `server`, as typed.
#[derive(Default)]
pub(super) struct TypedServer {
    host: Option<String>,
    port: Option<u16>,
    root_path: Option<String>,
    pub(super) has_client_keys: bool,
    client_keys: Vec<Secret>,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    limits: Limits,
    shutdown_timeout: Option<Duration>,
    watch: Option<bool>,
}

/// Reads the host and the port alone.
pub(super) fn address(node: &Node<'_>) -> Result<TypedServer, ConfigError> {
    let fields = node.fields()?;
    let host = fields.read("host", |node| host(node.string()?).map_err(|error| node.error(error)));
    Ok(TypedServer { host, port: fields.read("port", Node::port), ..TypedServer::default() })
}

/// Reads the section.
pub(super) fn typed(node: &Node<'_>, sources: Sources<'_>) -> Result<TypedServer, ConfigError> {
    let fields = node.fields()?;
    fields.only(&keys::SERVER);
    let defaults = Limits::default();
    let timeout = |key: &str, default| fields.read(key, Node::timeout).unwrap_or(default);
    let count = |key: &str, default| fields.read(key, Node::count).unwrap_or(default);
    let limits = Limits {
        head_timeout: timeout("head_timeout", defaults.head_timeout),
        idle_timeout: timeout("idle_connection_timeout", defaults.idle_timeout),
        max_connections: count("max_connections", defaults.max_connections),
        max_requests: count("max_requests", defaults.max_requests),
        max_upgrades: count("max_upgrades", defaults.max_upgrades),
        ..defaults
    };
    let checked = |key: &str, check: fn(&str) -> Result<String, String>| {
        fields.read(key, |node| check(node.string()?).map_err(|error| node.error(error)))
    };
    let client_keys = fields.read("client_keys", |node| clients::client_keys(node, sources));
    let allowed_hosts = fields.read("allowed_hosts", clients::allowed_hosts);
    let allowed_origins = fields.read("allowed_origins", clients::allowed_origins);
    Ok(TypedServer {
        host: checked("host", host),
        port: fields.read("port", Node::port),
        root_path: checked("root_path", root_path),
        has_client_keys: fields.get("client_keys").is_some(),
        client_keys: client_keys.unwrap_or_default(),
        allowed_hosts: allowed_hosts.unwrap_or_default(),
        allowed_origins: allowed_origins.unwrap_or_default(),
        limits,
        shutdown_timeout: fields.read("shutdown_timeout", Node::timeout),
        watch: fields.read("watch", Node::boolean),
    })
}

/// The section with the environment and the options over it.
pub(super) fn server(
    typed: TypedServer,
    options: &Options,
    env: Environment<'_>,
) -> Result<Server, ConfigError> {
    let set = |name: &'static str| Some((name, variable(env, name)?));
    let with_source = |source: &str, error: String| ConfigError::new(format!("{source}: {error}"));

    let given = options.host.clone().map(|text| ("--host", text)).or_else(|| set("LLM_MF_HOST"));
    let host = match given {
        Some((source, text)) => host(&text).map_err(|error| with_source(source, error))?,
        None => typed.host.unwrap_or_else(|| DEFAULT_HOST.to_owned()),
    };
    let port = match (options.port, set("LLM_MF_PORT")) {
        (Some(port), _) => port,
        (None, Some((source, text))) => {
            cli::port(&text).map_err(|error| with_source(source, error))?
        }
        (None, None) => typed.port.unwrap_or(DEFAULT_PORT),
    };
    let given = options.root_path.clone().map(|text| ("--root-path", text));
    let root_path = match given.or_else(|| set("LLM_MF_ROOT_PATH")) {
        Some((source, text)) => root_path(&text).map_err(|error| with_source(source, error))?,
        None => typed.root_path.unwrap_or_default(),
    };
    Ok(Server {
        host,
        port,
        root_path,
        client_keys: typed.client_keys,
        allowed_hosts: typed.allowed_hosts,
        allowed_origins: typed.allowed_origins,
        limits: typed.limits,
        watch: typed.watch.unwrap_or(true),
        shutdown_timeout: typed.shutdown_timeout.unwrap_or(SHUTDOWN_TIMEOUT),
    })
}

fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    // The resolver reads the scope of a link-local address (`fe80::1%eth0`).
    let address = bare.split('%').next().unwrap_or(bare);
    let valid = if bare.contains(':') || bare != text {
        address.parse::<Ipv6Addr>().is_ok()
    } else {
        !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
    };
    if valid {
        Ok(bare.to_owned())
    } else {
        Err(format!("{} is not a host's name or address", quoted(text)))
    }
}

fn root_path(text: &str) -> Result<String, String> {
    let path = text.trim_matches('/');
    if path.is_empty() {
        return Ok(String::new());
    }
    let valid = |segment: &str| {
        let letters = |byte: u8| byte.is_ascii_graphic() && !b"?#\\".contains(&byte);
        !matches!(segment, "" | "." | "..") && segment.bytes().all(letters)
    };
    if path.split('/').all(valid) {
        Ok(format!("/{path}"))
    } else {
        Err(format!("{} is not a path such as /llm", quoted(text)))
    }
}
