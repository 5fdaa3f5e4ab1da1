//! The process metrics that Prometheus clients have in common, from the kernel's `/proc`.
//!
//! Limits: Linux only; what cannot be read is left out.

use std::fmt::{self, Display};
use std::fs;
use std::time::SystemTime;

use crate::sys::process;

/// Writes them in the text format of Prometheus.
///
/// # Errors
/// If the formatter fails.
pub fn write(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let read = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let (status, stat, limits) = (read("status"), read("stat"), read("limits"));
    let memory = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    // proc_pid_stat(5): the name of the program, the second field, may hold blanks.
    let fields: Vec<&str> =
        stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    let seconds = |ticks: f64| ticks / process::ticks_per_second();
    let cpu = ticks(14).zip(ticks(15)).map(|(user, system)| seconds(user + system));
    let start = ticks(22).and_then(|start| Some(seconds(start) + boot_time()?));
    let most = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let most = most.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let count = |folder: &str| fs::read_dir(folder).ok().map(Iterator::count);

    let help = "User and system CPU time spent, in seconds.";
    one(f, "cpu_seconds_total", "counter", help, cpu)?;
    let help = "Start of the process, in seconds since 1970.";
    one(f, "start_time_seconds", "gauge", help, start)?;
    let help = "Memory that is resident, in bytes.";
    one(f, "resident_memory_bytes", "gauge", help, memory("VmRSS:"))?;
    let help = "Size of the address space, in bytes.";
    one(f, "virtual_memory_bytes", "gauge", help, memory("VmSize:"))?;
    one(f, "open_fds", "gauge", "File descriptors that are open.", count("/proc/self/fd"))?;
    one(f, "max_fds", "gauge", "File descriptors that may be open.", most)?;
    one(f, "threads", "gauge", "Threads.", count("/proc/self/task"))
}

/// When the machine was started, in seconds since 1970. `/proc/stat` has it too, but not in the
/// sandbox of the systemd unit.
fn boot_time() -> Option<f64> {
    let now = SystemTime::UNIX_EPOCH.elapsed().ok()?;
    Some(now.as_secs_f64() - process::seconds_since_boot())
}

fn one<T: Display>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    kind: &str,
    help: &str,
    value: Option<T>,
) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    writeln!(f, "# HELP process_{name} {help}\n# TYPE process_{name} {kind}")?;
    writeln!(f, "process_{name} {value}")
}
