//! Event streams: how much delay a proxy adds to each token, and the throughput if the upstream does not wait.
//!
//! Each event holds the time at which it was written, on the same clock as its arrival. A delay includes the time that
//! the kernel takes to wake up the client; what a proxy adds is the difference to direct.

use std::io;
use std::sync::Barrier;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::Bench;
use crate::client::{self, Client};
use crate::measure::quantile;
use crate::report::Table;
use crate::target::{Kind, Target};
use crate::upstream::{DIGITS, PAUSE, STAMP, TOKENS, event, now};

/// Paced streams: how many, the tokens in each, and the pause between two tokens.
struct Paced {
    name: &'static str,
    streams: usize,
    tokens: usize,
    pause: Duration,
}

pub const ONE: &str = "1 stream, a token each 5 ms";
pub const FIFTY: &str = "50 streams, a token each 20 ms";
const PACED: [Paced; 2] = [
    Paced { name: ONE, streams: 1, tokens: 200, pause: Duration::from_millis(5) },
    Paced { name: FIFTY, streams: 50, tokens: 100, pause: Duration::from_millis(20) },
];

/// For programs that relay known paths only.
pub const TWENTY: &str = "20 streams, a token each 20 ms";

pub const MEDIAN: &str = "delay of a token, median, µs";
pub const P99: &str = "delay of a token, p99, µs";

/// Streams at full speed: how many, and for how long.
const FLOODS: usize = 8;
const FLOOD: Duration = Duration::from_secs(1);
pub const ALONE: &str = "8 streams at full speed, a write for each event";
pub const BATCHED: &str = "8 streams at full speed, 64 KB in a write";

pub const SPEED: &str = "MB/s";

pub fn paced(bench: &mut Bench) -> io::Result<()> {
    for paced in &PACED {
        let Paced { tokens, pause, .. } = paced;
        let request = client::chat(&format!("/v1/tokens/{tokens}/{}", pause.as_micros()));
        bench.interleaved(|table, target| paced.measure(table, target, &request))?;
    }
    Ok(())
}

/// Streams on a path that all programs relay.
pub fn completions(bench: &mut Bench) -> io::Result<()> {
    let paced = Paced { name: TWENTY, streams: 20, tokens: TOKENS, pause: PAUSE };
    let request = client::streamed_chat("/v1/completions");
    bench.interleaved(|table, target| paced.measure(table, target, &request))
}

pub fn flood(bench: &mut Bench) -> io::Result<()> {
    for (name, how) in [(ALONE, "alone"), (BATCHED, "batched")] {
        let request = client::chat(&format!("/v1/flood/{how}/{}", FLOOD.as_millis()));
        bench.interleaved(|table, target| {
            let before = target.cpu();
            let (bytes, took) = at_once(FLOODS, target, |_, client| {
                let mut bytes = 0;
                client.begin(&request)?;
                while let Some(part) = client.part()? {
                    bytes += part.len();
                }
                Ok(bytes)
            })?;
            let cpu = target.cpu().since(before).sum();
            let bytes = bytes.iter().sum::<usize>() as f64;
            let events = bytes / event(0).len() as f64;
            table.add(name, SPEED, target.kind, bytes / took / 1e6);
            table.add(name, "1,000 events/s", target.kind, events / took / 1e3);
            if target.kind != Kind::Direct {
                table.add(name, "CPU for 1,000 events, µs", target.kind, cpu / events * 1e9);
            }
            Bench::peak(table, name, target);
            Ok(())
        })?;
    }
    Ok(())
}

impl Paced {
    fn measure(&self, table: &mut Table, target: &Target, request: &[u8]) -> io::Result<()> {
        let Paced { name, streams, tokens, pause } = self;
        let before = target.cpu();
        let (delays, _) = at_once(*streams, target, |number, client| {
            // Spread the starts: streams of different clients are not in step.
            thread::sleep(*pause * number as u32 / *streams as u32);
            let mut stamps = Stamps::default();
            client.begin(request)?;
            while let Some(part) = client.part()? {
                stamps.feed(part, now());
            }
            if stamps.delays.len() != *tokens && target.kind != Kind::Caddy {
                let came = stamps.delays.len();
                return Err(io::Error::other(format!("{came} of {tokens} tokens came")));
            }
            Ok(stamps.delays)
        })?;
        let cpu = target.cpu().since(before).sum();
        // Caddy 2.6 ends some streams early, as if they were complete.
        let short = delays.iter().filter(|delays| delays.len() != *tokens).count();
        if *name == TWENTY {
            table.add(name, "streams that lost tokens", target.kind, short as f64);
        }
        let mut delays = delays.concat();
        table.add(name, MEDIAN, target.kind, quantile(&mut delays, 0.5) / 1e3);
        table.add(name, P99, target.kind, quantile(&mut delays, 0.99) / 1e3);
        // A single paced stream takes less CPU time than a tick can show.
        if target.kind != Kind::Direct && *streams > 1 {
            let each = cpu / delays.len() as f64 * 1e6;
            table.add(name, "CPU for a token, µs", target.kind, each);
        }
        Ok(())
    }
}

/// Runs `each` for this many clients at once, each on its own connection that has made one exchange. Returns the
/// results, and the seconds until the last client was done.
fn at_once<T: Send>(
    count: usize,
    target: &Target,
    each: impl Fn(usize, &mut Client) -> io::Result<T> + Sync,
) -> io::Result<(Vec<T>, f64)> {
    let plain = client::chat("/v1/chat/completions");
    let ready = Barrier::new(count + 1);
    let (each, ready, plain) = (&each, &ready, &plain);
    thread::scope(|scope| {
        let one = |number| {
            move || {
                let connected = Client::connect(target.port).and_then(|mut client| {
                    client.exchange(plain)?;
                    Ok(client)
                });
                ready.wait();
                each(number, &mut connected?)
            }
        };
        let clients: Vec<_> = (0..count).map(|number| scope.spawn(one(number))).collect();
        ready.wait();
        let began = Instant::now();
        let join = |client: ScopedJoinHandle<'_, io::Result<T>>| {
            client.join().unwrap_or_else(|_| Err(io::Error::other("a client panicked")))
        };
        let results = clients.into_iter().map(join).collect::<io::Result<_>>()?;
        Ok((results, began.elapsed().as_secs_f64()))
    })
}

/// Finds the times in a stream that arrives in arbitrary pieces.
#[derive(Default)]
struct Stamps {
    /// The end of the last piece, which may be the start of a time.
    rest: Vec<u8>,
    /// Nanoseconds.
    delays: Vec<f64>,
}

impl Stamps {
    fn feed(&mut self, part: &[u8], now: u64) {
        self.rest.extend_from_slice(part);
        let length = STAMP.len() + DIGITS;
        let mut taken = 0;
        while let Some(at) = self.rest[taken..].windows(length).position(|w| w.starts_with(STAMP)) {
            let digits = &self.rest[taken + at + STAMP.len()..taken + at + length];
            let time = digits.iter().fold(0, |time, digit| time * 10 + u64::from(digit - b'0'));
            self.delays.push(now.saturating_sub(time) as f64);
            taken += at + length;
        }
        let keep = taken.max(self.rest.len().saturating_sub(length - 1));
        self.rest.drain(..keep);
    }
}
