//! Reads and checks a whole configuration.

use std::path::Path;

use log::LevelFilter;

use super::changes::Fingerprint;
use super::environment::{Environment, Sources, variable};
use super::errors::{ConfigError, ConfigErrors};
use super::files::Files;
use super::node::{Faults, Fields, Node, Place};
use super::overrides::Overrides;
use super::search::{self, Found};
use super::settings::Config;
use super::upstream::Around;
use super::{aliases, clients, credentials, hints, keys, server, traps, upstream, yaml};
use crate::cli::Options;
use crate::text::quoted;

/// Reads the file that the options or the environment name, else the one in a usual place, else
/// the options and variables alone.
///
/// # Errors
/// A file that cannot be read or is not YAML; a key that is unknown, missing or wrong; an
/// unset variable that the file names; a wrong option or variable of our own; no file and no
/// address of an upstream.
pub fn load(options: &Options, env: Environment<'_>) -> Result<Config, ConfigErrors> {
    load_with_files(options, env).0
}

/// As [`load`], with the files that were read, also if there is an error in them.
pub fn load_with_files(
    options: &Options,
    env: Environment<'_>,
) -> (Result<Config, ConfigErrors>, Files) {
    let files = Files::default();
    let config = match search::find(options, env, &files) {
        Ok(found) => compile(found, options, env, &files),
        Err(error) => Err(error.into()),
    };
    (config, files)
}

/// The keys whose values differ between two configurations, with the files they were read from.
pub fn changes(old: (&Config, &Files), new: (&Config, &Files)) -> Vec<String> {
    let mut keys = new.0.fingerprint.changes(&old.0.fingerprint);
    for key in new.1.keys_changed_since(old.1) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// Reads the host and the port alone, to call the running program. The rest is not read, and so
/// its secrets need not be there.
///
/// # Errors
/// A file that cannot be read or is not YAML; a wrong host or port.
pub fn address(options: &Options, env: Environment<'_>) -> Result<(String, u16), ConfigError> {
    let faults = Faults::default();
    let found = search::find(options, env, &Files::default())?;
    let (name, bytes) = match found {
        Some(found) => (found.path.display().to_string(), found.bytes),
        None => (String::new(), Vec::new()),
    };
    let place = Place::root(&name, &faults);
    let value = yaml::parse(&bytes, &place)?;
    let typed = if value.is_null() {
        server::TypedServer::default()
    } else {
        let fields = Node::new(place, &value).fields()?;
        fields.read("server", server::address).unwrap_or_default()
    };
    match faults.into_errors().into_iter().next() {
        Some(error) => Err(error),
        None => server::server(typed, options, env).map(|server| (server.host, server.port)),
    }
}

fn compile(
    found: Option<Found>,
    options: &Options,
    env: Environment<'_>,
    files: &Files,
) -> Result<Config, ConfigErrors> {
    let faults = Faults::default();
    let config = faults.keep(assemble(found, options, env, files, &faults));
    let errors = faults.into_errors();
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => Err(ConfigErrors::new(errors)),
    }
}

