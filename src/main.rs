//! The program: what was asked for, and how it ended. The only room that prints.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, net};

use model_filter::cli::{self, Command, Options, Selection};
use model_filter::config;
use model_filter::secret::Secret;
use model_filter::survey::{self, Screen};
use model_filter::{probe, service};

type Failure = Box<dyn std::error::Error>;

/// The deadline of `health`.
const PATIENCE: Duration = Duration::from_secs(5);

/// The deadline of `health --ready`: the proxy may ask its upstreams first, for up to `list_timeout`.
const READINESS: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let result = run();
    log::logger().flush();
    result.unwrap_or_else(|error| {
        complain(&error.to_string());
        ExitCode::from(2)
    })
}

fn run() -> Result<ExitCode, Failure> {
    match cli::parse(env::args_os().skip(1))? {
        Command::Help => print(cli::HELP),
        Command::Version => print(cli::VERSION),
        Command::Serve(options) => service::serve(options).map(|()| ExitCode::SUCCESS),
        Command::Check { options, online, key } => check(&options, online, key.as_ref()),
        Command::Health { options, ready } => health(&options, ready),
        Command::Models(options, selection) => models(&options, &selection),
    }
}

/// Every error of the configuration, one line each; if the upstreams are asked, also every rule
/// that does nothing.
fn check(options: &Options, online: bool, key: Option<&Secret>) -> Result<ExitCode, Failure> {
    match config::load(options, &config::environment) {
        Ok(config) => {
            config.warnings.iter().for_each(|warning| complain(&format!("warning: {warning}")));
            if online {
                let key = config::client_key(key, &config::environment)?;
                let (lines, complete) = survey::advice(&service::offers(&config)?, key.as_ref())?;
                lines.iter().for_each(|line| complain(line));
                if !complete {
                    return Ok(ExitCode::from(1));
                }
            }
            let file = config.file.map(|file| format!("{}: ", file.display())).unwrap_or_default();
            print(&format!("{file}the configuration is good\n"))
        }
        Err(errors) => {
            errors.all().iter().for_each(|error| complain(&error.to_string()));
            Ok(ExitCode::from(2))
        }
    }
}

fn health(options: &Options, ready: bool) -> Result<ExitCode, Failure> {
    let (host, port) = config::address(options, &config::environment)?;
    let addresses = net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), port));
    let address = addresses.ok().and_then(|mut addresses| addresses.next());
    let Some(address) = address.map(probe::reachable) else {
        return Err(format!("{host}: the host has no address").into());
    };
    let mut answer = probe::ask(address, "/-/health", PATIENCE);
    if ready && answer.is_ok() {
        answer = probe::ask(address, "/-/ready", READINESS);
    }
    match answer {
        Ok(()) => print(if ready { "ready\n" } else { "ok\n" }),
        Err(why) => {
            complain(&why);
            Ok(ExitCode::from(1))
        }
    }
}

fn models(options: &Options, selection: &Selection) -> Result<ExitCode, Failure> {
    let config = config::load(options, &config::environment)?;
    let key = config::client_key(selection.key.as_ref(), &config::environment)?;
    let offers = service::offers(&config)?;
    let mut out = io::stdout().lock();
    let no_colour = config::environment("NO_COLOR").is_some_and(|value| !value.is_empty());
    let screen = match out.is_terminal() {
        true => Screen::terminal(!no_colour),
        false => Screen::pipe(),
    };
    let mut text = Vec::new();
    let complete = survey::show(&offers, selection, key.as_ref(), screen, &mut text)?;
    // A closed pipe is no error: the reader has seen enough.
    let _ = out.write_all(&text);
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print(text: &str) -> Result<ExitCode, Failure> {
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn complain(what: &str) {
    // There is nowhere else to say it.
    let _ = writeln!(io::stderr(), "model-filter: {what}");
}
