//! TLS over a connection to an upstream, on rustls.
//!
//! ureq's own layer has two fixed buffers for each connection. Here plaintext has elastic ones, as TCP
//! has, and ciphertext is read from and written to those of TCP.

use std::io::{self, BufRead, ErrorKind, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::buffers::ElasticBuffers;
use super::call;
use super::words::in_words;

/// Adds TLS to connections that need it.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
}

/// A connection with TLS or without.
#[derive(Debug)]
pub(super) enum Layer<In> {
    Plain(In),
    Tls(Box<TlsTransport<In>>),
}

impl<In: Transport> Connector<In> for Tls {
    type Out = Layer<In>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(inner) = chained else { return Ok(None) };
        if !details.needs_tls() || inner.is_tls() {
            return Ok(Some(Layer::Plain(inner)));
        }
        let host = details.uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone());
        let name = name.map_err(|_| io::Error::other(format!("{host:?} is no name for TLS")))?;
        let session = ClientConnection::new(Arc::clone(&self.config), name);
        let session = session.map_err(|error| failure(&error, &host))?;
        let mut transport = TlsTransport {
            inner,
            host,
            session: Box::new(session),
            buffers: ElasticBuffers::new(),
        };
        transport.shake_hands(details.timeout)?;
        Ok(Some(Layer::Tls(Box::new(transport))))
    }
}

/// A connection with TLS.
#[derive(Debug)]
pub(super) struct TlsTransport<In> {
    inner: In,
    /// The upstream's host, for messages.
    host: String,
    session: Box<ClientConnection>,
    /// Plaintext.
    buffers: ElasticBuffers,
}

impl<In: Transport> TlsTransport<In> {
    fn shake_hands(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        while self.session.is_handshaking() {
            self.flush(timeout)?;
            if self.session.is_handshaking() && !self.receive(timeout)? {
                let what = "the upstream closed the connection during the TLS handshake";
                return Err(io::Error::new(ErrorKind::UnexpectedEof, what).into());
            }
        }
        self.flush(timeout)
    }

    /// Sends what TLS has to send.
    fn flush(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        while self.session.wants_write() {
            let mut room = self.inner.buffers().output();
            let amount = self.session.write_tls(&mut room)?;
            self.inner.transmit_output(amount, timeout)?;
        }
        Ok(())
    }

    /// Gives TLS what has arrived; waits if nothing has. Returns false at the end of the connection.
    fn receive(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if self.inner.buffers().input().is_empty() {
            self.inner.await_input(timeout)?;
        }
        let mut input = self.inner.buffers().input();
        let used = self.session.read_tls(&mut input)?;
        self.inner.buffers().input_consume(used);
        if let Err(error) = self.session.process_new_packets() {
            // The upstream learns why, if it still listens.
            let _ = self.flush(timeout);
            return Err(failure(&error, &self.host));
        }
        Ok(used > 0)
    }
}

impl<In: Transport> Transport for TlsTransport<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let mut sent = 0;
        while sent < amount {
            sent += self.session.writer().write(&self.buffers.to_send(amount)[sent..])?;
            self.flush(timeout)?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if !call::is_at_once() {
            self.buffers.shrink_output();
        }
        loop {
            match self.session.reader().fill_buf() {
                Ok(plaintext) => {
                    let room = self.buffers.input_append_buf();
                    let amount = plaintext.len().min(room.len());
                    room[..amount].copy_from_slice(&plaintext[..amount]);
                    self.session.reader().consume(amount);
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            self.buffers.shrink_input();
            self.receive(timeout)?;
            self.flush(timeout)?;
        }
    }

    fn is_open(&mut self) -> bool {
        self.buffers.shrink_input();
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl<In: Transport> Layer<In> {
    /// The session of TLS, if there is one, and the bytes that have arrived and were not used.
    pub(super) fn take_apart(self) -> (Option<Box<ClientConnection>>, Vec<u8>) {
        match self {
            Layer::Plain(mut inner) => (None, inner.buffers().input().to_vec()),
            Layer::Tls(transport) => {
                let TlsTransport { mut inner, mut session, buffers, .. } = *transport;
                let mut input = inner.buffers().input();
                while !input.is_empty() {
                    // A record that is not valid fails the next read, too.
                    let is_read = matches!(session.read_tls(&mut input), Ok(1..));
                    if !is_read || session.process_new_packets().is_err() {
                        break;
                    }
                }
                (Some(session), buffers.input().to_vec())
            }
        }
    }
}

impl<In: Transport> Transport for Layer<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        match self {
            Layer::Plain(inner) => inner.buffers(),
            Layer::Tls(transport) => transport.buffers(),
        }
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        match self {
            Layer::Plain(inner) => inner.transmit_output(amount, timeout),
            Layer::Tls(transport) => transport.transmit_output(amount, timeout),
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        match self {
            Layer::Plain(inner) => inner.await_input(timeout),
            Layer::Tls(transport) => transport.await_input(timeout),
        }
    }

    fn is_open(&mut self) -> bool {
        match self {
            Layer::Plain(inner) => inner.is_open(),
            Layer::Tls(transport) => transport.is_open(),
        }
    }

    fn is_tls(&self) -> bool {
        match self {
            Layer::Plain(inner) => inner.is_tls(),
            Layer::Tls(_) => true,
        }
    }
}

fn failure(error: &rustls::Error, host: &str) -> Error {
    io::Error::new(ErrorKind::InvalidData, in_words(error, host)).into()
}
