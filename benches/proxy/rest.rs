//! Open streams without traffic: memory and threads per stream.
//!
//! Each round uses fresh processes, because an allocator may keep memory that it once had.

use std::io;
use std::thread;
use std::time::Duration;

use crate::Bench;
use crate::client::{self, Client};
use crate::measure::Footprint;
use crate::target::{Kind, Target};

/// More rounds would add nothing: memory does not depend on how busy the machine is.
const ROUNDS: usize = 3;

/// The numbers of streams; the second includes the first.
const STREAMS: [usize; 2] = [200, 1000];

/// Time for what happens after a response, such as log lines, and for the program to treat a stream as idle.
const SETTLING: Duration = Duration::from_secs(2);

pub const IDLE: &str = "idle, no stream";
pub const EACH: &str = "memory for each stream, KB";
pub const MEMORY: &str = "memory, MB";

pub fn name(streams: usize) -> String {
    match streams {
        1000 => "1,000 open idle streams".to_owned(),
        _ => format!("{streams} open idle streams"),
    }
}

pub fn rest(bench: &mut Bench) -> io::Result<()> {
    // Both ends of each stream are in this process.
    require_descriptors(2 * STREAMS[1] + 100)?;
    let hold = client::chat("/v1/hold");
    for round in 0..bench.rounds.min(ROUNDS) {
        for kind in [Kind::Filter, Kind::Nginx] {
            if kind == Kind::Nginx && bench.stage.nginx().is_none() {
                continue;
            }
            let (target, _) = bench.stage.target(kind)?;
            Client::connect(target.port)?.exchange(&client::get(target.list()))?;
            let idle = settled(&target);
            bench.table.add(IDLE, MEMORY, kind, idle.memory / 1e6);
            bench.table.add(IDLE, "threads", kind, idle.threads);
            let mut open = Vec::new();
            for streams in STREAMS {
                while open.len() < streams {
                    let mut client = Client::connect(target.port)?;
                    let begun = client.begin(&hold).and_then(|()| client.part().map(|_| ()));
                    begun.map_err(|error| {
                        let number = open.len() + 1;
                        target.blamed(io::Error::other(format!("stream {number}: {error}")))
                    })?;
                    open.push(client);
                }
                let full = settled(&target);
                let (name, each) = (name(streams), (full.memory - idle.memory) / streams as f64);
                bench.table.add(&name, EACH, kind, each / 1e3);
                bench.table.add(&name, MEMORY, kind, full.memory / 1e6);
                bench.table.add(&name, "threads", kind, full.threads);
            }
        }
        eprintln!("bench:   round {}", round + 1);
    }
    Ok(())
}

fn settled(target: &Target) -> Footprint {
    thread::sleep(SETTLING);
    target.footprint()
}

/// Fails if this process may not have this many files open.
pub fn require_descriptors(needed: usize) -> io::Result<()> {
    if descriptors().is_some_and(|most| most < needed) {
        let message = format!("needs {needed} file descriptors: ulimit -n {needed}");
        return Err(io::Error::other(message));
    }
    Ok(())
}

/// How many files this process may have open.
fn descriptors() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