/// Compiles what is valid. Errors go to `faults`; the returned one ends the reading.
fn assemble(
    found: Option<Found>,
    options: &Options,
    env: Environment<'_>,
    files: &Files,
    faults: &Faults,
) -> Result<Config, ConfigError> {
    let overrides = Overrides::read(options, env);
    if found.is_none() && !overrides.name_an_upstream() {
        return Err(search::none_found(env));
    }
    let (file, bytes, is_public) = match found {
        Some(found) => (Some(found.path), found.bytes, found.is_public),
        None => (None, Vec::new(), false),
    };
    let name = file.as_ref().map_or(String::new(), |file| file.display().to_string());
    let place = Place::root(&name, faults);
    let mut value = yaml::parse(&bytes, &place)?;
    if value.is_null() && !overrides.name_an_upstream() {
        return Err(place.error("the file is empty"));
    }
    faults.set_origins(overrides.apply(&mut value, &name)?);
    let fields = Node::new(place, &value).fields()?;
    let folder = file.as_ref().and_then(|file| file.parent()).unwrap_or(Path::new(""));
    let sources = Sources { folder, env, is_public, files };
    let mut misplaced = top_level(&fields, &String::from_utf8_lossy(&bytes));
    let Some(section) = fields.get("model_filter") else {
        // A key at the wrong place is a better hint than the missing section.
        let last = misplaced.pop();
        misplaced.into_iter().for_each(|error| faults.add(error));
        return Err(last.unwrap_or_else(|| fields.place.error("model_filter is missing")));
    };
    misplaced.into_iter().for_each(|error| faults.add(error));
    let typed = fields.read("server", |node| server::typed(node, sources)).unwrap_or_default();
    let around = Around { sources, has_client_keys: typed.has_client_keys };
    let upstreams = faults.keep(upstream::upstreams(section, &around)).unwrap_or_default();
    let aliases = fields.read("aliases", |node| aliases::aliases(node, &upstreams));
    let aliases = aliases.unwrap_or_default();
    let (server, log_level) = (server::server(typed, options, env)?, log_level(env)?);
    let mut warnings = faults.take_warnings();
    warnings.extend(credentials::shared(&section.place, &upstreams)?);
    warnings.extend(clients::exposed(&server, &upstreams));
    let fingerprint = Fingerprint::of(&value);
    Ok(Config { file, server, upstreams, aliases, log_level, warnings, fingerprint })
}

