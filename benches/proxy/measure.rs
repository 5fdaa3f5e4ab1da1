//! What processes took of the machine, from `/proc`, and the middle of many figures.
//!
//! CPU time comes in ticks of 10 ms, so a figure for a request needs a second or so of
//! them. The kernel knows the sum better than how it divides into user and system. Memory
//! of several processes is added up, with what they share counted for each. What others
//! took of the machine counts too: where that is much, figures of time tell about them.

use std::fs;

/// Per second, in `/proc/PID/stat`: the same on all machines that Debian is for.
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

/// What processes have computed since they began, with threads that have ended. One that
/// cannot be read has computed nothing.
pub fn cpu(processes: &[u32]) -> Cpu {
    let mut sum = Cpu::default();
    for process in processes {
        let fields = stat(*process);
        let field = |at: usize| -> f64 {
            fields.get(at).and_then(|field| field.parse().ok()).unwrap_or_default()
        };
        sum.user += field(11) / TICKS;
        sum.system += field(12) / TICKS;
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

/// What the machine has computed since it was started, and what of that was this process and
/// those that it has started and seen end. In CPU seconds.
#[derive(Clone, Copy)]
pub struct Machine {
    busy: f64,
    own: f64,
    all: f64,
}

impl Machine {
    pub fn now() -> Machine {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<f64> =
            line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        let field = |at: usize| ticks.get(at).copied().unwrap_or_default() / TICKS;
        // User, nice, system, and what the host gave to another machine. Interrupts are not
        // here, since those of our own packets cannot be told from others.
        let busy = field(0) + field(1) + field(2) + field(7);
        let all = (0..8).map(field).sum();
        let own = stat_of_this().iter().sum::<f64>() / TICKS;
        Machine { busy, own, all }
    }

    /// The part of all cores that others took since then.
    pub fn others_since(self, before: Machine) -> f64 {
        let others = (self.busy - before.busy) - (self.own - before.own);
        (others / (self.all - before.all).max(f64::EPSILON)).clamp(0.0, 1.0)
    }
}

/// Ticks of this process, user and system, and of those that it has waited for.
fn stat_of_this() -> Vec<f64> {
    let fields = stat(std::process::id()).into_iter().skip(11).take(4);
    fields.filter_map(|field| field.parse().ok()).collect()
}

/// The processes that this one has started and that still run.
pub fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child =
        |process: &u32| stat(*process).get(1).and_then(|field| field.parse().ok()) == Some(parent);
    processes.filter(is_child).collect()
}

/// The fields of `/proc/PID/stat` behind the name, which may hold anything: the state is 0.
fn stat(process: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().map(str::to_owned).collect()
}

/// The value below which this part of all values lies; 0 where there is none.
pub fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let at = (part * last as f64).round() as usize;
    values.get(at).copied().unwrap_or_default()
}
