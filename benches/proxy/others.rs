//! Programs that only `make compare` measures: Caddy as a plain proxy, and the Python original.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::target::{Kind, installed};

/// The programs that were found.
#[derive(Default)]
pub struct Others {
    pub caddy: Option<PathBuf>,
    /// `model_filter.py`, from the variable `PYTHON_ORIGINAL`.
    pub python: Option<PathBuf>,
}

impl Others {
    pub fn found() -> Others {
        let folder = std::env::var_os("PYTHON_ORIGINAL").filter(|folder| !folder.is_empty());
        let python = folder.map(|folder| Path::new(&folder).join("model_filter.py"));
        Others { caddy: installed("caddy"), python }
    }

    /// The command that starts this kind on a port; none if it is not here.
    pub fn command(
        &self,
        kind: Kind,
        upstream: u16,
        port: u16,
        folder: &Path,
    ) -> io::Result<Option<Command>> {
        match (kind, &self.caddy, &self.python) {
            (Kind::Caddy, Some(caddy), _) => {
                let file = folder.join(format!("Caddyfile-{port}"));
                // Event streams are flushed at once without a setting.
                let config = format!(
                    "{{\n admin off\n auto_https off\n}}\nhttp://:{port} {{\n bind 127.0.0.1\n \
                     log {{\n  output file /dev/null\n }}\n reverse_proxy 127.0.0.1:{upstream}\n}}\n"
                );
                fs::write(&file, config)?;
                let mut command = Command::new(caddy);
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
                command.env("HOME", folder).stderr(Stdio::null());
                Ok(Some(command))
            }
            (Kind::Python, _, Some(program)) => {
                let file = folder.join(format!("python-{port}.yaml"));
                let config = format!(
                    "model_filter: {{base_url: 'http://127.0.0.1:{upstream}/v1', cache_ttl: 900}}\n"
                );
                fs::write(&file, config)?;
                let python = std::env::var_os("PYTHON").unwrap_or("python3".into());
                let mut command = Command::new(python);
                command.arg(program).arg("--config").arg(file);
                command.args(["--port", &port.to_string()]).stderr(Stdio::null());
                Ok(Some(command))
            }
            _ => Ok(None),
        }
    }
}
