//! The report in Markdown: the machine, the table, and which goals are met.
//!
//! A figure is the median of its rounds, a ratio that of two medians. Goals about time are not judged if others used
//! the machine meanwhile.

use std::fmt::Write;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::measure::quantile;
use crate::small::{CONNECTIONS, LIST, plain_name};
use crate::target::{Kind, Stage};
use crate::{bulk, idle, rest, start, stream};

#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
    /// The share of the cores that others took, by scenario.
    disturbed: Vec<(&'static str, f64)>,
}

/// The share of the cores that others may take before goals about time are not judged.
const QUIET: f64 = 0.1;

struct Row {
    what: String,
    unit: &'static str,
    /// By [`Kind`], one value per round.
    values: [Vec<f64>; Kind::ALL.len()],
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

    pub fn disturbed(&mut self, scenario: &'static str, others: f64) {
        self.disturbed.push((scenario, others));
    }

    fn get(&self, what: &str, unit: &str, kind: Kind) -> Option<f64> {
        self.rows.iter().find(|row| row.what == what && row.unit == unit)?.median(kind)
    }

    /// The program's figure divided by that of another kind.
    fn ratio(&self, what: &str, unit: &str, other: Kind) -> Option<f64> {
        Some(self.get(what, unit, Kind::Filter)? / self.get(what, unit, other)?)
    }

    /// The program's figure minus that of direct.
    fn added(&self, what: &str, unit: &str) -> Option<f64> {
        Some(self.get(what, unit, Kind::Filter)? - self.get(what, unit, Kind::Direct)?)
    }
}

impl Row {
    fn median(&self, kind: Kind) -> Option<f64> {
        let values = &self.values[kind as usize];
        (!values.is_empty()).then(|| quantile(&mut values.clone(), 0.5))
    }

    /// For a delay, a row of how much each proxy adds to that of direct.
    fn added(&self) -> Option<Row> {
        let unit = match self.unit {
            stream::MEDIAN => "added to a token, median, µs",
            stream::P99 => "added to a token, p99, µs",
            _ => return None,
        };
        let direct = self.median(Kind::Direct)?;
        let added = |kind| self.median(kind).map(|delay| delay - direct).into_iter().collect();
        let mut values: [Vec<f64>; Kind::ALL.len()] = Kind::ALL.map(added);
        values[Kind::Direct as usize].clear();
        Some(Row { what: self.what.clone(), unit, values })
    }