/// The error for each unknown key at the top level. Anchors are kept there: a key that holds one
/// is free, and so is `x-…`, as in Compose files.
fn top_level(fields: &Fields<'_>, text: &str) -> Vec<ConfigError> {
    let is_unknown = |key: &str| {
        !keys::TOP.contains(&key) && !key.starts_with("x-") && !traps::holds_anchor(key, text)
    };
    let unknown = fields.entries.iter().filter(|(key, _)| is_unknown(key));
    unknown.map(|(key, node)| node.error(hints::unknown_key(key, &keys::TOP))).collect()
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::settings::{Authorization, BaseUrl, Hidden, Upstream};
    use crate::secret::Secret;

    const SAMPLE: &str = "model_filter: {base_url: 'sample:'}";

    fn read_with(yaml: &str, options: &Options, env: Environment<'_>) -> Result<Config, String> {
        let found =
            Found { path: "config.yaml".into(), bytes: yaml.as_bytes().to_vec(), is_public: false };
        let config = compile(Some(found), options, env, &Files::default());
        config.map_err(|error| error.to_string())
    }

    fn read(yaml: &str) -> Result<Config, String> {
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
            ..Options::default()
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
    fn an_unknown_section_is_an_error_unless_it_holds_an_anchor() {
        let good = format!("x-mine: 1\nbase: &base {{cache_ttl: 5}}\n{SAMPLE}");
        assert!(read(&good).unwrap().warnings.is_empty());
        let error = read(&format!("{SAMPLE}\nsever: {{port: 1}}")).unwrap_err();
        assert_eq!(error, r#"config.yaml: sever: unknown key, did you mean "server"?"#);
        let error = read("base_url: 'sample:'").unwrap_err();
        assert!(error.ends_with("belongs to an upstream, below `model_filter:`"), "{error}");
    }

    #[test]
    fn options_and_variables_take_the_place_of_a_file() {
        let env = |name: &str| match name {
            "LLM_MF_BASE_URL" => Some("sample:".to_owned()),
            "LLM_MF_REGEXP" => Some("a.*\n b.*".to_owned()),
            "LLM_MF_SIMPLE" => Some("c,d e".to_owned()),
            "LLM_MF_EXCLUDE" => Some(".*x".to_owned()),
            "LLM_MF_API_KEY" => Some("hush".to_owned()),
            "LLM_MF_CACHE_TTL" => Some("15m".to_owned()),
            "LLM_MF_CLIENT_KEYS" => Some("hush-hush,hush-hush-2".to_owned()),
            _ => None,
        };
        let alone = |options: &Options| compile(None, options, &env, &Files::default()).unwrap();
        let config = alone(&Options::default());
        let upstream = &config.upstreams[0];
        let rules = upstream.filter.rules();
        let strings = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        assert_eq!(rules.regexp, Some(strings(&["a.*", "b.*"])));
        assert_eq!(rules.simple, Some(strings(&["c", "d", "e"])));
        assert_eq!(rules.exclude_regexp, strings(&[".*x"]));
        assert_eq!(upstream.cache_ttl, Some(Duration::from_secs(900)));
        assert_eq!(upstream.api_key, Some(Secret::new("hush")));
        assert_eq!(config.server.client_keys.len(), 2);
        assert_eq!((config.file, config.warnings), (None, vec![]));
        let options =
            Options { keep: strings(&["k"]), hide: strings(&["h"]), ..Options::default() };
        let rules = alone(&options).upstreams[0].filter.rules().clone();
        assert_eq!((rules.regexp, rules.exclude_regexp), (Some(strings(&["k"])), strings(&["h"])));
    }

    #[test]
    fn options_and_variables_replace_keys_of_the_file() {
        let with = |yaml: &str, base_url: Option<&str>, keep: &str| {
            let options = Options {
                base_url: base_url.map(str::to_owned),
                keep: vec![keep.to_owned()],
                ..Options::default()
            };
            read_with(yaml, &options, &|_| None)
        };
        let yaml = "model_filter: {base_url: 'http://a/v1', regexp: ['('], simple: [b]}";
        let rules = with(yaml, None, "k").unwrap().upstreams[0].filter.rules().clone();
        assert_eq!(rules.regexp, Some(vec!["k".to_owned()]));
        assert_eq!(rules.simple, Some(vec!["b".to_owned()]));
        assert!(with(yaml, None, "(").unwrap_err().starts_with("--keep: \"(\": unclosed group"));
        assert!(with("server: {port: 1}", Some("sample:"), "k").is_ok());
        let several = "model_filter: {a: {base_url: 'sample:'}, b: {base_url: 'sample:'}}";
        let error = with(several, None, "k").unwrap_err();
        assert!(error.starts_with("--keep: applies only if"), "{error}");
        let keyed = "model_filter: {base_url: 'http://a/v1', api_key: hush}";
        let error = with(keyed, Some("http://b/v1"), "k").unwrap_err();
        assert!(error.starts_with("--base-url: the api_key in config.yaml is for"), "{error}");
        assert!(with(keyed, Some("http://a/v2"), "k").is_ok());
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

    #[test]
    fn a_secret_that_anyone_could_use_is_a_warning() {
        let upstreams = "model_filter:\n  x: {base_url: 'sample:', api_key: hush, headers: {A: b}}\n  \
                         y: {base_url: 'sample:', api_key: hush}\n  z: {base_url: 'sample:', headers: {A: b}}";
        let warnings =
            |server: &str| read(&format!("{upstreams}\nserver: {server}")).unwrap().warnings;
        let what =
            "can use the api_key of \"x\", \"y\" and the headers of \"z\": set server.client_keys";
        for (server, place) in [
            ("{host: 0.0.0.0}", "0.0.0.0:8080"),
            ("{host: '::', port: 80}", "[::]:80"),
            ("{host: my-machine, port: 0}", "my-machine"),
        ] {
            assert_eq!(warnings(server), [format!("anyone who can reach {place} {what}")]);
        }
        for server in ["", "{host: localhost}", "{host: 127.9.9.9}", "{host: '[::1]'}"] {
            assert!(warnings(server).is_empty(), "{server}");
        }
        assert!(warnings("{host: 0.0.0.0, client_keys: [hush-hush]}").is_empty());
        let nothing = read(&format!("{SAMPLE}\nserver: {{host: 0.0.0.0}}")).unwrap();
        assert!(nothing.warnings.is_empty());
    }

    #[test]
    fn passing_the_same_credentials_to_several_is_a_warning() {
        let with = |first: &str, second: &str| {
            let yaml = format!(
                "model_filter:\n  one: {{base_url: 'sample:', authorization: {first}}}\n  \
                 two: {{base_url: 'sample:', authorization: {second}}}"
            );
            read(&yaml).unwrap().warnings
        };
        let warning = "config.yaml: model_filter: \"one\", \"two\" have authorization: passthrough: each \
                       of them sees the same credentials of the client (keyring keeps them apart)";
        assert_eq!(with("passthrough", "passthrough"), [warning]);
        assert!(with("passthrough", "none").is_empty());
        assert!(with("keyring", "keyring").is_empty());
    }
}
