//! The log: lines of `key=value` on standard error.
//!
//! One line for each exchange, and the program's own messages through the `log` crate. A thread of
//! its own writes them, so that no exchange waits for the reader of the log. For the journal, lines
//! begin with its priorities (sd-daemon(3)). Limits: messages of libraries are dropped, because
//! they may show what they send; if the reader stalls, lines are dropped and counted. No line
//! holds a credential, a body or a query.

use std::fmt::{self, Display, Write as _};
use std::io::Write as _;
use std::iter;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata};

use crate::record::Record;
use crate::route::Class;
use crate::text::milliseconds;

/// The most lines that wait to be written.
const QUEUE: usize = 4096;

/// Room for a line of usual length, in bytes.
const USUAL_LINE: usize = 320;

/// How long a line waits for others, to be written together.
const BATCH: Duration = Duration::from_millis(2);

/// The longest wait for the last lines when the program ends.
const FLUSH: Duration = Duration::from_secs(1);

static LOGGER: Logger = Logger {
    queue: OnceLock::new(),
    lost: AtomicUsize::new(0),
    has_priorities: AtomicBool::new(false),
    is_flushing: AtomicBool::new(false),
};

struct Logger {
    queue: OnceLock<Queue>,
    lost: AtomicUsize,
    has_priorities: AtomicBool,
    /// Whether the program is about to end.
    is_flushing: AtomicBool,
}

/// The queue of the thread that writes.
struct Queue {
    entries: SyncSender<Entry>,
    writer: Thread,
}

enum Entry {
    Line(String),
    /// Report when everything in front of this is written.
    Flush(SyncSender<()>),
}

/// Starts the log. A second call changes the level only.
pub fn start(level: LevelFilter, is_journal: bool) {
    log::set_max_level(level);
    LOGGER.has_priorities.store(is_journal, Ordering::Relaxed);
    // It only fails if this logger is set already.
    if log::set_logger(&LOGGER).is_err() {
        return;
    }
    let (sender, entries) = sync_channel(QUEUE);
    let writer = thread::Builder::new().name("log".into());
    // Without a thread, each caller writes its own line.
    if let Ok(writer) = writer.spawn(move || write_all(&entries)) {
        let _ = LOGGER.queue.set(Queue { entries: sender, writer: writer.thread().clone() });
    }
}

fn write_all(entries: &Receiver<Entry>) {
    while let Ok(first) = entries.recv() {
        // One wake-up and one write for all lines of the next moment.
        if !LOGGER.is_flushing.load(Ordering::Relaxed) {
            thread::park_timeout(BATCH);
        }
        let mut lines = String::new();
        let mut flushed = Vec::new();
        for entry in iter::once(first).chain(entries.try_iter().take(QUEUE)) {
            match entry {
                Entry::Line(line) => lines += &line,
                Entry::Flush(done) => flushed.push(done),
            }
        }
        let lost = LOGGER.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let what = format_args!("msg=\"dropped lines of the log\" count={lost}");
            lines += &LOGGER.line(Level::Warn, what);
        }
        write_line(&lines);
        for done in flushed {
            // The receiver is gone if it took too long.
            let _ = done.send(());
        }
    }
}

fn write_line(line: &str) {
    // There is no other place to report this.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Logs every panic. The threads of tiny_http have no name: they panic if they cannot start
/// another one, which `server` handles, so that theirs are debug messages.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload();
        let text = text.downcast_ref::<&str>().copied().or_else(|| {
            let text = text.downcast_ref::<String>();
            text.map(String::as_str)
        });
        let text = text.unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let level = thread::current().name().map_or(Level::Debug, |_| Level::Error);
        log::log!(level, "msg=\"panic\" place={} error={}", Value(&place), Value(text));
    }));
}

impl Logger {
    fn line(&self, level: Level, what: fmt::Arguments<'_>) -> String {
        let (priority, time) = (self.priority(level), Time(SystemTime::now()));
        let level = match level {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        };
        let mut line = String::with_capacity(USUAL_LINE);
        // Writing to a String cannot fail.
        let _ = writeln!(line, "{priority}time={time} level={level} {what}");
        line
    }

