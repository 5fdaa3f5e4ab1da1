//! The program: arguments, configuration, a port, and then service until it is stopped.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{env, io, thread};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use model_filter::catalog::{Catalog, Refusal};
use model_filter::cli::{self, Command, Options};
use model_filter::config::{self, BaseUrl, Config};
use model_filter::logging::{self, Value};
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
    let relay = Arc::new(relay(&config)?);
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

fn relay(config: &Config) -> Result<Relay, Box<dyn std::error::Error>> {
    let [settings] = config.upstreams.as_slice() else {
        return Err("exactly one upstream is supported".into());
    };
    let sample = match settings.base_url {
        BaseUrl::Sample => Some(sample::start()?),
        BaseUrl::Remote(_) => None,
    };
    let upstream = Arc::new(Upstream::new(settings, sample)?);
    let filter = Arc::new(settings.filter.clone());
    let catalog = Catalog::new(
        Arc::clone(&upstream),
        Arc::clone(&filter),
        settings.list_timeout,
        settings.cache_ttl.unwrap_or_default(),
        settings.cache_stale,
    );
    let root_path = config.server.root_path.clone();
    Ok(Relay::new(upstream, filter, catalog, root_path, settings.max_body))
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
    let count = move || match relay.list() {
        Ok(list) => log::info!("msg=\"models\" kept={} total={}", list.kept, list.total),
        Err(Refusal::Mirrored(reply)) => {
            log::info!("msg=\"no list without a client's credentials\" status={}", reply.status);
        }
        Err(Refusal::Failed(error)) => {
            log::warn!("msg=\"no list of models\" error={}", Value(&error.message));
        }
    };
    // Without the thread only this message is missing.
    let _ = thread::Builder::new().name("count".into()).spawn(count);
}
