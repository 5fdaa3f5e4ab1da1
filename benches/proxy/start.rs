//! From the start of a process to its first answer, a plain request that is relayed.
//!
//! A client tries every 0.1 ms, so the figure holds up to that much of waiting.

use std::io;

use crate::Bench;
use crate::target::Kind;

/// Starts for each round.
const STARTS: usize = 3;

pub const NAME: &str = "start";
pub const FIRST: &str = "until the first answer, ms";

pub fn start(bench: &mut Bench) -> io::Result<()> {
    for _ in 0..bench.rounds * STARTS {
        for kind in [Kind::Filter, Kind::Nginx] {
            if kind == Kind::Filter || bench.stage.nginx().is_some() {
                let (_, took) = bench.stage.target(kind)?;
                bench.table.add(NAME, FIRST, kind, took.as_secs_f64() * 1e3);
            }
        }
    }
    Ok(())
}
