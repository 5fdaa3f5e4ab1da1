//! The result of each exchange: counted by kind, with each failure printed at once.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::client::Answer;

/// How many failures of each kind are printed.
const TOLD: u64 = 40;

#[derive(Default)]
pub struct Ledger(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    counts: BTreeMap<&'static str, Count>,
    failures: u64,
    slowest_notice: Duration,
}

#[derive(Clone, Copy, Default)]
pub struct Count {
    /// Ended as expected.
    pub good: u64,
    /// The upstream was away, and the client got an error or a cut.
    pub excused: u64,
    pub failed: u64,
    /// The slowest good one.
    pub slowest: Duration,
}

/// The response that a client must get while the upstream is up.
pub enum Expected<'a> {
    /// 200 and exactly this body.
    Whole(&'a [u8]),
    /// 200, these bytes of the body, then a cut.
    Cut(&'a [u8]),
    /// 200, these events, an error event, then a cut.
    CutEvents(&'a [u8]),
    /// One of the program's own errors, with this status.
    Refusal(u16),
}

impl Ledger {
    pub fn good(&self, kind: &'static str, took: Duration) {
        let mut entries = self.entries();
        let count = entries.counts.entry(kind).or_default();
        count.good += 1;
        count.slowest = count.slowest.max(took);
    }

    pub fn excused(&self, kind: &'static str) {
        self.entries().counts.entry(kind).or_default().excused += 1;
    }

    pub fn failed(&self, kind: &'static str, what: &str) {
        let mut entries = self.entries();
        entries.failures += 1;
        let count = entries.counts.entry(kind).or_default();
        count.failed += 1;
        if count.failed <= TOLD {
            eprintln!("FAILURE {} {kind}: {what}", crate::clock());
        }
    }

    /// Judges a response. `steady` means that the upstream was up all the time. Returns whether the connection can be
    /// used again.
    pub fn judge(
        &self,
        kind: &'static str,
        what: impl Fn() -> String,
        since: Instant,
        steady: bool,
        (result, expected): (io::Result<Answer>, &Expected<'_>),
    ) -> bool {
        let took = since.elapsed();
        let wrong = match &result {
            Ok(answer) => expected.differs(answer),
            Err(error) => Some(error.to_string()),
        };
        match wrong {
            None => self.good(kind, took),
            // Without the upstream much may happen, but the client must not hang or get a response that looks whole.
            Some(_) if !steady && is_honest(&result) => self.excused(kind),
            Some(wrong) => {
                let steady = if steady { "" } else { "(the upstream was away meanwhile) " };
                self.failed(kind, &format!("{steady}{} after {took:.1?}: {wrong}", what()));
            }
        }
        result.is_ok_and(|answer| !answer.last)
    }

    pub fn noticed_after(&self, delay: Duration) {
        let mut entries = self.entries();
        entries.slowest_notice = entries.slowest_notice.max(delay);
    }

    pub fn slowest_notice(&self) -> Duration {
        self.entries().slowest_notice
    }

    pub fn counts(&self) -> BTreeMap<&'static str, Count> {
        self.entries().counts.clone()
    }

    pub fn failures(&self) -> u64 {
        self.entries().failures
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

fn is_honest(result: &io::Result<Answer>) -> bool {
    match result {
        Ok(answer) => answer.cut.is_some() || answer.status >= 500,
        Err(error) => !matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::InvalidData),
    }
}

impl Expected<'_> {
    /// The fault of the response, if any.
    fn differs(&self, answer: &Answer) -> Option<String> {
        let status = match self {
            Expected::Refusal(status) => *status,
            _ => 200,
        };
        let body = answer.body.as_slice();
        let cut = answer.cut.as_deref();
        if answer.status != status {
            let start = String::from_utf8_lossy(&body[..body.len().min(300)]);
            return Some(format!("{} instead of {status}: {start}", answer.status));
        }
        match self {
            Expected::Whole(wanted) if cut.is_some() => {
                let (cut, length) = (cut.unwrap_or_default(), wanted.len());
                Some(format!("cut after {} of {length} bytes: {cut}", body.len()))
            }
            Expected::Whole(wanted) => differs(wanted, body),
            Expected::Refusal(_) => match (&answer.code, cut) {
                (Some(_), None) => None,
                (code, cut) => Some(format!("an error with the code {code:?}, cut: {cut:?}")),
            },
            Expected::Cut(_) | Expected::CutEvents(_) if cut.is_none() => {
                Some(format!("a clean end after {} bytes", body.len()))
            }
            Expected::Cut(sent) => differs(sent, body),
            Expected::CutEvents(events) => {
                let (sent, rest) = body.split_at(body.len().min(events.len()));
                let has_reason = rest.starts_with(b"data: {\"error\":") && rest.ends_with(b"\n\n");
                let untold = || {
                    let (rest, cut) = (String::from_utf8_lossy(rest), cut.unwrap_or_default());
                    format!("no error after {} bytes, but {rest:?}; {cut}", sent.len())
                };
                differs(events, sent).or_else(|| (!has_reason).then(untold))
            }
        }
    }
}

fn differs(wanted: &[u8], body: &[u8]) -> Option<String> {
    if wanted == body {
        return None;
    }
    let same = wanted.iter().zip(body).take_while(|(one, other)| one == other).count();
    let excerpt = |bytes: &[u8]| {
        let end = bytes.len().min(same + 40);
        String::from_utf8_lossy(&bytes[same.min(end)..end]).into_owned()
    };
    let (lengths, excerpts) = ((wanted.len(), body.len()), (excerpt(wanted), excerpt(body)));
    Some(format!(
        "{} bytes instead of {}, other from byte {same} on: {:?} instead of {:?}",
        lengths.1, lengths.0, excerpts.1, excerpts.0
    ))
}
