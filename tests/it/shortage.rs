use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::client::Client;
use crate::fake::{Fake, LAST_CHUNK, chunk, json, response};
use crate::proxy::{Proxy, limited, plain};
use crate::wait::{crowd, eventually};

fn upstream() -> Fake {
    Fake::answering(|_| json(200, "{}"))
}

/// Whether a new client gets a 200. During a shortage it may be turned away, but must not be kept waiting.
fn is_served(proxy: &Proxy) -> bool {
    let mut client = Client::of(proxy);
    client.offer("GET /v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.answer_or_close().is_some_and(|answer| answer.status == 200)
}

#[test]
fn a_process_that_had_no_files_left_serves_again() {
    let _turn = crowd();
    let fake = upstream();
    let proxy = Proxy::by_shell("ulimit -n 64; exec \"$0\" \"$@\"", &limited(&fake, ""));
    for _ in 0..2 {
        // All of them connect before the proxy accepts the first.
        let crowd: Vec<Client> = proxy.while_stopped(|| {
            let connected = |_| {
                let mut client = Client::of(&proxy);
                client.send("GET", "/v1/x", &[], b"");
                client
            };
            (0..200).map(connected).collect()
        });
        eventually("the process has hardly a file left", || proxy.files() > 48);
        drop(crowd);
        // A client that connects while the last of them are being closed may still be turned away.
        eventually("new clients are served", || {
            let mut client = Client::of(&proxy);
            client.send("GET", "/v1/x", &[], b"");
            client.answer_or_close().is_some_and(|answer| answer.status == 200)
        });
    }
}

/// A user other than root, because limits of threads do not apply to root.
struct Lodger {
    is_other: bool,
}

impl Lodger {
    fn new() -> Lodger {
        Lodger { is_other: std::fs::metadata("/proc/self").unwrap().uid() == 0 }
    }

    const BECOME: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

    fn start(&self, yaml: &str) -> Proxy {
        if !self.is_other {
            return Proxy::start(yaml);
        }
        // The user cannot read the folder of these files, but can use open descriptors of them.
        let script = format!(
            "exec 3<\"$0\" 4<\"$2\"; shift 2; exec {} /proc/self/fd/3 --config /proc/self/fd/4 \"$@\"",
            Lodger::BECOME.join(" ")
        );
        Proxy::by_shell(&script, yaml)
    }

    /// Limits the number of threads that this user may have when the process starts another.
    fn limit_threads(&self, proxy: &Proxy, most: &str) {
        let limit = [format!("--pid={}", proxy.id()), format!("--nproc={most}:")];
        let command = if self.is_other { &Lodger::BECOME[..] } else { &[] };
        let words = command.iter().copied().chain(["prlimit"]);
        let words: Vec<&str> = words.chain(limit.iter().map(String::as_str)).collect();
        assert!(Command::new(words[0]).args(&words[1..]).status().unwrap().success());
    }
}

#[test]
fn a_process_that_could_have_no_threads_serves_again() {
    let fake = upstream();
    let lodger = Lodger::new();
    let proxy = lodger.start(&limited(&fake, "head_timeout: 2"));
    proxy.wait_for_log("kept="); // logged by the last thread that it starts by itself
    let mut first = Client::of(&proxy);
    let ask = |client: &mut Client| client.send("GET", "/v1/x", &[], b"");
    ask(&mut first);
    assert_eq!(first.response().status, 200);

    lodger.limit_threads(&proxy, "1");
    let threads = proxy.threads(); // none can be started any more
    // More than the present threads can serve: each holds one until its head is complete.
    let connected = |_| {
        let mut client = Client::of(&proxy);
        client.send_raw("GET /v1/x HTTP/1.1\r\n");
        client
    };
    let mut clients: Vec<Client> = (0..20).map(connected).collect();
    eventually("the thread that accepts clients ends", || proxy.threads() < threads);
    // A client that is connected is served, or gets an error and is closed.
    ask(&mut first);
    let answer = first.response();
    assert!([200, 503].contains(&answer.status), "{answer:?}");

    lodger.limit_threads(&proxy, "4096");
    eventually("new clients are served", || is_served(&proxy));
    for client in &mut clients {
        // After head_timeout it has been cut.
        client.offer("Host: localhost\r\n\r\n");
        let answer = client.answer_or_close();
        assert!(answer.is_none_or(|answer| [200, 503].contains(&answer.status)));
    }
    if answer.status == 200 {
        ask(&mut first);
        assert_eq!(first.response().status, 200);
    }
}

/// Sets a resource limit of the running process.
fn limit(proxy: &Proxy, what: &str, most: &str) {
    let limit = [format!("--pid={}", proxy.id()), format!("--{what}={most}:")];
    assert!(Command::new("prlimit").args(limit).status().unwrap().success());
}

#[test]
fn where_no_file_is_left_for_a_connection_to_the_upstream_it_is_our_own_want() {
    let fake = Fake::answering(|_| response("200 OK\nConnection: close", "{}"));
    let proxy = Proxy::before(&fake, "");
    proxy.wait_for_log("kept="); // its connection is kept, and the first request reuses it
    let mut client = Client::of(&proxy);
    let mut ask = || {
        client.send("GET", "/v1/x", &[], b"");
        client.response()
    };
    assert_eq!(ask().status, 200);
    limit(&proxy, "nofile", "1");
    let answer = ask();
    assert_eq!(answer.header("retry-after"), Some("1"));
    answer.own_error(503, "overloaded");
    limit(&proxy, "nofile", "1024");
    assert_eq!(ask().status, 200);
}

#[test]
fn a_body_for_which_there_is_no_memory_is_503() {
    const MEGABYTE: usize = 1024 * 1024;
    let fake = upstream();
    let proxy =
        Proxy::start(&plain(&fake.url("/v1"), "hidden: reject\nsimple: [x]\nmax_body: 200MiB"));
    let ask = |length| {
        let mut client = Client::of(&proxy);
        let body = chunk(format!(r#"{{"model":"x","pad":"{}"}}"#, "x".repeat(length)));
        let body = [&body, LAST_CHUNK.as_bytes()].concat();
        client.send("POST", "/v1/x", &[("Transfer-Encoding", "chunked")], &body);
        client.response()
    };
    assert_eq!(ask(2 * MEGABYTE).status, 200);
    // Not enough for the buffer of a body of 32 MiB to double.
    limit(&proxy, "as", &(proxy.address_space() + 50 * MEGABYTE).to_string());
    ask(32 * MEGABYTE + 50_000).own_error(503, "overloaded");
    assert_eq!(ask(2 * MEGABYTE).status, 200);
}
