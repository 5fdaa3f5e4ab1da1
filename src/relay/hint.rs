//! A hint in the log for a client whose base URL looks wrong: the upstream responds 404 to a path that
//! ends like one of the API and is not below `/v1`.
//!
//! Limits: one hint per client address and hour; 1,024 addresses are remembered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::logging::Value;
use crate::record::Record;

/// The time in which an address gets one hint.
const WINDOW: Duration = Duration::from_secs(3600);

/// How many addresses are remembered.
const ADDRESSES: usize = 1024;

/// The ends of paths of the API.
const ENDPOINTS: [&str; 6] =
    ["/chat/completions", "/completions", "/embeddings", "/responses", "/messages", "/models"];

static HINTED: LazyLock<Mutex<HashMap<IpAddr, Instant>>> = LazyLock::new(Mutex::default);

/// Logs the hint for an exchange that the upstream answered with this status. `path` is the target
/// without what comes before the API: the root path, and the name of an upstream.
pub(super) fn give(record: &Record, path: &str, status: u16) {
    if status != 404 || !looks_wrong(path) || !is_due(record.client.ip(), Instant::now()) {
        return;
    }
    let what = "the upstream has no such path: the client's base URL should probably end in /v1, \
                with nothing behind it";
    let (client, path) = (record.client, Value(&record.path));
    log::warn!("msg={} client={client} path={path}", Value(what));
}

fn looks_wrong(path: &str) -> bool {
    let path = path.trim_end_matches('/').to_ascii_lowercase();
    let end = ENDPOINTS.iter().find_map(|end| path.strip_suffix(end));
    end.is_some_and(|before| before != "/v1")
}

/// Whether an address has had no hint within the window; notes that it gets one now.
fn is_due(ip: IpAddr, now: Instant) -> bool {
    let mut hinted = HINTED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_recent = |since: Instant| now.duration_since(since) < WINDOW;
    if hinted.get(&ip).copied().is_some_and(is_recent) {
        return false;
    }
    if hinted.len() >= ADDRESSES {
        hinted.retain(|_, since| is_recent(*since));
    }
    let has_room = hinted.len() < ADDRESSES;
    if has_room {
        hinted.insert(ip, now);
    }
    has_room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_ends_like_one_of_the_api_looks_wrong_elsewhere() {
        for path in [
            "/api/v1/chat/completions",
            "/v1/chat/completions/chat/completions",
            "/embeddings",
            "/v1/openai/responses/",
        ] {
            assert!(looks_wrong(path), "{path}");
        }
        for path in ["/v1/embeddings", "/v1/chat", "/health", "/v1/messages/", "/"] {
            assert!(!looks_wrong(path), "{path}");
        }
    }

    #[test]
    fn an_address_gets_one_hint_an_hour() {
        let (ip, now) = (IpAddr::from([192, 0, 2, 1]), Instant::now());
        assert!(is_due(ip, now) && !is_due(ip, now + WINDOW / 2));
        assert!(is_due(ip, now + WINDOW));
    }
}
