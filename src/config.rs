//! YAML and environment to [`Config`]: what was typed becomes what it means.
//!
//! Arguments come before the environment, the environment before the file's section
//! `server`, that before the defaults. Every way to get it wrong ends in a
//! [`ConfigError`]: one line that names the file, the key's path and the value, or the
//! variable, or the option. The file is read as PyYAML and pydantic read it for the
//! Python program, so that its files run unchanged. Limits: nothing here connects to
//! anything.
//!
//! In the submodules: `yaml` (bytes to values), `node` (values as typed, with their
//! place), `upstream` (the section `model_filter`), `credentials` (what an upstream may
//! see), `server` (the section `server`), `clients` (who may call), `address` (URLs and
//! proxies), `no_proxy` (whom they are not for), `supervision` (what a service manager sets), `errors`.

mod address;
mod clients;
mod credentials;
mod errors;
mod no_proxy;
mod node;
mod server;
mod supervision;
mod upstream;
mod yaml;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;

pub use self::errors::{ConfigError, ConfigErrors};
use self::node::{Faults, Fields, Node, Place, nearest, quoted, unknown_key};
pub use self::supervision::{Supervision, supervision};
use self::upstream::Around;
use crate::cli::Options;
use crate::filter::Filter;
use crate::secret::Secret;
use crate::server::Limits;

const DEFAULT_FILE: &str = "config.yaml";
const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 8080;
const SECTIONS: [&str; 2] = ["model_filter", "server"];

/// Looks up an environment variable; [`environment`], but for tests.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

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

/// The process's environment. A value that is not UTF-8 has its wrong bytes replaced, so
/// that whatever reads it can say what is wrong with it.
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Where what a configuration only names comes from.
#[derive(Clone, Copy)]
struct Sources<'a> {
    /// Where relative paths in the file start.
    folder: &'a Path,
    env: Environment<'a>,
}

impl Sources<'_> {
    /// Where the files of secrets are: with systemd's `LoadCredential=`, in a folder that
    /// only this program can read.
    fn credentials_folder(&self) -> PathBuf {
        variable(self.env, "CREDENTIALS_DIRECTORY").map_or(self.folder.into(), PathBuf::from)
    }
}

/// Reads the file that the options or the environment name, else `config.yaml`.
///
/// # Errors
/// A file that cannot be read or is not YAML; a key that is unknown, missing or wrong; an
/// unset variable that the file names; a wrong option or variable of our own.
pub fn load(options: &Options, env: Environment<'_>) -> Result<Config, ConfigErrors> {
    let (bytes, file) = read(options, env)?;
    compile(&bytes, file, options, env)
}

fn read(options: &Options, env: Environment<'_>) -> Result<(Vec<u8>, PathBuf), ConfigError> {
    let given = options.config.clone().or_else(|| Some(variable(env, "LLM_MF_CONFIG")?.into()));
    let hint = if given.is_none() { "; name one with --config or LLM_MF_CONFIG" } else { "" };
    let file = given.unwrap_or_else(|| DEFAULT_FILE.into());
    let bytes = fs::read(&file).map_err(|error| {
        ConfigError::new(format!("{}: {}{hint}", file.display(), io_reason(&error)))
    })?;
    Ok((bytes, file))
}

/// The host and the port alone, for who wants to call the running program: without looking
/// at the rest, and so without its secrets.
///
/// # Errors
/// A file that cannot be read or is not YAML; a wrong host or port.
pub fn address(options: &Options, env: Environment<'_>) -> Result<(String, u16), ConfigError> {
    let (bytes, file) = read(options, env)?;
    let (faults, name) = (Faults::default(), file.display().to_string());
    let place = Place::root(&name, &faults);
    let value = yaml::parse(&bytes, &place)?;
    let fields = Node::new(place, &value).fields()?;
    let typed = fields.read("server", server::address).unwrap_or_default();
    match faults.into_errors().into_iter().next() {
        Some(error) => Err(error),
        None => server::server(typed, options, env).map(|server| (server.host, server.port)),
    }
}

