//! The meaning of a configuration, checked and compiled.

use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use super::changes::Fingerprint;
use super::limits::Limits;
use super::rules_file::RulesFile;
use crate::filter::Filter;
use crate::secret::Secret;

/// Everything that was configured, checked and compiled.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from, as it was given; none if options and variables are all of it.
    pub file: Option<PathBuf>,
    /// The listening side.
    pub server: Server,
    /// The remote APIs, in the order of the file; at least one.
    pub upstreams: Vec<Upstream>,
    /// Other ids for models, in the order of the file.
    pub aliases: Vec<Alias>,
    /// The level of the log, from `LLM_MF_LOG`.
    pub log_level: LevelFilter,
    /// Warnings for the log, one line each.
    pub warnings: Vec<String>,
    /// What was typed, to name what a reload changes.
    pub(super) fingerprint: Fingerprint,
}

/// The listening side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// 0 for any free port.
    pub port: u16,
    /// Removed from the front of request paths: empty, or `/x` without a slash at its end.
    pub root_path: String,
    /// The keys of which a client must present one; empty if every client may call.
    pub client_keys: Vec<Secret>,
    /// Names and addresses that `Host` may have beside loopback ones: in lower case, without
    /// port or a dot at the end, an IPv6 address in its short form and without brackets.
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may call beside loopback ones and our own, as browsers write them:
    /// `scheme://host[:port]` in lower case, without the default port of the scheme.
    pub allowed_origins: Vec<String>,
    /// Limits for clients.
    pub limits: Limits,
    /// Whether the configuration is read again when its files change.
    pub watch: bool,
    /// How long a graceful shutdown waits for exchanges to end.
    pub shutdown_timeout: Duration,
}

/// One remote API.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The name in the file, else the URL's `host[:port]`, else `sample`; one line, unique.
    pub name: String,
    /// Whether its settings are below a name in the file.
    pub is_named: bool,
    /// Put before model ids: empty, or text with a slash at its end; unique.
    pub prefix: String,
    /// Put before the displayed names of models; may be empty.
    pub name_prefix: String,
    /// Its address.
    pub base_url: BaseUrl,
    /// Which of the client's credentials it gets.
    pub authorization: Authorization,
    /// Sent as `Bearer` in place of the client's, below `base_url` only.
    pub api_key: Option<Secret>,
    /// Set on every request below `base_url`.
    pub headers: Vec<(String, Secret)>,
    /// How long a list is fresh; `None` for no caching. Never zero.
    pub cache_ttl: Option<Duration>,
    /// How much longer a list may be served while its refresh fails.
    pub cache_stale: Duration,
    /// The longest wait for a connection; `None` if only `total_timeout` bounds it.
    pub connection_timeout: Option<Duration>,
    /// The longest wait for a response to begin.
    pub total_timeout: Duration,
    /// The longest wait for a whole list of models.
    pub list_timeout: Duration,
    /// Models that the configuration names. Without `list_path` the upstream is not asked for its
    /// list.
    pub models: Option<Vec<OwnModel>>,
    /// The path of the list with its query: from a `/` on below the address, or a URL of the same
    /// origin. `/models` if absent.
    pub list_path: Option<String>,
    /// The longest silence inside a response.
    pub idle_timeout: Duration,
    /// The longest request body that is held in memory, in bytes; from 1 to 1 GiB.
    pub max_body: u64,
    /// Trusted certificates as PEM, in place of the built-in ones.
    pub ca_file: Option<Vec<u8>>,
    /// The proxy to reach it by, an `http://` URL, which may hold a password; never for a
    /// loopback upstream or the sample.
    pub proxy: Option<Secret>,
    /// Which models are kept.
    pub filter: Filter,
    /// The file that the filter was read from, if it has one of its own.
    pub rules_file: Option<RulesFile>,
    /// The treatment of requests that name a hidden model.
    pub hidden: Hidden,
}

/// Another id for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The id; unique.
    pub id: String,
    /// The id of the model as clients see it.
    pub target: String,
    /// The index of its upstream.
    pub upstream: usize,
    /// The id of the model as its upstream names it.
    pub model: String,
    /// The displayed name; if absent, the id.
    pub name: Option<String>,
}

/// A model that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnModel {
    /// Its id, without the prefix.
    pub id: String,
    /// Its JSON object, as a list has it.
    pub object: String,
}

/// The address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseUrl {
    /// The built-in sample.
    Sample,
    /// An `http://` or `https://` URL without user name, query, fragment or slash at its end.
    Remote(String),
}

/// The treatment of the client's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization {
    /// They are sent on unchanged.
    Passthrough,
    /// They are removed.
    None,
    /// The client's token is `name=secret,name=secret`, and this upstream gets the secret with
    /// its name. The name is ASCII without `=` and `,`.
    Keyring,
}

/// The treatment of requests that name a hidden model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// They are relayed like any other.
    Allow,
    /// They get a 404, as if the model did not exist.
    Reject,
}
