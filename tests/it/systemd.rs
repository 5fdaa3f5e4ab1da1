use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::client::Client;
use crate::fake::{Fake, Request, json, models};
use crate::proxy::{ConfigFile, Proxy, plain, program};
use crate::wait::DEADLINE;

/// A service manager that receives notifications.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(name: &str) -> Manager {
        let file = format!("notify-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(file);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Manager { socket, path }
    }

    fn notification(&self) -> String {
        let mut buffer = [0; 1000];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[test]
fn a_service_manager_is_told_how_things_are() {
    let fake = Fake::listing(&models(&["a"]));
    let manager = Manager::new("states");
    let yaml = plain(&fake.url("/v1"), "");
    let variable = [("NOTIFY_SOCKET", manager.path.to_str().unwrap())];
    let mut proxy = Proxy::start_with(&yaml, &[], &variable);
    assert!(manager.notification().starts_with("READY=1\nSTATUS=answering on 127.0.0.1:"));
    proxy.signal("HUP");
    assert!(manager.notification().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(manager.notification().starts_with("READY=1\n"));
    proxy.rewrite("nothing");
    proxy.signal("HUP");
    manager.notification();
    let state = manager.notification();
    assert!(state.contains("STATUS=not reloaded: ") && !state.trim_end().ends_with(':'), "{state}");
    proxy.signal("TERM");
    assert!(manager.notification().starts_with("STOPPING=1"));
    assert_eq!(proxy.exit_code(), Some(0));
}

#[test]
fn the_watchdog_is_fed_with_what_the_listener_answers() {
    let fake = Fake::answering(|_: &Request| json(200, "{}"));
    let manager = Manager::new("watchdog");
    let path = manager.path.to_str().unwrap();
    let variables = [("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "150000")];
    let proxy = Proxy::start_with(&plain(&fake.url("/v1"), ""), &[], &variables);
    assert!(manager.notification().starts_with("READY=1"));
    for _ in 0..3 {
        assert_eq!(manager.notification(), "WATCHDOG=1");
    }
    drop(proxy);
    let other = [("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")];
    let proxy = Proxy::start_with(&plain(&fake.url("/v1"), ""), &[], &other);
    let mut states: Vec<String> = std::iter::repeat_with(|| manager.notification())
        .take_while(|state| !state.starts_with("READY=1"))
        .collect();
    proxy.signal("TERM");
    states.push(manager.notification());
    assert!(states.last().unwrap().starts_with("STOPPING=1"), "{states:?}");
}

/// A process that inherits this socket.
fn activated(listener: &TcpListener, config: &ConfigFile) -> Proxy {
    let script = r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@""#;
    let mut command = Command::new("sh");
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command.stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())));
    command.args(["-c", script, env!("CARGO_BIN_EXE_model-filter"), "--config"]);
    command.arg(config.path());
    Proxy::spawn(command)
}

#[test]
fn with_a_socket_that_was_passed_on_a_restart_refuses_nobody() {
    let fake = Fake::answering(|request: &Request| json(200, request.target()));
    let config = ConfigFile::new(&plain(&fake.url("/v1"), ""));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Like the sockets of systemd.
    listener.set_nonblocking(true).unwrap();
    let mut first = activated(&listener, &config);
    assert_eq!(first.port(), listener.local_addr().unwrap().port());
    assert_eq!(first.get("/v1/x").text(), "/v1/x");

    let mut kept = Client::of(&first);
    kept.send("GET", "/v1/kept", &[], b"");
    assert_eq!(kept.response().text(), "/v1/kept");
    let mut opened = Client::of(&first);
    first.signal("TERM");
    first.wait_for_log("shutting down");
    opened.send("GET", "/v1/late", &[], b"");
    let answer = opened.response();
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("/v1/late", Some("close")));

    // Whichever of the two takes this one.
    let mut between = Client::of(&first);
    between.send("GET", "/v1/between", &[], b"");
    assert_eq!(first.exit_code(), Some(0));
    let mut waiting = Client::of(&first);
    waiting.send("GET", "/v1/waiting", &[], b"");
    let second = activated(&listener, &config);
    assert_eq!(waiting.response().text(), "/v1/waiting");
    second.exchange("/v1/waiting");
    assert_eq!(between.response().text(), "/v1/between");
}

#[test]
fn a_socket_that_was_promised_and_is_not_there_ends_the_start() {
    let config = ConfigFile::new("model_filter: {base_url: 'sample:'}");
    let mut command = program();
    command.arg("--config").arg(config.path());
    let script = r#"exec 3</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(command.get_program()).args(command.get_args());
    let output = crate::proxy::run(shell);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("passed no listening TCP socket on"), "{text}");
}

#[test]
fn where_the_journal_reads_lines_begin_with_its_priorities() {
    let script = r#"JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) exec "$0" "$@""#;
    let proxy = Proxy::by_shell(script, "model_filter: {base_url: 'http://127.0.0.1:1/v1'}");
    proxy.get("/v1/x");
    assert!(proxy.wait_for_log("listening").starts_with("<6>time="));
    assert!(proxy.wait_for_log("path=/v1/x").starts_with("<4>time="));
    let other = r#"JOURNAL_STREAM=1:1 exec "$0" "$@""#;
    let proxy = Proxy::by_shell(other, "model_filter: {base_url: 'sample:'}");
    assert!(proxy.wait_for_log("listening").starts_with("time="));
}
