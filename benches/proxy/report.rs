//! The table in Markdown, the machine that it is about, and which goals hold.
//!
//! A figure is the median of its rounds; a ratio is one of medians, rounded after.

use std::fmt::Write;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::measure::quantile;
use crate::small::{self, CONNECTIONS, LIST, plain_name};
use crate::target::{Kind, Stage};
use crate::{bulk, rest, start, stream};

#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

struct Row {
    what: String,
    unit: &'static str,
    /// By [`Kind`], one value for each round.
    values: [Vec<f64>; 3],
}

impl Table {
    pub fn add(&mut self, what: &str, unit: &'static str, kind: Kind, value: f64) {
        let row = self.rows.iter().position(|row| row.what == what && row.unit == unit);
        let row = row.unwrap_or_else(|| {
            self.rows.push(Row { what: what.to_owned(), unit, values: Default::default() });
            self.rows.len() - 1
        });
        self.rows[row].values[kind as usize].push(value);
    }

    fn get(&self, what: &str, unit: &str, kind: Kind) -> Option<f64> {
        self.rows.iter().find(|row| row.what == what && row.unit == unit)?.median(kind)
    }

    /// What the program has, divided by what another has.
    fn ratio(&self, what: &str, unit: &str, other: Kind) -> Option<f64> {
        Some(self.get(what, unit, Kind::Filter)? / self.get(what, unit, other)?)
    }

    /// What the program has beyond what there is without it.
    fn added(&self, what: &str, unit: &str) -> Option<f64> {
        Some(self.get(what, unit, Kind::Filter)? - self.get(what, unit, Kind::Direct)?)
    }
}

impl Row {
    fn median(&self, kind: Kind) -> Option<f64> {
        let values = &self.values[kind as usize];
        (!values.is_empty()).then(|| quantile(&mut values.clone(), 0.5))
    }

    fn line(&self) -> String {
        let [direct, filter, nginx] =
            [Kind::Direct, Kind::Filter, Kind::Nginx].map(|kind| self.median(kind));
        let ratio = |other: Option<f64>| match (filter, other) {
            (Some(own), Some(other)) if other > 0.0 => format!("{:.2}", own / other),
            _ => "–".to_owned(),
        };
        let figure = |value: Option<f64>| value.map_or("–".to_owned(), figure);
        let figures = [direct, filter, nginx].map(figure).join(" | ");
        format!(
            "| {} | {} | {figures} | {} | {} |",
            self.what,
            self.unit,
            ratio(direct),
            ratio(nginx)
        )
    }
}

/// With three digits that count, or all before the point.
fn figure(value: f64) -> String {
    match value.abs() {
        at_least if at_least >= 99.95 => format!("{value:.0}"),
        at_least if at_least >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

pub fn report(table: &Table, stage: &Stage, rounds: usize, took: Duration) -> String {
    let mut text = format!("{}\n\n", machine(stage, rounds, took));
    text += "| what | figure | direct | model-filter | nginx | ÷ direct | ÷ nginx |\n";
    text += "|---|---|--:|--:|--:|--:|--:|\n";
    for row in &table.rows {
        text += &row.line();
        text.push('\n');
    }
    text += "\n| goal | figure | |\n|---|---|---|\n";
    for (goal, figures, holds) in goals(table) {
        let verdict = if holds { "holds" } else { "**does not hold**" };
        // Writing to a String does not fail.
        let _ = writeln!(text, "| {goal} | {figures} | {verdict} |");
    }
    text.truncate(text.trim_end().len());
    text
}

/// Each goal that was measured, with its figures, and whether it holds. One with several
/// figures holds where all of them do.
fn goals(table: &Table) -> Vec<(String, String, bool)> {
    let mut goals = Vec::new();
    let mut judge = |goal: &str, values: Vec<Option<f64>>, holds: &dyn Fn(f64) -> bool| {
        let values: Vec<f64> = values.into_iter().flatten().collect();
        if !values.is_empty() {
            let figures: Vec<String> = values.iter().map(|value| figure(*value)).collect();
            goals.push((goal.to_owned(), figures.join(", "), values.iter().all(|v| holds(*v))));
        }
    };
    let cpu = "CPU for a request, µs";
    let plain = CONNECTIONS.map(|count| table.ratio(&plain_name(count), cpu, Kind::Nginx));
    judge(
        "CPU for a plain request ≤ 2.0 × nginx, at 1, 8 and 64 connections",
        plain.to_vec(),
        &|ratio| ratio <= 2.0,
    );
    let list = table.ratio(LIST, cpu, Kind::Nginx);
    judge("CPU for the cached list ≤ 1.0 × nginx with a file", vec![list], &|r| r <= 1.0);
    let of = |unit| [stream::ONE, stream::FIFTY].map(|name| table.added(name, unit)).to_vec();
    judge("added to a token < 100 µs at the median, 1 and 50 streams", of(stream::MEDIAN), &|v| {
        v < 100.0
    });
    let p99 = table.added(stream::FIFTY, stream::P99);
    judge("added to a token < 2,000 µs at p99, 50 streams", vec![p99], &|v| v < 2000.0);
    let flood =
        [stream::ALONE, stream::BATCHED].map(|name| table.ratio(name, stream::SPEED, Kind::Direct));
    judge(
        "full speed ≥ 0.5 × direct, a write for each event and 64 KB in a write",
        flood.to_vec(),
        &|ratio| ratio >= 0.5,
    );
    let bulk = table.ratio(bulk::SMALLER, "MB/s", Kind::Direct);
    judge("1 MB answers ≥ 0.6 × direct", vec![bulk], &|ratio| ratio >= 0.6);
    let idle = table.get(rest::IDLE, rest::MEMORY, Kind::Filter);
    judge("memory at rest < 6 MB", vec![idle], &|memory| memory < 6.0);
    let each = table.get(&rest::name(1000), rest::EACH, Kind::Filter);
    judge("memory for each of 1,000 open streams < 40 KB", vec![each], &|memory| memory < 40.0);
    let first = table.get(start::NAME, start::FIRST, Kind::Filter);
    judge("first answer within 20 ms of the start", vec![first], &|took| took <= 20.0);
    goals
}

/// What all of it was measured on, and how.
fn machine(stage: &Stage, rounds: usize, took: Duration) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unnamed model", |(_, name)| name.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let date = printed(Command::new("date").arg("+%F")).unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').take(2).last().unwrap_or_default().to_owned();
    let nginx = match stage.nginx() {
        Some(program) => printed(Command::new(program).arg("-v"))
            .unwrap_or_else(|| "nginx of unknown version".to_owned())
            .replace("nginx version: nginx/", "nginx "),
        None => "no nginx".to_owned(),
    };
    format!(
        "{cores} cores ({model}), Linux {}, {date}, load of 5 minutes at the end {load}. \
         model-filter {}, {nginx}: a worker for each core, no buffering, connections kept; both \
         with a log line for each request, to /dev/null. Medians of {rounds} interleaved rounds, \
         on loopback; upstream and clients share the cores, and those of direct have them \
         alone. {:.0} s in all. Small requests: {} clients where no number is told.",
        kernel.trim(),
        env!("CARGO_PKG_VERSION"),
        took.as_secs_f64(),
        small::SEVERAL,
    )
}

/// What a command says, on either of its outputs.
fn printed(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).trim().to_owned())
}
