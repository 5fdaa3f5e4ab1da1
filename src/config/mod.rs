//! YAML and environment to [`Config`]: what was typed becomes what it means.
//!
//! Arguments come before the environment, the environment before the section `server` of the
//! file, that before the defaults. Everything wrong is a [`ConfigError`]: one line that names
//! the file, the path of the key and the value, or the variable, or the option. The file is
//! read as PyYAML and pydantic read it for the Python program, so that its files run unchanged.
//! Limits: nothing here opens a connection.

mod address;
mod aliases;
mod changes;
mod choosing;
mod clients;
mod credentials;
mod environment;
mod errors;
mod files;
mod filter_keys;
mod hints;
mod keys;
mod limits;
mod load;
mod models;
mod node;
mod overrides;
mod proxy;
mod quantity;
mod rules_file;
mod search;
mod server;
mod settings;
mod supervision;
mod traps;
mod upstream;
mod url_advice;
mod value;
mod yaml;

pub use self::credentials::client_key;
pub use self::environment::{Environment, environment};
pub use self::errors::{ConfigError, ConfigErrors};
pub use self::files::Files;
pub use self::limits::Limits;
pub use self::load::{address, changes, load, load_with_files};
pub use self::rules_file::{RULES_SIZE, RulesFile, conditions_in, digest, read_rules, rules_in};
pub use self::settings::{
    Alias, Authorization, BaseUrl, Config, Hidden, OwnModel, Server, Upstream,
};
pub use self::supervision::{Supervision, supervision};
