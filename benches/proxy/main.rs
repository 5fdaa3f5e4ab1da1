//! `make bench`: what the program costs, beside no proxy at all and beside nginx.
//!
//! A fake upstream and a load client live in this process; between them stands nobody, the
//! release build of the program, or nginx where it is installed. Rounds are interleaved, so
//! that a machine that is busy for a while is so for all three, and what is told is the
//! median of the rounds. All of it is on loopback and shares the cores, so figures of two
//! machines do not compare: the ratios of one run do. Nor do figures of time where others
//! use the machine, so what those took is told, and goals are not judged by them. Arguments are names of scenarios (all
//! without any) and `--rounds N`. Status 1 where the harness itself failed; a goal that does
//! not hold is told and is no failure.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program of its own, without a harness

/// Bodies: large answers and uploads.
mod bulk;
/// A client: one connection, its requests and answers.
mod client;
/// Idle connections.
mod idle;
/// Many clients at once, for a while.
mod load;
/// What a process took of the machine; medians.
mod measure;
/// The table and the goals.
mod report;
/// Open streams at rest.
mod rest;
/// Small requests, and the list.
mod small;
/// From the start of a process to its first answer.
mod start;
/// Streams of tokens.
mod stream;
/// Who stands between client and upstream.
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

/// What can be measured: a name for the command line, and how.
type Scenario = (&'static str, fn(&mut Bench) -> io::Result<()>);

const SCENARIOS: &[Scenario] = &[
    ("plain", small::plain),
    ("list", small::list),
    ("connect", small::connect),
    ("stream", stream::paced),
    ("flood", stream::flood),
    ("bulk", bulk::bulk),
    ("rest", rest::rest),
    ("idle", idle::idle),
    ("start", start::start),
];

/// How often each figure is taken, unless it is said.
const ROUNDS: usize = 5;

/// A run: who is measured, how often, and what came of it so far.
struct Bench {
    rounds: usize,
    stage: Stage,
    table: Table,
}

fn main() -> ExitCode {
    let outcome = arguments().and_then(|(rounds, scenarios)| run(rounds, &scenarios));
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

/// Rounds and scenarios; `--bench` comes from cargo.
fn arguments() -> io::Result<(usize, Vec<&'static Scenario>)> {
    let mut rounds = ROUNDS;
    let mut chosen = Vec::new();
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        if word == "--rounds" {
            let number = words.next().and_then(|number| number.parse().ok());
            let missing = || io::Error::other("--rounds needs a number from 1");
            rounds = number.filter(|rounds| *rounds > 0).ok_or_else(missing)?;
            continue;
        }
        let known = SCENARIOS.iter().find(|(name, _)| *name == word);
        chosen.push(known.ok_or_else(|| {
            let names: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
            io::Error::other(format!("{word:?} is no scenario; there are {}", names.join(", ")))
        })?);
    }
    if chosen.is_empty() {
        chosen.extend(SCENARIOS);
    }
    Ok((rounds, chosen))
}

fn run(rounds: usize, scenarios: &[&Scenario]) -> io::Result<String> {
    let began = Instant::now();
    let upstream = Upstream::start()?;
    let stage = Stage::new(upstream.port())?;
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
    Ok(report::report(&bench.table, &bench.stage, rounds, took))
}

impl Bench {
    /// Measures fresh targets in turns; who is first changes from round to round. Memory
    /// and threads are told by `measure`, since only it knows when.
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

    /// Tells the highest memory of each target since it was started.
    fn peak(table: &mut Table, what: &str, target: &Target) {
        if target.kind != Kind::Direct {
            let footprint = target.footprint();
            table.add(what, "peak memory, MB", target.kind, footprint.peak / 1e6);
        }
    }
}
