//! The program: arguments, configuration, a port, and then service until it is stopped.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{env, io, thread};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use model_filter::admission::Admission;
use model_filter::cli::{self, Command, Options};
use model_filter::config::{self, BaseUrl, Config};
use model_filter::logging::{self, Value};
use model_filter::offer::{Offer, Refusal};
use model_filter::relay::Relay;
use model_filter::upstream::Upstream;
use model_filter::{sample, server};

fn main() -> ExitCode {
    let result = run();
    log::logger().flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "model-filter: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    match cli::parse(env::args_os().skip(1))? {
        Command::Help => Ok(io::stdout().write_all(cli::HELP.as_bytes())?),
        Command::Version => Ok(io::stdout().write_all(cli::VERSION.as_bytes())?),
        Command::Serve(options) => serve(&options),
    }
}

fn serve(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let config = config::load(options, &config::environment)?;
    logging::start(config.log_level);
    logging::catch_panics();
    let (host, port) = (config.server.host.as_str(), config.server.port);
    let listener = server::bind(host, port).map_err(|error| format!("{host}:{port}: {error}"))?;
    let relay = Arc::new(relay(&config, listener.address())?);
    announce(&config, &listener);

    // Before anything runs, so that a signal finds somebody who waits for it.
    let signals = Signals::new([SIGTERM, SIGINT])?;
    let service = Arc::clone(&relay);
    let service = Box::new(move |exchange| service.exchange(exchange));
    let server = listener.serve(config.server.limits, service)?;
    count_models(&relay);
    run_until_told(server, signals, config.server.shutdown_timeout);
    Ok(())
}

/// Serves until the first signal, then lets exchanges end; a second one ends it at once.
fn run_until_told(server: server::Server, mut signals: Signals, patience: Duration) {
    let signal = signals.forever().next();
    log::info!("msg=\"shutting down\" signal={}", signal.unwrap_or_default());
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            std::process::exit(128 + signal);
        }
    });
    if server.shut_down(patience) {
        log::info!("msg=\"all exchanges have ended\"");
    } else {
        log::warn!("msg=\"exchanges were cut\" after_s={}", patience.as_secs_f64());
    }
}

fn relay(config: &Config, address: SocketAddr) -> Result<Relay, Box<dyn std::error::Error>> {
    let is_sample = |upstream: &config::Upstream| upstream.base_url == BaseUrl::Sample;
    let sample = config.upstreams.iter().any(is_sample).then(sample::start).transpose()?;
    let among_others = config.upstreams.len() > 1;
    let mut offers = Vec::new();
    for settings in &config.upstreams {
        let upstream = Upstream::new(settings, sample)
            .map_err(|error| format!("upstream {:?}: {error}", settings.name))?;
        offers.push(Offer::new(upstream, settings, among_others));
    }
    let admission = Admission::new(&config.server, address);
    Ok(Relay::new(offers, admission, config.server.root_path.clone()))
}

fn announce(config: &Config, listener: &server::Listener) {
    for warning in &config.warnings {
        log::warn!("msg={}", Value(warning));
    }
    let file = config.file.display().to_string();
    let root_path = &config.server.root_path;
    let address = listener.address();
    log::info!("msg=\"listening\" address=http://{address}{root_path} config={}", Value(&file));
    for upstream in &config.upstreams {
        let name = Value(&upstream.name);
        match &upstream.base_url {
            BaseUrl::Remote(url) => log::info!("msg=\"upstream\" upstream={name} base_url={url}"),
            BaseUrl::Sample => log::info!(
                "msg=\"this is the built-in sample upstream: to use a real one, \
                 set base_url in {file}\" upstream={name}"
            ),
        }
    }
}

/// Says how many models are kept. In the background: a dead upstream must not hold up the
/// start.
fn count_models(relay: &Arc<Relay>) {
    let relay = Arc::clone(relay);
    let count = move || {
        for (name, list) in relay.lists() {
            let name = Value(name);
            match list {
                Ok(list) => {
                    let (kept, total) = (list.kept, list.total);
                    log::info!("msg=\"models\" upstream={name} kept={kept} total={total}");
                }
                Err(Refusal::Mirrored(reply)) => {
                    let what = "no list without a client's credentials";
                    log::info!("msg=\"{what}\" upstream={name} status={}", reply.status);
                }
                Err(Refusal::Failed(error)) => {
                    let error = Value(&error.message);
                    log::warn!("msg=\"no list of models\" upstream={name} error={error}");
                }
            }
        }
    };
    // Without the thread only this message is missing.
    let _ = thread::Builder::new().name("count".into()).spawn(count);
}
