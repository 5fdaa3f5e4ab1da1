//! `make bench`: what the program costs, compared with no proxy and with nginx.
//!
//! This process holds a fake upstream and a load generator. Between them is nothing ("direct"), the release build of
//! the program, or nginx if it is installed. Rounds are interleaved, so that a busy period of the machine affects all
//! three, and every figure is the median of its rounds.
//!
//! Limits: everything runs on loopback and shares the cores, so compare the ratios of one run, not the figures of two
//! machines. If other processes use the machine, times mean little: the report gives their share of the cores, and
//! goals about time are then not judged.
//!
//! Arguments: names of scenarios (default: all) and `--rounds N`; or `--compare`, which also measures Caddy, if it is
//! installed, and the Python original, if `PYTHON_ORIGINAL` names its folder (`PYTHON` its interpreter). Exits with 1 if
//! the harness fails, not if a goal is missed.
#![allow(clippy::print_stdout, clippy::print_stderr)] // has no test harness that would print

/// Large responses and uploads.
mod bulk;
/// A client: one connection, its requests and responses.
mod client;
/// Idle connections.
mod idle;
/// Closed-loop load by many clients.
mod load;
/// CPU, memory and wake-ups of processes; quantiles.
mod measure;
/// How Caddy and the Python original are started.
mod others;
/// The table and the goals.
mod report;
/// Open streams without traffic.
mod rest;
/// Small requests and the cached list.
mod small;
/// The time from the start of a process to its first response.
mod start;
/// Streams of tokens.
mod stream;
/// The servers between client and upstream.
mod target;
/// The fake upstream.
mod upstream;
/// One end of a connection.
mod wire;

use std::io;
use std::process::ExitCode;
use std::time::Instant;

use measure::Machine;
use report::Table;
use target::{Kind, Stage, Target};
use upstream::Upstream;

/// A scenario: its name on the command line, and the function that measures it.
type Scenario = (&'static str, fn(&mut Bench) -> io::Result<()>);

const SCENARIOS: &[Scenario] = &[
    ("plain", small::plain),
    ("prefix", small::prefixed),
    ("list", small::list),
    ("connect", small::connect),
    ("stream", stream::paced),
    ("flood", stream::flood),
    ("bulk", bulk::bulk),
    ("rest", rest::rest),
    ("idle", idle::idle),
    ("start", start::start),
];

/// The scenarios of a comparison: paths that the Python original relays.
const COMPARED: &[Scenario] =
    &[("chat", small::plain), ("list", small::relayed_list), ("stream", stream::completions)];

/// The default of `--rounds`.
const ROUNDS: usize = 5;

/// A run: the number of rounds, what is needed to start targets, and the figures so far.
struct Bench {
    rounds: usize,
    stage: Stage,
    table: Table,
}

fn main() -> ExitCode {
    let outcome = arguments().and_then(|run| run.measure());
    match outcome {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The measurements to take.
struct Run {
    rounds: usize,
    scenarios: Vec<&'static Scenario>,
    compares: bool,
}

/// Reads the arguments. Cargo adds `--bench`.
fn arguments() -> io::Result<Run> {
    let mut words: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let compares = words.iter().any(|word| word == "--compare");
    words.retain(|word| word != "--compare");
    let all = if compares { COMPARED } else { SCENARIOS };
    let mut rounds = ROUNDS;
    let mut scenarios = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--rounds" {
            let number = words.next().and_then(|number| number.parse().ok());
            let missing = || io::Error::other("--rounds needs a number from 1");
            rounds = number.filter(|rounds| *rounds > 0).ok_or_else(missing)?;
            continue;
        }
        let known = all.iter().find(|(name, _)| *name == word);
        scenarios.push(known.ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
            io::Error::other(format!("{word:?} is not a scenario; there are {}", names.join(", ")))
        })?);
    }
    if scenarios.is_empty() {
        scenarios.extend(all);
    }
    Ok(Run { rounds, scenarios, compares })
}

impl Run {
    fn measure(self) -> io::Result<String> {
        let Run { rounds, scenarios, compares } = self;
        let began = Instant::now();
        let upstream = Upstream::start()?;
        let stage = Stage::new(upstream.port(), compares)?;
        let mut bench = Bench { rounds, stage, table: Table::default() };
        if bench.stage.nginx().is_none() {
            eprintln!("bench: nginx is not installed: its column stays empty");
        }
        for (name, measure) in scenarios {
            eprintln!("bench: {name}, after {:.0} s", began.elapsed().as_secs_f64());
            let before = Machine::now();
            measure(&mut bench).map_err(|error| io::Error::other(format!("{name}: {error}")))?;
            bench.table.disturbed(name, Machine::now().others_since(before));
        }
        let took = began.elapsed();
        let report = if compares { report::comparison } else { report::report };
        Ok(report(&bench.table, &bench.stage, rounds, took))
    }
}

impl Bench {
    /// Measures fresh targets in turn. A different one is first in each round. `measure` records memory and threads
    /// itself, because it knows when.
    fn interleaved(
        &mut self,
        mut measure: impl FnMut(&mut Table, &Target) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut targets = self.stage.targets()?;
        for round in 0..self.rounds {
            for target in &targets {
                measure(&mut self.table, target).map_err(|error| target.blamed(error))?;
            }
            targets.rotate_left(1);
            eprintln!("bench:   round {} of {}", round + 1, self.rounds);
        }
        Ok(())
    }

    /// Records the peak memory of a target since its start.
    fn peak(table: &mut Table, what: &str, target: &Target) {
        if target.kind != Kind::Direct {
            let footprint = target.footprint();
            table.add(what, "peak memory, MB", target.kind, footprint.peak / 1e6);
        }
    }
}