fn compile(
    bytes: &[u8],
    file: PathBuf,
    options: &Options,
    env: Environment<'_>,
) -> Result<Config, ConfigErrors> {
    let faults = Faults::default();
    let config = faults.keep(assemble(bytes, file, options, env, &faults));
    let errors = faults.into_errors();
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => Err(ConfigErrors::new(errors)),
    }
}

/// Puts together what is right; what is not is among the faults, or the error.
fn assemble(
    bytes: &[u8],
    file: PathBuf,
    options: &Options,
    env: Environment<'_>,
    faults: &Faults,
) -> Result<Config, ConfigError> {
    let name = file.display().to_string();
    let place = Place::root(&name, faults);
    let value = yaml::parse(bytes, &place)?;
    if value.is_null() {
        return Err(place.error("the file is empty"));
    }
    let fields = Node::new(place, &value).fields()?;
    let sources = Sources { folder: file.parent().unwrap_or(Path::new("")), env };
    let mut warnings = unknown_sections(&fields)?;
    let typed = fields.read("server", |node| server::typed(node, sources)).unwrap_or_default();
    let section = fields.get("model_filter");
    let section = section.ok_or_else(|| fields.place.error("model_filter is missing"))?;
    let around = Around { sources, has_client_keys: typed.has_client_keys };
    let upstreams = faults.keep(upstream::upstreams(section, &around)).unwrap_or_default();
    let (server, log_level) = (server::server(typed, options, env)?, log_level(env)?);
    warnings.extend(credentials::shared(&section.place, &upstreams)?);
    warnings.extend(clients::exposed(&server, &upstreams));
    Ok(Config { file, server, upstreams, log_level, warnings })
}

/// Unknown keys at the top are only worth a warning, since anchors are kept there. One
/// that stands where `model_filter` should is an error.
fn unknown_sections(fields: &Fields<'_>) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    for (key, node) in fields.entries.iter().filter(|(key, _)| !SECTIONS.contains(key)) {
        match nearest(key, &SECTIONS) {
            Some("model_filter") if fields.get("model_filter").is_none() => {
                return Err(unknown_key(key, node, &SECTIONS));
            }
            Some(near) => {
                let message = format!("unknown key, ignored; did you mean {near:?}?");
                warnings.push(node.error(message).to_string());
            }
            None => warnings.push(node.error("unknown key, ignored").to_string()),
        }
    }
    Ok(warnings)
}

fn log_level(env: Environment<'_>) -> Result<LevelFilter, ConfigError> {
    let Some(text) = variable(env, "LLM_MF_LOG") else { return Ok(LevelFilter::Info) };
    match text.to_ascii_lowercase().as_str() {
        "error" => Ok(LevelFilter::Error),
        "warn" => Ok(LevelFilter::Warn),
        "info" => Ok(LevelFilter::Info),
        "debug" => Ok(LevelFilter::Debug),
        "off" => Ok(LevelFilter::Off),
        _ => {
            let message = "is not one of error, warn, info, debug, off";
            Err(ConfigError::new(format!("LLM_MF_LOG: {} {message}", quoted(&text))))
        }
    }
}

/// A variable's value; an empty one is as if unset.
fn variable(env: Environment<'_>, name: &str) -> Option<String> {
    env(name).filter(|value| !value.is_empty())
}

