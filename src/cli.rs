//! The command line: arguments to a [`Command`].
//!
//! This module never prints and never exits: help and version are commands too. Limits: of the
//! values only ports are checked; [`crate::config`] checks paths and hosts.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use lexopt::Arg;

use crate::filter::Order;
use crate::secret::Secret;

/// What `--help` prints.
pub const HELP: &str = "\
A small proxy in front of an OpenAI-compatible API that lists only the models you want.

Usage: model-filter [OPTIONS]           run the proxy
       model-filter models [WORD]       show which models are kept or hidden, and why
       model-filter check [FILE]        check the configuration
       model-filter health              ask the running proxy whether it is healthy

Options:
  -c, --config FILE      the configuration [default: config.yaml here, then
                         ~/.config/model-filter/ and /etc/model-filter/]
  -H, --host HOST        the address to listen on [default: 127.0.0.1]
  -p, --port PORT        the port to listen on, 0 for any free one [default: 8080]
  -r, --root-path PATH   a leading path to strip from request paths [default: none]
      --base-url URL     the address of the API; no file is needed then
      --keep PATTERN     keep models whose whole id matches; may be repeated
      --hide PATTERN     hide models whose whole id matches; may be repeated
      --api-key-env NAME the variable that holds the API's key
  -h, --help             print this help
  -V, --version          print the version

Options of models:
  --kept, --hidden       show only these
  --sort ORDER           upstream, rules, newest, id, name or price
                         [default: as clients get them]
  --json                 print JSON
  --from FILE            read a saved list (\"-\" for stdin) instead of asking upstreams
  --key KEY              send this key as a client would, as Bearer token; better
                         os.environ/NAME or file:NAME, because all users of this
                         machine can read the command line

Options of check:
  --online               also ask the upstreams, and report rules that match no model
  --key KEY              as above

Options of health:
  --ready                also ask whether a list of models is available

Exit status:
  0                      success
  1                      models, or check if it asks: an upstream has no list;
                         health: the proxy is not healthy
  2                      wrong arguments or configuration, or the start failed

Environment:
  LLM_MF_CONFIG, LLM_MF_HOST, LLM_MF_PORT, LLM_MF_ROOT_PATH
                         the same as the options above, which take precedence
  LLM_MF_BASE_URL, LLM_MF_API_KEY, LLM_MF_REGEXP, LLM_MF_SIMPLE, LLM_MF_EXCLUDE,
  LLM_MF_CACHE_TTL, LLM_MF_CLIENT_KEYS
                         replace the keys of the file, or are all of the configuration;
                         lists are separated by blanks
  LLM_MF_LOG             error, warn, info, debug or off [default: info]
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY
                         the proxy for upstreams, and the hosts to reach directly
";

/// What `--version` prints.
pub const VERSION: &str = concat!("model-filter ", env!("CARGO_PKG_VERSION"), "\n");

/// The command to run.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the proxy.
    Serve(Options),
    /// Show the models of the upstreams, and which are kept.
    Models(Options, Selection),
    /// Check the configuration.
    Check {
        /// Which configuration.
        options: Options,
        /// Whether the upstreams are asked, too.
        online: bool,
        /// The key that is sent as a client would.
        key: Option<Secret>,
    },
    /// Ask the running proxy whether it is healthy.
    Health {
        /// The options, which say where it listens.
        options: Options,
        /// Whether it must also have a list of models.
        ready: bool,
    },
    /// Print [`HELP`] on standard output.
    Help,
    /// Print [`VERSION`] on standard output.
    Version,
}

/// The options as typed; `None` if absent.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Options {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--host`
    pub host: Option<String>,
    /// `--port`
    pub port: Option<u16>,
    /// `--root-path`
    pub root_path: Option<String>,
    /// `--base-url`
    pub base_url: Option<String>,
    /// `--keep`, in their order
    pub keep: Vec<String>,
    /// `--hide`, in their order
    pub hide: Vec<String>,
    /// `--api-key-env`: the name of a variable
    pub api_key_env: Option<String>,
}

