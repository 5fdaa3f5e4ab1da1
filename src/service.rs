//! The running proxy: built from a configuration, rebuilt when that changes, and shut down on a
//! signal.
//!
//! A reload makes a new [`Relay`] for new requests, and lets running exchanges end under the
//! old one. Limits: what the listener was started with stays until the next start.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel,
};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use log::Level;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::admin::Program;
use crate::admission::Admission;
use crate::cli::Options;
use crate::config::{self, Alias, BaseUrl, Config, Files};
use crate::logging::{self, Value};
use crate::metrics::METRICS;
use crate::offer::{Aliases, Offer, keep_fresh};
use crate::relay::Relay;
use crate::sys::{memory, process};
use crate::systemd::Manager;
use crate::upstream::Upstream;
use crate::{sample, server};

type Failure = Box<dyn std::error::Error>;

/// How many connections may leak before the program ends and the service manager restarts it: one
/// in `LEAK_SHARE` of the files that may be open, within the bounds of `LEAKS`.
const LEAK_SHARE: usize = 8;
const LEAKS: std::ops::RangeInclusive<usize> = 4..=1000;

/// Descriptors that are not for connections.
const OTHER_FILES: usize = 32;

/// Descriptors of each connection: three of the client's, one to the upstream.
const FILES_EACH: usize = 4;

/// How often the files of the configuration are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// How long a changed file must stay the same before it is read: an editor may write in parts.
const REST: Duration = Duration::from_secs(1);

/// The connections that are allowed however few files may be open.
const LEAST_CONNECTIONS: usize = 4;

/// A request to reload, with a way to send the result to the caller who waits for it.
type Reload = Option<Sender<Result<(), String>>>;

/// The proxy, whichever configuration it has at the moment.
struct Service {
    options: Options,
    address: SocketAddr,
    manager: Arc<Manager>,
    config: RwLock<Config>,
    relay: RwLock<Arc<Relay>>,
    reloads: OnceLock<SyncSender<Reload>>,
}

/// Serves until a signal ends it.
///
/// # Errors
/// An invalid configuration, or a port that cannot be bound; in one line.
pub fn serve(mut options: Options) -> Result<(), Failure> {
    memory::limit_stacks();
    memory::keep_little_memory();
    let (config, files) = config::load_with_files(&options, &config::environment);
    let config = config?;
    // A reload must not find another file while this one is being replaced.
    options.config.clone_from(&config.file);
    let supervision = config::supervision(&config::environment);
    logging::start(config.log_level, supervision.is_journal);
    logging::catch_panics();
    let listener = if supervision.has_socket {
        server::inherit()?
    } else {
        let (host, port) = (config.server.host.as_str(), config.server.port);
        server::bind(host, port).map_err(|error| cannot_listen(host, port, &error))?
    };
    let address = listener.address();
    // Before the start is announced: until then any signal, also SIGHUP, ends the program.
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    announce(&config, address);
    let service = Arc::new(Service {
        options,
        address,
        manager: Arc::new(Manager::new(&supervision)),
        relay: RwLock::new(Arc::new(relay(&config, address)?)),
        config: RwLock::new(config),
        reloads: OnceLock::new(),
    });

    let mut limits = service.read_config(|config| config.server.limits);
    let most = process::raise_file_limit().saturating_sub(OTHER_FILES) / FILES_EACH;
    limits.max_connections = limits.max_connections.min(most.max(LEAST_CONNECTIONS));
    let serving = Arc::clone(&service);
    let serve = Box::new(move |exchange| serving.relay().exchange(exchange, &*serving));
    let server = listener.serve(limits, serve, Box::new(end_beyond_bearable_leaks))?;
    service.manager.ready(&format!("answering on {address}"));
    service.manager.feed_watchdog(address);
    fetch_lists(&service.relay());
    let reloads = service.start_reloading(files)?;
    service.run_until_told(server, signals, &reloads);
    Ok(())
}