    /// The figures of these kinds.
    fn figures(&self, kinds: &[Kind]) -> String {
        let figure = |kind: &Kind| self.median(*kind).map_or("–".to_owned(), figure);
        let figures: Vec<String> = kinds.iter().map(figure).collect();
        format!("| {} | {} | {} |", self.what, self.unit, figures.join(" | "))
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

/// Formats a figure with three significant digits, or with all digits before the point.
fn figure(value: f64) -> String {
    match value.abs() {
        at_least if at_least >= 99.95 => format!("{value:.0}"),
        at_least if at_least >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The table of a comparison, with a column for each program.
pub fn comparison(table: &Table, stage: &Stage, rounds: usize, took: Duration) -> String {
    let kinds = stage.kinds();
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let mut text = format!("{}\n\n", machine(table, stage, rounds, took));
    text += &format!("| what | figure | {} |\n", names.join(" | "));
    text += &format!("|---|---|{}\n", "--:|".repeat(kinds.len()));
    for row in &table.rows {
        // `make bench` has the other rows.
        if ["p99, µs", "of that in user mode, µs", "threads", stream::MEDIAN, stream::P99]
            .contains(&row.unit)
        {
            if let Some(added) = row.added() {
                text += &format!("{}\n", added.figures(&kinds));
            }
            continue;
        }
        text += &format!("{}\n", row.figures(&kinds));
    }
    text.truncate(text.trim_end().len());
    text
}

pub fn report(table: &Table, stage: &Stage, rounds: usize, took: Duration) -> String {
    let mut text = format!("{}\n\n", machine(table, stage, rounds, took));
    text += "| what | figure | direct | model-filter | nginx | ÷ direct | ÷ nginx |\n";
    text += "|---|---|--:|--:|--:|--:|--:|\n";
    for row in &table.rows {
        text += &row.line();
        text.push('\n');
        if let Some(added) = row.added() {
            text += &added.line();
            text.push('\n');
        }
    }
    text += "\n| goal | figure | |\n|---|---|---|\n";
    for (goal, figures, verdict) in goals(table) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {goal} | {figures} | {verdict} |");
    }
    text.truncate(text.trim_end().len());
    text
}

/// Each goal that was measured, with its figures and the verdict. All figures of a goal must meet it.
fn goals(table: &Table) -> Vec<(String, String, String)> {
    let cpu = "CPU for a request, µs";
    let added = |unit| [stream::ONE, stream::FIFTY].map(|name| table.added(name, unit)).to_vec();
    let at_full_speed =
        [stream::ALONE, stream::BATCHED].map(|name| table.ratio(name, stream::SPEED, Kind::Direct));
    let goals = [
        Goal {
            what: "CPU for a plain request, at 1, 8 and 64 connections",
            asked: Asked::AtMost(2.0, "× nginx"),
            timed: None,
            values: CONNECTIONS
                .map(|count| table.ratio(&plain_name(count), cpu, Kind::Nginx))
                .to_vec(),
        },
        Goal {
            what: "CPU for the cached list",
            asked: Asked::AtMost(1.0, "× nginx with a file"),
            timed: None,
            values: vec![table.ratio(LIST, cpu, Kind::Nginx)],
        },
        Goal {
            what: "added to a token at the median, 1 and 50 streams",
            asked: Asked::AtMost(100.0, "µs"),
            timed: Some("stream"),
            values: added(stream::MEDIAN),
        },
        Goal {
            what: "added to a token at p99, 50 streams",
            asked: Asked::AtMost(2000.0, "µs"),
            timed: Some("stream"),
            values: vec![table.added(stream::FIFTY, stream::P99)],
        },
        Goal {
            what: "streams at full speed, a write for each event and 64 KB in a write",
            asked: Asked::AtLeast(0.5, "× direct"),
            timed: Some("flood"),
            values: at_full_speed.to_vec(),
        },
        Goal {
            what: "1 MB answers",
            asked: Asked::AtLeast(0.6, "× direct"),
            timed: Some("bulk"),
            values: vec![table.ratio(bulk::SMALLER, "MB/s", Kind::Direct)],
        },
        Goal {
            what: "memory when idle",
            asked: Asked::AtMost(6.0, "MB"),
            timed: None,
            values: vec![table.get(rest::IDLE, rest::MEMORY, Kind::Filter)],
        },
        Goal {
            what: "memory for each of 1,000 open streams",
            asked: Asked::AtMost(40.0, "KB"),
            timed: None,
            values: vec![table.get(&rest::name(1000), rest::EACH, Kind::Filter)],
        },
        Goal {
            what: "CPU with 500 idle connections",
            asked: Asked::AtMost(0.1, "% of a core"),
            timed: None,
            values: vec![table.get(&idle::name(idle::MOST), idle::CPU, Kind::Filter)],
        },
        Goal {
            what: "wake-ups with 500 idle connections",
            asked: Asked::AtMost(1.0, "a second"),
            timed: None,
            values: vec![table.get(&idle::name(idle::MOST), idle::WAKEUPS, Kind::Filter)],
        },
        Goal {
            what: "wake-ups without connections",
            asked: Asked::AtMost(0.0, "a second"),
            timed: None,
            values: vec![table.get(&idle::name(0), idle::WAKEUPS, Kind::Filter)],
        },
        Goal {
            what: "first answer after the start",
            asked: Asked::AtMost(20.0, "ms"),
            timed: Some("start"),
            values: vec![table.get(start::NAME, start::FIRST, Kind::Filter)],
        },
    ];
    goals.into_iter().filter_map(|goal| goal.judged(table)).collect()
}

struct Goal {
    what: &'static str,
    asked: Asked,
    /// The scenario, if the goal is about time.
    timed: Option<&'static str>,
    /// `None` for figures that were not measured.
    values: Vec<Option<f64>>,
}

/// The bound and its unit.
enum Asked {
    AtMost(f64, &'static str),
    AtLeast(f64, &'static str),
}

impl Goal {
    /// The goal, its figures and the verdict; `None` if nothing was measured.
    fn judged(self, table: &Table) -> Option<(String, String, String)> {
        let Goal { what, asked, timed, values } = self;
        let values: Vec<f64> = values.into_iter().flatten().collect();
        if values.is_empty() {
            return None;
        }
        let (sign, bound, unit) = match asked {
            Asked::AtMost(bound, unit) => ('≤', bound, unit),
            Asked::AtLeast(bound, unit) => ('≥', bound, unit),
        };
        let holds = values.iter().all(|value| match asked {
            Asked::AtMost(most, _) => *value <= most,
            Asked::AtLeast(least, _) => *value >= least,
        });
        let others = table.disturbed.iter().find(|(scenario, _)| Some(*scenario) == timed);
        let verdict = match others {
            Some((_, others)) if *others > QUIET => {
                format!("not judged: others took {:.0} % of the cores", others * 100.0)
            }
            _ if holds => "holds".to_owned(),
            _ => "**does not hold**".to_owned(),
        };
        let figures: Vec<String> = values.into_iter().map(figure).collect();
        Some((format!("{what} {sign} {bound} {unit}"), figures.join(", "), verdict))
    }
}

/// The machine, the versions and the method.
fn machine(table: &Table, stage: &Stage, rounds: usize, took: Duration) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unnamed model", |(_, name)| name.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let date = printed(Command::new("date").arg("+%F")).unwrap_or_default();
    let others: Vec<String> = table
        .disturbed
        .iter()
        .map(|(scenario, others)| format!("{scenario} {:.0} %", others * 100.0))
        .collect();
    let mut programs = String::new();
    if let Some(caddy) = &stage.others().caddy {
        let version = printed(Command::new(caddy).arg("version")).unwrap_or_default();
        programs += &format!(" Caddy {}, as a plain proxy.", version.trim_start_matches('v'));
    }
    if stage.others().python.is_some() {
        programs += " model_filter.py with uvicorn, one process.";
    }
    let nginx = match stage.nginx() {
        Some(program) => printed(Command::new(program).arg("-v"))
            .unwrap_or_else(|| "nginx of unknown version".to_owned())
            .replace("nginx version: nginx/", "nginx "),
        None => "no nginx".to_owned(),
    };
    format!(
        "{cores} cores ({model}), Linux {}, {date}. model-filter {}; {nginx}, a worker for each \
         core, no buffering, connections kept; both with a log line for each request, to \
         /dev/null.{programs} All on loopback: upstream and clients share the cores with a proxy, and with \
         direct have them alone. Medians of {rounds} interleaved rounds, {:.0} s in all. Others \
         took of the cores: {}.",
        kernel.trim(),
        env!("CARGO_PKG_VERSION"),
        took.as_secs_f64(),
        others.join(", "),
    )
}

/// The output of a command, stdout and then stderr.
fn printed(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).trim().to_owned())
}
