//! Idle connections: what a proxy costs while its clients stay connected and send nothing.
//!
//! Every connection has made one request. There is one process for each number of connections, and all of them are
//! measured during the same ten seconds: they are idle, so none disturbs another. There is only one round, because
//! wake-ups are counted and CPU time is nearly a count.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::client::{self, Client};
use crate::rest::require_descriptors;
use crate::target::{Kind, Target};

const CONNECTIONS: [usize; 5] = [0, 1, 10, 100, MOST];

/// The largest number of connections, for which there are goals.
pub const MOST: usize = 500;

/// Idle workers of the program end after 10 seconds, which wakes them up.
const SETTLING: Duration = Duration::from_secs(12);

const MEASURING: Duration = Duration::from_secs(10);

pub const CPU: &str = "CPU, % of a core";
pub const WAKEUPS: &str = "wake-ups/s";

pub fn name(connections: usize) -> String {
    format!("{connections} idle connection{}", if connections == 1 { "" } else { "s" })
}

/// A proxy with connections that stay open until it is dropped.
struct Occupied {
    target: Target,
    clients: Vec<Client>,
}

pub fn idle(bench: &mut Bench) -> io::Result<()> {
    // Per connection, the client's end is in this process, and the upstream's end of a connection of the proxy may be.
    require_descriptors(4 * CONNECTIONS.iter().sum::<usize>() + 100)?;
    let mut all = Vec::new();
    for kind in [Kind::Filter, Kind::Nginx] {
        if kind == Kind::Filter || bench.stage.nginx().is_some() {
            for connections in CONNECTIONS {
                let (target, _) = bench.stage.target(kind)?;
                let clients = (0..connections).map(|_| connect(&target)).collect::<io::Result<_>>();
                let clients = clients.map_err(|error| target.blamed(error))?;
                all.push(Occupied { target, clients });
            }
        }
    }
    thread::sleep(SETTLING);
    let before: Vec<_> = all.iter().map(|one| (one.target.activity(), Instant::now())).collect();
    thread::sleep(MEASURING);
    for (Occupied { target, clients }, (before, since)) in all.iter().zip(before) {
        let (cpu, wakeups) = target.activity().since(&before);
        let seconds = since.elapsed().as_secs_f64();
        let name = name(clients.len());
        bench.table.add(&name, CPU, target.kind, cpu / seconds * 100.0);
        bench.table.add(&name, WAKEUPS, target.kind, wakeups / seconds);
    }
    Ok(())
}

fn connect(target: &Target) -> io::Result<Client> {
    let mut client = Client::connect(target.port)?;
    client.exchange(&client::chat("/v1/chat/completions"))?;
    Ok(client)
}
