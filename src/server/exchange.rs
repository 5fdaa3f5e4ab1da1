//! One request: the seam between the relay and tiny_http.
//!
//! The body comes in through [`Exchange::body`]; the response goes out either whole
//! ([`Exchange::respond`]) or as a [`Response`] ([`Exchange::begin`]). The head is written
//! here and not by tiny_http, which adds fields of its own. Limits: HTTP/1.0 and 1.1, no
//! trailers.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::client::Client;
use super::framing::{self, BodyLength};
use super::giants;
use super::response::{Framing, Out, Response, WayOut};
use crate::elastic;
use crate::error::{Code, Error};
use crate::headers::Headers;
use crate::record::Sent;
use crate::reply::Reply;
use crate::wanted::Wanted;

/// How much of a body that nobody wants is read, so that the connection can go on.
const DRAIN_BYTES: usize = 256 * 1024;

/// Room for a head of usual length, and a short body, in bytes.
const USUAL_HEAD: usize = 2048;

/// How long a client is given to finish sending what nobody wants.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A request that waits for its response. Dropped without one, it is answered 500.
pub struct Exchange {
    request: Option<tiny_http::Request>,
    client: Arc<Client>,
    headers: Headers,
    body: BodyState,
    refusal: Option<Error>,
    /// Fields for whatever is answered.
    added: Headers,
    /// Which of the connection's requests it is.
    number: usize,
    /// Nothing more is read for the sake of this answer.
    hurried: bool,
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
    pub(super) fn new(request: tiny_http::Request, client: Arc<Client>, number: usize) -> Exchange {
        let mut headers = Headers::with_capacity(request.headers().len());
        for field in request.headers() {
            headers.push(field.field.as_str().as_str(), field.value.as_str());
        }
        let old = *request.http_version() < tiny_http::HTTPVersion(1, 1);
        let (length, refusal) = match framing::body_length(request.url(), &headers, old) {
            Ok(length) => (length, None),
            Err(error) => (BodyLength::None, Some(error)),
        };
        let ended = refusal.is_none() && matches!(length, BodyLength::None | BodyLength::Known(0));
        let body = BodyState { length, read: 0, ended, failed: refusal.is_some() };
        let (request, started) = (Some(request), Instant::now());
        Exchange {
            request,
            client,
            headers,
            body,
            refusal,
            added: Headers::new(),
            number,
            hurried: false,
            started,
        }
    }

    /// Adds fields to the response, whatever it will be.
    pub fn add_to_response(&mut self, headers: Headers) {
        self.added = headers;
    }

    /// Why this request is not to be looked at any further: its framing cannot be
    /// believed, or there is no room for it. Whoever serves it answers with this.
    pub fn refusal(&self) -> Option<&Error> {
        self.refusal.as_ref()
    }

    /// Refuses a request for want of room: the answer must not take time.
    pub(super) fn turn_away(&mut self, error: Error) {
        if self.refusal.is_none() {
            self.refusal = Some(error);
        }
        self.hurried = true;
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

    /// Who sent the request.
    pub fn peer(&self) -> SocketAddr {
        self.client.peer()
    }

    /// A handle that tells whether the client is still there.
    pub fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }

    /// A handle that tells whether the client is still there.
    pub fn wanted(&self) -> Arc<dyn Wanted> {
        Arc::clone(&self.client) as Arc<dyn Wanted>
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

    /// Ends the connection without an answer: nobody is there to read one.
    pub fn abandon(mut self) -> Sent {
        if let Some(request) = self.request.take() {
            giants::let_go(request, &self.client);
            self.client.leave();
        }
        let total = self.started.elapsed();
        Sent {
            status: Code::ClientLeft.status(),
            first_byte: total,
            total,
            bytes_in: self.body.read,
            bytes_out: 0,
            complete: false,
        }
    }

    /// Begins the response: its head goes out with what is sent first. `headers` are without the
    /// fields that frame the body; `length` is the body's, where it is known. Failing writes are
    /// remembered, see [`Response::broken`].
    pub fn begin(mut self, status: u16, headers: &Headers, length: Option<u64>) -> Response {
        let bodiless = self.method() == "HEAD" || status == 204 || status == 304 || status < 200;
        let old = *self.request().http_version() < tiny_http::HTTPVersion(1, 1);
        let way_out = self.way_out();
        let framing = match length {
            _ if bodiless => Framing::None,
            Some(length) => Framing::Length { left: length },
            None if old => Framing::Close,
            None => Framing::Chunked,
        };
        let last = self.client.ends_with(self.number);
        let stays = way_out == WayOut::Writer
            && !last
            && framing != Framing::Close
            && stays_open(&self.headers, old);

        let mut head = Vec::with_capacity(USUAL_HEAD);
        head.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason(status)).as_bytes());
        for (name, value) in headers.iter().chain(self.added.iter()) {
            field(&mut head, name, value);
        }
        match (framing, length) {
            (Framing::Chunked, _) => field(&mut head, "transfer-encoding", b"chunked"),
            (_, Some(length)) if status != 204 && status >= 200 => {
                field(&mut head, "content-length", length.to_string().as_bytes());
            }
            _ => {}
        }
        match (stays, old) {
            (false, _) => field(&mut head, "connection", b"close"),
            (true, true) => field(&mut head, "connection", b"keep-alive"),
            (true, false) => {}
        }
        head.extend_from_slice(b"\r\n");

