//! The environment, and the files of secrets.

use std::path::{Path, PathBuf};

use super::files::Files;

/// Looks up an environment variable: [`environment`], except in tests.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Looks up a variable of the process. Bytes that are not UTF-8 are replaced, so that the reader
/// of the value rejects it.
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The sources of values that a configuration only names.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    /// The folder that relative paths in the file start from.
    pub(super) folder: &'a Path,
    pub(super) env: Environment<'a>,
    /// Whether every user of this machine can read the configuration.
    pub(super) is_public: bool,
    /// What was read so far.
    pub(super) files: &'a Files,
}

impl Sources<'_> {
    /// The folder of secret files: with systemd's `LoadCredential=`, one that only this program
    /// can read.
    pub(super) fn credentials_folder(&self) -> PathBuf {
        variable(self.env, "CREDENTIALS_DIRECTORY").map_or(self.folder.into(), PathBuf::from)
    }
}

/// A variable's value; an empty variable counts as unset.
pub(super) fn variable(env: Environment<'_>, name: &str) -> Option<String> {
    env(name).filter(|value| !value.is_empty())
}