/// The system's words for an error, in lower case and without its number.
fn io_reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const SAMPLE: &str = "model_filter: {base_url: 'sample:'}";

    fn read_with(yaml: &str, options: &Options, env: Environment<'_>) -> Result<Config, String> {
        let config = compile(yaml.as_bytes(), "config.yaml".into(), options, env);
        config.map_err(|error| error.to_string())
    }

    pub(super) fn read(yaml: &str) -> Result<Config, String> {
        read_with(yaml, &Options::default(), &|_| None)
    }

    fn only(yaml: &str) -> Upstream {
        read(yaml).unwrap().upstreams.remove(0)
    }

    #[test]
    fn the_plain_form_of_the_python_program_means_what_it_meant() {
        let upstream = only(
            "model_filter:\n  base_url: http://localhost:8080/v1/\n  cache_ttl: 900\n  \
             connection_timeout: 10\n  total_timeout: 60\n  case_sensitive: false\n  \
             regexp: [\".*llama.*\"]\n  simple: [\"some_other_model\"]\n",
        );
        assert_eq!(upstream.base_url, BaseUrl::Remote("http://localhost:8080/v1".to_owned()));
        assert_eq!((upstream.name.as_str(), upstream.prefix.as_str()), ("localhost:8080", ""));
        assert_eq!(upstream.cache_ttl, Some(Duration::from_secs(900)));
        assert_eq!(upstream.connection_timeout, Some(Duration::from_secs(10)));
        assert_eq!(upstream.total_timeout, Duration::from_secs(60));
        assert_eq!(upstream.authorization, Authorization::Passthrough);
    }

    #[test]
    fn a_name_above_the_settings_is_the_prefix() {
        let upstream = only("model_filter: {default: {base_url: https://a.example/v1}}");
        assert_eq!((upstream.name.as_str(), upstream.prefix.as_str()), ("default", "default/"));
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let upstream = only(SAMPLE);
        assert_eq!(upstream.name, "sample");
        assert_eq!((upstream.cache_ttl, upstream.cache_stale), (None, Duration::ZERO));
        assert_eq!((upstream.connection_timeout, upstream.ca_file), (None, None));
        assert_eq!(upstream.total_timeout, Duration::from_secs(300));
        assert_eq!(upstream.list_timeout, Duration::from_secs(10));
        assert_eq!(upstream.idle_timeout, Duration::from_secs(300));
        assert_eq!(upstream.max_body, 67_108_864);
    }

    #[test]
    fn a_null_is_as_if_absent_also_over_a_merged_value() {
        let upstream = only(
            "base: &base {cache_ttl: 5, total_timeout: 7}\nmore: &more {<<: *base, idle_timeout: 9}\n\
             model_filter: {<<: *more, base_url: 'sample:', cache_ttl: , api_key: ~}",
        );
        assert_eq!(upstream.cache_ttl, None);
        assert_eq!(upstream.total_timeout, Duration::from_secs(7));
        assert_eq!(upstream.idle_timeout, Duration::from_secs(9));
        assert_eq!(upstream.api_key, None);
    }

    #[test]
    fn an_api_key_takes_the_place_of_the_clients_credentials() {
        let env = |name: &str| (name == "KEY").then(|| "hush".to_owned());
        let yaml = "model_filter: {base_url: 'sample:', api_key: os.environ/KEY}";
        let config = read_with(yaml, &Options::default(), &env).unwrap();
        assert_eq!(config.upstreams[0].authorization, Authorization::None);
        assert_eq!(config.upstreams[0].api_key, Some(Secret::new("hush")));
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn arguments_come_before_the_environment_before_the_file_before_the_defaults() {
        let yaml = format!("{SAMPLE}\nserver: {{host: file, port: 1, root_path: /file}}");
        let env = |name: &str| match name {
            "LLM_MF_HOST" => Some("env".to_owned()),
            "LLM_MF_PORT" => Some("2".to_owned()),
            "LLM_MF_ROOT_PATH" => Some("env/".to_owned()),
            _ => None,
        };
        let options = Options {
            config: None,
            host: Some("[::1]".to_owned()),
            port: Some(3),
            root_path: Some(String::new()),
        };
        let listening = |yaml: &str, options: &Options, env: Environment<'_>| {
            let server = read_with(yaml, options, env).unwrap().server;
            (server.host, server.port, server.root_path)
        };
        let expected = |host: &str, port: u16, path: &str| (host.to_owned(), port, path.to_owned());
        let (none, unset, empty) =
            (Options::default(), |_: &str| None, |_: &str| Some(String::new()));
        assert_eq!(listening(SAMPLE, &none, &unset), expected("127.0.0.1", 8080, ""));
        assert_eq!(listening(&yaml, &none, &empty), expected("file", 1, "/file"));
        assert_eq!(listening(&yaml, &none, &env), expected("env", 2, "/env"));
        assert_eq!(listening(&yaml, &options, &env), expected("::1", 3, ""));
    }

    #[test]
    fn a_wrong_option_or_variable_is_named() {
        let error = |name: &'static str, value: &'static str| {
            let env = move |asked: &str| (asked == name).then(|| value.to_owned());
            read_with(SAMPLE, &Options::default(), &env).unwrap_err()
        };
        let port = r#"LLM_MF_PORT: "abc" is not a port (0 to 65535)"#;
        assert_eq!(error("LLM_MF_PORT", "abc"), port);
        let host = r#"LLM_MF_HOST: "127.0.0.1:80" is not a host's name or address"#;
        assert_eq!(error("LLM_MF_HOST", "127.0.0.1:80"), host);
        let path = r#"LLM_MF_ROOT_PATH: "/a/../b" is not a path such as /llm"#;
        assert_eq!(error("LLM_MF_ROOT_PATH", "/a/../b"), path);
        let level = r#"LLM_MF_LOG: "loud" is not one of error, warn, info, debug, off"#;
        assert_eq!(error("LLM_MF_LOG", "loud"), level);
        let options = Options { host: Some(String::new()), ..Options::default() };
        let host = r#"--host: "" is not a host's name or address"#;
        assert_eq!(read_with(SAMPLE, &options, &|_| None).unwrap_err(), host);
    }

    #[test]
    fn an_unknown_section_is_a_warning() {
        let config = read(&format!("{SAMPLE}\nanchors: {{}}\nsever: {{port: 1}}")).unwrap();
        let near = r#"config.yaml: sever: unknown key, ignored; did you mean "server"?"#;
        assert_eq!(config.warnings, ["config.yaml: anchors: unknown key, ignored", near]);
    }

    #[test]
    fn several_upstreams_keep_their_order_and_get_no_credentials_unasked() {
        let config = read(
            "model_filter:\n  default: {base_url: 'sample:'}\n  a: {base_url: 'sample:', prefix: ''}\n  \
             c: {base_url: 'sample:', prefix: x/y}\n  b: {base_url: 'sample:', prefix: x/, hidden: reject}",
        );
        let upstreams = config.unwrap().upstreams;
        let names: Vec<_> =
            upstreams.iter().map(|u| (u.name.as_str(), u.prefix.as_str())).collect();
        assert_eq!(names, [("default", "default/"), ("a", ""), ("c", "x/y/"), ("b", "x/")]);
        assert!(upstreams.iter().all(|u| u.authorization == Authorization::None));
        let hidden: Vec<_> = upstreams.iter().map(|u| u.hidden).collect();
        assert_eq!(hidden, [Hidden::Allow, Hidden::Allow, Hidden::Allow, Hidden::Reject]);
    }

    #[test]
    fn one_upstream_may_have_a_prefix_of_its_own() {
        let prefix = |yaml: &str| only(yaml).prefix;
        assert_eq!(prefix("model_filter: {base_url: 'sample:', prefix: mine}"), "mine/");
        assert_eq!(prefix("model_filter: {base_url: 'sample:', prefix: }"), "");
        assert_eq!(prefix("model_filter: {one: {base_url: 'sample:', prefix: ''}}"), "");
        assert_eq!(prefix("model_filter: {one: {base_url: 'sample:', prefix: ~}}"), "one/");
    }

    #[test]
    fn with_client_keys_nothing_of_a_client_goes_on() {
        let config = read(&format!("{SAMPLE}\nserver: {{client_keys: [hush-hush]}}")).unwrap();
        assert_eq!(config.upstreams[0].authorization, Authorization::None);
        assert_eq!(config.server.client_keys, [Secret::new("hush-hush")]);
        assert!(!format!("{config:?}").contains("hush"));
    }
}
