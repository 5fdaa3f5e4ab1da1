//! One request: the seam between the relay and tiny_http.
//!
//! The body is read through [`Exchange::body`]. The response is sent whole
//! ([`Exchange::respond`]) or begun as a [`Response`] ([`Exchange::begin`]). Its head is written
//! here and not by tiny_http, which adds fields of its own. Limits: HTTP/1.0 and 1.1.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::leak;
use super::response::{DRAIN_TIME, Out, Response, Start, drain};
use super::switched::{Permit, Switched};
use crate::chunks::Chunks;
use crate::error::{Code, Error};
use crate::framing::{BodyLength, Framing, body_length, is_raw, response_head, stays_open};
use crate::headers::Headers;
use crate::record::Sent;
use crate::reply::Reply;
use crate::wanted::Wanted;

/// Up to this length tiny_http reads a body with the head, in bytes.
const READ_AT_ONCE: u64 = 1024;

/// How much of a body that is not wanted is read, so that the connection can go on, in bytes.
const DRAIN_BYTES: usize = 256 * 1024;

/// How often to check whether the response in front has ended.
const TURN: Duration = Duration::from_millis(1);

const HELD: &str = "an exchange holds its request until the response begins";

/// A request that waits for its response. Dropped without one, it is answered with 500.
pub struct Exchange {
    request: Option<tiny_http::Request>,
    connection: Arc<Connection>,
    headers: Headers,
    body: BodyState,
    refusal: Option<Error>,
    /// Fields for every response.
    added: Headers,
    /// Whether the response must not wait for the client.
    is_turned_away: bool,
    is_http_1_0: bool,
    started: Instant,
    /// The right to switch protocols.
    permit: Option<Permit>,
}

/// How far the body of the request has been read.
#[derive(Debug)]
struct BodyState {
    length: BodyLength,
    read: u64,
    /// Whether all of it was read.
    ended: bool,
    /// Whether the rest of it cannot be parsed.
    failed: bool,
    /// Whether tiny_http hands it out as it is on the connection.
    is_raw: bool,
    /// If it does: how far its chunks have been read.
    chunks: Chunks,
}

impl Exchange {
    pub(super) fn new(request: tiny_http::Request, connection: Arc<Connection>) -> Exchange {
        let mut headers = Headers::with_capacity(request.headers().len());
        for field in request.headers() {
            headers.push(field.field.as_str().as_str(), field.value.as_str());
        }
        let is_http_1_0 = *request.http_version() < tiny_http::HTTPVersion(1, 1);
        let (length, refusal) = match body_length(request.url(), &headers, is_http_1_0) {
            Ok(length) => (length, None),
            Err(error) => (BodyLength::None, Some(error)),
        };
        let ended = refusal.is_none() && matches!(length, BodyLength::None | BodyLength::Known(0));
        if refusal.is_some() {
            // The next bytes on the connection may be a part of this request.
            connection.end();
        }
        let body = BodyState {
            length,
            read: 0,
            ended,
            failed: refusal.is_some(),
            is_raw: is_raw(&headers),
            chunks: Chunks::default(),
        };
        Exchange {
            request: Some(request),
            connection,
            headers,
            body,
            refusal,
            added: Headers::new(),
            is_turned_away: false,
            is_http_1_0,
            started: Instant::now(),
            permit: None,
        }
    }

    /// Adds fields to the response, whatever it will be.
    pub fn add_to_response(&mut self, headers: Headers) {
        self.added = headers;
    }

    /// Why this request must be refused: its framing is ambiguous, or there is no room for it.
    pub fn refusal(&self) -> Option<&Error> {
        self.refusal.as_ref()
    }

    /// Refuses a request for lack of room: the response must not take time.
    pub(super) fn turn_away(&mut self, error: Error) {
        self.refusal.get_or_insert(error);
        self.is_turned_away = true;
    }

    /// The method, as it was sent.
    pub fn method(&self) -> &str {
        self.request.as_ref().expect(HELD).method().as_str()
    }

    /// The request target, as it was sent.
    pub fn target(&self) -> &str {
        self.request.as_ref().expect(HELD).url()
    }

    /// Whether the client speaks HTTP/1.0.
    pub fn is_http_1_0(&self) -> bool {
        self.is_http_1_0
    }

    /// The request's header fields.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The client's address.
    pub fn peer(&self) -> SocketAddr {
        self.connection.origin.peer
    }

    /// A handle that knows whether the client is still connected.
    pub fn wanted(&self) -> Arc<dyn Wanted> {
        Arc::clone(&self.connection) as Arc<dyn Wanted>
    }

