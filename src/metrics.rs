//! Counters and histograms, and their text format for Prometheus.
//!
//! One registry for the process, so that counts survive a reload. Limits: labels hold configured
//! names and words of this program, never text of a client.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::error::Code;
use crate::process_metrics;
use crate::record::Record;

/// The upper bounds of the histograms' buckets, in seconds.
const BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The registry.
pub static METRICS: Metrics = Metrics {
    exchanges: Mutex::new(Exchanges {
        ended: BTreeMap::new(),
        times: BTreeMap::new(),
        refusals: BTreeMap::new(),
    }),
    lists: Mutex::new(BTreeMap::new()),
    open: AtomicUsize::new(0),
    upgrades: AtomicUsize::new(0),
    request_bytes: AtomicU64::new(0),
    response_bytes: AtomicU64::new(0),
    connections: AtomicUsize::new(0),
    rescued: AtomicU64::new(0),
    cut: Mutex::new(BTreeMap::new()),
    reloads: AtomicU64::new(0),
    failed_reloads: AtomicU64::new(0),
};

/// All counters, gauges and histograms.
#[derive(Debug)]
pub struct Metrics {
    exchanges: Mutex<Exchanges>,
    /// By event and upstream.
    lists: Mutex<BTreeMap<(ListEvent, String), u64>>,
    open: AtomicUsize,
    upgrades: AtomicUsize,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    connections: AtomicUsize,
    rescued: AtomicU64,
    cut: Mutex<BTreeMap<&'static str, u64>>,
    /// Those that succeeded.
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
}

#[derive(Debug)]
struct Exchanges {
    /// By upstream, path and status.
    ended: BTreeMap<(String, &'static str, u16), u64>,
    /// By upstream and path.
    times: BTreeMap<(String, &'static str), Times>,
    refusals: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Default)]
struct Times {
    first_byte: Histogram,
    total: Histogram,
}

#[derive(Debug, Default)]
struct Histogram {
    /// Not cumulative; the last one is for times above all bounds.
    buckets: [u64; BOUNDS.len() + 1],
    sum: f64,
}

/// The outcome of fetching a list of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListEvent {
    /// It was fetched.
    Refreshed,
    /// Fetching it failed.
    Failed,
    /// It was in the cache.
    Hit,
    /// A stale one was served.
    Stale,
    /// It differs from the one before.
    Changed,
}

