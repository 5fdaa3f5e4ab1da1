//! The state of a client connection, and the action that it needs: pure.

use std::time::{Duration, Instant};

use crate::config::Limits;
use crate::framing::MAX_HEAD;

/// How much of a chunked body may be framing: bytes of framing per byte of content.
const CHUNK_OVERHEAD: u64 = 16;

/// How long a client may keep its side of a connection open after we have closed ours.
const ENDING: Duration = Duration::from_secs(3);

/// How long a thread of tiny_http may take to notice that its connection was cut.
const STUCK: Duration = Duration::from_secs(10);

/// How far a connection is.
#[derive(Debug)]
pub struct Progress {
    /// Whether a request was ever accepted.
    pub has_requests: bool,
    /// From `take` until `answer`: the response is not yet finished.
    is_unanswered: bool,
    /// Responses that have a writer: from `take` until `leave`.
    pub open: usize,
    /// Set by the response, if the client has asked for the end of the connection.
    pub is_last: bool,
    /// When the last response was finished; at first, when the connection was first seen.
    since: Instant,
    /// Since when no request is accepted. Set once, by `end`, a pipelined request or `judge`.
    pub ended: Option<Instant>,
    /// Bytes that had been read when `judge` first saw the last request, or its response finished.
    consumed: Option<u64>,
    /// When `judge` first saw the next request arrive; cleared by that request.
    head: Option<Instant>,
    /// Whether `judge` last found it idle, with every byte read. Until the next byte arrives,
    /// which is an edge in epoll, only its deadline can pass.
    is_settled: bool,
    /// Whether no bytes had been read when `judge` last looked, though there was cause.
    was_untouched: bool,
    /// While a worker waits for more of a body: how much it had, and since when it has no more.
    stalled: Option<(u64, Instant)>,
    /// Whether it is counted as leaked: tiny_http will never close it.
    pub is_leaked: bool,
}

/// The fate of a request that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is answered.
    Accepted,
    /// It came before the response in front of it was finished.
    Pipelined,
    /// The connection accepts no more requests.
    Refused,
}

/// A connection as the kernel sees it at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Which sides are open.
    pub tcp: Tcp,
    /// Bytes that the client has sent so far.
    pub received: u64,
    /// How many of them are unread.
    pub unread: u64,
    /// How long ago the last of them arrived.
    pub silence: Duration,
    /// Bytes of content of all bodies so far, while a worker waits for more.
    pub awaited: Option<u64>,
}

/// The states of a TCP connection that make a difference here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tcp {
    /// Both sides may send.
    Open,
    /// The client has closed its side, and we have not.
    ClientClosed,
    /// We have closed our side.
    Ending,
    /// It has ended or was reset.
    Closed,
}

/// The action that a connection needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Fine,
    /// No byte has been read from it yet: look again soon.
    New,
    /// tiny_http has forgotten it in its queue: have it start a thread.
    Forgotten,
    /// It has no request under way and was ended by this: close it.
    Ended(Cause),
    /// Its body has stopped coming: close the client's side.
    StopUpload,
    /// Its body is framing and little else: break it.
    BreakUpload,
    /// It was ended, or the client has closed it, and tiny_http is about to close it.
    Closing,
    /// The same, but the client has not closed it in time: cut it.
    Overdue,
    /// It was cut long ago: if tiny_http still holds it, its thread hangs.
    Stuck,
}

/// Why a connection without a request was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No request came for `idle_timeout`.
    Idle,
    /// A head did not arrive within `head_timeout`.
    HeadTimeout,
    /// A head is longer than 64 KiB.
    HeadTooLong,
}

impl Cause {
    /// The name in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Idle => "idle",
            Cause::HeadTimeout => "head_timeout",
            Cause::HeadTooLong => "head_too_long",
        }
    }
}

impl Progress {
    /// A connection that was just seen for the first time.
    pub fn new(now: Instant) -> Progress {
        Progress {
            has_requests: false,
            is_unanswered: false,
            open: 0,
            is_last: false,
            since: now,
            ended: None,
            consumed: Some(0),
            head: None,
            is_settled: false,
            was_untouched: false,
            stalled: None,
            is_leaked: false,
        }
    }

    /// Decides what becomes of a request that has arrived.
    pub fn take(&mut self, now: Instant) -> Taken {
        if self.ended.is_some() {
            return Taken::Refused;
        }
        if self.is_unanswered {
            self.end(now);
            return Taken::Pipelined;
        }
        (self.has_requests, self.is_unanswered, self.is_settled) = (true, true, false);
        self.open += 1;
        (self.consumed, self.head) = (None, None);
        Taken::Accepted
    }

