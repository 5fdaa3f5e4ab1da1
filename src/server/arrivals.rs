//! Wakes the watch for the first connection, so that it can wait without a limit until then.
//!
//! Epoll drops the edge of the listener if tiny_http accepts the connection before the watch runs.
//! A signal is not dropped. But it costs a system call for each connection, so it is asked for
//! only while there is none.

use std::io::{self, Read};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use signal_hook::consts::SIGIO;
use signal_hook::low_level::pipe;

use super::connections::LISTENER;
use crate::sys::epoll::Epoll;
use crate::sys::socket;

pub(super) struct Arrivals {
    listener: TcpListener,
    /// One byte for each signal.
    signals: UnixStream,
}

impl Arrivals {
    /// Makes each signal an edge of the listener.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub(super) fn new(listener: &TcpListener, epoll: &Epoll) -> io::Result<Arrivals> {
        let (signals, handler) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        pipe::register(SIGIO, handler)?;
        epoll.add(&signals, LISTENER)?;
        Ok(Arrivals { listener: listener.try_clone()?, signals })
    }

    /// Asks for a signal for each connection that arrives from now on.
    ///
    /// # Errors
    /// The kernel does not have such signals.
    pub(super) fn signal(&self) -> io::Result<()> {
        socket::signal_arrivals(&self.listener, true)
    }

    /// Asks for no more signals.
    pub(super) fn rest(&self) {
        let _ = socket::signal_arrivals(&self.listener, false);
        let mut bytes = [0; 64];
        while (&self.signals).read(&mut bytes).is_ok_and(|read| read > 0) {}
    }
}
