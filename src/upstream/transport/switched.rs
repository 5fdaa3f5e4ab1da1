//! A connection to an upstream that has switched to another protocol: it no longer blocks, and ureq is
//! out of its way.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::ClientConnection;
use ureq::unversioned::transport::Transport;

use crate::sys::socket;
use crate::tunnel::End;

/// The most plaintext that is given to TLS at once, in bytes: one record.
const RECORD: usize = 16 * 1024;

/// A connection that may switch to another protocol.
pub(super) trait Switch: Transport {
    /// What is left of it without ureq; none on the way to an HTTP proxy.
    fn switch(self) -> Option<Switched>;
}

/// A connection behind a 101.
#[derive(Debug)]
pub struct Switched {
    socket: Arc<TcpStream>,
    session: Option<Box<ClientConnection>>,
    /// Bytes that came together with the head, from `start` on.
    arrived: Vec<u8>,
    start: usize,
    is_closing: bool,
}

impl Switched {
    /// The rest of a connection; `arrived` was read and not used.
    pub(super) fn new(
        socket: Arc<TcpStream>,
        mut session: Option<Box<ClientConnection>>,
        mut arrived: Vec<u8>,
    ) -> io::Result<Switched> {
        socket.set_nonblocking(true)?;
        if let Some(session) = &mut session {
            // It ends with an error: no more plaintext is there. The next read returns that error, too.
            let _ = session.reader().read_to_end(&mut arrived);
        }
        Ok(Switched { socket, session, arrived, start: 0, is_closing: false })
    }
}

impl End for Switched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.start < self.arrived.len() {
            let read = (&self.arrived[self.start..]).read(buffer)?;
            self.start += read;
            return Ok(read);
        }
        self.arrived = Vec::new();
        self.start = 0;
        let Some(session) = &mut self.session else { return (&*self.socket).read(buffer) };
        loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Many servers close without a close_notify. A protocol that switches has an end of its
                // own, which the client checks.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            session.read_tls(&mut &*self.socket)?;
            session.process_new_packets().map_err(io::Error::other)?;
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.flush()? {
            return Err(ErrorKind::WouldBlock.into());
        }
        match &mut self.session {
            None => (&*self.socket).write(bytes),
            Some(session) => {
                let written = session.writer().write(&bytes[..bytes.len().min(RECORD)])?;
                self.flush()?;
                Ok(written)
            }
        }
    }

    fn flush(&mut self) -> io::Result<bool> {
        let Some(session) = &mut self.session else { return Ok(true) };
        while session.wants_write() {
            match session.write_tls(&mut &*self.socket) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                written => written?,
            };
        }
        Ok(true)
    }

    fn finish(&mut self) -> io::Result<bool> {
        if let (Some(session), false) = (&mut self.session, self.is_closing) {
            session.send_close_notify();
        }
        self.is_closing = true;
        let is_done = self.flush()?;
        if is_done {
            // It fails if the upstream has gone already, which the next read reports.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
        Ok(is_done)
    }

    fn reset(&mut self) {
        socket::reset(&self.socket);
    }

    fn socket(&self) -> &TcpStream {
        &self.socket
    }
}
