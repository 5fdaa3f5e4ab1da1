//! How far a client connection is, and what is to be done about it: pure.
//!
//! | field | meaning | written by | ends with |
//! |---|---|---|---|
//! | `taken` | requests that were accepted | `take` | – |
//! | `answered` | responses whose last byte was given to the kernel | `answer` | – |
//! | `open` | responses that still have a writer | `take`, `leave` | – |
//! | `is_last` | whether the client has asked for the end of the connection | the response | – |
//! | `since` | when the last response was finished | `answer` | the next one |
//! | `ended` | since when no request is accepted any more | `end`, a pipelined request, `judge` | – |
//! | `consumed` | what had been read when the last response was first seen finished | `judge` | the next one |
//! | `counted` | `taken` and `answered` when that was seen | `judge` | the next one |
//! | `head` | when the next request was first seen to arrive | `judge` | that request |
//! | `was_untouched` | whether nobody had read what was there at the last look | `judge` | the next look |

use std::time::{Duration, Instant};

use super::framing::MAX_HEAD;
use crate::config::Limits;

/// How much of a chunked body may be framing: bytes of framing per byte of content.
const CHUNK_OVERHEAD: u64 = 16;

/// How long a client may keep its side of a connection open after we have closed ours.
const ENDING: Duration = Duration::from_secs(3);

/// How long a thread of tiny_http's may take to notice that its connection was cut.
const STUCK: Duration = Duration::from_secs(10);

/// How far a connection is: see the [module](self).
#[derive(Debug)]
pub(super) struct Progress {
    taken: u64,
    answered: u64,
    pub(super) open: usize,
    pub(super) is_last: bool,
    since: Instant,
    pub(super) ended: Option<Instant>,
    consumed: u64,
    counted: (u64, u64),
    head: Option<Instant>,
    was_untouched: bool,
}

/// What becomes of a request that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is answered.
    Accepted,
    /// It came before the response in front of it was finished.
    Pipelined,
    /// Nothing that comes over this connection is accepted any more.
    Refused,
}

/// A connection as the kernel sees it at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) tcp: Tcp,
    /// Bytes that the client has sent so far, and those of them that nobody has read.
    pub(super) received: u64,
    pub(super) unread: u64,
    /// How long ago the last of them arrived.
    pub(super) silence: Duration,
    /// Bytes of content of the bodies so far, while a worker waits for more.
    pub(super) awaited: Option<u64>,
}

/// The states of a TCP connection that make a difference here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tcp {
    /// Both sides may send.
    Open,
    /// The client has closed its side, and we have not.
    ClientClosed,
    /// We have closed our side.
    Ending,
    /// It has ended or was reset.
    Closed,
}

/// What is to be done about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Fine,
    /// Nobody has read from it yet: look again soon.
    New,
    /// tiny_http has forgotten it in its queue: have it start a thread.
    Forgotten,
    /// It has no request under way and was ended by this: close it.
    Ended(Cause),
    /// Its body has stopped coming: close the client's side.
    StopUpload,
    /// Its body is framing and little else: break it.
    BreakUpload,
    /// It was ended or the client has closed it, and tiny_http is about to.
    Closing,
    /// The same, and the client has not closed it in time: cut it.
    Overdue,
    /// It was cut long ago: if tiny_http still holds it, its thread hangs.
    Stuck,
}

/// Why a connection without a request was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// No request came for `idle_timeout`.
    Idle,
    /// A head did not arrive within `head_timeout`.
    HeadTimeout,
    /// A head is longer than 64 KiB.
    HeadTooLong,
}

impl Cause {
    /// The name in the metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Cause::Idle => "idle",
            Cause::HeadTimeout => "head_timeout",
            Cause::HeadTooLong => "head_too_long",
        }
    }
}

impl Progress {
    pub(super) fn new(now: Instant) -> Progress {
        Progress {
            taken: 0,
            answered: 0,
            open: 0,
            is_last: false,
            since: now,
            ended: None,
            consumed: 0,
            counted: (0, 0),
            head: None,
            was_untouched: false,
        }
    }

    pub(super) fn has_requests(&self) -> bool {
        self.taken > 0
    }

    /// Counts a request that has arrived, and decides what becomes of it.
    pub(super) fn take(&mut self) -> Taken {
        if self.ended.is_some() {
            return Taken::Refused;
        }
        if self.taken > self.answered {
            self.end(Instant::now());
            return Taken::Pipelined;
        }
        self.taken += 1;
        self.open += 1;
        Taken::Accepted
    }

    /// Says that the last byte of the response is about to be given to the kernel. It must be
    /// said before: the client may ask again as soon as it has that byte.
    pub(super) fn answer(&mut self, now: Instant) {
        self.answered = self.taken;
        self.since = now;
    }

    /// Accepts no further request.
    pub(super) fn end(&mut self, now: Instant) {
        self.ended.get_or_insert(now);
    }

    /// Since when it is idle, later if a head arrives; nothing if it is not.
    pub(super) fn idle_since(&self) -> Option<(bool, Instant)> {
        let is_idle = self.open == 0 && self.ended.is_none();
        is_idle.then(|| (self.head.is_some(), self.head.unwrap_or(self.since)))
    }

