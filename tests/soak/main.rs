//! `make soak`: minutes of mixed traffic, then a check that nothing was lost and nothing has grown.
//!
//! Not part of `make test`. Well-behaved clients, clients that leave and hostile clients run side by side; the upstream
//! goes down and comes back. No exchange may be lost, wrong or late. When the traffic stops, the program must use as
//! much memory, as many threads and as many descriptors as in the pause after the first minute.
//! The only argument is the number of minutes. Prints a table in Markdown; exits with 1 if anything failed.
#![allow(clippy::print_stdout, clippy::print_stderr)] // has no test harness that would print

/// A client: connections, requests, responses.
mod client;
/// Content that is generated from a seed.
mod content;
/// Clients that leave, and hostile clients.
mod hostile;
/// Counts and failures.
mod ledger;
/// The process under test.
mod program;
/// The table and the verdict on growth.
mod report;
/// Well-behaved clients.
mod traffic;
/// The upstream, which goes down and comes back.
mod upstream;
/// One end of a connection.
mod wire;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use client::{Client, Request};
use content::{Order, Rng, Task, bytes};
use ledger::Ledger;
use program::{Program, Sample};
use report::Report;
use traffic::{Caller, Traffic};
use upstream::Upstream;

/// Giant requests. All of them are sent in the first minute, so that what they leak is in both samples; see
/// [`hostile::giants`].
const GIANTS: usize = 10;

/// How often the program is measured.
const EVERY: Duration = Duration::from_secs(5);

/// Idle workers end after 10 s, idle connections to the upstream after 15 s.
const OUTLIVES: Duration = Duration::from_secs(17);

/// The program has settled when nothing changed for `SETTLED`; it must settle within `SETTLES_WITHIN`.
const SETTLED: Duration = Duration::from_secs(12);
const SETTLES_WITHIN: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    let minutes: f64 = std::env::args().nth(1).map_or(10.0, |minutes| {
        minutes.parse().unwrap_or_else(|error| panic!("{minutes:?} is no number: {error}"))
    });
    let all = Duration::from_secs_f64(minutes * 60.0);
    let first = Duration::from_secs(60).min(all / 2);
    clock();

    let ledger = Arc::new(Ledger::default());
    let upstream = Upstream::start(Arc::clone(&ledger));
    let program = Program::start(upstream.port());
    let soak = Soak { ledger, upstream, program };

    let mut peak = Sample::default();
    soak.run(1, first, GIANTS, &mut peak);
    let before = soak.settle();
    soak.run(2, all.saturating_sub(first), 0, &mut peak);
    let after = soak.settle();

    let report = Report {
        minutes,
        counts: soak.ledger.counts(),
        slowest_notice: soak.ledger.slowest_notice(),
        before,
        after,
        giants: GIANTS as u64,
        peak: Sample { memory: peak.memory.max(soak.program.peak_memory()), ..peak },
        computed: soak.program.computed(),
    };
    for line in soak.program.complaints() {
        soak.ledger.failed("log", &line);
    }
    match soak.program.stop() {
        Some(status) if status.success() => {}
        status => soak.ledger.failed("end", &format!("on SIGTERM the program gave {status:?}")),
    }
    for what in report.growth() {
        soak.ledger.failed("growth", &what);
    }
    println!("{}", report.table(soak.ledger.failures()));
    if soak.ledger.failures() > 0 {
        eprintln!("the program's log is {}", soak.program.log_file().display());
        return ExitCode::FAILURE;
    }
    soak.program.forget_log();
    ExitCode::SUCCESS
}

/// The time since the start.
fn clock() -> String {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed().as_secs_f64();
    format!("{elapsed:.3} s")
}

struct Soak {
    ledger: Arc<Ledger>,
    upstream: Upstream,
    program: Program,
}

