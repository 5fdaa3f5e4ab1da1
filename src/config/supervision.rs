//! The environment variables of a service manager (sd_notify(3), sd_watchdog_enabled(3),
//! sd_listen_fds(3), systemd.exec(5)).
//!
//! Limits: variables that are for another process, or malformed, count as unset.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process;
use std::time::Duration;

use super::environment::{Environment, variable};

/// The offers and expectations of a service manager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Supervision {
    /// The socket for status messages: a path, or `@` and an abstract name.
    pub notify_socket: Option<String>,
    /// The interval of the watchdog.
    pub watchdog: Option<Duration>,
    /// Whether it passed a listening socket.
    pub has_socket: bool,
    /// Whether standard error is the journal, which reads priorities.
    pub is_journal: bool,
}

/// Reads the variables.
pub fn supervision(env: Environment<'_>) -> Supervision {
    let number = |name: &str| variable(env, name)?.parse::<u64>().ok();
    let own = |name: &str| number(name).is_none_or(|id| id == u64::from(process::id()));
    let watchdog = number("WATCHDOG_USEC").filter(|time| *time > 0 && own("WATCHDOG_PID"));
    let sockets = number("LISTEN_FDS").filter(|_| number("LISTEN_PID").is_some());
    Supervision {
        notify_socket: variable(env, "NOTIFY_SOCKET"),
        watchdog: watchdog.map(Duration::from_micros),
        has_socket: sockets.is_some_and(|count| count > 0) && own("LISTEN_PID"),
        is_journal: variable(env, "JOURNAL_STREAM").is_some_and(|stream| is_stderr(&stream)),
    }
}

/// Whether `device:inode` is standard error.
fn is_stderr(stream: &str) -> bool {
    fs::metadata("/proc/self/fd/2")
        .is_ok_and(|file| stream == format!("{}:{}", file.dev(), file.ino()))
}