    /// Ages what is known of the connection by what is seen of it now, and says what is to be
    /// done. `accepts` says whether clients may still send requests.
    pub(super) fn judge(
        &mut self,
        seen: &Seen,
        limits: &Limits,
        accepts: bool,
        now: Instant,
    ) -> Verdict {
        let consumed = seen.received.saturating_sub(seen.unread);
        if self.counted != (self.taken, self.answered) {
            // What is unread belongs to the next request.
            self.counted = (self.taken, self.answered);
            (self.consumed, self.head) = (consumed, None);
        }
        let consumed_since = consumed.saturating_sub(self.consumed);
        if self.open > 0 {
            return judge_upload(seen, consumed_since, limits);
        }
        if matches!(seen.tcp, Tcp::Ending | Tcp::Closed) {
            self.end(now);
        }
        let is_open = seen.tcp == Tcp::Open && self.ended.is_none();
        let is_untouched = consumed == 0 && (seen.unread > 0 || !is_open);
        let is_forgotten = std::mem::replace(&mut self.was_untouched, is_untouched) && is_untouched;
        if let Some(ended) = self.ended.map(|since| now - since) {
            return match seen.tcp {
                _ if is_forgotten && ended <= STUCK => Verdict::Forgotten,
                // It waits in the queue of a server that has lost its threads.
                _ if is_forgotten => Verdict::Overdue,
                _ if ended > STUCK => Verdict::Stuck,
                Tcp::Open | Tcp::ClientClosed | Tcp::Ending if ended > ENDING => Verdict::Overdue,
                _ => Verdict::Closing,
            };
        }
        let arrives = seen.received > self.consumed;
        self.head = if arrives { self.head.or(Some(now)) } else { None };
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
}

fn judge_upload(seen: &Seen, consumed: u64, limits: &Limits) -> Verdict {
    let Some(delivered) = seen.awaited else { return Verdict::Fine };
    // The head of the request, and of the next one, which tiny_http may have read already.
    let allowed = 2 * MAX_HEAD as u64 + delivered.saturating_mul(CHUNK_OVERHEAD);
    if consumed > allowed {
        Verdict::BreakUpload
    } else if seen.silence > limits.body_timeout && seen.unread == 0 {
        Verdict::StopUpload
    } else {
        Verdict::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const OPEN: Seen =
        Seen { tcp: Tcp::Open, received: 0, unread: 0, silence: Duration::ZERO, awaited: None };

    /// What is thought of a connection at the last of these moments, in seconds.
    fn judged(progress: &mut Progress, looks: &[(u32, Seen)]) -> Verdict {
        let (begun, limits) = (progress.since, Limits::default());
        let judge =
            |(at, seen): &(u32, Seen)| progress.judge(seen, &limits, true, begun + SECOND * *at);
        looks.iter().map(judge).last().unwrap()
    }

    fn fresh(looks: &[(u32, Seen)]) -> Verdict {
        judged(&mut Progress::new(Instant::now()), looks)
    }

    #[test]
    fn a_request_before_the_end_of_the_response_is_pipelined_and_the_last() {
        let mut progress = Progress::new(Instant::now());
        assert_eq!(progress.take(), Taken::Accepted);
        progress.answer(Instant::now());
        assert_eq!(progress.take(), Taken::Accepted, "its writer may still be there");
        assert_eq!([progress.take(), progress.take()], [Taken::Pipelined, Taken::Refused]);
    }

    #[test]
    fn an_idle_connection_and_a_head_have_their_time() {
        assert_eq!(fresh(&[(75, OPEN)]), Verdict::Fine);
        assert_eq!(fresh(&[(76, OPEN)]), Verdict::Ended(Cause::Idle));
        // With a body behind it, which is not read yet.
        let head = Seen { received: 1_065_536, unread: 1_000_000, ..OPEN };
        assert_eq!(fresh(&[(0, head), (10, head)]), Verdict::Fine);
        assert_eq!(fresh(&[(0, head), (11, head)]), Verdict::Ended(Cause::HeadTimeout));
        let long = Seen { received: 65_537, ..OPEN };
        assert_eq!(fresh(&[(0, long)]), Verdict::Ended(Cause::HeadTooLong));
    }

    #[test]
    fn a_body_must_make_progress_and_not_be_framing_alone() {
        let body = |received, awaited, silence| {
            let mut progress = Progress::new(Instant::now());
            progress.take();
            let seen = Seen { received, awaited: Some(awaited), silence: SECOND * silence, ..OPEN };
            judged(&mut progress, &[(0, OPEN), (9, seen)])
        };
        assert_eq!(body(100_000, 0, 60), Verdict::Fine);
        assert_eq!(body(100_000, 0, 61), Verdict::StopUpload);
        assert_eq!(body(200_000, 0, 0), Verdict::BreakUpload);
        assert_eq!(body(200_000, 10_000, 0), Verdict::Fine);
    }

    #[test]
    fn what_nobody_reads_is_forgotten_at_the_second_look() {
        let unread = Seen { received: 10, unread: 10, ..OPEN };
        assert_eq!(fresh(&[(0, unread)]), Verdict::New);
        assert_eq!(fresh(&[(0, unread), (1, unread)]), Verdict::Forgotten);
        let left = Seen { tcp: Tcp::ClientClosed, ..OPEN };
        assert_eq!(fresh(&[(0, left), (1, left)]), Verdict::Forgotten);
    }

    #[test]
    fn what_was_ended_is_cut_and_at_last_given_up() {
        let after = |tcp, at| {
            let seen = Seen { tcp, received: 10, ..OPEN };
            fresh(&[(0, seen), (at, seen)])
        };
        assert_eq!(after(Tcp::Ending, 3), Verdict::Closing);
        assert_eq!(after(Tcp::Ending, 4), Verdict::Overdue);
        assert_eq!(after(Tcp::Closed, 10), Verdict::Closing);
        assert_eq!(after(Tcp::Closed, 11), Verdict::Stuck);
    }
}
