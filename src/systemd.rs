//! What a service manager is told, and asks for (sd_notify(3), sd_listen_fds(3)).
//!
//! Limits: of several sockets that are passed on, the first is taken; nothing is told where
//! there is no manager.

use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::config::Supervision;
use crate::logging::Value;
use crate::probe;

/// The line to the service manager.
#[derive(Debug)]
pub struct Manager {
    socket: Option<(UnixDatagram, UnixAddress)>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// Opens the line, where there is one.
    pub fn new(supervision: &Supervision) -> Manager {
        let address = supervision.notify_socket.as_deref().and_then(|name| {
            // A name that begins with @ is not in the file system.
            match name.strip_prefix('@') {
                Some(name) => UnixAddress::from_abstract_name(name).ok(),
                None => UnixAddress::from_pathname(name).ok(),
            }
        });
        let socket = address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address)));
        Manager { socket, watchdog: supervision.watchdog }
    }

    /// The configuration is read and requests are answered.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The configuration is about to be read again; [`Manager::ready`] follows.
    pub fn reloading(&self) {
        let now = crate::sys::sockets::monotonic_micros();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// The program is about to end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=waiting for running exchanges");
    }

    /// Feeds the watchdog, where there is one, for as long as the listener really answers.
    pub fn feed_watchdog(self: &Arc<Self>, address: SocketAddr) {
        let Some(interval) = self.watchdog.map(|interval| interval / 3) else { return };
        let (manager, address) = (Arc::clone(self), probe::reachable(address));
        let feed = move || loop {
            // One that is too busy for it says so, and is alive.
            match probe::answer(address, "/-/health", interval) {
                Ok(_) => manager.tell("WATCHDOG=1"),
                Err(error) => {
                    log::error!("msg=\"the listener does not answer\" error={}", Value(&error));
                }
            }
            thread::sleep(interval);
        };
        if let Err(error) = thread::Builder::new().name("watchdog".into()).spawn(feed) {
            log::error!("msg=\"the watchdog cannot be fed\" error=\"{error}\"");
        }
    }

    fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.socket {
            if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
                log::warn!("msg=\"the service manager cannot be told\" error=\"{error}\"");
            }
        }
    }
}
