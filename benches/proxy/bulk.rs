//! Large responses and uploads: throughput, CPU and peak memory.

use std::io;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::client::{self, Client};
use crate::load::Load;
use crate::report::Table;
use crate::target::{Kind, Target};

const MEGABYTE: usize = 1_000_000;

/// For responses of 1 MB: the number of clients, and for how long they run.
const CONNECTIONS: usize = 4;
const LASTING: Duration = Duration::from_secs(1);

/// Megabytes of the single large response, and of the upload.
const ANSWER: usize = 100;
const UPLOAD: usize = 50;

pub const SMALLER: &str = "1 MB answers, 4 connections";
const LARGER: &str = "100 MB answer";
const UPLOADED: &str = "50 MB upload";

pub fn bulk(bench: &mut Bench) -> io::Result<()> {
    let request = client::chat(&format!("/v1/bytes/{MEGABYTE}"));
    bench.interleaved(|table, target| {
        let load =
            Load { connections: CONNECTIONS, lasting: LASTING, request: &request, fresh: false };
        let outcome = load.run(target)?;
        table.add(SMALLER, "MB/s", target.kind, outcome.bytes / outcome.took / 1e6);
        if target.kind != Kind::Direct {
            let each = outcome.cpu.sum() / (outcome.bytes / 1e6);
            table.add(SMALLER, "CPU for 1 MB, µs", target.kind, each * 1e6);
        }
        Bench::peak(table, SMALLER, target);
        Ok(())
    })?;
    let answer = client::chat(&format!("/v1/bytes/{}", ANSWER * MEGABYTE));
    bench.interleaved(|table, target| once(table, LARGER, target, &answer, ANSWER))?;
    let body = vec![b'0'; UPLOAD * MEGABYTE];
    let upload = client::post("/v1/upload", "application/octet-stream", &body);
    bench.interleaved(|table, target| once(table, UPLOADED, target, &upload, UPLOAD))
}

/// Measures one exchange of this many megabytes, on a new connection.
fn once(
    table: &mut Table,
    name: &str,
    target: &Target,
    request: &[u8],
    megabytes: usize,
) -> io::Result<()> {
    let mut client = Client::connect(target.port)?;
    client.exchange(&client::chat("/v1/chat/completions"))?;
    let (before, began) = (target.cpu(), Instant::now());
    client.exchange(request)?;
    let took = began.elapsed().as_secs_f64();
    let cpu = target.cpu().since(before);
    table.add(name, "MB/s", target.kind, megabytes as f64 / took);
    if target.kind != Kind::Direct {
        table.add(name, "CPU for 1 MB, µs", target.kind, cpu.sum() / megabytes as f64 * 1e6);
    }
    Bench::peak(table, name, target);
    Ok(())
}
