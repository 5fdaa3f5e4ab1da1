//! What a configuration means, checked and compiled.

use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use crate::filter::Filter;
use crate::secret::Secret;
use crate::server::Limits;

/// Everything that was configured, checked and compiled.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from, as it was given.
    pub file: PathBuf,
    /// Where to listen.
    pub server: Server,
    /// The remote APIs, in the order of the file; at least one.
    pub upstreams: Vec<Upstream>,
    /// What to log, from `LLM_MF_LOG`.
    pub log_level: LevelFilter,
    /// What is odd but no error, one line each, for the log.
    pub warnings: Vec<String>,
}

/// The listening side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// 0 for any free one.
    pub port: u16,
    /// What is taken off the front of request paths: empty, or `/x` without a slash at its end.
    pub root_path: String,
    /// Of which a client must present one; empty where every client may call.
    pub client_keys: Vec<Secret>,
    /// Names and addresses beside loopback ones that may stand in `Host`: in lower case,
    /// without port or a dot at the end, an IPv6 address in its short form and without brackets.
    pub allowed_hosts: Vec<String>,
    /// Origins beside loopback ones and our own whose pages may call, as browsers write
    /// them: `scheme://host[:port]` in lower case, without the scheme's own port.
    pub allowed_origins: Vec<String>,
    /// What clients may take.
    pub limits: Limits,
    /// For exchanges to end when the program is told to.
    pub shutdown_timeout: Duration,
}

/// One remote API.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// As it was named, else the URL's `host[:port]`, else `sample`; one line, no two alike.
    pub name: String,
    /// Whether its settings stand below a name in the file.
    pub is_named: bool,
    /// Put before model ids: empty, or text with a slash at its end; no two alike.
    pub prefix: String,
    /// Where it is.
    pub base_url: BaseUrl,
    /// What becomes of the client's credentials.
    pub authorization: Authorization,
    /// Sent as `Bearer` in their place, below `base_url` only.
    pub api_key: Option<Secret>,
    /// Set on every request below `base_url`.
    pub headers: Vec<(String, Secret)>,
    /// How long a list is fresh; `None` for no caching. Never zero.
    pub cache_ttl: Option<Duration>,
    /// How much longer a list may be served while its refresh fails.
    pub cache_stale: Duration,
    /// The longest wait for a connection; `None` where only `total_timeout` bounds it.
    pub connection_timeout: Option<Duration>,
    /// The longest wait for a response to begin.
    pub total_timeout: Duration,
    /// The longest wait for a whole list of models.
    pub list_timeout: Duration,
    /// The longest silence inside a response.
    pub idle_timeout: Duration,
    /// The longest body that is held, in bytes; from 1 to 1 GiB.
    pub max_body: u64,
    /// Certificates to trust, as PEM, in place of the built-in ones.
    pub ca_file: Option<Vec<u8>>,
    /// The proxy to reach it by, an `http://` URL, which may hold a password; never for a
    /// loopback upstream or the sample.
    pub proxy: Option<Secret>,
    /// Which models are kept.
    pub filter: Filter,
    /// What becomes of requests that name a hidden model.
    pub hidden: Hidden,
}

/// Where an upstream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseUrl {
    /// The built-in sample.
    Sample,
    /// An `http://` or `https://` URL without user name, query, fragment or slash at its end.
    Remote(String),
}

/// What becomes of the client's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization {
    /// They go on as they came.
    Passthrough,
    /// They are taken out.
    None,
    /// The client's token is `name=secret,name=secret`, and this upstream gets the part that
    /// bears its name. The name is ASCII without `=` and `,`.
    Keyring,
}

/// What becomes of requests that name a model that the filter hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// They are relayed like any other.
    Allow,
    /// They are answered as if the model did not exist.
    Reject,
}
