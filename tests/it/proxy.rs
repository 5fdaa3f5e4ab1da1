//! The program under test: its process, its log and its memory.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::{Client, Response};
use crate::fake::Fake;
use crate::wait::{DEADLINE, Watched, eventually};

/// A running `model-filter`; killed when dropped.
pub struct Proxy {
    child: Child,
    port: u16,
    log: Arc<Watched<String>>,
    /// Removed when the proxy is dropped.
    config: Option<ConfigFile>,
}

impl Proxy {
    /// Starts with this configuration file, on a free port.
    pub fn start(yaml: &str) -> Proxy {
        Proxy::start_with(yaml, &[], &[])
    }

    pub fn start_with(yaml: &str, args: &[&str], env: &[(&str, &str)]) -> Proxy {
        let config = ConfigFile::new(yaml);
        let mut command = program();
        command.arg("--config").arg(config.path()).args(["--host", "127.0.0.1", "--port", "0"]);
        command.args(args).envs(env.iter().copied());
        let mut proxy = Proxy::spawn(command);
        proxy.config = Some(config);
        proxy
    }

    /// Starts with the plain form of the configuration. `settings` are YAML lines beside `base_url`.
    pub fn before(fake: &Fake, settings: &str) -> Proxy {
        Proxy::start(&plain(&fake.url("/v1"), settings))
    }

    /// Starts with the plain form and every message in the log.
    pub fn debugging(fake: &Fake) -> Proxy {
        Proxy::start_with(&plain(&fake.url("/v1"), ""), &[], &[("LLM_MF_LOG", "debug")])
    }

    /// Starts with the plain form and these settings of the section `server`, in flow style.
    pub fn limited(fake: &Fake, server: &str) -> Proxy {
        Proxy::start(&limited(fake, server))
    }

    /// Starts with one named upstream, `my`.
    pub fn with_prefix(fake: &Fake, settings: &str) -> Proxy {
        Proxy::start(&format!("model_filter:\n  my:\n{}", entry(4, &fake.url("/v1"), settings)))
    }

    /// Starts from a shell script, which must end with `exec "$0" "$@"` (the program and its arguments).
    pub fn by_shell(script: &str, yaml: &str) -> Proxy {
        let config = ConfigFile::new(yaml);
        // The script may run the program as another user.
        let readable = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(config.path(), readable).unwrap();
        let mut command = Command::new("sh");
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        command.args(["-c", script, env!("CARGO_BIN_EXE_model-filter"), "--config"]);
        command.arg(config.path()).args(["--host", "127.0.0.1", "--port", "0"]);
        let mut proxy = Proxy::spawn(command);
        proxy.config = Some(config);
        proxy
    }

    pub fn spawn(command: Command) -> Proxy {
        let mut proxy = Proxy::watched(command);
        let listening = proxy.wait_for_log("address=http://");
        proxy.port = port_of(&listening).expect(&listening);
        proxy
    }

    /// Starts at a log level at which the port is not logged.
    pub fn quiet(yaml: &str, level: &str) -> Proxy {
        let config = ConfigFile::new(yaml);
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = program();
        command.arg("--config").arg(config.path()).args(["--port", &free.to_string()]);
        command.env("LLM_MF_LOG", level);
        let mut proxy = Proxy::watched(command);
        proxy.port = free;
        proxy.config = Some(config);
        eventually("somebody listens", || TcpStream::connect(("127.0.0.1", free)).is_ok());
        proxy
    }