    /// The prefix by which the journal knows the level.
    fn priority(&self, level: Level) -> &'static str {
        match level {
            _ if !self.has_priorities.load(Ordering::Relaxed) => "",
            Level::Error => "<3>",
            Level::Warn => "<4>",
            Level::Info => "<6>",
            Level::Debug | Level::Trace => "<7>",
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = self.line(record.level(), *record.args());
        let Some(queue) = self.queue.get() else { return write_line(&line) };
        if queue.entries.try_send(Entry::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {
        let (done, flushed) = sync_channel(1);
        self.is_flushing.store(true, Ordering::Relaxed);
        if let Some(queue) = self.queue.get() {
            if queue.entries.try_send(Entry::Flush(done)).is_ok() {
                queue.writer.unpark();
                let _ = flushed.recv_timeout(FLUSH);
            }
        }
        self.is_flushing.store(false, Ordering::Relaxed);
    }
}

/// Logs an exchange that has ended.
pub fn log_exchange(record: &Record) {
    let level = match &record.error {
        Some(error) if error.code.status() >= 500 => Level::Warn,
        // Watchdogs and scrapers ask many times an hour.
        None if record.class == Class::Own => Level::Debug,
        _ => Level::Info,
    };
    log::log!(level, "{}", Line(record));
}

/// The line of an exchange.
struct Line<'a>(&'a Record);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line(record) = self;
        let sent = &record.sent;
        write!(f, "client={} method={}", record.client, Value(&record.method))?;
        write!(f, " path={}", Value(&record.path))?;
        if let Some(model) = &record.model {
            write!(f, " model={}", Value(model))?;
        }
        if let Some(target) = &record.target {
            write!(f, " target={}", Value(target))?;
        }
        if let Some(rule) = &record.hidden_by {
            write!(f, " hidden_by={}", Value(rule))?;
        }
        if let Some(upstream) = &record.upstream {
            write!(f, " upstream={}", Value(upstream))?;
        }
        write!(f, " status={}", record.status())?;
        write!(f, " ttfb_ms={:.1}", milliseconds(sent.first_byte))?;
        write!(f, " total_ms={:.1}", milliseconds(sent.total))?;
        write!(f, " in={} out={}", sent.bytes_in, sent.bytes_out)?;
        if let Some(id) = &record.request_id {
            write!(f, " request_id={}", Value(id))?;
        }
        // Most upstreams repeat the client's.
        if let Some(id) = &record.upstream_request_id {
            if record.request_id.as_ref() != Some(id) {
                write!(f, " upstream_request_id={}", Value(id))?;
            }
        }
        if let Some(error) = &record.error {
            write!(f, " side={} error={}", error.source.as_str(), Value(&error.in_full()))?;
        }
        Ok(())
    }
}

/// A value of a line, in quotes if it could be read as more than one.
pub struct Value<'a>(pub &'a str);

/// The most of a value that is written, in characters.
const VALUE_LIMIT: usize = 512;

impl Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_alphanumeric() || "-_./:@+~,%*()[]".contains(c);
        if !self.0.is_empty() && self.0.len() <= VALUE_LIMIT && self.0.chars().all(plain) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars().take(VALUE_LIMIT) {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\'' => f.write_char(c)?,
                // Escapes what is invisible, ends the line or reverses it.
                c => write!(f, "{}", c.escape_debug())?,
            }
        }
        if self.0.chars().nth(VALUE_LIMIT).is_some() {
            f.write_char('…')?;
        }
        f.write_char('"')
    }
}

/// A time as RFC 3339 writes it, in UTC.
struct Time(SystemTime);

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        // Years begin in March, so that a leap day is the last of its year; all eras of 400
        // years have the same length.
        let day = days + 719_468;
        let (era, day) = (day / 146_097, day % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = era * 400 + year + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let millisecond = since.subsec_millis();
        write!(f, "{year:04}-{month:02}-{day:02}")?;
        write!(f, "T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let at =
            |seconds: u64| Time(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7)).to_string();
        assert_eq!(at(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59.007Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.007Z");
        assert_eq!(at(1_798_761_599), "2026-12-31T23:59:59.007Z");
    }

    #[test]
    fn a_value_cannot_forge_a_second_one() {
        assert_eq!(Value("openai/gpt-4o:free").to_string(), "openai/gpt-4o:free");
        assert_eq!(Value("a status=200").to_string(), "\"a status=200\"");
        assert_eq!(Value("a\"\nlevel=error").to_string(), "\"a\\\"\\nlevel=error\"");
        assert_eq!(Value("a\u{2028}level=error").to_string(), "\"a\\u{2028}level=error\"");
        assert_eq!(Value("it's\u{202e}\u{e0041}").to_string(), "\"it's\\u{202e}\\u{e0041}\"");
        assert_eq!(Value("").to_string(), "\"\"");
        assert_eq!(Value(&"x".repeat(9000)).to_string().chars().count(), VALUE_LIMIT + 3);
    }
}
