//! The decisions about client connections, over any sequence of events.

use std::time::{Duration, Instant};

use model_filter::config::Limits;
use model_filter::progress::{Cause, Progress, Seen, Taken, Tcp, Verdict};
use proptest::prelude::*;

use crate::cases;

const SECOND: Duration = Duration::from_secs(1);
const OPEN: Seen =
    Seen { tcp: Tcp::Open, received: 0, unread: 0, silence: Duration::ZERO, awaited: None };

/// The verdict at the last of these moments, in seconds.
fn judged(progress: &mut Progress, begun: Instant, looks: &[(u32, Seen)]) -> Verdict {
    let limits = Limits::default();
    let judge =
        |(at, seen): &(u32, Seen)| progress.judge(seen, &limits, true, begun + SECOND * *at);
    looks.iter().map(judge).last().unwrap()
}

fn fresh(looks: &[(u32, Seen)]) -> Verdict {
    let now = Instant::now();
    judged(&mut Progress::new(now), now, looks)
}

#[test]
fn a_request_before_the_end_of_the_response_is_pipelined_and_the_last() {
    let now = Instant::now();
    let mut progress = Progress::new(now);
    assert_eq!(progress.take(now), Taken::Accepted);
    progress.answer(now);
    assert_eq!(progress.take(now), Taken::Accepted, "its writer may still be there");
    assert_eq!([progress.take(now), progress.take(now)], [Taken::Pipelined, Taken::Refused]);
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
        let now = Instant::now();
        let mut progress = Progress::new(now);
        progress.take(now);
        let seen = Seen { received, awaited: Some(awaited), silence: SECOND * silence, ..OPEN };
        judged(&mut progress, now, &[(0, OPEN), (9, seen), (70, seen)])
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
fn what_was_ended_is_cut_and_at_last_leaked() {
    let after = |tcp, at| {
        let seen = Seen { tcp, received: 10, ..OPEN };
        fresh(&[(0, seen), (at, seen)])
    };
    assert_eq!(after(Tcp::Ending, 3), Verdict::Closing);
    assert_eq!(after(Tcp::Ending, 4), Verdict::Overdue);
    assert_eq!(after(Tcp::Closed, 10), Verdict::Closing);
    assert_eq!(after(Tcp::Closed, 11), Verdict::Stuck);
}

/// The watch skips settled connections.
#[test]
fn a_settled_connection_is_fine_until_its_deadline_or_a_request() {
    let (now, limits) = (Instant::now(), Limits::default());
    let mut progress = Progress::new(now);
    let at = |seconds| now + SECOND * seconds;
    assert!(!progress.is_settled(&limits, now), "no look so far");
    let read = Seen { received: 100, ..OPEN };
    for (seen, settled) in [
        (OPEN, true),
        (Seen { tcp: Tcp::ClientClosed, ..OPEN }, false),
        (Seen { received: 10, unread: 10, ..OPEN }, false),
        (read, false),
    ] {
        let mut progress = Progress::new(now);
        progress.judge(&seen, &limits, true, now);
        assert_eq!(progress.is_settled(&limits, now), settled, "{seen:?}");
    }
    progress.take(now);
    assert!(!progress.is_settled(&limits, now), "an exchange is under way");
    progress.answer(now);
    progress.leave(now);
    assert!(!progress.is_settled(&limits, now), "the next request may have arrived meanwhile");
    assert_eq!(progress.judge(&read, &limits, true, at(1)), Verdict::Fine);
    assert!(progress.is_settled(&limits, at(75)));
    assert_eq!(progress.judge(&read, &limits, true, at(75)), Verdict::Fine);
    assert!(!progress.is_settled(&limits, at(76)));
    assert_eq!(progress.judge(&read, &limits, true, at(76)), Verdict::Ended(Cause::Idle));
}

/// Something that happens to a connection.
#[derive(Debug, Clone)]
enum Event {
    Take,
    Answer,
    Leave,
    End,
    Judge(Seen, bool),
}

fn event() -> impl Strategy<Value = Event> {
    let tcp = prop::sample::select(vec![
        Tcp::Open,
        Tcp::Open,
        Tcp::Open,
        Tcp::ClientClosed,
        Tcp::Ending,
        Tcp::Closed,
    ]);
    let seen = (tcp, 0..100_000_u64, 0..100_000_u64, 0..90_u32, any::<Option<u16>>());
    let judge =
        (seen, any::<bool>()).prop_map(|((tcp, received, unread, silence, awaited), on)| {
            let (silence, awaited) = (SECOND * silence, awaited.map(u64::from));
            Event::Judge(Seen { tcp, received, unread, silence, awaited }, on)
        });
    prop_oneof![
        4 => Just(Event::Take),
        4 => Just(Event::Answer),
        3 => Just(Event::Leave),
        1 => Just(Event::End),
        3 => judge,
    ]
}

proptest! {
    #![proptest_config(cases(2000))]

    /// One response at a time is unfinished, and a connection that was ended stays so.
    #[test]
    fn a_request_is_accepted_only_behind_a_finished_response(
        events in prop::collection::vec((event(), 0..40_u32), 0..30),
    ) {
        let (mut now, limits) = (Instant::now(), Limits::default());
        let mut progress = Progress::new(now);
        let (mut writers, mut is_unanswered, mut is_ended) = (0, false, false);
        for (event, seconds) in events {
            now += SECOND * seconds;
            match event {
                Event::Take => {
                    let taken = progress.take(now);
                    match taken {
                        Taken::Accepted => {
                            prop_assert!(!is_unanswered && !is_ended);
                            (writers, is_unanswered) = (writers + 1, true);
                        }
                        Taken::Pipelined => prop_assert!(is_unanswered && !is_ended),
                        // `judge` ends what the kernel has closed without a verdict that says so.
                        Taken::Refused => {}
                    }
                    is_ended |= taken != Taken::Accepted;
                }
                Event::Answer if is_unanswered => {
                    progress.answer(now);
                    is_unanswered = false;
                }
                Event::Leave if writers > usize::from(is_unanswered) => {
                    progress.leave(now);
                    writers -= 1;
                }
                Event::End => {
                    progress.end(now);
                    is_ended = true;
                }
                Event::Judge(seen, accepts) => {
                    let verdict = progress.judge(&seen, &limits, accepts, now);
                    let is_upload = matches!(verdict, Verdict::StopUpload | Verdict::BreakUpload);
                    prop_assert!(!is_upload || writers > 0);
                    if let Verdict::Ended(_) | Verdict::Overdue | Verdict::Stuck = verdict {
                        prop_assert_eq!(writers, 0, "a connection with a response was ended");
                        is_ended = true;
                    }
                }
                Event::Answer | Event::Leave => {}
            }
        }
    }
}