/// Which models to show, and how.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Selection {
    /// `--kept`
    pub kept: bool,
    /// `--hidden`
    pub hidden: bool,
    /// `--sort`
    pub sort: Option<Order>,
    /// `--json`
    pub json: bool,
    /// `--from`
    pub from: Option<PathBuf>,
    /// `--key`, which may name the key: `os.environ/NAME` or `file:NAME`.
    pub key: Option<Secret>,
    /// Text that the id must contain.
    pub word: Option<String>,
}

/// Invalid arguments: one line that names the option and the value.
#[derive(Debug, PartialEq, Eq)]
pub struct CliError(String);

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CliError {}

impl From<lexopt::Error> for CliError {
    fn from(error: lexopt::Error) -> CliError {
        CliError(error.to_string())
    }
}

/// Reads the arguments, without the program's name. If an option is repeated, the last one counts,
/// except for `--keep` and `--hide`.
///
/// # Errors
/// An unknown option, a missing value, a value that is not UTF-8, an invalid port.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, CliError> {
    let mut options = Options::default();
    let mut selection = Selection::default();
    let (mut ready, mut online) = (false, false);
    let mut name = Name::Serve;
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            Arg::Short('V') | Arg::Long("version") => return Ok(Command::Version),
            Arg::Short('c') | Arg::Long("config") => options.config = Some(parser.value()?.into()),
            Arg::Short('H') | Arg::Long("host") => {
                options.host = Some(text("--host", parser.value()?)?);
            }
            Arg::Short('p') | Arg::Long("port") => {
                let port = port(&text("--port", parser.value()?)?);
                options.port = Some(port.map_err(|error| CliError(format!("--port: {error}")))?);
            }
            Arg::Short('r') | Arg::Long("root-path") => {
                options.root_path = Some(text("--root-path", parser.value()?)?);
            }
            Arg::Long("base-url") => {
                options.base_url = Some(text("--base-url", parser.value()?)?);
            }
            Arg::Long("keep") => options.keep.push(text("--keep", parser.value()?)?),
            Arg::Long("hide") => options.hide.push(text("--hide", parser.value()?)?),
            Arg::Long("api-key-env") => {
                options.api_key_env = Some(text("--api-key-env", parser.value()?)?);
            }
            Arg::Long("kept") if name == Name::Models => selection.kept = true,
            Arg::Long("hidden") if name == Name::Models => selection.hidden = true,
            Arg::Long("sort") if name == Name::Models => {
                selection.sort = Some(order(&text("--sort", parser.value()?)?)?);
            }
            Arg::Long("json") if name == Name::Models => selection.json = true,
            Arg::Long("from") if name == Name::Models => {
                selection.from = Some(parser.value()?.into());
            }
            Arg::Long("online") if name == Name::Check => online = true,
            Arg::Long("key") if matches!(name, Name::Models | Name::Check) => {
                selection.key = Some(Secret::new(text("--key", parser.value()?)?));
            }
            Arg::Long("ready") if name == Name::Health => ready = true,
            Arg::Short(name) => return Err(unknown("option", &format!("-{name}"))),
            Arg::Long(name) => return Err(unknown("option", &format!("--{name}"))),
            Arg::Value(value) => match (name, value.to_str()) {
                (Name::Serve, Some("models")) => name = Name::Models,
                (Name::Serve, Some("check")) => name = Name::Check,
                (Name::Serve, Some("health")) => name = Name::Health,
                (Name::Check, _) if options.config.is_none() => options.config = Some(value.into()),
                (Name::Models, Some(word)) if selection.word.is_none() => {
                    selection.word = Some(word.to_owned());
                }
                _ => return Err(unknown("argument", &value.to_string_lossy())),
            },
        }
    }
    Ok(match name {
        Name::Serve => Command::Serve(options),
        Name::Models => Command::Models(options, selection),
        Name::Check if selection.key.is_some() && !online => {
            return Err(CliError("--key: check sends it only with --online".to_owned()));
        }
        Name::Check => Command::Check { options, online, key: selection.key },
        Name::Health => Command::Health { options, ready },
    })
}

/// The name of a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Serve,
    Models,
    Check,
    Health,
}

/// Parses a port, from the command line or another source of settings.
///
/// # Errors
/// A message that does not name the source.
pub fn port(text: &str) -> Result<u16, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is not a port (0 to 65535)"))
}

