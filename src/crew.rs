//! A crew of threads that take turns: the leader waits for work, and hands the lead over to
//! another member before it does the work.
//!
//! The lead goes to the member that began to wait last: its memory is warm, and those that only a
//! burst needed leave. Limits: the crew counts its threads and does not start them.

use std::sync::{Mutex, MutexGuard};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long a member waits for the lead, or as the leader for work, before it leaves.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The members of a crew.
#[derive(Debug, Default)]
pub struct Crew(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    members: usize,
    /// Those that do work.
    busy: usize,
    is_led: bool,
    /// Whether all members must leave.
    is_retired: bool,
    /// Those that wait for the lead; the last is called first.
    waiting: Vec<Thread>,
    /// The one that was called to take the lead, until it has. A member that finishes its work in
    /// between takes it first.
    called: Option<Thread>,
}

impl State {
    /// How many do no work, the leader included.
    fn idle(&self) -> usize {
        self.members - self.busy
    }

    /// Notes that a member does not wait any more.
    fn forget(&mut self, member: &Thread) {
        let is_it = |other: &Thread| other.id() == member.id();
        if self.called.take_if(|called| is_it(called)).is_none() {
            self.waiting.retain(|other| !is_it(other));
        }
    }
}

impl Crew {
    /// Counts a member in, before its thread is started.
    pub fn join(&self) {
        self.state().members += 1;
    }

    /// Counts a member out whose thread could not be started.
    pub fn leave(&self) {
        self.state().members -= 1;
    }

    /// Counts the calling member out if it is not needed: others are idle, or all must leave.
    pub fn leave_if_spare(&self) -> bool {
        let mut state = self.state();
        let is_spare = state.is_retired || state.idle() > 1;
        state.members -= usize::from(is_spare);
        is_spare
    }

    /// How many members there are.
    pub fn size(&self) -> usize {
        self.state().members
    }

    /// How many of them do no work, the leader included.
    pub fn idle(&self) -> usize {
        self.state().idle()
    }

    /// Counts the calling member as one that does work, until [`Crew::end_work`].
    pub fn begin_work(&self) {
        self.state().busy += 1;
    }

    /// See [`Crew::begin_work`].
    pub fn end_work(&self) {
        self.state().busy -= 1;
    }

    /// Waits for the lead. None if the calling member was not needed for a while: it has left.
    pub fn take_lead(&self) -> Option<Lead<'_>> {
        let (member, since) = (thread::current(), Instant::now());
        loop {
            let mut state = self.state();
            state.forget(&member);
            if !state.is_led && !state.is_retired {
                state.is_led = true;
                return Some(Lead(self));
            }
            // One idle member stays: the leader may be about to drop the lead.
            if state.is_retired || (since.elapsed() >= PATIENCE && state.idle() > 1) {
                state.members -= 1;
                return None;
            }
            state.waiting.push(member.clone());
            drop(state);
            thread::park_timeout(PATIENCE);
        }
    }

    /// Makes all members leave that have no work, and the others when they have done it.
    pub fn retire(&self) {
        let mut state = self.state();
        state.is_retired = true;
        state.waiting.iter().chain(&state.called).for_each(Thread::unpark);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

/// The right to wait for work. Dropped, it goes to another member.
#[derive(Debug)]
pub struct Lead<'a>(&'a Crew);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_led = false;
        if state.called.is_none() {
            state.called = state.waiting.pop();
            let called = state.called.clone();
            drop(state);
            called.iter().for_each(Thread::unpark);
        }
    }
}
