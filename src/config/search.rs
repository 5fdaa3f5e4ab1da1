//! Where the configuration is: the file that is named, or the first of the usual places.
//!
//! Limits: a file that is there but cannot be read is an error, and no other place is tried.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::environment::{Environment, variable};
use super::errors::{ConfigError, io_reason};
use super::files::Files;
use crate::cli::Options;

/// The place for the whole machine.
const SYSTEM: &str = "/etc/model-filter/config.yaml";

/// The file, and its content.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    /// Whether every user of this machine can read it.
    pub(super) is_public: bool,
}

/// Reads the file that the options or the environment name, else the first one that is in a
/// usual place; none if there is none.
pub(super) fn find(
    options: &Options,
    env: Environment<'_>,
    files: &Files,
) -> Result<Option<Found>, ConfigError> {
    let named = options.config.clone().or_else(|| Some(variable(env, "LLM_MF_CONFIG")?.into()));
    if let Some(path) = named {
        return read(path, files).map(Some);
    }
    for path in places(env) {
        let is_absent = match fs::metadata(&path) {
            Ok(_) => false,
            Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        };
        if !is_absent {
            return read(path, files).map(Some);
        }
    }
    Ok(None)
}

/// The error if there is no file.
pub(super) fn none_found(env: Environment<'_>) -> ConfigError {
    let places: Vec<String> = places(env).iter().map(|path| path.display().to_string()).collect();
    ConfigError::new(format!(
        "no configuration: there is no {}; name a file with --config or LLM_MF_CONFIG, or set \
         --base-url or LLM_MF_BASE_URL",
        places.join(", ")
    ))
}

fn places(env: Environment<'_>) -> Vec<PathBuf> {
    let home = || Some(Path::new(&variable(env, "HOME")?).join(".config"));
    let own = variable(env, "XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    let own = own.map(|folder| folder.join("model-filter/config.yaml"));
    [Some("config.yaml".into()), own, Some(SYSTEM.into())].into_iter().flatten().collect()
}

fn read(path: PathBuf, files: &Files) -> Result<Found, ConfigError> {
    let bytes = files
        .read(&path, "")
        .map_err(|error| ConfigError::new(format!("{}: {}", path.display(), io_reason(&error))))?;
    let is_public = fs::metadata(&path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0);
    Ok(Found { path, bytes, is_public })
}
