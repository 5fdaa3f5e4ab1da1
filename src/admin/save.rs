//! Saving the rules of the page into the file that `rules` names.
//!
//! The file is written whole beside the old one, flushed and renamed over it; the old one is kept as
//! `FILE~`. A crash at any moment leaves a whole file. Limits: the owner of the file is the user of
//! the process from then on; its mode stays.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use serde::Deserialize;
use serde_json::json;

use super::find::find;
use super::program::Program;
use super::rules::{TypedRules, yaml};
use crate::config::{RULES_SIZE, RulesFile, digest, read_rules, rules_in};
use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::offer::Offer;
use crate::reply::Reply;
use crate::secret::Secret;
use crate::sys::access::may_write;

/// The header field that proves that a request comes from our own page.
const TOKEN: &str = "x-model-filter-token";

/// The mode of a file that was not there before.
const MODE: u32 = 0o640;

/// The first lines of a file that was saved here.
const HEAD: &str = "# Written by the page of model-filter. The previous version is beside it, with a ~ at the end.\n\
                    # Comments are lost when the page saves again.\n";

/// What the page asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    upstream: String,
    rules: TypedRules,
    /// The digest of the file that the page shows.
    digest: String,
}

/// The token of this process, which only our own page can read; none without a source of random
/// numbers.
pub(super) fn token() -> Option<&'static Secret> {
    static TOKEN: OnceLock<Option<Secret>> = OnceLock::new();
    let random = || {
        let mut bytes = [0; 16];
        File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).ok()?;
        Some(Secret::new(format!("{:032x}", u128::from_ne_bytes(bytes))))
    };
    TOKEN.get_or_init(random).as_ref()
}

/// Checks that a request that changes something comes from our own page.
///
/// # Errors
/// 403 for all others.
pub(super) fn check_token(headers: &Headers) -> Result<(), Error> {
    let given = headers.get(TOKEN).unwrap_or_default();
    match token() {
        Some(token) if token.matches(given) => Ok(()),
        _ => {
            let what = "the page is older than this process, or the request is not from the page: \
                        load the page again";
            Err(Error::client(Code::ForbiddenHost, what))
        }
    }
}

/// Why a file of rules cannot be saved; none if it can.
pub(super) fn obstacle(file: &RulesFile) -> Option<String> {
    let path = real(&file.path);
    let folder = folder(&path);
    let fault = |path: &Path, error: &io::Error| format!("{}: {error}", path.display());
    if let Err(error) = may_write(&folder) {
        return Some(fault(&folder, &error));
    }
    match may_write(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Some(fault(&path, &error)),
        _ => None,
    }
}

/// Saves rules and makes them take effect.
///
/// # Errors
/// 400 for rules that cannot be used, 404 for an upstream without a file of rules, 500 if the file
/// cannot be written.
pub(super) fn save(
    offers: &[Arc<Offer>],
    body: &[u8],
    program: &dyn Program,
) -> Result<Reply, Error> {
    /// One save at a time, so that no other comes between reading the old file and replacing it.
    static SAVING: Mutex<()> = Mutex::new(());
    let request: Request = serde_json::from_slice(body)
        .map_err(|error| Error::bad_request(format!("the rules cannot be read: {error}")))?;
    let offer = find(offers, &request.upstream)?;
    let Some(file) = &offer.rules_file else {
        let what = format!("the upstream {:?} has no rules: FILE", offer.upstream.name());
        return Err(Error::client(Code::NotFound, what));
    };
    let rules = request.rules.rules();
    let rules =
        rules.map_err(|fault| Error::bad_request(format!("{}: {}", fault.key, fault.message)))?;
    let text = format!("{HEAD}{}", yaml(&rules, 0));
    if text.len() as u64 > RULES_SIZE {
        let what = format!("the rules are longer than {} KiB", RULES_SIZE / 1024);
        return Err(Error::client(Code::RequestTooLarge, what));
    }
    // What cannot be loaded, or would mean something else, is not saved.
    let loaded = rules_in(text.as_bytes(), "rules")
        .map_err(|errors| Error::bad_request(errors.to_string()))?;
    if *loaded.rules() != rules {
        return Err(Error::proxy(
            Code::Internal,
            "the rules would mean something else in the file",
        ));
    }
    let saving = SAVING.lock().expect("nothing panics under this lock");
    let path = real(&file.path);
    let failed = |error: io::Error| {
        let what = format!("{} was not saved and is unchanged: {error}", path.display());
        log::error!("msg=\"rules not saved\" error={}", crate::logging::Value(&what));
        Error::proxy(Code::Internal, what)
    };
    let old = read_rules(&path).map_err(failed)?;
    let found = digest(&old);
    if found != request.digest {
        drop(saving);
        // The page can then show what the file says.
        let _ = program.reload();
        return Ok(conflict(&found));
    }
    replace(&path, text.as_bytes(), &old).map_err(failed)?;
    drop(saving);
    log::info!(
        "msg=\"rules saved\" upstream={} file={}",
        crate::logging::Value(offer.upstream.name()),
        crate::logging::Value(&path.display().to_string())
    );
    let warning = program.reload().err();
    Ok(Reply::fresh_json(&json!({"digest": digest(text.as_bytes()), "warning": warning})))
}

fn conflict(found: &str) -> Reply {
    let code = Code::Conflict;
    let message = "the file of rules has changed since this page read it";
    let error = json!({"message": message, "type": "invalid_request_error", "param": null, "code": code.as_str()});
    let mut reply = Reply::fresh_json(&json!({"error": error, "digest": found}));
    reply.status = code.status();
    reply.headers.push("x-model-filter-error", code.as_str());
    reply
}

/// A file behind symbolic links, so that a link is not replaced.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn folder(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

/// Replaces a file, and keeps what it held in another one.
fn replace(path: &Path, new: &[u8], old: &[u8]) -> io::Result<()> {
    let mode = fs::metadata(path).map(|file| file.permissions().mode() & 0o7777);
    let exists = mode.is_ok();
    let mode = mode.unwrap_or(MODE);
    if exists {
        write_whole(&beside(path, "~"), old, mode)?;
    }
    write_whole(path, new, mode)?;
    File::open(folder(path))?.sync_all()
}

/// Writes a file beside a path, flushes it and renames it to that path.
fn write_whole(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let new = beside(path, ".new");
    // A save that was killed may have left one.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
