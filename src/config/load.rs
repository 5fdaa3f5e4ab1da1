//! Reads and checks a whole configuration.

use std::fs;
use std::path::{Path, PathBuf};

use log::LevelFilter;

use super::environment::{Environment, Sources, variable};
use super::errors::{ConfigError, ConfigErrors, io_reason};
use super::node::{Faults, Fields, Node, Place, nearest, unknown_key};
use super::settings::Config;
use super::upstream::Around;
use super::{aliases, clients, credentials, server, upstream, yaml};
use crate::cli::Options;
use crate::text::quoted;

const DEFAULT_FILE: &str = "config.yaml";
const SECTIONS: [&str; 3] = ["model_filter", "server", "aliases"];

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

/// Reads the host and the port alone, to call the running program. The rest is not read, and so
/// its secrets need not be there.
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

/// Compiles what is valid. Errors go to `faults`; the returned one ends the reading.
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
    let aliases = fields.read("aliases", |node| aliases::aliases(node, &upstreams));
    let aliases = aliases.unwrap_or_default();
    let (server, log_level) = (server::server(typed, options, env)?, log_level(env)?);
    warnings.extend(credentials::shared(&section.place, &upstreams)?);
    warnings.extend(clients::exposed(&server, &upstreams));
    Ok(Config { file, server, upstreams, aliases, log_level, warnings })
}

/// Unknown keys at the top level are warnings, since anchors are kept there. A misspelled
/// `model_filter` is an error.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::settings::{Authorization, BaseUrl, Hidden, Upstream};
    use crate::secret::Secret;

    const SAMPLE: &str = "model_filter: {base_url: 'sample:'}";

    fn read_with(yaml: &str, options: &Options, env: Environment<'_>) -> Result<Config, String> {
        let config = compile(yaml.as_bytes(), "config.yaml".into(), options, env);
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
