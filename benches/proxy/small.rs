//! Small exchanges: time and CPU per request, on kept connections and on new ones, and for the cached list.

use std::io;
use std::time::Duration;

use crate::Bench;
use crate::client;
use crate::load::{Load, Outcome};
use crate::report::Table;
use crate::target::{Kind, Target};

/// How long each measurement takes, and how long the target warms up before it.
const LASTING: Duration = Duration::from_secs(1);
const WARMING: Duration = Duration::from_millis(100);

/// The numbers of clients for plain requests.
pub const CONNECTIONS: [usize; 3] = [1, 8, 64];

/// The number of clients for the list and for new connections.
const SEVERAL: usize = 8;

/// The name of the rows for plain requests.
pub fn plain_name(connections: usize) -> String {
    match connections {
        1 => "plain request, 1 connection".to_owned(),
        _ => format!("plain request, {connections} connections"),
    }
}

const PREFIXED: &str = "plain request with a prefix, 8 connections";
pub const LIST: &str = "cached list, 8 connections";
const CONNECT: &str = "new connection for each request, 8 at once";

pub fn plain(bench: &mut Bench) -> io::Result<()> {
    let request = client::chat("/v1/chat/completions");
    for connections in CONNECTIONS {
        let name = plain_name(connections);
        bench.interleaved(|table, target| {
            let outcome = measured(target, connections, &request, false)?;
            record(table, &name, target, &outcome);
            Bench::peak(table, &name, target);
            Ok(())
        })?;
    }
    Ok(())
}

/// Requests whose model has a prefix, which comes off the held body. The others relay them as they are.
pub fn prefixed(bench: &mut Bench) -> io::Result<()> {
    let request = client::chat("/v1/chat/completions");
    bench.stage.has_prefix = true;
    let outcome = bench.interleaved(|table, target| {
        let outcome = measured(target, SEVERAL, &request, false)?;
        record(table, PREFIXED, target, &outcome);
        Ok(())
    });
    bench.stage.has_prefix = false;
    outcome
}

pub fn list(bench: &mut Bench) -> io::Result<()> {
    bench.interleaved(|table, target| {
        let request = client::get(target.list());
        let outcome = measured(target, SEVERAL, &request, false)?;
        record(table, LIST, target, &outcome);
        table.add(LIST, "MB/s", target.kind, outcome.bytes / outcome.took / 1e6);
        Ok(())
    })
}

/// The list as each program gives it: model-filter and the Python original from their caches, the others relay it.
pub fn relayed_list(bench: &mut Bench) -> io::Result<()> {
    let request = client::get("/v1/models");
    bench.interleaved(|table, target| {
        let outcome = measured(target, SEVERAL, &request, false)?;
        record(table, "list of 340 models, 8 connections", target, &outcome);
        Bench::peak(table, "list of 340 models, 8 connections", target);
        Ok(())
    })
}

pub fn connect(bench: &mut Bench) -> io::Result<()> {
    let request = client::chat("/v1/chat/completions");
    bench.interleaved(|table, target| {
        let outcome = measured(target, SEVERAL, &request, true)?;
        record(table, CONNECT, target, &outcome);
        Ok(())
    })
}

fn measured(
    target: &Target,
    connections: usize,
    request: &[u8],
    fresh: bool,
) -> io::Result<Outcome> {
    Load { connections, lasting: WARMING, request, fresh }.run(target)?;
    Load { connections, lasting: LASTING, request, fresh }.run(target)
}

fn record(table: &mut Table, name: &str, target: &Target, outcome: &Outcome) {
    let mut add = |unit, value| table.add(name, unit, target.kind, value);
    add("requests/s", outcome.exchanges / outcome.took);
    add("median, µs", outcome.median * 1e6);
    add("p99, µs", outcome.p99 * 1e6);
    if target.kind != Kind::Direct {
        add("CPU for a request, µs", outcome.cpu.sum() / outcome.exchanges * 1e6);
        add("of that in user mode, µs", outcome.cpu.user / outcome.exchanges * 1e6);
        add("threads", outcome.threads);
    }
}