    /// The protocol that the client asks to switch to, as it wrote it. Offers that a server may ignore
    /// (RFC 9110 §7.8) do not count: HTTP/2, which some clients offer with every first request, and
    /// those beside a body or another method than `GET`.
    pub fn protocol(&self) -> Option<&str> {
        let is_plain = self.method() == "GET"
            && matches!(self.body.length, BodyLength::None | BodyLength::Known(0))
            && !self.is_http_1_0
            && !self.headers.contains("expect");
        let is_asked = self.body.is_raw && self.headers.lists("connection", "upgrade");
        let protocol = self.headers.get_str("upgrade").filter(|_| is_plain && is_asked)?;
        let is_offered = !protocol.trim().is_empty() && !self.headers.lists("upgrade", "h2c");
        is_offered.then_some(protocol)
    }

    /// Takes one of `server.max_upgrades`, for as long as this connection lasts.
    ///
    /// # Errors
    /// 503 if none is left.
    pub fn reserve_upgrade(&mut self) -> Result<(), Error> {
        self.permit = Permit::take(&self.connection.common);
        if self.permit.is_some() {
            return Ok(());
        }
        let most = self.connection.common.max_upgrades;
        let what = format!("the limit of {most} upgraded connections is reached");
        Err(Error::proxy(Code::Overloaded, what))
    }

    /// How long the body is, as the client announced it.
    pub fn body_length(&self) -> BodyLength {
        self.body.length
    }

    /// The body, to be read to its end. A body that stops early is an error of kind
    /// `UnexpectedEof`, an invalid chunk one of kind `InvalidData`.
    pub fn body(&mut self) -> Body<'_> {
        Body(self)
    }

    /// Sends a whole response, whose body may have further parts.
    pub fn respond(self, reply: &Reply, rest: &[&[u8]]) -> Sent {
        let length = reply.body.len() + rest.iter().map(|part| part.len()).sum::<usize>();
        // The length of a 304 would be that of the 200 in its place (RFC 9110 §8.6).
        let length = (reply.status != 304).then_some(length as u64);
        let mut response = self.begin(reply.status, &reply.headers, length);
        response.write(&reply.body);
        rest.iter().for_each(|part| response.write(part));
        response.end()
    }

    /// Closes the connection without a response, since the client has left.
    pub fn abandon(mut self) -> Sent {
        leak::release(self.request.take().expect(HELD), &self.connection);
        self.connection.progress().leave(Instant::now());
        self.sent(Code::ClientLeft.status())
    }

    /// Responds 101 with these fields; from then on the connection has another protocol.
    ///
    /// # Errors
    /// The facts of an exchange without a response: the client is gone.
    pub fn switch(mut self, headers: &Headers) -> Result<Switched, Sent> {
        const STATUS: u16 = 101;
        self.connection.end();
        let is_in_turn = self.waits_for_turn();
        let reason = tiny_http::StatusCode(STATUS).default_reason_phrase();
        let head = response_head(STATUS, reason, headers.iter().chain(self.added.iter()));
        let mut socket = &self.connection.socket;
        let is_sent = is_in_turn && socket.write_all(&head).is_ok();
        // Of tiny_http's descriptors of the socket too.
        if !is_sent || socket.set_nonblocking(true).is_err() {
            return Err(self.abandon());
        }
        Ok(Switched {
            sent: self.sent(STATUS),
            request: self.request.take(),
            connection: Arc::clone(&self.connection),
            started: self.started,
            _permit: self.permit.take(),
        })
    }

    /// Begins the response: its head is sent with the first part of the body. `headers` are
    /// without the fields that frame the body; `length` is the body's, if it is known. A failed
    /// write is remembered: see [`Response::broken`].
    pub fn begin(mut self, status: u16, headers: &Headers, length: Option<u64>) -> Response {
        self.start(status, headers, length)
    }

    fn start(&mut self, status: u16, headers: &Headers, length: Option<u64>) -> Response {
        let (is_head, is_http_1_0) = (self.method() == "HEAD", self.is_http_1_0);
        let framing = Framing::of_response(is_head, status, length, is_http_1_0);
        let out = self.way_out();
        let library_goes_on = stays_open(&self.headers, is_http_1_0);
        self.connection.progress().is_last |= !library_goes_on;
        let is_last = self.connection.is_closing() || framing == Framing::Close;
        framing.announce(status, length, &mut self.added);
        match library_goes_on && !is_last {
            false => self.added.push("connection", "close"),
            true if is_http_1_0 => self.added.push("connection", "keep-alive"),
            true => {}
        }
        let reason = tiny_http::StatusCode(status).default_reason_phrase();
        let head = response_head(status, reason, headers.iter().chain(self.added.iter()));
        let (connection, started) = (Arc::clone(&self.connection), self.started);
        let sent = self.sent(status);
        Response::new(Start { out, connection, framing, is_last, started, sent }, head)
    }

    /// The facts of the response that are known before it is sent.
    fn sent(&self, status: u16) -> Sent {
        let (first_byte, bytes_in) = (self.started.elapsed(), self.body.read);
        Sent { status, first_byte, total: first_byte, bytes_in, bytes_out: 0, complete: false }
    }

    /// How the response can reach the client. tiny_http gives its writer only in exchange for the
    /// request, and then reads the rest of the body, however long that is. So a short rest is read
    /// here; if there is a long one, the response goes to the socket, and the connection ends.
    fn way_out(&mut self) -> Out {
        let is_short =
            matches!(self.body.length, BodyLength::Known(..=READ_AT_ONCE)) && !self.body.is_raw;
        let is_there = self.body.ended || (is_short && !self.headers.contains("expect"));
        let is_read = !self.is_turned_away && (is_there || self.drain());
        let request = self.request.take().expect(HELD);
        if is_read {
            return Out::Writer(request.into_writer());
        }
        // The next bytes on the connection may be the rest of this body.
        self.connection.end();
        let is_in_turn = self.waits_for_turn();
        // Nor may the write of one that is turned away wait for the client.
        let is_ready = !self.is_turned_away || self.connection.socket.set_nonblocking(true).is_ok();
        if is_in_turn && is_ready {
            return Out::Socket(request);
        }
        self.connection.park(request);
        Out::Nowhere
    }

    /// Waits until the response in front has reached its end; false if it did not in time.
    fn waits_for_turn(&self) -> bool {
        let deadline = Instant::now() + DRAIN_TIME;
        let waits = || !self.is_turned_away && Instant::now() < deadline;
        while self.connection.progress().open > 1 && waits() {
            thread::sleep(TURN);
        }
        self.connection.progress().open == 1
    }

    /// Reads the rest of the body if it is short; false if it was not.
    fn drain(&mut self) -> bool {
        let rest = match self.body.length {
            BodyLength::Known(length) => length - self.body.read,
            _ => 0,
        };
        // A client that waits for "100 Continue" must not be asked to send the body.
        let expects = self.headers.contains("expect") && self.body.read == 0;
        if self.body.failed || expects || rest > DRAIN_BYTES as u64 {
            return false;
        }
        let connection = Arc::clone(&self.connection);
        let mut left = DRAIN_BYTES;
        drain(&connection.socket, |buffer| match self.body().read(buffer) {
            Ok(read) => {
                left = left.saturating_sub(read);
                left > 0 && !self.body.ended
            }
            Err(_) => false,
        });
        self.body.ended
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Only a panic leaves the request here: every response takes it.
        if self.request.is_some() {
            let what = "an internal error: see the log of model-filter";
            let reply = Reply::error(&Error::proxy(Code::Internal, what));
            let length = Some(reply.body.len() as u64);
            let mut response = self.start(reply.status, &reply.headers, length);
            response.write(&reply.body);
            response.end();
        }
    }
}

