//! A LIFO pool of idle connections to one upstream.
//!
//! ureq's own pool counts its connections several times per request under one lock, and uses
//! the one that was idle for longest. Here the connection that was used last is reused: its
//! memory is warm, and connections that only a burst needed grow old and are closed. ureq is
//! configured to keep none. It asks a connection whether it is open once the response has
//! ended, and then drops it: that moves it to the pool.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::call::{is_renewed, put_switched, switches};
use super::switched::Switch;
use super::truth::is_to_proxy;

/// The most idle connections.
const MOST: usize = 256;

/// How long a connection may be idle; it is closed after at most twice this time.
const AGE: Duration = Duration::from_secs(15);

/// Reuses an idle connection, or opens a new one.
#[derive(Debug)]
pub(super) struct Reuse<C: Connector> {
    connector: C,
    idle: Arc<Idle<C::Out>>,
    /// Whether the upstream is behind an HTTP proxy.
    has_proxy: bool,
}

impl<C: Connector> Reuse<C> {
    pub(super) fn new(connector: C, has_proxy: bool) -> Reuse<C> {
        let idle = Idle { connections: Mutex::default(), is_swept: AtomicBool::new(false) };
        Reuse { connector, idle: Arc::new(idle), has_proxy }
    }
}

impl<C: Connector> Connector for Reuse<C>
where
    C::Out: Switch,
{
    type Out = Reused<C::Out>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        let idle = (!is_to_proxy(details, self.has_proxy)).then(|| Arc::clone(&self.idle));
        if is_renewed() {
            // One connection broke, so the others probably did too.
            self.idle.lock().clear();
        }
        let transport = match idle.as_ref().and_then(|idle| idle.take()) {
            Some(transport) => Some(transport),
            None => self.connector.connect(details, chained)?.map(Box::new),
        };
        let reused = |transport| Reused { transport: Some(transport), is_idle: false, idle };
        Ok(transport.map(reused))
    }
}

#[derive(Debug)]
struct Idle<T> {
    /// In the order in which they became idle.
    connections: Mutex<Connections<T>>,
    /// Whether a thread closes those that were idle for too long.
    is_swept: AtomicBool,
}

type Connections<T> = VecDeque<(Instant, Box<T>)>;

impl<T: Transport> Idle<T> {
    /// Takes the newest connection that is still open.
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
        if !self.is_swept.swap(true, Ordering::Relaxed) {
            let idle = Arc::downgrade(self);
            let thread = thread::Builder::new().name("idle".into());
            // If no thread can be started, the next connection tries again.
            if thread.spawn(move || while Idle::sweep(&idle) {}).is_err() {
                self.is_swept.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Waits, and closes old connections; false if none is left.
    fn sweep(idle: &Weak<Self>) -> bool {
        thread::sleep(AGE);
        let Some(idle) = idle.upgrade() else { return false };
        let mut connections = idle.lock();
        let old = connections.iter().take_while(|(since, _)| since.elapsed() >= AGE).count();
        let old: Connections<T> = connections.drain(..old).collect();
        let goes_on = !connections.is_empty();
        idle.is_swept.store(goes_on, Ordering::Relaxed);
        drop(connections);
        drop(old);
        goes_on
    }

    fn lock(&self) -> MutexGuard<'_, Connections<T>> {
        self.connections.lock().expect("nothing panics under this lock")
    }
}

/// A connection that goes to the pool when ureq drops it, or to its call if it switches protocols.
#[derive(Debug)]
pub(super) struct Reused<T: Switch> {
    transport: Option<Box<T>>,
    /// Whether the last response was read to its end.
    is_idle: bool,
    idle: Option<Arc<Idle<T>>>,
}

impl<T: Switch> Reused<T> {
    fn transport(&mut self) -> &mut T {
        self.transport.as_mut().expect("it is there until this is dropped")
    }
}

impl<T: Switch> Transport for Reused<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport().buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.is_idle = false;
        self.transport().transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.is_idle = false;
        self.transport().await_input(timeout)
    }

    /// ureq asks this once the response has ended.
    fn is_open(&mut self) -> bool {
        let is_open = self.transport().is_open();
        self.is_idle = is_open && self.idle.is_some();
        is_open
    }

    fn is_tls(&self) -> bool {
        self.transport.as_ref().is_some_and(|transport| transport.is_tls())
    }
}

impl<T: Switch> Drop for Reused<T> {
    fn drop(&mut self) {
        match (self.transport.take(), &self.idle) {
            (Some(transport), Some(idle)) if self.is_idle => idle.keep(transport),
            // ureq drops it at once behind a 101.
            (Some(transport), _) if switches() => {
                if let Some(switched) = transport.switch() {
                    put_switched(Box::new(switched));
                }
            }
            _ => {}
        }
    }
}
