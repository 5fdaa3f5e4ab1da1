//! One request: the seam between the relay and tiny_http.
//!
//! The body comes in through [`Exchange::body`]; the response goes out either whole
//! ([`Exchange::respond`]) or as a [`Response`] ([`Exchange::begin`]). The head is written
//! here and not by tiny_http, which adds fields of its own. Limits: HTTP/1.0 and 1.1, no
//! trailers.

use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::leak;
use super::response::{DRAIN_TIME, Framing, Head, Out, Response};
use crate::error::{Code, Error};
use crate::framing::{self, BodyLength};
use crate::headers::Headers;
use crate::record::Sent;
use crate::reply::Reply;
use crate::wanted::Wanted;

/// How much of a body that nobody wants is read, so that the connection can go on.
const DRAIN_BYTES: usize = 256 * 1024;

/// Room for a head of usual length, and a short body, in bytes.
const USUAL_HEAD: usize = 2048;

/// How often it is asked whether the response in front has ended.
const TURN: Duration = Duration::from_millis(1);

/// A request that waits for its response. Dropped without one, it is answered with 500.
pub struct Exchange {
    request: Option<tiny_http::Request>,
    connection: Arc<Connection>,
    headers: Headers,
    body: BodyState,
    refusal: Option<Error>,
    /// Fields for whatever is answered.
    added: Headers,
    /// Whether the response must not wait for the client.
    is_turned_away: bool,
    is_http_1_0: bool,
    started: Instant,
}

/// How far the request's body has been read.
#[derive(Debug, Clone, Copy)]
struct BodyState {
    length: BodyLength,
    read: u64,
    /// Nothing more of this body is on the connection.
    ended: bool,
    /// It cannot be understood from here on.
    failed: bool,
}

impl Exchange {
    pub(super) fn new(request: tiny_http::Request, connection: Arc<Connection>) -> Exchange {
        let mut headers = Headers::with_capacity(request.headers().len());
        for field in request.headers() {
            headers.push(field.field.as_str().as_str(), field.value.as_str());
        }
        let is_http_1_0 = *request.http_version() < tiny_http::HTTPVersion(1, 1);
        let (length, refusal) = match framing::body_length(request.url(), &headers, is_http_1_0) {
            Ok(length) => (length, None),
            Err(error) => (BodyLength::None, Some(error)),
        };
        let ended = refusal.is_none() && matches!(length, BodyLength::None | BodyLength::Known(0));
        if refusal.is_some() {
            // What follows on the connection may be a part of this request.
            connection.end();
        }
        Exchange {
            request: Some(request),
            connection,
            headers,
            body: BodyState { length, read: 0, ended, failed: refusal.is_some() },
            refusal,
            added: Headers::new(),
            is_turned_away: false,
            is_http_1_0,
            started: Instant::now(),
        }
    }

    /// Adds fields to the response, whatever it will be.
    pub fn add_to_response(&mut self, headers: Headers) {
        self.added = headers;
    }

