//! The log: lines of `key=value` on standard error.
//!
//! One line for an exchange ([`Record`]), and the program's own messages through the
//! `log` crate. A thread of its own writes, so that nobody waits for whoever reads the log.
//! Where the journal reads them, lines begin with its priorities (sd-daemon(3)).
//! Limits: only this crate's messages are written, because those of libraries may show
//! what they send; lines are lost, and counted, where the reader stalls. No line holds a
//! credential, a body or a query.

use std::fmt::{self, Display, Write as _};
use std::io::Write as _;
use std::iter;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata};

use crate::error::{Code, Error};
use crate::record::Sent;
use crate::text::{loggable, milliseconds};

/// Lines that may wait to be written.
const QUEUE: usize = 4096;

/// Room for a line of usual length, in bytes.
const USUAL_LINE: usize = 320;

/// How long a line may wait for others.
const MOMENT: Duration = Duration::from_millis(2);

/// How long the last lines may take when the program ends.
const FLUSH: Duration = Duration::from_secs(1);

static LOGGER: Logger = Logger {
    queue: OnceLock::new(),
    lost: AtomicUsize::new(0),
    has_priorities: AtomicBool::new(false),
    is_hurried: AtomicBool::new(false),
};

struct Logger {
    queue: OnceLock<Queue>,
    lost: AtomicUsize,
    has_priorities: AtomicBool,
    /// Whether somebody waits for the last lines.
    is_hurried: AtomicBool,
}

/// The way to the thread that writes.
struct Queue {
    entries: SyncSender<Entry>,
    writer: Thread,
}

enum Entry {
    Line(String),
    /// Everything in front of this is to be written, and then told.
    Flush(SyncSender<()>),
}

/// Starts the log. A second call changes the level only.
pub fn start(level: LevelFilter, is_journal: bool) {
    log::set_max_level(level);
    LOGGER.has_priorities.store(is_journal, Ordering::Relaxed);
    // It fails where there is a logger already, which can only be this one.
    if log::set_logger(&LOGGER).is_err() {
        return;
    }
    let (sender, entries) = sync_channel(QUEUE);
    let writer = thread::Builder::new().name("log".into());
    // Without a thread to spare each line is written where it comes up.
    if let Ok(writer) = writer.spawn(move || write_all(&entries)) {
        let _ = LOGGER.queue.set(Queue { entries: sender, writer: writer.thread().clone() });
    }
}

fn write_all(entries: &Receiver<Entry>) {
    while let Ok(first) = entries.recv() {
        // What comes within a moment needs not wake this thread, and is written in one go.
        if !LOGGER.is_hurried.load(Ordering::Relaxed) {
            thread::park_timeout(MOMENT);
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
            let what = format_args!("msg=\"lines of the log were lost\" count={lost}");
            lines += &LOGGER.line(Level::Warn, what);
        }
        write_line(&lines);
        for done in flushed {
            // Nobody waits any more where it took too long.
            let _ = done.send(());
        }
    }
}

fn write_line(line: &str) {
    // There is nowhere to say that the log cannot be written.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Makes a line of the log of every panic. Exchanges outlive them, and so does the
/// listener, which has threads of its own that panic when they find no room: those have
/// no name, and what it means for clients is told elsewhere.
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
        // Writing to a String does not fail.
        let _ = writeln!(line, "{priority}time={time} level={level} {what}");
        line
    }

    /// What the journal reads off the front of a line.
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
        let (done, told) = sync_channel(1);
        self.is_hurried.store(true, Ordering::Relaxed);
        if let Some(queue) = self.queue.get() {
            if queue.entries.try_send(Entry::Flush(done)).is_ok() {
                queue.writer.unpark();
                let _ = told.recv_timeout(FLUSH);
            }
        }
        self.is_hurried.store(false, Ordering::Relaxed);
    }
}

/// What is known of an exchange when it ends.
#[derive(Debug)]
pub struct Record<'a> {
    /// Who called.
    pub client: SocketAddr,
    /// The method.
    pub method: &'a str,
    /// The request target; its query is not written.
    pub target: &'a str,
    /// The model that the request named, where that is known.
    pub model: Option<&'a str>,
    /// The upstream that was asked.
    pub upstream: Option<&'a str>,
    /// What was sent.
    pub sent: Sent,
    /// What went wrong.
    pub error: Option<&'a Error>,
    /// Whether it was for the program itself, below `/-/`.
    pub is_own: bool,
}

impl Record<'_> {
    /// Writes the line.
    pub fn write(&self) {
        let level = match self.error {
            Some(error) if error.code.status() >= 500 => Level::Warn,
            // Watchdogs and scrapers ask many times an hour.
            None if self.is_own => Level::Debug,
            _ => Level::Info,
        };
        log::log!(level, "{self}");
    }

    /// The status that counts: that of what was sent, unless the client left.
    pub fn status(&self) -> u16 {
        match self.error {
            Some(error) if error.code == Code::ClientLeft => error.code.status(),
            _ => self.sent.status,
        }
    }
}

impl Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self;
        let path = loggable(record.target);
        write!(f, "client={} method={}", record.client, Value(record.method))?;
        write!(f, " path={}", Value(path))?;
        if let Some(model) = record.model {
            write!(f, " model={}", Value(model))?;
        }
        if let Some(upstream) = record.upstream {
            write!(f, " upstream={}", Value(upstream))?;
        }
        let sent = &record.sent;
        let status = self.status();
        write!(f, " status={status} ttfb_ms={:.1}", milliseconds(sent.first_byte))?;
        write!(f, " total_ms={:.1}", milliseconds(sent.total))?;
        write!(f, " in={} out={}", sent.bytes_in, sent.bytes_out)?;
        if let Some(error) = self.error {
            write!(f, " side={} error={}", error.source.as_str(), Value(&error.message))?;
        }
        Ok(())
    }
}

/// A value that stays one value: quoted where it holds anything that could end it.
pub struct Value<'a>(pub &'a str);

/// The longest value that is written whole, in characters.
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
                // What is not to be seen, or would end a line or turn it around, is told by number.
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
        // Years are counted from March, so that the leap day is the last of its year, and
        // in eras of 400 years, which are all of the same length.
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
