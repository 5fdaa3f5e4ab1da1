//! Connections to an upstream between two requests.
//!
//! ureq's own pool counts all idle connections several times for each request, under one
//! lock, and uses the one that has rested longest. Here it is the one that was used last:
//! its memory is warm, and those that only a burst needed grow old and are closed. ureq
//! is told to keep none: it asks a connection whether it is open once the response is at
//! its end, and then drops it. That is the moment at which it comes here. Limits: all
//! connections of one pool lead to the same upstream.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::call::is_renewed;
use super::is_to_proxy;

/// How many connections are kept.
const MOST: usize = 256;

/// How long one is kept, at least, and at most twice as long.
const AGE: Duration = Duration::from_secs(15);

/// Takes an idle connection where there is one, and has a new one made where there is none.
#[derive(Debug)]
pub(super) struct Reuse<C: Connector> {
    connector: C,
    idle: Arc<Idle<C::Out>>,
    /// Whether the upstream is behind an HTTP proxy.
    has_proxy: bool,
}

impl<C: Connector> Reuse<C> {
    pub(super) fn new(connector: C, has_proxy: bool) -> Reuse<C> {
        let idle = Idle { connections: Mutex::default(), is_tended: AtomicBool::new(false) };
        Reuse { connector, idle: Arc::new(idle), has_proxy }
    }
}

impl<C: Connector> Connector for Reuse<C> {
    type Out = Reused<C::Out>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        let idle = (!is_to_proxy(details, self.has_proxy)).then(|| Arc::clone(&self.idle));
        if is_renewed() {
            // What one has lost, the others are likely to have lost too.
            self.idle.lock().clear();
        }
        let transport = match idle.as_ref().and_then(|idle| idle.take()) {
            Some(transport) => Some(transport),
            None => self.connector.connect(details, chained)?.map(Box::new),
        };
        let reused = |transport| Reused { transport: Some(transport), is_at_rest: false, idle };
        Ok(transport.map(reused))
    }
}

#[derive(Debug)]
struct Idle<T> {
    /// The last was used last.
    connections: Mutex<Connections<T>>,
    /// Whether there is a thread that closes those that have grown old.
    is_tended: AtomicBool,
}

type Connections<T> = VecDeque<(Instant, Box<T>)>;

impl<T: Transport> Idle<T> {
    /// One that is open.
    fn take(&self) -> Option<Box<T>> {
        loop {
            let (since, mut transport) = self.lock().pop_back()?;
            if since.elapsed() < AGE && transport.is_open() {
                return Some(transport);
            }
        }
    }

    fn keep(self: &Arc<Self>, transport: Box<T>) {
        let mut connections = self.lock();
        connections.push_back((Instant::now(), transport));
        let surplus = if connections.len() > MOST { connections.pop_front() } else { None };
        drop(connections);
        drop(surplus);
        if !self.is_tended.swap(true, Ordering::Relaxed) {
            let idle = Arc::downgrade(self);
            let thread = thread::Builder::new().name("idle".into());
            // Without a thread to spare, the next one that is kept tries again.
            if thread.spawn(move || while Idle::tend(&idle) {}).is_err() {
                self.is_tended.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Waits, and closes what has grown old meanwhile; false where none is left.
    fn tend(idle: &Weak<Self>) -> bool {
        thread::sleep(AGE);
        let Some(idle) = idle.upgrade() else { return false };
        let mut connections = idle.lock();
        let old = connections.iter().take_while(|(since, _)| since.elapsed() >= AGE).count();
        let old: Connections<T> = connections.drain(..old).collect();
        let goes_on = !connections.is_empty();
        idle.is_tended.store(goes_on, Ordering::Relaxed);
        drop(connections);
        drop(old);
        goes_on
    }

    fn lock(&self) -> MutexGuard<'_, Connections<T>> {
        self.connections.lock().expect("nothing panics under this lock")
    }
}

/// A connection that is kept when ureq is done with it.
#[derive(Debug)]
pub(super) struct Reused<T: Transport> {
    transport: Option<Box<T>>,
    /// Whether the last response was read to its end.
    is_at_rest: bool,
    idle: Option<Arc<Idle<T>>>,
}

impl<T: Transport> Reused<T> {
    fn transport(&mut self) -> &mut T {
        self.transport.as_mut().expect("it is there until this is dropped")
    }
}

impl<T: Transport> Transport for Reused<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport().buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.is_at_rest = false;
        self.transport().transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.is_at_rest = false;
        self.transport().await_input(timeout)
    }

    /// Asked once the response is at its end.
    fn is_open(&mut self) -> bool {
        let is_open = self.transport().is_open();
        self.is_at_rest = is_open && self.idle.is_some();
        is_open
    }

    fn is_tls(&self) -> bool {
        self.transport.as_ref().is_some_and(|transport| transport.is_tls())
    }
}

impl<T: Transport> Drop for Reused<T> {
    fn drop(&mut self) {
        if let (true, Some(idle), Some(transport)) =
            (self.is_at_rest, &self.idle, self.transport.take())
        {
            idle.keep(transport);
        }
    }
}