    fn watched(mut command: Command) -> Proxy {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Watched::default());
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.push(line);
            }
        });
        Proxy { child, port: 0, log, config: None }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Replaces the contents of the configuration file.
    pub fn rewrite(&self, yaml: &str) {
        std::fs::write(self.config.as_ref().unwrap().path(), yaml).unwrap();
    }

    /// Replaces the configuration file by a pipe, so that reading it blocks.
    pub fn pipe_for_configuration(&self) -> PathBuf {
        let path = self.config.as_ref().unwrap().path();
        std::fs::remove_file(path).unwrap();
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        path.to_owned()
    }

    /// Reloads the configuration and waits for `logged` in the log.
    pub fn reload(&self, yaml: &str, logged: &str) {
        self.rewrite(yaml);
        self.signal("HUP");
        self.wait_for_log(logged);
    }

    pub fn log(&self) -> Vec<String> {
        self.log.all()
    }

    /// The first line of the log that contains `part`.
    pub fn wait_for_log(&self, part: &str) -> String {
        self.log
            .wait_for(DEADLINE, |lines| lines.iter().find(|line| line.contains(part)).cloned())
            .unwrap_or_else(|| panic!("no {part:?} in the log: {:#?}", self.log()))
    }

    /// The log line of the exchange on `path`.
    pub fn exchange(&self, path: &str) -> Fields {
        Fields(self.wait_for_log(&format!(" path={path} ")))
    }

    pub fn warnings(&self) -> Vec<String> {
        self.log().into_iter().filter(|line| line.contains("level=warn")).collect()
    }

    /// Log lines above level info.
    pub fn alarms(&self) -> Vec<String> {
        self.log().into_iter().filter(|line| !line.contains("level=info")).collect()
    }

    /// Makes one request on a new connection.
    pub fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let mut client = Client::of(self);
        client.send(method, target, headers, body);
        client.response()
    }

    pub fn get(&self, target: &str) -> Response {
        self.ask("GET", target, &[], b"")
    }

    pub fn post(&self, target: &str, json: &str) -> Response {
        self.ask("POST", target, &[("Content-Type", "application/json")], json.as_bytes())
    }

    /// The peak of resident memory (`VmHWM`), in KiB.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:").parse().unwrap()
    }

    /// The size of the virtual address space, in bytes.
    pub fn address_space(&self) -> usize {
        1024 * self.status("VmSize:").parse::<usize>().unwrap()
    }

    /// The number of open file descriptors.
    pub fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }

    pub fn threads(&self) -> u64 {
        self.status("Threads:").parse().unwrap()
    }

    /// Stops and continues the process, as when the machine is suspended.
    pub fn sleep(&self) {
        self.while_stopped(|| ());
    }

    /// Runs `done` while the process is stopped.
    pub fn while_stopped<T>(&self, done: impl FnOnce() -> T) -> T {
        self.signal("STOP");
        eventually("the process stops", || self.status("State:") == "T");
        let result = done();
        self.signal("CONT");
        result
    }

    pub fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the process to end by itself and returns its exit status.
    pub fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }

    fn status(&self, name: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_string()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the proxy's log:\n{}", self.log().join("\n"));
        }
    }
}

/// A command that runs the program with an empty environment, so that no variable of the caller affects a test.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_model-filter"));
    command.env_clear().current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command
}

/// Runs a command that is expected to end by itself.
pub fn run(mut command: Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id();
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output().unwrap()));
    ended.recv_timeout(DEADLINE).unwrap_or_else(|_| {
        let _ = Command::new("kill").arg(id.to_string()).status();
        let output = ended.recv_timeout(DEADLINE).expect("the program to be killed");
        panic!("did not end by itself: {}", String::from_utf8_lossy(&output.stderr))
    })
}

/// The plain form of the configuration.
pub fn plain(base_url: &str, settings: &str) -> String {
    format!("model_filter:\n{}", entry(2, base_url, settings))
}

/// The plain form with settings of the server.
pub fn limited(fake: &Fake, server: &str) -> String {
    format!("{}server: {{{server}}}\n", plain(&fake.url("/v1"), ""))
}

fn entry(depth: usize, base_url: &str, settings: &str) -> String {
    let base_url = format!("base_url: {base_url}");
    let lines = std::iter::once(base_url.as_str()).chain(settings.lines());
    lines.map(|line| format!("{:depth$}{line}\n", "")).collect()
}

fn port_of(line: &str) -> Option<u16> {
    let authority = line.split("address=http://").nth(1)?.split(['/', ' ']).next()?;
    authority.rsplit(':').next()?.parse().ok()
}

/// A line of the log, in logfmt.
#[derive(Debug)]
pub struct Fields(pub String);

impl Fields {
    /// The value of a key, without its quotes.
    pub fn get(&self, key: &str) -> Option<String> {
        let line = format!(" {}", self.0);
        let value = &line[line.find(&format!(" {key}="))? + key.len() + 2..];
        match value.strip_prefix('"') {
            Some(quoted) => Some(quoted.split('"').next()?.to_string()),
            None => Some(value.split(' ').next()?.to_string()),
        }
    }

    pub fn number(&self, key: &str) -> f64 {
        let value = self.get(key).unwrap_or_else(|| panic!("no {key} in {}", self.0));
        value.parse().unwrap_or_else(|_| panic!("{key} is no number in {}", self.0))
    }
}

/// A configuration file of one test.
pub struct ConfigFile(PathBuf);

impl ConfigFile {
    pub fn new(yaml: &str) -> ConfigFile {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("config-{}-{count}.yaml", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // Only for its owner: it may hold a literal key.
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&path).unwrap().write_all(yaml.as_bytes()).unwrap();
        ConfigFile(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