/// Counts an exchange as open until it is dropped.
#[derive(Debug)]
pub struct Open(&'static AtomicUsize);

impl Open {
    fn count(gauge: &'static AtomicUsize) -> Open {
        gauge.fetch_add(1, Ordering::Relaxed);
        Open(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Counts an exchange as open.
    pub fn open(&'static self) -> Open {
        Open::count(&self.open)
    }

    /// Counts an upgraded connection as open.
    pub fn upgrade(&'static self) -> Open {
        Open::count(&self.upgrades)
    }

    /// Counts an exchange that has ended.
    pub fn ended(&self, record: &Record) {
        let sent = &record.sent;
        self.request_bytes.fetch_add(sent.bytes_in, Ordering::Relaxed);
        self.response_bytes.fetch_add(sent.bytes_out, Ordering::Relaxed);
        let upstream = record.upstream.clone().unwrap_or_default();
        let mut exchanges = locked(&self.exchanges);
        let path = record.class.as_str();
        let key = (upstream.clone(), path, record.status());
        *exchanges.ended.entry(key).or_default() += 1;
        if let Some(error) = &record.error {
            *exchanges.refusals.entry(error.code.as_str()).or_default() += 1;
        }
        let histograms = exchanges.times.entry((upstream, path)).or_default();
        histograms.first_byte.add(sent.first_byte);
        // An upgraded connection lasts for as long as its client wants.
        if sent.status != 101 {
            histograms.total.add(sent.total);
        }
    }

    /// Shows the counters of an upstream's lists, at 0, before the first event.
    pub fn expect_lists(&self, upstream: &str) {
        use ListEvent::{Changed, Failed, Hit, Refreshed, Stale};
        let mut lists = locked(&self.lists);
        for event in [Refreshed, Failed, Hit, Stale, Changed] {
            lists.entry((event, upstream.to_owned())).or_default();
        }
    }

    /// Counts what became of a list.
    pub fn list(&self, upstream: &str, event: ListEvent) {
        *locked(&self.lists).entry((event, upstream.to_owned())).or_default() += 1;
    }

    /// Sets the number of open connections.
    pub fn connections(&self, open: usize) {
        self.connections.store(open, Ordering::Relaxed);
    }

    /// Counts connections that tiny_http had left without a thread, and that were taken up.
    pub fn rescued(&self, count: u64) {
        self.rescued.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts a connection that was cut, by its cause.
    pub fn cut(&self, cause: &'static str) {
        *locked(&self.cut).entry(cause).or_default() += 1;
    }

    /// Counts a reload.
    pub fn reload(&self, succeeded: bool) {
        let counter = if succeeded { &self.reloads } else { &self.failed_reloads };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under this lock")
}

impl Histogram {
    fn add(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket] += 1;
        self.sum += seconds;
    }
}

/// The text format, version 0.0.4.
impl Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let now = |gauge: &AtomicUsize| gauge.load(Ordering::Relaxed);
        let exchanges = locked(&self.exchanges);
        family(f, "http_requests_total", "counter", "Requests that have ended.")?;
        for ((upstream, path, status), count) in &exchanges.ended {
            let upstream = Label(upstream);
            let labels = format!("upstream=\"{upstream}\",path=\"{path}\",code=\"{status}\"");
            sample(f, "http_requests_total", &labels, count)?;
        }
        let help = "From a request to the first byte of its response.";
        family(f, "time_to_first_byte_seconds", "histogram", help)?;
        for (labels, times) in &exchanges.times {
            times.first_byte.write(f, "time_to_first_byte_seconds", labels)?;
        }
        let help = "From a request to the end of its response.";
        family(f, "http_request_duration_seconds", "histogram", help)?;
        for (labels, times) in &exchanges.times {
            times.total.write(f, "http_request_duration_seconds", labels)?;
        }
        let help = "Requests that ended with an error of the proxy's own, by its code.";
        family(f, "refusals_total", "counter", help)?;
        // Those at 0 too, so that a rate sees the first one.
        for code in Code::ALL.map(Code::as_str) {
            let count = exchanges.refusals.get(code).copied().unwrap_or_default();
            sample(f, "refusals_total", &format!("code=\"{code}\""), &count)?;
        }
        drop(exchanges);

        let help = "Requests whose response has not ended.";
        single(f, "http_requests_in_flight", "gauge", help, now(&self.open))?;
        let help = "Upgraded connections (WebSockets).";
        single(f, "upgrades_open", "gauge", help, now(&self.upgrades))?;
        let help = "Connections of clients.";
        single(f, "connections_open", "gauge", help, now(&self.connections))?;
        let help = "Bytes of the bodies of requests.";
        single(f, "request_bytes_total", "counter", help, count(&self.request_bytes))?;
        let help = "Bytes of the bodies of responses.";
        single(f, "response_bytes_total", "counter", help, count(&self.response_bytes))?;

        let lists = locked(&self.lists).clone();
        let of = |f: &mut fmt::Formatter<'_>, name: &str, event, outcome: &str| {
            for ((_, upstream), count) in lists.iter().filter(|((key, _), _)| *key == event) {
                let labels = format!("upstream=\"{}\"{outcome}", Label(upstream));
                sample(f, name, &labels, count)?;
            }
            Ok(())
        };
        let help = "Lists of models that were asked for.";
        family(f, "list_refreshes_total", "counter", help)?;
        of(f, "list_refreshes_total", ListEvent::Refreshed, ",outcome=\"success\"")?;
        of(f, "list_refreshes_total", ListEvent::Failed, ",outcome=\"failure\"")?;
        family(f, "list_cache_hits_total", "counter", "Lists that were in the cache.")?;
        of(f, "list_cache_hits_total", ListEvent::Hit, "")?;
        let help =
            "Stale lists that were served while a new one was fetched, or could not be fetched.";
        family(f, "list_stale_total", "counter", help)?;
        of(f, "list_stale_total", ListEvent::Stale, "")?;
        let help = "Lists in which models were added or removed.";
        family(f, "list_changes_total", "counter", help)?;
        of(f, "list_changes_total", ListEvent::Changed, "")?;

        let help =
            "Connections that the HTTP library had left without a thread, and that were taken up.";
        single(f, "connections_rescued_total", "counter", help, count(&self.rescued))?;
        let help = "Connections without a request that were cut, by cause.";
        family(f, "connections_cut_total", "counter", help)?;
        for (cause, count) in &*locked(&self.cut) {
            sample(f, "connections_cut_total", &format!("cause=\"{cause}\""), count)?;
        }
        family(f, "reloads_total", "counter", "Reloads of the configuration.")?;
        sample(f, "reloads_total", "outcome=\"success\"", &count(&self.reloads))?;
        sample(f, "reloads_total", "outcome=\"failure\"", &count(&self.failed_reloads))?;
        family(f, "build_info", "gauge", "The version that runs.")?;
        let labels = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
        sample(f, "build_info", labels, &1)?;
        process_metrics::write(f)
    }
}

impl Histogram {
    fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        name: &str,
        (upstream, path): &(String, &'static str),
    ) -> fmt::Result {
        let labels = format!("upstream=\"{}\",path=\"{path}\"", Label(upstream));
        let mut count = 0;
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS) {
            count += bucket;
            sample(f, &format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), &count)?;
        }
        count += self.buckets[BOUNDS.len()];
        sample(f, &format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), &count)?;
        sample(f, &format!("{name}_sum"), &labels, &self.sum)?;
        sample(f, &format!("{name}_count"), &labels, &count)
    }
}

fn family(f: &mut fmt::Formatter<'_>, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(f, "# HELP model_filter_{name} {help}\n# TYPE model_filter_{name} {kind}")
}

fn sample(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    labels: &str,
    value: &dyn Display,
) -> fmt::Result {
    writeln!(f, "model_filter_{name}{{{labels}}} {value}")
}

fn single(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    kind: &str,
    help: &str,
    value: impl Display,
) -> fmt::Result {
    family(f, name, kind, help)?;
    writeln!(f, "model_filter_{name} {value}")
}

/// The value of a label, escaped.
struct Label<'a>(&'a str);

impl Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' | '"' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