    /// Notes that the last byte of the response is about to be given to the kernel. Must be
    /// called before that: the client may send its next request as soon as it has that byte.
    pub fn answer(&mut self, now: Instant) {
        self.is_unanswered = false;
        self.since = now;
        // Unread bytes belong to the next request.
        (self.consumed, self.head, self.is_settled) = (None, None, false);
    }

    /// Notes that a response has no writer any more. From now on tiny_http can close the
    /// connection, if it has ended.
    pub fn leave(&mut self, now: Instant) {
        self.open -= 1;
        self.ended = self.ended.map(|_| now);
    }

    /// Accepts no further request.
    pub fn end(&mut self, now: Instant) {
        self.ended.get_or_insert(now);
    }

    /// Whether tiny_http closes the connection by itself, and no response is under way.
    pub fn is_over(&self) -> bool {
        self.is_last && self.open == 0
    }

    /// Since when it is idle, and in front of that whether a head arrives; none if it is not idle.
    pub fn idle_since(&self) -> Option<(bool, Instant)> {
        let is_idle = self.open == 0 && self.ended.is_none();
        is_idle.then(|| (self.head.is_some(), self.head.unwrap_or(self.since)))
    }

    /// Whether `judge` would find what it found before, if no edge was seen since.
    pub fn is_settled(&self, limits: &Limits, now: Instant) -> bool {
        let is_idle = self.open == 0 && self.ended.is_none();
        self.is_settled && is_idle && now - self.since <= limits.idle_timeout
    }

    /// Updates the progress by what is seen of the connection now, and decides what must be
    /// done. `accepts`: clients may still send requests.
    pub fn judge(&mut self, seen: &Seen, limits: &Limits, accepts: bool, now: Instant) -> Verdict {
        let consumed = seen.received.saturating_sub(seen.unread);
        let start = *self.consumed.get_or_insert(consumed);
        let consumed_since = consumed.saturating_sub(start);
        if self.open > 0 {
            return self.judge_upload(seen, consumed_since, limits, now);
        }
        if matches!(seen.tcp, Tcp::Ending | Tcp::Closed) {
            self.end(now);
        }
        let is_open = seen.tcp == Tcp::Open && self.ended.is_none();
        let is_untouched = consumed == 0 && (seen.unread > 0 || !is_open);
        let is_forgotten = std::mem::replace(&mut self.was_untouched, is_untouched) && is_untouched;
        if let Some(ended) = self.ended.map(|since| now - since) {
            return match seen.tcp {
                _ if self.is_leaked => Verdict::Overdue,
                _ if is_forgotten && ended <= STUCK => Verdict::Forgotten,
                // It waits in the queue of a server that has lost its threads.
                _ if is_forgotten => Verdict::Overdue,
                _ if ended > STUCK => Verdict::Stuck,
                Tcp::Open | Tcp::ClientClosed | Tcp::Ending if ended > ENDING => Verdict::Overdue,
                _ => Verdict::Closing,
            };
        }
        self.head = (seen.received > start).then(|| self.head.unwrap_or(now));
        self.is_settled = self.head.is_none() && seen.tcp == Tcp::Open;
        let cause = match self.head {
            Some(since) if now - since > limits.head_timeout => Cause::HeadTimeout,
            // The body may come with the head, so what is unread does not count.
            Some(_) if consumed_since > MAX_HEAD as u64 => Cause::HeadTooLong,
            None if !accepts || now - self.since > limits.idle_timeout => Cause::Idle,
            _ if is_forgotten => return Verdict::Forgotten,
            _ if seen.tcp != Tcp::Open => return Verdict::Closing,
            _ if is_untouched => return Verdict::New,
            _ => return Verdict::Fine,
        };
        self.end(now);
        Verdict::Ended(cause)
    }

    fn judge_upload(
        &mut self,
        seen: &Seen,
        consumed: u64,
        limits: &Limits,
        now: Instant,
    ) -> Verdict {
        let before = self.stalled.take();
        let Some(delivered) = seen.awaited else { return Verdict::Fine };
        let stalled = before.filter(|(before, _)| *before == delivered).unwrap_or((delivered, now));
        self.stalled = Some(stalled);
        // The head of the request, and of the next one, which tiny_http may have read already.
        let allowed = 2 * MAX_HEAD as u64 + delivered.saturating_mul(CHUNK_OVERHEAD);
        // The bytes before a pause of the upstream may be old, and the client not know of the end.
        let silence = seen.silence.min(now - stalled.1);
        if consumed > allowed {
            Verdict::BreakUpload
        } else if silence > limits.body_timeout && seen.unread == 0 {
            Verdict::StopUpload
        } else {
            Verdict::Fine
        }
    }
}
