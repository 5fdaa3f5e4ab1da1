//! TCP, waited for in slices between which the client is checked.
//!
//! A stream may be idle for minutes, so one that was silent for a slice returns the memory
//! that only its beginning needed.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

use super::buffers::ElasticBuffers;
use super::call::{self, check_client, check_client_now_and_then, check_connect_deadline};
use super::connect::connect;
use super::early::{Early, look, read_arrived};
use super::timing::{SLICE, timeout_of};
use crate::sys::memory;
use crate::sys::socket::{Pending, pending, set_path_timeout};

/// After how many seconds without an acknowledgement a path counts as dead: the machine was suspended,
/// or its network has changed.
pub const PATH_TIMEOUT: i32 = 30;

/// Whether an error says that the path is dead.
pub fn is_path_timeout(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ETIMEDOUT)
}

/// How much of a request is held until more of it is there, in bytes: what fits into few
/// segments.
const HELD: usize = 16 * 1024;

/// After how many slices in which the upstream accepted nothing its response is looked for.
/// Under TLS the bytes that have arrived cannot be judged, so they are taken for a refusal.
const PLAIN_PATIENCE: u32 = 1;
const TLS_PATIENCE: u32 = 4;

/// Opens TCP connections.
#[derive(Debug)]
pub(super) struct Tcp {
    pub(super) idle_timeout: Duration,
    pub(super) has_proxy: bool,
    /// Whether requests are sent to an HTTP proxy in absolute form.
    pub(super) is_absolute: bool,
}

impl<In: Transport> Connector<In> for Tcp {
    type Out = Either<In, TcpTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(tunnel) = chained {
            return Ok(Some(Either::A(tunnel)));
        }
        let stream = connect(&details.addrs, &details.timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SLICE))?;
        stream.set_write_timeout(Some(SLICE))?;
        set_path_timeout(&stream, PATH_TIMEOUT)?;
        let stream = Arc::new(stream);
        call::put_socket(Arc::clone(&stream));
        Ok(Some(Either::B(TcpTransport {
            stream,
            buffers: ElasticBuffers::new(),
            is_sending: false,
            origin: self.is_absolute.then(|| origin(details)),
            idle_timeout: self.idle_timeout,
            is_plain: !details.needs_tls() && !self.has_proxy,
            fault: Fault::None,
        })))
    }
}

/// Scheme and authority of the URL that is asked.
fn origin(details: &ConnectionDetails<'_>) -> String {
    let authority = details.uri.authority().map(|authority| authority.as_str());
    format!("http://{}", authority.unwrap_or_default())
}

/// One connection to an upstream.
#[derive(Debug)]
pub(super) struct TcpTransport {
    stream: Arc<TcpStream>,
    buffers: ElasticBuffers,
    /// Whether some of a request was sent or held since the response was last waited for.
    is_sending: bool,
    /// Scheme and authority of the upstream, if requests are sent in absolute form.
    origin: Option<String>,
    idle_timeout: Duration,
    /// Whether the bytes that are read are the upstream's response, and not TLS.
    is_plain: bool,
    fault: Fault,
}

/// Why sending failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Timeout(Timeout),
    Other,
}

impl TcpTransport {
    /// Whether to wait for another slice after one without progress.
    fn check(&self, since: Instant, timeout: &NextTimeout) -> Result<(), Error> {
        check_client()?;
        check_connect_deadline()?;
        let (limit, reason) = match timeout.after.is_not_happening() {
            true => (self.idle_timeout, Timeout::PerRead),
            false => (*timeout.after, timeout.reason),
        };
        if since.elapsed() >= limit { Err(Error::Timeout(reason)) } else { Ok(()) }
    }

    /// Sends the held part of the request and this much of the output behind it. The TLS layer
    /// repeats a call that failed, without saying so: it must fail the same way.
    fn send(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        match self.fault {
            Fault::None => {}
            Fault::Timeout(reason) => return Err(Error::Timeout(reason)),
            Fault::Other => return Err(io::Error::other("the request could not be sent").into()),
        }
        let sent = self.try_to_send(amount, timeout);
        if let Err(error) = &sent {
            self.fault = timeout_of(error).map_or(Fault::Other, Fault::Timeout);
        }
        sent
    }

    fn try_to_send(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let mut sent = 0;
        let mut since = Instant::now();
        let mut slices = 0;
        while sent < self.buffers.to_send(amount).len() && !call::upload_refused() {
            match (&*self.stream).write(&self.buffers.to_send(amount)[sent..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => {
                    check_client_now_and_then()?;
                    sent += written;
                    since = Instant::now();
                    slices = 0;
                }
                Err(error) if is_path_timeout(&error) => return Err(error.into()),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        slices += 1;
                        let patience = if self.is_plain { PLAIN_PATIENCE } else { TLS_PATIENCE };
                        if slices >= patience && self.is_refused() {
                            call::refuse_upload();
                        } else {
                            self.check(since, &timeout)?;
                        }
                    }
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                        call::refuse_upload();
                    }
                    _ => return Err(error.into()),
                },
            }
        }
        self.buffers.sent();
        Ok(())
    }

    /// Whether the upstream has responded to a request of which it accepts no more.
    fn is_refused(&mut self) -> bool {
        if !self.is_plain {
            return pending(&self.stream) == Pending::Bytes;
        }
        let stream = Arc::clone(&self.stream);
        match look(self, &stream) {
            Early::None => false,
            Early::Refusal => true,
            Early::Success => {
                // It may be waiting for us to read; until the buffer is full, that helps.
                while pending(&stream) == Pending::Bytes {
                    if !matches!(read_arrived(self), Ok(true)) {
                        return true;
                    }
                }
                false
            }
        }
    }
}

impl Transport for TcpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        // The first part is the head. Next comes its body at once, or the wait for the response.
        let is_first = !std::mem::replace(&mut self.is_sending, true);
        let amount = match &self.origin {
            Some(origin) if is_first => self.buffers.insert_before_path(amount, origin),
            _ => amount,
        };
        if is_first && amount <= HELD && call::room().holds {
            self.buffers.hold(amount);
            return Ok(());
        }
        self.send(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if call::is_at_once() {
            // The request may not be complete: what is held of it stays so.
            if pending(&self.stream) == Pending::Nothing {
                return Err(Error::Timeout(timeout.reason));
            }
        } else {
            self.send(0, timeout)?;
            // Behind a 100 comes the rest of the request.
            self.is_sending = timeout.reason == Timeout::Await100;
            self.buffers.shrink_output();
        }
        let since = Instant::now();
        let mut is_settled = false;
        loop {
            match (&*self.stream).read(self.buffers.input_append_buf()) {
                Ok(read) => {
                    check_client_now_and_then()?;
                    check_connect_deadline()?;
                    self.buffers.input_appended(read);
                    return Ok(read > 0);
                }
                Err(error) if is_path_timeout(&error) => return Err(error.into()),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        self.check(since, &timeout)?;
                        // There may be a thousand such streams, for minutes.
                        if !std::mem::replace(&mut is_settled, true) {
                            self.buffers.settle();
                            memory::release_stack();
                        }
                    }
                    _ => return Err(error.into()),
                },
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.buffers.shrink_input();
        // ureq checks only the input that it can see: below TLS there may be more.
        let is_clean = !self.buffers.holds() && self.buffers.input().is_empty();
        let has_failed = call::upload_refused() || self.fault != Fault::None;
        is_clean && !has_failed && pending(&self.stream) == Pending::Nothing
    }
}