/// The body of a request.
pub struct Body<'a>(&'a mut Exchange);

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Exchange { request, connection, body, .. } = &mut *self.0;
        if body.ended || buffer.is_empty() {
            return Ok(0);
        }
        let left = match body.length {
            BodyLength::Known(length) => usize::try_from(length - body.read).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let room = buffer.len().min(left);
        let (upload, reader) = (&connection.upload, request.as_mut().expect(HELD).as_reader());
        upload.awaited.store(true, Ordering::Relaxed);
        let is_decoded_here = body.is_raw && body.length == BodyLength::Chunked;
        let read = match is_decoded_here {
            true => body.chunks.read(reader, &mut buffer[..room]),
            false => reader.read(&mut buffer[..room]),
        };
        upload.awaited.store(false, Ordering::Relaxed);
        body.failed = true;
        let read = match read {
            _ if upload.late.load(Ordering::Relaxed) => {
                return Err(io::Error::new(ErrorKind::TimedOut, "the body came too slowly"));
            }
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                return Err(io::Error::new(ErrorKind::InvalidData, "a chunk is not valid"));
            }
            other => other?,
        };
        body.read += read as u64;
        upload.delivered.fetch_add(read as u64, Ordering::Relaxed);
        let is_cut;
        (body.ended, is_cut) = match body.length {
            BodyLength::Known(length) => (body.read >= length, read == 0),
            _ if is_decoded_here => (read == 0, false),
            // tiny_http's decoder takes the end of the connection for the last chunk.
            _ => (read == 0, read == 0 && !connection.is_wanted()),
        };
        if is_cut {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the body is cut"));
        }
        body.failed = false;
        Ok(read)
    }
}