fn order(word: &str) -> Result<Order, CliError> {
    Order::named(word).ok_or_else(|| {
        let known: Vec<&str> = Order::WORDS.iter().map(|(word, _)| *word).collect();
        CliError(format!("--sort: {word:?} is not one of {}", known.join(", ")))
    })
}

fn text(option: &str, value: OsString) -> Result<String, CliError> {
    value.into_string().map_err(|value| CliError(format!("{option}: {value:?} is not UTF-8")))
}

fn unknown(what: &str, given: &str) -> CliError {
    CliError(format!("unknown {what} {given:?}, try --help"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_read_long_and_short() {
        let expected = Options {
            config: Some("a.yaml".into()),
            host: Some("::1".to_owned()),
            port: Some(9000),
            root_path: Some("/llm".to_owned()),
            ..Options::default()
        };
        let long = "--config a.yaml --host=::1 --port 9000 --root-path /llm";
        assert_eq!(parsed(long), Ok(Command::Serve(expected.clone())));
        assert_eq!(parsed("-c a.yaml -H ::1 -p9000 -r /llm"), Ok(Command::Serve(expected)));
        assert_eq!(parsed(""), Ok(Command::Serve(Options::default())));
    }

    #[test]
    fn help_and_version_are_results() {
        assert_eq!(parsed("-p 1 --help"), Ok(Command::Help));
        assert_eq!(parsed("-V"), Ok(Command::Version));
    }

    #[test]
    fn commands_have_options_of_their_own() {
        let models = parsed("models -c a.yaml --kept --json --from - --key sk-1 llama").unwrap();
        let Command::Models(options, selection) = models else { panic!("{models:?}") };
        assert_eq!(options.config, Some("a.yaml".into()));
        assert_eq!((selection.kept, selection.hidden, selection.json), (true, false, true));
        assert_eq!(selection.from, Some("-".into()));
        assert_eq!(selection.key.unwrap().expose(), "sk-1");
        assert_eq!(selection.word.as_deref(), Some("llama"));
        assert_eq!(parsed("-p 1 check --help"), Ok(Command::Help));
        let options = Options { port: Some(1), ..Options::default() };
        assert_eq!(parsed("health -p 1"), Ok(Command::Health { options, ready: false }));
        for line in [
            "--kept",
            "check --json",
            "check --sort id",
            "health --online",
            "health --kept",
            "models a b",
            "check a b",
        ] {
            assert!(parsed(line).unwrap_err().starts_with("unknown "), "{line}");
        }
    }

    #[test]
    fn an_upstream_may_be_described_by_options() {
        let line = "models --base-url http://a/v1 --keep a.* --keep b --hide c --api-key-env KEY";
        let Ok(Command::Models(options, _)) = parsed(line) else { panic!("{line}") };
        assert_eq!(options.base_url.as_deref(), Some("http://a/v1"));
        assert_eq!(
            (options.keep, options.hide),
            (vec!["a.*".into(), "b".into()], vec!["c".into()])
        );
        assert_eq!(options.api_key_env.as_deref(), Some("KEY"));
        let options = Options { config: Some("a.yaml".into()), ..Options::default() };
        let check = Command::Check { options, online: false, key: None };
        assert_eq!(parsed("check a.yaml"), Ok(check));
    }

    #[test]
    fn errors_name_the_option_and_the_value() {
        let error = |line: &str| parsed(line).unwrap_err();
        assert_eq!(error("--port 99999"), r#"--port: "99999" is not a port (0 to 65535)"#);
        assert_eq!(error("-p abc"), r#"--port: "abc" is not a port (0 to 65535)"#);
        assert_eq!(error("--prot 1"), r#"unknown option "--prot", try --help"#);
        let orders = "upstream, rules, newest, id, name, price";
        assert_eq!(error("models --sort age"), format!(r#"--sort: "age" is not one of {orders}"#));
        assert_eq!(error("check --key x"), "--key: check sends it only with --online");
        assert_eq!(error("-x"), r#"unknown option "-x", try --help"#);
        assert_eq!(error("serve"), r#"unknown argument "serve", try --help"#);
        assert_eq!(error("--host"), "missing argument for option '--host'");
    }

    #[test]
    fn the_help_fits_a_terminal() {
        assert!(HELP.lines().all(|line| line.len() <= 90), "{HELP}");
    }
}
