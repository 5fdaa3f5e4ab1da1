//! The server between client and upstream: none, the program, nginx, or another program of a comparison.
//!
//! Both proxies run as users run them, with one log line per request, here to `/dev/null`. The program has a cache and
//! no filter. nginx is a plain proxy that keeps connections to the upstream and buffers no bodies. It has a worker per
//! core, as Debian ships it, because the program uses all cores too. Limits that would end connections early are
//! raised.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{self, Client};
use crate::measure::{self, Activity, Cpu, Footprint};
use crate::others::Others;

/// The longest wait for the first response of a proxy.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause between attempts to connect to a proxy that is starting.
const AGAIN: Duration = Duration::from_micros(100);

/// The path below which nginx serves the list from a file.
const FILE: &str = "/bench/models.json";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Direct,
    Filter,
    Nginx,
    Caddy,
    Python,
}

/// A server on a port; stopped when dropped.
pub struct Target {
    pub kind: Kind,
    pub port: u16,
    process: Option<Running>,
}

struct Running {
    child: Child,
    /// The command that stops nginx: killing its master would leave the workers.
    stop: Option<Command>,
}

/// The parts that targets need to start.
pub struct Stage {
    upstream: u16,
    folder: PathBuf,
    nginx: Option<PathBuf>,
    others: Others,
    /// Whether models have a prefix that the program strips, and there is an alias.
    pub has_prefix: bool,
}

impl Stage {
    /// `compares`: the programs of a comparison are also started.
    pub fn new(upstream: u16, compares: bool) -> io::Result<Stage> {
        let folder =
            std::env::temp_dir().join(format!("model-filter-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let nginx = installed("nginx");
        let others = if compares { Others::found() } else { Others::default() };
        let stage = Stage { upstream, folder, nginx, others, has_prefix: false };
        let mut list = Vec::new();
        let mut client = Client::connect(upstream)?;
        client.begin(&client::get("/v1/models"))?;
        while let Some(part) = client.part()? {
            list.extend_from_slice(part);
        }
        fs::write(stage.folder.join("models.json"), list)?;
        Ok(stage)
    }

    pub fn nginx(&self) -> Option<&Path> {
        self.nginx.as_deref()
    }

    /// The kinds that are available.
    pub fn kinds(&self) -> Vec<Kind> {
        let is_there = |kind: &Kind| match kind {
            Kind::Direct | Kind::Filter => true,
            Kind::Nginx => self.nginx.is_some(),
            Kind::Caddy => self.others.caddy.is_some(),
            Kind::Python => self.others.python.is_some(),
        };
        Kind::ALL.into_iter().filter(is_there).collect()
    }

    /// The programs of a comparison.
    pub fn others(&self) -> &Others {
        &self.others
    }

    /// Starts a target of each available kind and waits for its first response.
    pub fn targets(&self) -> io::Result<Vec<Target>> {
        let kinds = self.kinds().into_iter();
        kinds.map(|kind| self.target(kind).map(|(target, _)| target)).collect()
    }

    /// Starts a target. Returns also the time from its start to its first response.
    pub fn target(&self, kind: Kind) -> io::Result<(Target, Duration)> {
        let Some(mut command) = self.command(kind)? else {
            let target = Target { kind, port: self.upstream, process: None };
            return Ok((target, Duration::ZERO));
        };
        let (port, stop) = (command.port, command.stop);
        let child = command.start.stdin(Stdio::null()).stdout(Stdio::null());
        let began = Instant::now();
        let child = child.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("starting {}: {error}", kind.name()))
        })?;
        let mut target = Target { kind, port, process: Some(Running { child, stop }) };
        let plain = client::chat("/v1/chat/completions");
        loop {
            match Client::connect(port).and_then(|mut client| client.exchange(&plain)) {
                Ok(_) => return Ok((target, began.elapsed())),
                Err(error) if error.kind() != ErrorKind::ConnectionRefused => {
                    return Err(target.blamed(error));
                }
                Err(error) if began.elapsed() > PATIENCE => return Err(target.blamed(error)),
                Err(_) => thread::sleep(AGAIN),
            }
            let ended = match &mut target.process {
                Some(Running { child, .. }) => child.try_wait()?,
                None => None,
            };
            if let Some(status) = ended {
                return Err(target.blamed(io::Error::other(format!("it ended with {status}"))));
            }
        }
    }

    fn command(&self, kind: Kind) -> io::Result<Option<Start>> {
        match kind {
            Kind::Direct => Ok(None),
            Kind::Filter => self.filter().map(Some),
            Kind::Nginx => self.nginx.as_deref().map(|nginx| self.plain_proxy(nginx)).transpose(),
            Kind::Caddy | Kind::Python => {
                let port = free_port()?;
                let start = self.others.command(kind, self.upstream, port, &self.folder)?;
                Ok(start.map(|start| Start { port, start, stop: None }))
            }
        }
    }

    fn filter(&self) -> io::Result<Start> {
        let Stage { upstream, folder, has_prefix, .. } = self;
        let (prefix, aliases) = match has_prefix {
            true => (", prefix: vendor-7", "aliases: {fast: vendor-7/model-7}\n"),
            false => ("", ""),
        };
        let port = free_port()?;
        let file = folder.join(format!("config-{port}.yaml"));
        let config = format!(
            "model_filter: {{base_url: 'http://127.0.0.1:{upstream}/v1', cache_ttl: 900{prefix}}}\n\
             {aliases}server: {{port: {port}, max_connections: 4096, max_requests: 2048}}\n"
        );
        fs::write(&file, config)?;
        let mut start = Command::new(env!("CARGO_BIN_EXE_model-filter"));
        start.arg("--config").arg(file).stderr(Stdio::null());
        for variable in ["CONFIG", "HOST", "PORT", "ROOT_PATH", "LOG"] {
            start.env_remove(format!("LLM_MF_{variable}"));
        }
        Ok(Start { port, start, stop: None })
    }

    fn plain_proxy(&self, nginx: &Path) -> io::Result<Start> {
        let (upstream, port) = (self.upstream, free_port()?);
        let folder = self.folder.join(format!("nginx-{port}"));
        fs::create_dir_all(&folder)?;
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|what| format!("  {what}_temp_path {what};\n"))
            .collect();
        let list = self.folder.join("models.json");
        let list = list.display();
        // If root starts nginx, its workers run as another user, who could not read the folder.
        let root = fs::metadata(&folder)?.uid() == 0;
        let user = if root { "user root root;" } else { "" };
        let config = format!(
            "daemon off;
{user}
pid nginx.pid;
error_log error.log;
worker_processes auto;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
{temporary}
  access_log /dev/null combined;
  keepalive_requests 100000000;
  upstream fake {{
    server 127.0.0.1:{upstream};
    keepalive 256;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    client_max_body_size 0;
    location / {{
      proxy_pass http://fake;
      proxy_http_version 1.1;
      proxy_set_header Connection '';
      proxy_buffering off;
      proxy_request_buffering off;
    }}
    location = {FILE} {{
      default_type application/json;
      alias {list};
    }}
  }}
}}
"
        );
        fs::write(folder.join("nginx.conf"), config)?;
        let command = || {
            let mut command = Command::new(nginx);
            command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf"));
            command.args(["-e", "stderr"]);
            command
        };
        let mut stop = command();
        stop.args(["-s", "stop"]).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Start { port, start: command(), stop: Some(stop) })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The system cleans the folder for temporary files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// How to start a proxy, and on which port.
