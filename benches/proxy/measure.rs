//! CPU, memory, threads and wake-ups of processes, from `/proc`; quantiles.
//!
//! Limits: CPU time comes in ticks of 10 ms, so a figure per request needs about a second of load. The kernel knows the
//! sum more precisely than its parts in user and system mode. Memory that several processes share is counted for each.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Ticks per second in `/proc/PID/stat`: the same on all architectures of Debian.
const TICKS: f64 = 100.0;

/// CPU seconds.
#[derive(Clone, Copy, Default)]
pub struct Cpu {
    pub user: f64,
    pub system: f64,
}

/// Bytes and threads.
#[derive(Clone, Copy, Default)]
pub struct Footprint {
    pub memory: f64,
    pub peak: f64,
    pub threads: f64,
}

impl Cpu {
    pub fn since(self, before: Cpu) -> Cpu {
        Cpu { user: self.user - before.user, system: self.system - before.system }
    }

    pub fn sum(self) -> f64 {
        self.user + self.system
    }
}

/// CPU time of processes since they began, threads that have ended included. A process that cannot be read counts as 0.
pub fn cpu(processes: &[u32]) -> Cpu {
    let mut sum = Cpu::default();
    for process in processes {
        let fields = stat(*process);
        sum.user += ticks(fields.get(11));
        sum.system += ticks(fields.get(12));
    }
    sum
}

pub fn footprint(processes: &[u32]) -> Footprint {
    let mut sum = Footprint::default();
    for process in processes {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let field = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse().ok()).unwrap_or_default()
        };
        sum.memory += field("VmRSS:") * 1024.0;
        sum.peak += field("VmHWM:") * 1024.0;
        sum.threads += field("Threads:");
    }
    sum
}

/// CPU seconds and wake-ups of each thread, by its folder in `/proc`. A wake-up is a voluntary context switch: the
/// thread waited for something, and went on.
pub struct Activity(BTreeMap<PathBuf, (f64, f64)>);

impl Activity {
    /// Of all threads that run now. The CPU time is the scheduler's, in nanoseconds: ticks are too coarse for
    /// processes that hardly run.
    pub fn of(processes: &[u32]) -> Activity {
        let tasks = processes.iter().map(|process| format!("/proc/{process}/task"));
        let threads = tasks.filter_map(|tasks| fs::read_dir(tasks).ok()).flatten().flatten();
        let measured = threads.filter_map(|thread| {
            let path = thread.path();
            let schedule = fs::read_to_string(path.join("schedstat")).ok()?;
            let nanoseconds: f64 = schedule.split_whitespace().next()?.parse().ok()?;
            let status = fs::read_to_string(path.join("status")).ok()?;
            let switches = status.split("voluntary_ctxt_switches:").nth(1)?;
            let wakeups = switches.split_whitespace().next()?.parse().ok()?;
            Some((path, (nanoseconds / 1e9, wakeups)))
        });
        Activity(measured.collect())
    }

    /// CPU seconds and wake-ups since then, without those of threads that have ended.
    pub fn since(&self, before: &Activity) -> (f64, f64) {
        let mut sum = (0.0, 0.0);
        for (path, (cpu, wakeups)) in &self.0 {
            let (cpu_before, wakeups_before) = before.0.get(path).copied().unwrap_or_default();
            sum = (sum.0 + cpu - cpu_before, sum.1 + wakeups - wakeups_before);
        }
        sum
    }
}

/// CPU seconds of the whole machine since it was started. Take it only while no target runs: the time of a target
/// counts as this process's own once the target has ended.
#[derive(Clone, Copy)]
pub struct Machine {
    all: f64,
    busy: f64,
    own: f64,
    /// Of other visible processes, and of other virtual machines on the same host (steal).
    others: f64,
}

impl Machine {
    pub fn now() -> Machine {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = stat.lines().next().unwrap_or_default();
        let fields: Vec<&str> = line.split_whitespace().skip(1).collect();
        let field = |at: usize| ticks(fields.get(at));
        let own = std::process::id();
        let others: f64 = processes().filter(|process| *process != own).map(with_ended).sum();
        let stolen = field(7);
        Machine {
            all: (0..8).map(field).sum(),
            // User, nice and system. Interrupts are left out: those for our own packets cannot be distinguished from
            // others, and may be part of our own time as well.
            busy: field(0) + field(1) + field(2) + stolen,
            own: with_ended(own),
            others: others + stolen,
        }
    }

    /// The share of all cores that others took since then: the time of their visible processes or, inside a container,
    /// the busy time that is not ours.
    pub fn others_since(self, before: Machine) -> f64 {
        let seen = self.others - before.others;
        let unseen = (self.busy - before.busy) - (self.own - before.own);
        (seen.max(unseen) / (self.all - before.all).max(f64::EPSILON)).clamp(0.0, 1.0)
    }
}

/// CPU seconds of a process and of its children that have ended.
fn with_ended(process: u32) -> f64 {
    let fields = stat(process);
    (11..15).map(|at| ticks(fields.get(at))).sum()
}

fn ticks<T: AsRef<str>>(field: Option<T>) -> f64 {
    let ticks: Option<f64> = field.and_then(|field| field.as_ref().parse().ok());
    ticks.unwrap_or_default() / TICKS
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The running children of a process.
pub fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child =
        |process: &u32| stat(*process).get(1).and_then(|field| field.parse().ok()) == Some(parent);
    processes.filter(is_child).collect()
}

/// The fields of `/proc/PID/stat` after the name, which may contain anything. Field 0 is the state.
fn stat(process: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().map(str::to_owned).collect()
}

/// The quantile of the values; 0 if there are none.
pub fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let at = (part * last as f64).round() as usize;
    values.get(at).copied().unwrap_or_default()
}