    /// Why this request must be refused unseen: its framing is ambiguous, or there is no room
    /// for it.
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
        self.request().method().as_str()
    }

    /// The request target, as it was sent.
    pub fn target(&self) -> &str {
        self.request().url()
    }

    /// The request's header fields.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The client's address.
    pub fn peer(&self) -> SocketAddr {
        self.connection.origin.peer
    }

    /// A handle that tells whether the client is still there.
    pub fn wanted(&self) -> Arc<dyn Wanted> {
        Arc::clone(&self.connection) as Arc<dyn Wanted>
    }

    /// How long the body is, as the client says.
    pub fn body_length(&self) -> BodyLength {
        self.body.length
    }

    /// The body, to be read to its end. A body that stops early is an error of kind
    /// `UnexpectedEof`; chunks that cannot be understood are one of kind `InvalidData`.
    pub fn body(&mut self) -> Body<'_> {
        Body(self)
    }

    /// Sends a whole answer.
    pub fn respond(self, reply: &Reply) -> Sent {
        self.respond_with(reply, &[])
    }

    /// Sends a whole answer whose body goes on with what is somewhere else.
    pub fn respond_with(self, reply: &Reply, rest: &[&[u8]]) -> Sent {
        let length = reply.body.len() + rest.iter().map(|part| part.len()).sum::<usize>();
        let mut response = self.begin(reply.status, &reply.headers, Some(length as u64));
        response.write(&reply.body);
        rest.iter().for_each(|part| response.write(part));
        response.end()
    }

    /// Ends the connection without an answer, since the client has left.
    pub fn abandon(mut self) -> Sent {
        if let Some(request) = self.request.take() {
            leak::release(request, &self.connection);
            self.connection.progress().leave();
        }
        self.sent(Code::ClientLeft.status())
    }

    /// Begins the response: its head goes out with what is sent first. `headers` are without the
    /// fields that frame the body; `length` is the body's, if it is known. Failing writes are
    /// remembered, see [`Response::broken`].
    pub fn begin(mut self, status: u16, headers: &Headers, length: Option<u64>) -> Response {
        let request = self.request.take().expect("an exchange holds its request until it begins");
        self.start(request, status, headers, length)
    }

    fn start(
        &mut self,
        request: tiny_http::Request,
        status: u16,
        headers: &Headers,
        length: Option<u64>,
    ) -> Response {
        let has_body =
            *request.method() != tiny_http::Method::Head && !matches!(status, 0..200 | 204 | 304);
        let framing = match length {
            _ if !has_body => Framing::None,
            Some(length) => Framing::Length { left: length },
            None if self.is_http_1_0 => Framing::Close,
            None => Framing::Chunked,
        };
        let out = self.way_out(request);
        let library_goes_on = stays_open(&self.headers, self.is_http_1_0);
        self.connection.progress().is_last |= !library_goes_on;
        let is_last = self.connection.is_closing();
        let stays = library_goes_on && !is_last && framing != Framing::Close;
        let mut bytes = Vec::with_capacity(USUAL_HEAD);
        let reason = tiny_http::StatusCode(status).default_reason_phrase();
        bytes.extend_from_slice(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes());
        for (name, value) in headers.iter().chain(self.added.iter()) {
            field(&mut bytes, name, value);
        }
        match (framing, length) {
            (Framing::Chunked, _) => field(&mut bytes, "transfer-encoding", b"chunked"),
            (_, Some(length)) if status != 204 && status >= 200 => {
                field(&mut bytes, "content-length", length.to_string().as_bytes());
            }
            _ => {}
        }
        match (stays, self.is_http_1_0) {
            (false, _) => field(&mut bytes, "connection", b"close"),
            (true, true) => field(&mut bytes, "connection", b"keep-alive"),
            (true, false) => {}
        }
        bytes.extend_from_slice(b"\r\n");
        let (connection, started) = (Arc::clone(&self.connection), self.started);
        let sent = self.sent(status);
        Response::new(Head { out, connection, framing, bytes, length, is_last, started, sent })
    }

    /// What is known of what is sent before it is.
    fn sent(&self, status: u16) -> Sent {
        let (first_byte, bytes_in) = (self.started.elapsed(), self.body.read);
        Sent { status, first_byte, total: first_byte, bytes_in, bytes_out: 0, complete: false }
    }

    /// How the response can reach the client. tiny_http's writer can only be had by dropping
    /// the request, which reads the rest of its body, however long that is and however long it
    /// takes. So a short rest is read here; behind a long one the response goes to the socket
    /// itself, and the connection ends after it.
    fn way_out(&mut self, mut request: tiny_http::Request) -> Out {
        if !self.is_turned_away && (self.body.ended || self.drain(&mut request)) {
            return Out::Writer(request.into_writer());
        }
        // What follows on the connection may be the rest of this body.
        self.connection.end();
        // The end of the response in front of it may be on its way.
        let deadline = Instant::now() + DRAIN_TIME;
        let waits = || !self.is_turned_away && Instant::now() < deadline;
        while self.connection.progress().open > 1 && waits() {
            thread::sleep(TURN);
        }
        let is_in_turn = self.connection.progress().open == 1;
        // One that is turned away must not wait for the client either.
        let is_ready = !self.is_turned_away || self.connection.socket.set_nonblocking(true).is_ok();
        if is_in_turn && is_ready {
            return Out::Socket(request);
        }
        leak::release(request, &self.connection);
        Out::Ended
    }

    /// Reads what is left of the body, if that is little; false if it was too much.
    fn drain(&mut self, request: &mut tiny_http::Request) -> bool {
        let rest = match self.body.length {
            BodyLength::Known(length) => length - self.body.read,
            _ => 0,
        };
        // A client that waits for "100 Continue" has not sent it, and must not be asked to.
        let expects = self.headers.contains("expect") && self.body.read == 0;
        if self.body.failed || expects || rest > DRAIN_BYTES as u64 {
            return false;
        }
        let deadline = Instant::now() + DRAIN_TIME;
        let mut left = DRAIN_BYTES;
        // Not on the stack: that of every stream would be as much larger.
        let mut buffer = vec![0; 8192];
        let socket = &self.connection.socket;
        while left > 0 && !self.body.ended {
            let patience = deadline.saturating_duration_since(Instant::now());
            if patience.is_zero() || socket.set_read_timeout(Some(patience)).is_err() {
                break;
            }
            match self.body.read(request, &self.connection, &mut buffer) {
                Ok(read) => left = left.saturating_sub(read),
                Err(_) => break,
            }
        }
        let _ = socket.set_read_timeout(None);
        self.body.ended
    }

    fn request(&self) -> &tiny_http::Request {
        self.request.as_ref().expect("an exchange holds its request until it begins")
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Only a panic leaves the request here: every answer takes it.
        if let Some(request) = self.request.take() {
            let what = "an internal error: see the log of model-filter";
            let Reply { status, headers, body } = Reply::error(&Error::proxy(Code::Internal, what));
            let mut response = self.start(request, status, &headers, Some(body.len() as u64));
            response.write(&body);
            response.end();
        }
    }
}