impl Service {
    fn relay(&self) -> Arc<Relay> {
        Arc::clone(&self.relay.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn read_config<T>(&self, read: impl FnOnce(&Config) -> T) -> T {
        read(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves until the first signal that ends it, then lets exchanges end; a second one
    /// ends it at once.
    fn run_until_told(
        &self,
        server: server::Server,
        mut signals: Signals,
        reloads: &SyncSender<Reload>,
    ) {
        let mut ending = None;
        for signal in &mut signals {
            if signal != SIGHUP {
                ending = Some(signal);
                break;
            }
            // If a reload is already queued, it will read the file as it is now.
            if let Err(TrySendError::Disconnected(_)) = reloads.try_send(None) {
                log::error!("msg=\"not reloaded: an earlier reload ended in a panic\"");
            }
        }
        log::info!("msg=\"shutting down\" signal={}", ending.unwrap_or_default());
        self.manager.stopping();
        let patience = self.read_config(|config| config.server.shutdown_timeout);
        thread::spawn(move || {
            if let Some(signal) = signals.forever().find(|signal| *signal != SIGHUP) {
                std::process::exit(128 + signal);
            }
        });
        if server.shut_down(patience) {
            log::info!("msg=\"all exchanges have ended\"");
        } else {
            log::warn!("msg=\"exchanges were cut\" after_s={}", patience.as_secs_f64());
        }
    }

    /// Reads the configuration again when asked for, and when its files change, on a thread of its
    /// own: reading may block, for example on a pipe, and signals must be obeyed meanwhile.
    fn start_reloading(self: &Arc<Self>, files: Files) -> io::Result<SyncSender<Reload>> {
        let (reloads, asked) = sync_channel(1);
        let service = Arc::clone(self);
        let _ = self.reloads.set(reloads.clone());
        let reload = move || service.reload_for_ever(&asked, files);
        thread::Builder::new().name("reload".into()).spawn(reload)?;
        Ok(reloads)
    }

    fn reload_for_ever(&self, asked: &Receiver<Reload>, mut files: Files) {
        // How the changed files looked when they were last looked at.
        let mut changed = Vec::new();
        loop {
            let interval = if changed.is_empty() { WATCH_INTERVAL } else { REST };
            let is_watched = self.read_config(|config| config.server.watch);
            let signal = match is_watched {
                true => asked.recv_timeout(interval),
                false => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match signal {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let now = files.changed();
                    let has_rested = !now.is_empty() && now == changed;
                    changed = now;
                    if !has_rested {
                        continue;
                    }
                }
            }
            changed.clear();
            self.manager.reloading();
            let status = self.reload_now(&mut files, signal.is_ok());
            let serving = format!("answering on {}", self.address);
            self.manager.ready(status.as_ref().err().unwrap_or(&serving));
            if let Ok(Some(caller)) = signal {
                // A caller that no longer waits needs no answer.
                let _ = caller.send(status);
            }
        }
    }

    /// Reads the configuration again; `files` are those that
    /// it was last read from. If it was not asked for, and nothing has changed in the files,
    /// nothing is done.
    ///
    /// # Errors
    /// Why the old one stays.
    fn reload_now(&self, files: &mut Files, is_asked_for: bool) -> Result<(), String> {
        let (loaded, new_files) = config::load_with_files(&self.options, &config::environment);
        let old_files = std::mem::replace(files, new_files);
        let changes = loaded.as_ref().map_or(Vec::new(), |new| {
            self.read_config(|old| config::changes((old, &old_files), (new, files)))
        });
        if loaded.is_ok() && changes.is_empty() && !is_asked_for {
            log::debug!("msg=\"a file of the configuration was written, but nothing has changed\"");
            return Ok(());
        }
        let loaded = loaded
            .map_err(|errors| errors.all().iter().map(ToString::to_string).collect::<Vec<_>>());
        let made = loaded.and_then(|config| {
            let relay = relay(&config, self.address).map_err(|error| vec![error.to_string()])?;
            Ok((config, relay))
        });
        METRICS.reload(made.is_ok());
        let (config, relay) = match made {
            Ok(made) => made,
            Err(errors) => {
                for error in &errors {
                    let error = Value(error);
                    log::error!("msg=\"not reloaded: the old configuration stays\" error={error}");
                }
                return Err(format!("not reloaded: {}", errors.join("; ")));
            }
        };
        for warning in &config.warnings {
            log::warn!("msg={}", Value(warning));
        }
        let needs_restart = self.read_config(|old| fixed_changes(old, &config));
        let relay = Arc::new(relay);
        *self.relay.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&relay);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        for key in &needs_restart {
            log::warn!("msg=\"{key} has changed: this needs a restart\"");
        }
        let changed = changes.join(", ");
        log::info!("msg=\"configuration reloaded\" changed={}", Value(&changed));
        fetch_lists(&relay);
        Ok(())
    }
}

impl Program for Service {
    fn reload(&self) -> Result<(), String> {
        let ended = || "not reloaded: an earlier reload ended in a panic".to_owned();
        let (caller, status) = channel();
        let reloads = self.reloads.get().ok_or_else(ended)?;
        reloads.send(Some(caller)).map_err(|_| ended())?;
        status.recv().map_err(|_| ended())?
    }

    fn config_file(&self) -> Option<String> {
        self.read_config(|config| Some(config.file.as_ref()?.display().to_string()))
    }
}

/// The error of a start whose address cannot be listened on.
fn cannot_listen(host: &str, port: u16, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program uses this port: choose one with --port or server.port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine does not have this address: choose one with --host or server.host"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 are for root: choose one with --port or server.port"
        }
        _ => "",
    };
    format!("{host}:{port}: {error}{advice}")
}

/// The settings that have changed and are only read at the start.
fn fixed_changes(old: &Config, new: &Config) -> Vec<&'static str> {
    let (old, new) = (&old.server, &new.server);
    let changes = [
        ("server.host", old.host != new.host),
        ("server.port", old.port != new.port),
        ("a limit of server", old.limits != new.limits),
    ];
    changes.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
}