impl Soak {
    /// Runs mixed traffic.
    fn run(&self, phase: u64, lasting: Duration, giants: usize, peak: &mut Sample) {
        let Soak { ledger, upstream, program } = self;
        let traffic = Traffic { program, upstream, ledger, end: Instant::now() + lasting };
        let traffic = &traffic;
        let mut seeds = Rng::new(phase);
        thread::scope(|scope| {
            let mut calling = |count: usize, behave: fn(Caller<'_>)| {
                for _ in 0..count {
                    let caller = Caller::new(traffic, seeds.next());
                    scope.spawn(move || behave(caller));
                }
            };
            calling(4, traffic::short);
            calling(2, traffic::short_once);
            calling(1, traffic::pipelined);
            calling(2, traffic::list);
            calling(4, traffic::chat);
            calling(16, traffic::stream);
            calling(2, traffic::upload);
            calling(1, traffic::download);
            calling(4, |caller| traffic::failing(caller, &[Task::Silence, Task::Stall]));
            calling(2, |caller| {
                use Task::{CutLong, CutShort, CutStream, Garbage};
                traffic::failing(caller, &[CutLong, CutShort, CutStream, Garbage]);
            });

            let mut seed = || seeds.next();
            for task in [Task::Silence, Task::Silence, Task::Endless, Task::Endless] {
                let seed = seed();
                scope.spawn(move || hostile::leave(traffic, seed, task));
            }
            let harmful: [fn(&Traffic<'_>, u64); 7] = [
                hostile::leave_at_once,
                hostile::burst,
                hostile::misframed,
                hostile::bad_chunks,
                hostile::noise,
                hostile::noise,
                hostile::oversized,
            ];
            for harm in harmful {
                let seed = seed();
                scope.spawn(move || harm(traffic, seed));
            }
            for _ in 0..6 {
                scope.spawn(|| hostile::slow_head(traffic));
            }
            scope.spawn(|| hostile::endless_field(traffic));
            scope.spawn(|| hostile::stalled_body(traffic));
            scope.spawn(move || hostile::giants(traffic, giants));
            scope.spawn(|| come_and_go(traffic));
            self.watch(traffic, peak);
        });
    }

    /// Measures the program until the traffic is over.
    fn watch(&self, traffic: &Traffic<'_>, peak: &mut Sample) {
        while !traffic.over() {
            if let Some(status) = self.program.ended() {
                // Every client would fail from now on.
                eprintln!("FAILURE {} the program ended: {status}", clock());
                eprintln!("its log is {}", self.program.log_file().display());
                std::process::exit(1);
            }
            if let Ok(now) = self.program.sample() {
                peak.memory = peak.memory.max(now.memory);
                peak.threads = peak.threads.max(now.threads);
                peak.descriptors = peak.descriptors.max(now.descriptors);
                eprintln!("{} {now:?}, {} failures", clock(), self.ledger.failures());
            }
            traffic.pause(EVERY.as_millis() as u64);
        }
    }

    /// Waits until the program has released what the traffic used. It checks the age of idle upstream connections
    /// only when a request needs one, so this sends one request.
    fn settle(&self) -> Sample {
        let start = Instant::now();
        let measured = || self.program.sample().unwrap_or_default();
        let mut asked = false;
        let (mut last, mut since) = (measured(), Instant::now());
        while start.elapsed() < SETTLES_WITHIN {
            if !asked && start.elapsed() > OUTLIVES {
                asked = true;
                self.ask_once();
                since = Instant::now();
            }
            let now = measured();
            if (now.threads, now.descriptors) != (last.threads, last.descriptors) {
                since = Instant::now();
            }
            last = now;
            if asked && since.elapsed() > SETTLED {
                eprintln!("{} settled: {last:?}", clock());
                return last;
            }
            thread::sleep(Duration::from_millis(500));
        }
        self.ledger.failed("settling", &format!("not within {SETTLES_WITHIN:?}: {last:?}"));
        last
    }

    fn ask_once(&self) {
        let order = Order { size: 1_000, ..Order::new(Task::Body, 1) };
        let answer = Client::connect(self.program.port()).and_then(|mut client| {
            client.send(&Request::get(order.target("/v1/short")))?;
            client.answer(false)
        });
        if answer.as_ref().is_ok_and(|answer| answer.body == bytes(1, 1_000)) {
            self.ledger.good("after all", Duration::ZERO);
        } else {
            self.ledger.failed("after all", &format!("a single request: {answer:?}"));
        }
    }
}

/// Takes the upstream down for a second, every 4 to 15 seconds.
fn come_and_go(traffic: &Traffic<'_>) {
    let mut rng = Rng::new(0);
    loop {
        traffic.pause(rng.between(4_000, 15_000));
        if traffic.over() {
            return;
        }
        traffic.upstream.go_away();
        thread::sleep(Duration::from_secs(1));
        traffic.upstream.come_back();
    }
}
