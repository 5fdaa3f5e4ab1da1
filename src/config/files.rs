//! The files that a configuration is made of, and whether they changed.
//!
//! Limits: a file is compared by its device, inode, size and time, behind symbolic links, so that
//! the swap of a link is seen; one that is absent or no regular file counts as unchanged, since it
//! is being replaced.

use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::fs::{self, Metadata};
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The files that were read, with what they looked like just before.
#[derive(Debug, Default, Clone)]
pub struct Files(RefCell<Vec<Seen>>);

#[derive(Debug, Clone)]
struct Seen {
    path: PathBuf,
    /// The key that names the file; empty for the configuration itself.
    key: String,
    stamp: Option<Stamp>,
    content: Option<u64>,
}

/// What changes when a file is written or replaced: device, inode, size, and the time of its
/// content in seconds and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(u64, u64, u64, i64, i64);

impl Files {
    /// Reads a file that this key names.
    pub(super) fn read(&self, path: &Path, key: &str) -> io::Result<Vec<u8>> {
        let stamp = stamp(path);
        let bytes = fs::read(path);
        let content = bytes.as_ref().ok().map(hash);
        let (path, key) = (path.to_owned(), key.to_owned());
        self.0.borrow_mut().push(Seen { path, key, stamp, content });
        bytes
    }

    /// The files that look different from when they were read, as they look now.
    pub fn changed(&self) -> Vec<(PathBuf, Stamp)> {
        let seen = self.0.borrow();
        let now = seen.iter().filter_map(|seen| {
            let now = stamp(&seen.path)?;
            (Some(now) != seen.stamp).then(|| (seen.path.clone(), now))
        });
        now.collect()
    }

    /// The keys that name files whose content differs from the one in `old`.
    pub(super) fn keys_changed_since(&self, old: &Files) -> Vec<String> {
        let old = old.0.borrow();
        let is_same = |new: &&Seen| {
            let same = |old: &&Seen| old.key == new.key && old.content == new.content;
            new.key.is_empty() || old.iter().any(|old| same(&old))
        };
        let seen = self.0.borrow();
        seen.iter().filter(|new| !is_same(new)).map(|new| new.key.clone()).collect()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok().filter(Metadata::is_file)?;
    Some(Stamp(file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

/// Equal for equal values within this process; from it nobody learns a secret.
pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
