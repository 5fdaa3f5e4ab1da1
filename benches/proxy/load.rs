//! Closed-loop load: each client has a thread and a connection and sends one request after another.
//!
//! All clients connect and get one response before the clock starts. The target's CPU time is measured from then until
//! the last client has its last response.

use std::io;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::measure::{Cpu, quantile};
use crate::target::Target;

/// The work of the clients.
pub struct Load<'a> {
    pub connections: usize,
    pub lasting: Duration,
    pub request: &'a [u8],
    /// Whether each request uses a new connection.
    pub fresh: bool,
}

pub struct Outcome {
    pub exchanges: f64,
    /// The bytes of all response bodies.
    pub bytes: f64,
    /// Seconds.
    pub took: f64,
    /// Seconds per exchange.
    pub median: f64,
    pub p99: f64,
    pub cpu: Cpu,
    /// The target's threads while all connections are open.
    pub threads: f64,
}

/// The result of one client. Its last connection stays open until the threads are counted.
struct Share {
    client: Client,
    bytes: u64,
    took: Vec<f64>,
}

impl Load<'_> {
    pub fn run(&self, target: &Target) -> io::Result<Outcome> {
        let ready = Barrier::new(self.connections + 1);
        let go = Barrier::new(self.connections + 1);
        thread::scope(|scope| {
            let one = || {
                let connected = Client::connect(target.port).and_then(|mut client| {
                    client.exchange(self.request)?;
                    Ok(client)
                });
                ready.wait();
                go.wait();
                self.repeat(target.port, connected?)
            };
            let clients: Vec<_> = (0..self.connections).map(|_| scope.spawn(one)).collect();
            ready.wait();
            let (before, began) = (target.cpu(), Instant::now());
            go.wait();
            let join = |client: thread::ScopedJoinHandle<'_, io::Result<Share>>| {
                client.join().unwrap_or_else(|_| Err(io::Error::other("a client panicked")))
            };
            let shares: Vec<Share> = clients.into_iter().map(join).collect::<io::Result<_>>()?;
            let took = began.elapsed().as_secs_f64();
            let cpu = target.cpu().since(before);
            let threads = target.footprint().threads;
            let mut each: Vec<f64> = shares.iter().flat_map(|share| &share.took).copied().collect();
            let bytes: u64 = shares.iter().map(|share| share.bytes).sum();
            for share in shares {
                drop(share.client);
            }
            Ok(Outcome {
                exchanges: each.len() as f64,
                bytes: bytes as f64,
                took,
                median: quantile(&mut each, 0.5),
                p99: quantile(&mut each, 0.99),
                cpu,
                threads,
            })
        })
    }

    fn repeat(&self, port: u16, mut client: Client) -> io::Result<Share> {
        let mut took = Vec::with_capacity(1 << 16);
        let mut bytes = 0;
        let began = Instant::now();
        let mut last = Duration::ZERO;
        while last < self.lasting {
            if self.fresh {
                client = Client::connect(port)?;
            }
            bytes += client.exchange(self.request)?;
            let now = began.elapsed();
            took.push((now - last).as_secs_f64());
            last = now;
        }
        Ok(Share { client, bytes, took })
    }
}
