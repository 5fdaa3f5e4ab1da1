//! The time from the start of a process to its first response, to a relayed request.
//!
//! A client retries every 0.1 ms, so the figure may be that much too high.

use std::io;

use crate::Bench;
use crate::target::Kind;

/// Starts per round.
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
