//! The names of all keys, by the mapping that holds them.

/// The top level of the file. Keys that begin with `x-` or hold an anchor are free.
pub(super) const TOP: [&str; 3] = ["model_filter", "server", "aliases"];

/// The settings of an upstream.
pub(super) const UPSTREAM: [&str; 25] = [
    "base_url",
    "prefix",
    "name_prefix",
    "api_key",
    "authorization",
    "headers",
    "rules",
    "regexp",
    "simple",
    "exclude",
    "where",
    "order",
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

/// The keys of a file that `rules` names.
pub(super) const RULES: [&str; 7] =
    ["regexp", "simple", "exclude", "where", "order", "default", "case_sensitive"];

/// The keys of an upstream whose value is a mapping.
pub(super) const MAPPINGS: [&str; 4] = ["headers", "exclude", "where", "tls"];

/// `exclude` of an upstream.
pub(super) const EXCLUDE: [&str; 2] = ["regexp", "simple"];

/// `where` of an upstream.
pub(super) const WHERE: [&str; 7] =
    ["max_price", "min_context", "input", "output", "supports", "max_age", "unknown"];

/// `tls` of an upstream.
pub(super) const TLS: [&str; 1] = ["ca_file"];

/// The long form of an alias.
pub(super) const ALIAS: [&str; 2] = ["model", "name"];

/// The section `server`.
pub(super) const SERVER: [&str; 13] = [
    "host",
    "port",
    "root_path",
    "client_keys",
    "allowed_hosts",
    "allowed_origins",
    "head_timeout",
    "idle_connection_timeout",
    "max_connections",
    "max_requests",
    "max_upgrades",
    "shutdown_timeout",
    "watch",
];
