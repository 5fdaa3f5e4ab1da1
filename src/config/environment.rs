//! The environment, and the files of secrets.

use std::path::{Path, PathBuf};

/// Looks up an environment variable; [`environment`], but for tests.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process's environment. A value that is not UTF-8 has its wrong bytes replaced, so
/// that whatever reads it can say what is wrong with it.
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Where what a configuration only names comes from.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    /// Where relative paths in the file start.
    pub(super) folder: &'a Path,
    pub(super) env: Environment<'a>,
}

impl Sources<'_> {
    /// Where the files of secrets are: with systemd's `LoadCredential=`, in a folder that
    /// only this program can read.
    pub(super) fn credentials_folder(&self) -> PathBuf {
        variable(self.env, "CREDENTIALS_DIRECTORY").map_or(self.folder.into(), PathBuf::from)
    }
}

/// A variable's value; an empty one is as if unset.
pub(super) fn variable(env: Environment<'_>, name: &str) -> Option<String> {
    env(name).filter(|value| !value.is_empty())
}
