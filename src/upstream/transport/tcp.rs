//! TCP, waited for in slices: between them the exchange is asked whether it is still wanted.
//!
//! A stream may rest for minutes, so one that has been silent for a slice gives back the
//! memory that only its beginning needed.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

use super::buffers::ElasticBuffers;
use super::call::{connects_in_time, on_call, room, still_wanted, still_wanted_now_and_then};
use super::connect::connect;
use super::truth::{Early, LOOKS, early_answer};
use super::{SLICE, is_timeout};
use crate::sys::memory;
use crate::sys::sockets::{Pending, pending};

/// How much of a request is held until there is more of it, in bytes: what fits into few
/// segments.
const HELD: usize = 16 * 1024;

/// How many slices an upstream may take nothing of a request, under TLS and with bytes to
/// read: those may be more than an answer, which cannot be told before they are decrypted.
const STUBBORN: u32 = 4;

/// Opens TCP connections.
#[derive(Debug)]
pub(super) struct Tcp {
    pub(super) idle_timeout: Duration,
    pub(super) has_proxy: bool,
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
        let stream = Arc::new(stream);
        on_call(|call| *call.socket.borrow_mut() = Some(Arc::clone(&stream)));
        Ok(Some(Either::B(TcpTransport {
            stream,
            buffers: ElasticBuffers::new(),
            sending: false,
            idle_timeout: self.idle_timeout,
            plain: !details.needs_tls() && !self.has_proxy,
            deaf: false,
            failed: None,
            unseen: false,
        })))
    }
}

/// One connection to an upstream.
#[derive(Debug)]
pub(super) struct TcpTransport {
    stream: Arc<TcpStream>,
    buffers: ElasticBuffers,
    /// Whether some of a request was given to us since the upstream was last waited for.
    sending: bool,
    idle_timeout: Duration,
    /// Whether what is read is the upstream's answer, and not TLS.
    plain: bool,
    /// The upstream no longer reads: what is written is dropped, so that ureq goes on to
    /// read the answer that says why.
    deaf: bool,
    /// Whether sending has failed, and for which deadline if it was one.
    failed: Option<Option<Timeout>>,
    /// That answer was read while the request was being sent, and ureq does not know of it.
    unseen: bool,
}

impl TcpTransport {
    /// After a slice without progress: is anybody still waiting, and for how long?
    fn go_on(&self, since: Instant, timeout: &NextTimeout) -> Result<(), Error> {
        still_wanted()?;
        connects_in_time()?;
        let (limit, reason) = match timeout.after.is_not_happening() {
            true => (self.idle_timeout, Timeout::PerRead),
            false => (*timeout.after, timeout.reason),
        };
        if since.elapsed() >= limit { Err(Error::Timeout(reason)) } else { Ok(()) }
    }

    /// Sends what was held of the request, and this much of the output behind it. TLS asks again
    /// after a failure, of which it says nothing: it must be the same then.
    fn send(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        match self.failed {
            Some(Some(reason)) => return Err(Error::Timeout(reason)),
            Some(None) => return Err(io::Error::other("the request could not be sent").into()),
            None => {}
        }
        let sent = self.try_to_send(amount, timeout);
        self.failed = sent.as_ref().err().map(is_timeout);
        sent
    }

    fn try_to_send(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let mut sent = 0;
        let mut since = Instant::now();
        let mut slices = 0;
        while sent < self.buffers.to_send(amount).len() && !self.deaf {
            match (&*self.stream).write(&self.buffers.to_send(amount)[sent..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => {
                    still_wanted_now_and_then()?;
                    sent += written;
                    since = Instant::now();
                    slices = 0;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        slices += 1;
                        let patience = if self.plain { 1 } else { STUBBORN };
                        if slices >= patience && self.is_refused() {
                            self.stop_sending();
                        } else {
                            self.go_on(since, &timeout)?;
                        }
                    }
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                        self.stop_sending();
                    }
                    _ => return Err(error.into()),
                },
            }
        }
        self.buffers.sent();
        Ok(())
    }

    /// Whether the upstream answers a request of which it takes no more. While that is a
    /// success it may only be slow, or wait for us to read what it has sent.
    fn is_refused(&mut self) -> bool {
        if !self.plain {
            return pending(&self.stream) == Pending::Bytes;
        }
        let mut early = early_answer(&mut self.buffers);
        for _ in 0..LOOKS {
            if early == Early::Refusal || pending(&self.stream) != Pending::Bytes {
                break;
            }
            match (&*self.stream).read(self.buffers.input_append_buf()) {
                // There is no room for more.
                Ok(0) => return true,
                Ok(read) => self.buffers.input_appended(read),
                Err(_) => break,
            }
            self.unseen = true;
            early = early_answer(&mut self.buffers);
        }
        early == Early::Refusal
    }

    fn stop_sending(&mut self) {
        self.deaf = true;
        on_call(|call| call.upload_refused.set(true));
    }
}

impl Transport for TcpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        // The head comes first; its body is at once behind it, or the answer is waited for.
        let is_first = !std::mem::replace(&mut self.sending, true);
        if is_first && amount <= HELD && room().holds {
            self.buffers.hold(amount);
            return Ok(());
        }
        self.send(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let mut at_once = false;
        on_call(|call| at_once = call.at_once.get());
        // A look in the middle of a request leaves what is to be sent as it is.
        if !at_once {
            self.send(0, timeout)?;
            // Behind a 100 comes the rest of the request.
            self.sending = timeout.reason == Timeout::Await100;
            self.buffers.rest();
        }
        if std::mem::take(&mut self.unseen) && !self.buffers.input().is_empty() {
            return Ok(true);
        }
        if at_once && pending(&self.stream) == Pending::Nothing {
            return Err(Error::Timeout(timeout.reason));
        }
        let since = Instant::now();
        let mut is_settled = false;
        loop {
            match (&*self.stream).read(self.buffers.input_append_buf()) {
                Ok(read) => {
                    still_wanted_now_and_then()?;
                    connects_in_time()?;
                    self.buffers.input_appended(read);
                    return Ok(read > 0);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        self.go_on(since, &timeout)?;
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
        self.buffers.slim();
        // ureq looks at what it can read itself: under TLS there may be more here.
        let is_clean = !self.buffers.holds() && self.buffers.input().is_empty();
        is_clean && !self.deaf && self.failed.is_none() && pending(&self.stream) == Pending::Nothing
    }
}