/// Ends the program once leaked connections take too many of its files. They cannot be taken
/// back: see `server/leak.rs`.
fn end_beyond_bearable_leaks(leaked: usize) {
    let files = process::raise_file_limit();
    if leaked >= (files / LEAK_SHARE).clamp(*LEAKS.start(), *LEAKS.end()) {
        log::error!("msg=\"too many leaked connections: exiting for a restart\"");
        log::logger().flush();
        std::process::exit(1);
    }
}

/// The upstreams of a configuration.
///
/// # Errors
/// An upstream that cannot be set up; the text names it.
pub fn offers(config: &Config) -> Result<Vec<Arc<Offer>>, Failure> {
    let among_others = config.upstreams.len() > 1;
    let mut offers = Vec::new();
    let aliases: Arc<[Alias]> = config.aliases.clone().into();
    for (index, settings) in config.upstreams.iter().enumerate() {
        let base_url = match &settings.base_url {
            BaseUrl::Remote(url) => url.clone(),
            BaseUrl::Sample => format!("http://{}/v1", sample()?),
        };
        let upstream = Upstream::new(settings, base_url)
            .map_err(|error| format!("upstream {:?}: {error}", settings.name))?;
        METRICS.expect_lists(upstream.name());
        let mut offer = Offer::new(upstream, settings, among_others);
        offer.aliases = Aliases::new(Arc::clone(&aliases), index);
        offers.push(Arc::new(offer));
    }
    Ok(offers)
}

/// The address of the built-in sample upstream, which is started when first needed.
fn sample() -> io::Result<SocketAddr> {
    static SAMPLE: OnceLock<SocketAddr> = OnceLock::new();
    match SAMPLE.get() {
        Some(address) => Ok(*address),
        None => sample::start().map(|address| *SAMPLE.get_or_init(|| address)),
    }
}

fn relay(config: &Config, address: SocketAddr) -> Result<Relay, Failure> {
    let admission = Admission::new(&config.server, address);
    Ok(Relay::new(offers(config)?, admission, config.server.root_path.clone()))
}

fn announce(config: &Config, address: SocketAddr) {
    for warning in &config.warnings {
        log::warn!("msg={}", Value(warning));
    }
    let file = config.file.as_ref().map(|file| file.display().to_string());
    let place = file.as_deref().unwrap_or("LLM_MF_BASE_URL or --base-url");
    let file = file.as_deref().unwrap_or("none");
    let root_path = &config.server.root_path;
    let at = format!("http://{address}{root_path}");
    log::info!("msg=\"listening\" address={at} page={at}/-/ config={}", Value(file));
    for upstream in &config.upstreams {
        let name = Value(&upstream.name);
        match &upstream.base_url {
            BaseUrl::Remote(url) => log::info!("msg=\"upstream\" upstream={name} base_url={url}"),
            BaseUrl::Sample => log::info!(
                "msg=\"this is the built-in sample upstream: to use a real one, \
                 set base_url in {place}\" upstream={name}"
            ),
        }
    }
}

/// Fetches the lists, and logs how many models are kept. In the background: a dead upstream must
/// not delay the start.
fn fetch_lists(relay: &Arc<Relay>) {
    keep_fresh(relay.offers());
    let relay = Arc::clone(relay);
    let count = move || {
        for (offer, (name, list)) in relay.offers().iter().zip(relay.lists()) {
            let name = Value(name);
            match list {
                Ok(list) => {
                    let (kept, total) = (list.kept, list.total);
                    let is_odd = kept == 0 && total > 0;
                    let level = if is_odd { Level::Warn } else { Level::Info };
                    log::log!(level, "msg=\"models\" upstream={name} kept={kept} total={total}");
                }
                Err(refusal) => offer.log_missing_at_start(&refusal),
            }
        }
    };
    // Without the thread only this message is missing.
    let _ = thread::Builder::new().name("count".into()).spawn(count);
}
