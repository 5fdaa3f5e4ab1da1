//! The result of a soak: a table in Markdown, and what has grown.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::ledger::Count;
use crate::program::Sample;

/// The memory that each giant request leaks at most, in KiB, by design: a thread, and allocations that the thread pins.
const GIANT: u64 = 90;

pub struct Report {
    pub minutes: f64,
    pub counts: BTreeMap<&'static str, Count>,
    pub slowest_notice: Duration,
    /// After the first minute, when the program had settled.
    pub before: Sample,
    /// At the end, when the program had settled.
    pub after: Sample,
    /// Giant requests. All of them came before the first sample.
    pub giants: u64,
    pub peak: Sample,
    /// CPU time, in seconds.
    pub computed: f64,
}

impl Report {
    /// The values that have grown by more than 10 %, and by more than 2 threads or descriptors. Memory is judged without what giant
    /// requests leak, so that their leak does not raise the limit.
    pub fn growth(&self) -> Vec<String> {
        let Report { before, after, .. } = self;
        let measures = [
            ("judged memory in KiB", self.judged(before), self.judged(after), 0),
            ("threads", before.threads, after.threads, 2),
            ("descriptors", before.descriptors, after.descriptors, 2),
        ];
        let grown = measures
            .iter()
            .filter(|(_, before, after, slack)| *after > before + (before / 10).max(*slack));
        grown.map(|(what, before, after, _)| format!("{what}: {before}, then {after}")).collect()
    }

    /// Memory without what giant requests leak, in KiB.
    fn judged(&self, sample: &Sample) -> u64 {
        sample.memory.saturating_sub(self.giants * GIANT)
    }

    pub fn table(&self, failures: u64) -> String {
        let Report { before, after, peak, counts, .. } = self;
        let sum = |of: fn(&Count) -> u64| counts.values().map(of).sum::<u64>();
        let exchanges = sum(|count| count.good) + sum(|count| count.excused);
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let mut table = String::from("| what | how much |\n|---|---|\n");
        let mut row = |what: &str, much: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(table, "| {what} | {much} |");
        };
        row("traffic", format!("{} min on {cores} cores", self.minutes));
        for (kind, count) in counts {
            let slowest = match count.slowest {
                Duration::ZERO => String::new(),
                slowest => format!(", the slowest in {slowest:.1?}"),
            };
            let excused = match count.excused {
                0 => String::new(),
                excused => format!(", {} more while the upstream was away", thousands(excused)),
            };
            let failed = match count.failed {
                0 => String::new(),
                failed => format!(", **{} failed**", thousands(failed)),
            };
            row(kind, format!("{}{slowest}{excused}{failed}", thousands(count.good)));
        }
        row("exchanges", thousands(exchanges));
        row("**lost, wrong, late, or otherwise not in order**", thousands(failures));
        row("leaving clients, noticed upstream within", format!("{:.1?}", self.slowest_notice));
        let three = |of: fn(&Sample) -> String| {
            format!("{}, {}, at most {}", of(before), of(after), of(peak))
        };
        let memory = three(|sample| megabytes(sample.memory));
        row("own memory (RssAnon) after the first minute, at the end", memory);
        let (first, last) = (self.judged(before), self.judged(after));
        let growth = (last as f64 / first.max(1) as f64 - 1.0) * 100.0;
        let judged = format!("{}, {}: {growth:+.0} %", megabytes(first), megabytes(last));
        row(&format!("without what {} giants leak, at most {GIANT} KiB each", self.giants), judged);
        row("threads", three(|sample| sample.threads.to_string()));
        row("descriptors", three(|sample| sample.descriptors.to_string()));
        let per_thousand = self.computed / (exchanges.max(1) as f64 / 1000.0);
        row("CPU for 1,000 exchanges", format!("{per_thousand:.2} s"));
        table
    }
}

fn megabytes(kibibytes: u64) -> String {
    format!("{:.1} MB", kibibytes as f64 * 1024.0 / 1e6)
}

/// Formats a number with a comma every three digits.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let start = digits.len() % 3;
    let (first, rest) = digits.split_at(start);
    let groups = rest.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let groups: Vec<String> = Some(first.to_owned())
        .filter(|first| !first.is_empty())
        .into_iter()
        .chain(groups)
        .collect();
    groups.join(",")
}