/// The body of a request.
pub struct Body<'a>(&'a mut Exchange);

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Exchange { request, connection, body, .. } = &mut *self.0;
        let request = request.as_mut().expect("an exchange holds its request until it begins");
        body.read(request, connection, buffer)
    }
}

impl BodyState {
    fn read(
        &mut self,
        request: &mut tiny_http::Request,
        connection: &Connection,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let room = match self.length {
            BodyLength::Known(length) => {
                buffer.len().min(usize::try_from(length - self.read).unwrap_or(usize::MAX))
            }
            _ => buffer.len(),
        };
        let upload = &connection.upload;
        upload.awaited.store(true, Ordering::Relaxed);
        let read = request.as_reader().read(&mut buffer[..room]);
        upload.awaited.store(false, Ordering::Relaxed);
        self.failed = true;
        let read = match read {
            _ if upload.late.load(Ordering::Relaxed) => {
                return Err(io::Error::new(ErrorKind::TimedOut, "the body came too slowly"));
            }
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                return Err(io::Error::new(ErrorKind::InvalidData, "a chunk is not valid"));
            }
            other => other?,
        };
        self.read += read as u64;
        upload.delivered.fetch_add(read as u64, Ordering::Relaxed);
        let is_cut;
        (self.ended, is_cut) = match self.length {
            BodyLength::Known(length) => (self.read >= length, read == 0),
            // tiny_http's decoder takes the end of the connection for the last chunk.
            _ => (read == 0, read == 0 && !connection.is_wanted()),
        };
        if is_cut {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the body is cut"));
        }
        self.failed = false;
        Ok(read)
    }
}

/// Whether tiny_http goes on reading this connection after this request: its own rule, word
/// for word, because the response must not promise anything else.
fn stays_open(headers: &Headers, is_http_1_0: bool) -> bool {
    let Some(connection) = headers.get_str("connection") else { return !is_http_1_0 };
    let connection = connection.to_ascii_lowercase();
    let ends = connection.contains("close") || connection.contains("upgrade");
    !ends && (!is_http_1_0 || connection.contains("keep-alive"))
}

fn field(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}