struct Start {
    port: u16,
    start: Command,
    stop: Option<Command>,
}

/// A port that was free a moment ago, below the range of ephemeral ports.
fn free_port() -> io::Result<u16> {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    (first..first + 1000)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| io::Error::other(format!("no port is free from {first}")))
}

/// The file of an installed program.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()))
}

impl Kind {
    /// In the order of a report's columns.
    pub const ALL: [Kind; 5] = [Kind::Direct, Kind::Filter, Kind::Nginx, Kind::Caddy, Kind::Python];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Filter => "model-filter",
            Kind::Nginx => "nginx",
            Kind::Caddy => "Caddy",
            Kind::Python => "model_filter.py",
        }
    }
}

impl Target {
    /// The path of the list of models.
    pub fn list(&self) -> &'static str {
        if self.kind == Kind::Nginx { FILE } else { "/v1/models" }
    }

    pub fn cpu(&self) -> Cpu {
        measure::cpu(&self.processes())
    }

    pub fn footprint(&self) -> Footprint {
        measure::footprint(&self.processes())
    }

    pub fn activity(&self) -> Activity {
        Activity::of(&self.processes())
    }

    /// The processes that do the work; for nginx, its workers.
    fn processes(&self) -> Vec<u32> {
        match &self.process {
            None => Vec::new(),
            Some(Running { child, .. }) if self.kind == Kind::Nginx => {
                measure::children(child.id())
            }
            Some(Running { child, .. }) => vec![child.id()],
        }
    }

    /// The error, with the name of the target.
    pub fn blamed(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.kind.name()))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(Running { child, stop }) = &mut self.process {
            let asked = stop.as_mut().is_some_and(|stop| stop.status().is_ok_and(|s| s.success()));
            if !asked {
                // Fails if the process has ended by itself.
                let _ = child.kill();
            }
            let _ = child.wait();
        }
    }
}
