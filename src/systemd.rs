//! Notifications for the service manager and its watchdog (sd_notify(3)).
//!
//! Limits: without a `NOTIFY_SOCKET` nothing is sent.

use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::config::Supervision;
use crate::logging::Value;
use crate::probe;

/// The connection to the service manager, if the program runs under one.
#[derive(Debug)]
pub struct Manager {
    socket: Option<(UnixDatagram, UnixAddress)>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// Opens the notification socket, if the environment names one.
    pub fn new(supervision: &Supervision) -> Manager {
        let address = supervision.notify_socket.as_deref().and_then(|name| {
            // A name that starts with @ is in the abstract namespace (unix(7)).
            match name.strip_prefix('@') {
                Some(name) => UnixAddress::from_abstract_name(name).ok(),
                None => UnixAddress::from_pathname(name).ok(),
            }
        });
        let socket = address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address)));
        Manager { socket, watchdog: supervision.watchdog }
    }

    /// Reports that the configuration is loaded and requests are served.
    pub fn ready(&self, status: &str) {
        self.notify(&format!("READY=1\nSTATUS={status}"));
    }

    /// Reports that a reload begins. Call [`Manager::ready`] when it has ended.
    pub fn reloading(&self) {
        let now = crate::sys::process::monotonic_micros();
        self.notify(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// Reports that the program shuts down.
    pub fn stopping(&self) {
        self.notify("STOPPING=1\nSTATUS=waiting for running exchanges");
    }

    /// Starts a thread that feeds the watchdog, if there is one, while the listener responds.
    pub fn feed_watchdog(self: &Arc<Self>, address: SocketAddr) {
        let Some(interval) = self.watchdog.map(|interval| interval / 3) else { return };
        let (manager, address) = (Arc::clone(self), probe::reachable(address));
        let feed = move || loop {
            // Any status will do: an overloaded proxy is alive.
            match probe::answer(address, "/-/health", interval) {
                Ok(_) => manager.notify("WATCHDOG=1"),
                Err(error) => {
                    log::error!("msg=\"the listener does not respond\" error={}", Value(&error));
                }
            }
            thread::sleep(interval);
        };
        if let Err(error) = thread::Builder::new().name("watchdog".into()).spawn(feed) {
            log::error!("msg=\"cannot start the watchdog thread\" error=\"{error}\"");
        }
    }

    fn notify(&self, state: &str) {
        if let Some((socket, address)) = &self.socket {
            if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
                log::warn!("msg=\"cannot notify the service manager\" error=\"{error}\"");
            }
        }
    }
}
