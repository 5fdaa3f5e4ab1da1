//! The program under test: its process, its log, and the resources that it uses.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Longer than `shutdown_timeout`, which is 30 s.
const PATIENCE: Duration = Duration::from_secs(40);

/// The interval at which the process and its log are polled.
const LOOK: Duration = Duration::from_millis(20);

/// Killed when dropped.
pub struct Program {
    child: Mutex<Child>,
    id: u32,
    port: u16,
    config: PathBuf,
    log: PathBuf,
}

/// The resources of the process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Resident anonymous memory (`RssAnon`), in KiB.
    pub memory: u64,
    pub threads: u64,
    pub descriptors: u64,
}

impl Program {
    /// Starts the program before an upstream on this port.
    pub fn start(upstream: u16) -> Program {
        let file = |end: &str| {
            let name = format!("soak-{}.{end}", std::process::id());
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
        };
        let (config, log) = (file("yaml"), file("log"));
        let settings = [
            "model_filter:",
            "  my:",
            &format!("    base_url: http://127.0.0.1:{upstream}/v1"),
            "    regexp: [\"chat-.*\"]",
            "    cache_ttl: 1",
            "    total_timeout: 5",
            "    idle_timeout: 5",
            "    max_body: 8MiB",
        ];
        fs::write(&config, settings.join("\n")).expect("the target's directory can be written to");
        let stderr = File::create(&log).expect("the target's directory can be written to");
        let mut command = Command::new(env!("CARGO_BIN_EXE_model-filter"));
        command.arg("--config").arg(&config).args(["--host", "127.0.0.1", "--port", "0"]);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let child = command.spawn().expect("the program starts");
        let mut program =
            Program { id: child.id(), child: Mutex::new(child), port: 0, config, log };
        let end = Instant::now() + PATIENCE;
        while program.port == 0 {
            assert!(Instant::now() < end, "does not listen: {}", program.log());
            std::thread::sleep(LOOK);
            program.port = listening_port(&program.log()).unwrap_or_default();
        }
        program
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Everything that the program has logged.
    fn log(&self) -> String {
        fs::read(&self.log)
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Log lines that no traffic may cause.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let bad =
            ["level=error", "panicked", "restarted the listener", "cannot accept a connection"];
        let lines = log.lines().filter(|line| bad.iter().any(|bad| line.contains(bad)));
        lines.map(str::to_owned).collect()
    }

    /// The exit status, if the process has ended.
    pub fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().expect("nothing panics under this lock");
        child.try_wait().ok().flatten()
    }

    /// Sends SIGTERM and waits for the process to end.
    pub fn stop(&self) -> Option<ExitStatus> {
        let _ = Command::new("kill").args(["-TERM", &self.id.to_string()]).status();
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            std::thread::sleep(LOOK);
        }
        None
    }

    pub fn forget_log(&self) {
        let _ = fs::remove_file(&self.log);
    }

    /// # Errors
    /// If the process has ended.
    pub fn sample(&self) -> io::Result<Sample> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id))?;
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.id))?.count() as u64;
        let (memory, threads) = (number(&status, "RssAnon:")?, number(&status, "Threads:")?);
        Ok(Sample { memory, threads, descriptors })
    }

    /// The peak of resident memory (`VmHWM`), in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap_or_default();
        number(&status, "VmHWM:").unwrap_or_default()
    }

    /// CPU time, in seconds.
    pub fn computed(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id)).unwrap_or_default();
        // utime and stime, in 1/100 s, come after the name, which may contain spaces.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_file(&self.config);
    }
}

fn number(status: &str, name: &str) -> io::Result<u64> {
    let line = status.lines().find(|line| line.starts_with(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("no {name} in the process's status")))
}

fn listening_port(log: &str) -> Option<u16> {
    let authority = log.split("address=http://").nth(1)?.split(['/', ' ']).next()?;
    authority.rsplit(':').next()?.parse().ok()
}
