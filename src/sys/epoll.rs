//! Edge-triggered epoll: which of many sockets had something happen since the last question.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// How many edges one call returns; the rest come with the next call.
const BATCH: usize = 64;

/// A set of sockets, each under a token of the caller's choice.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: a plain system call.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call returned a new descriptor that has no other owner.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Adds a socket: what arrives, and the peer's end, are edges.
    pub fn add(&self, socket: &impl AsFd, token: u64) -> io::Result<()> {
        let events = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
        self.control(libc::EPOLL_CTL_ADD, socket, libc::epoll_event { events, u64: token })
    }

    /// Removes a socket. Closing it is not enough while it has other descriptors.
    pub fn remove(&self, socket: &impl AsFd) {
        // It fails only for a socket that is not in the set.
        let _ = self.control(libc::EPOLL_CTL_DEL, socket, libc::epoll_event { events: 0, u64: 0 });
    }

    fn control(
        &self,
        operation: i32,
        socket: &impl AsFd,
        mut event: libc::epoll_event,
    ) -> io::Result<()> {
        let (set, fd) = (self.0.as_raw_fd(), socket.as_fd().as_raw_fd());
        // SAFETY: both descriptors are open for the call, and the pointer is to a valid event.
        match unsafe { libc::epoll_ctl(set, operation, fd, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits for edges, without a limit if there is none, and appends their tokens.
    pub fn wait(&self, within: Option<Duration>, tokens: &mut Vec<u64>) {
        // Rounded up, so that a deadline has passed when the call returns.
        let millis = within.map_or(-1, |within| {
            i32::try_from(within.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
        });
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
        let (set, room) = (self.0.as_raw_fd(), BATCH as i32);
        // SAFETY: pointer and room describe `events`.
        let count = unsafe { libc::epoll_wait(set, events.as_mut_ptr(), room, millis) };
        // Below zero it was interrupted, and the caller asks again.
        tokens.extend(events.iter().take(usize::try_from(count).unwrap_or(0)).map(|e| e.u64));
    }
}