        let request = self.request.take().expect("an exchange holds its request until it begins");
        Response {
            out: match way_out {
                WayOut::Writer => Out::Writer(request.into_writer()),
                WayOut::Socket => Out::Socket(request),
                WayOut::Nowhere => Out::Nowhere(request),
            },
            client: Arc::clone(&self.client),
            number: self.number,
            framing,
            hurried: self.hurried,
            pending: head,
            buffer: Vec::new(),
            size: length.map_or(elastic::LEAST, elastic::size_for),
            broken: way_out == WayOut::Nowhere,
            gone: false,
            last,
            finished: false,
            sent: Sent {
                status,
                first_byte: self.started.elapsed(),
                total: Duration::ZERO,
                bytes_in: self.body.read,
                bytes_out: 0,
                complete: false,
            },
            started: self.started,
        }
    }

    /// How the response can reach the client. tiny_http's writer can only be had by
    /// dropping the request, which reads the rest of its body, however long that is and
    /// however long it takes. So a short rest is read here, and for a long one the answer
    /// goes to the socket itself, and the connection ends after it.
    fn way_out(&mut self) -> WayOut {
        if !self.hurried && (self.body.ended || self.drain()) {
            return WayOut::Writer;
        }
        // What follows on the connection may be the rest of this body.
        self.client.distrust();
        // Another response may be under way in front of this one, and only tiny_http's
        // writers know the order.
        let alone = self.number == 1 || self.client.exchanges() == 1;
        if !alone || self.client.socket().is_none() {
            return WayOut::Nowhere;
        }
        WayOut::Socket
    }

    /// Reads what is left of the body, if that is little; says whether all of it was read.
    fn drain(&mut self) -> bool {
        if self.body.failed {
            return false;
        }
        let long = |length| length - self.body.read > DRAIN_BYTES as u64;
        if matches!(self.body.length, BodyLength::Known(length) if long(length)) {
            return false;
        }
        // Who waits for "100 Continue" has not sent it, and shall not be asked to.
        if self.headers.contains("expect") && self.body.read == 0 {
            return false;
        }
        let client = Arc::clone(&self.client);
        let Some(socket) = client.socket() else { return false };
        let deadline = Instant::now() + DRAIN_TIME;
        let mut left = DRAIN_BYTES;
        // Not on the stack: that of every stream at rest would be as much larger.
        let mut buffer = vec![0; 8192];
        while left > 0 && !self.body.ended {
            let patience = deadline.saturating_duration_since(Instant::now());
            if patience.is_zero() || socket.stream().set_read_timeout(Some(patience)).is_err() {
                break;
            }
            match self.body().read(&mut buffer) {
                Ok(read) => left = left.saturating_sub(read),
                Err(_) => break,
            }
        }
        let _ = socket.stream().set_read_timeout(None);
        self.body.ended
    }

    fn request(&self) -> &tiny_http::Request {
        self.request.as_ref().expect("an exchange holds its request until it begins")
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Only after a panic: every other way out takes the request.
        let Some(request) = self.request.take() else { return };
        let rest = Exchange {
            request: Some(request),
            client: Arc::clone(&self.client),
            headers: std::mem::take(&mut self.headers),
            body: self.body,
            refusal: self.refusal.take(),
            added: std::mem::take(&mut self.added),
            number: self.number,
            hurried: self.hurried,
            started: self.started,
        };
        let what = "an internal error: see the log of model-filter";
        rest.respond(&Reply::error(&Error::proxy(Code::Internal, what)));
    }
}

/// The body of a request.
pub struct Body<'a>(&'a mut Exchange);

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Exchange { request, client, body, .. } = &mut *self.0;
        if body.ended || buffer.is_empty() {
            return Ok(0);
        }
        let room = match body.length {
            BodyLength::Known(length) => {
                buffer.len().min(usize::try_from(length - body.read).unwrap_or(usize::MAX))
            }
            _ => buffer.len(),
        };
        let request = request.as_mut().expect("an exchange holds its request until it begins");
        client.upload.awaited.store(true, Ordering::Relaxed);
        let read = request.as_reader().read(&mut buffer[..room]);
        client.upload.awaited.store(false, Ordering::Relaxed);
        body.failed = read.is_err();
        if matches!(&read, Err(error) if error.kind() == io::ErrorKind::ConnectionReset) {
            client.has_reset();
        }
        let read = match read {
            _ if client.upload.late.load(Ordering::Relaxed) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the body came too slowly"));
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a chunk cannot be understood",
                ));
            }
            other => other?,
        };
        body.read += read as u64;
        client.upload.delivered.fetch_add(read as u64, Ordering::Relaxed);
        body.ended = match body.length {
            BodyLength::Known(length) => body.read >= length,
            _ => read == 0,
        };
        let cut = match body.length {
            BodyLength::Known(_) => read == 0 && !body.ended,
            // tiny_http's decoder takes the end of the connection for the last chunk.
            _ => read == 0 && client.left(),
        };
        if cut {
            body.failed = true;
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body is cut"));
        }
        Ok(read)
    }
}

/// Whether tiny_http goes on reading this connection after this request: its own rule,
/// word for word, because the response must not promise anything else.
fn stays_open(headers: &Headers, old: bool) -> bool {
    let Some(connection) = headers.get_str("connection") else { return !old };
    let connection = connection.to_ascii_lowercase();
    let ends = connection.contains("close") || connection.contains("upgrade");
    !ends && (!old || connection.contains("keep-alive"))
}

fn reason(status: u16) -> &'static str {
    tiny_http::StatusCode(status).default_reason_phrase()
}

fn field(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}
