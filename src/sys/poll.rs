//! Waiting for two sockets at once (poll(2)).

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// A socket, and the events to wait for.
#[derive(Debug)]
pub struct Interest<'a> {
    pub socket: &'a TcpStream,
    pub reads: bool,
    pub writes: bool,
}

/// The events of a socket.
#[derive(Debug, Clone, Copy, Default)]
pub struct Events {
    /// A read would not block.
    pub readable: bool,
    /// The connection broke.
    pub is_broken: bool,
}

/// Waits until one of the events occurs, or a connection breaks; none if the timeout passed before.
/// A socket without interest is ignored: the kernel would report its end again and again.
pub fn wait(
    interests: [Interest<'_>; 2],
    timeout: Option<Duration>,
) -> io::Result<Option<[Events; 2]>> {
    let mut fds = interests.map(|Interest { socket, reads, writes }| {
        let flag = |is_set, flag: libc::c_short| if is_set { flag } else { 0 };
        let fd = if reads || writes { socket.as_raw_fd() } else { -1 };
        let events = flag(reads, libc::POLLIN) | flag(writes, libc::POLLOUT);
        libc::pollfd { fd, events, revents: 0 }
    });
    let milliseconds = timeout.map_or(-1, |timeout| {
        libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX)
    });
    // SAFETY: pointer and count describe `fds`.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, milliseconds) };
    match ready {
        -1 => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(Some(<_>::default())),
            error => Err(error),
        },
        0 => Ok(None),
        _ => Ok(Some(fds.map(|fd| Events {
            readable: fd.revents & (libc::POLLIN | libc::POLLHUP) != 0,
            is_broken: fd.revents & libc::POLLERR != 0,
        }))),
    }
}
