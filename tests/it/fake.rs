//! A fake upstream over a raw socket, which sends exactly what a test wants, invalid responses included.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use crate::wait::{DEADLINE, Watched};

const LOOPBACK: &str = "127.0.0.1";

/// Listens until dropped.
pub struct Fake {
    address: SocketAddr,
    /// Scheme and address.
    origin: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requests: Watched<Request>,
    connections: AtomicUsize,
    open: Mutex<HashMap<usize, TcpStream>>,
    shows_lists: AtomicBool,
    ended: AtomicBool,
}

/// A request, as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// The number of the connection.
    pub connection: usize,
    pub line: String,
    pub headers: Vec<(String, String)>,
    /// Decoded.
    pub body: Vec<u8>,
}

impl Fake {
    /// Runs `script` for each connection, and closes the connection when it returns.
    pub fn scripted(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Fake {
        Fake::start(LOOPBACK, None, script)
    }

    /// The same over TLS, with the certificate in `tests/data/tls/`.
    pub fn scripted_tls(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Fake {
        Fake::scripted_tls_at(LOOPBACK, script)
    }

    /// The same at another address. The certificate is for [`LOOPBACK`] and wrong for any other.
    pub fn scripted_tls_at(ip: &str, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Fake {
        Fake::scripted_tls_as("upstream.pem", ip, script)
    }

    /// The same with another certificate in `tests/data/tls/`.
    pub fn scripted_tls_as(
        certificate: &str,
        ip: &str,
        script: impl Fn(&mut Conn) + Send + Sync + 'static,
    ) -> Fake {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
        let certificate = CertificateDer::from_pem_file(folder.join(certificate)).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("upstream.key")).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate], key).unwrap();
        Fake::start(ip, Some(Arc::new(config)), script)
    }

    fn start(
        ip: &str,
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&mut Conn) + Send + Sync + 'static,
    ) -> Fake {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let script = Arc::new(script);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://{address}");
        let fake = Fake { address, origin, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let tls = tls.clone().map(|config| ServerConnection::new(config).unwrap());
                let mut conn = Conn::new(stream, tls, &shared);
                let script = Arc::clone(&script);
                std::thread::spawn(move || script(&mut conn));
            }
        });
        fake
    }

    /// Responds to every request with what `answer` returns, and keeps the connections.
    pub fn answering<A>(answer: impl Fn(&Request) -> A + Send + Sync + 'static) -> Fake
    where
        A: AsRef<[u8]>,
    {
        Fake::scripted(move |conn| {
            while let Some(request) = conn.read_request() {
                conn.write(answer(&request));
            }
        })
    }

    /// Responds to every request, also for lists of models, with `body` as JSON.
    pub fn listing(body: &str) -> Fake {
        let answer = json(200, body);
        Fake::answering(move |_| answer.clone()).showing_lists()
    }

    /// Passes requests for lists of models to the script. By default they are answered without it, because the program
    /// fetches the list when it starts.
    pub fn showing_lists(self) -> Fake {
        self.shared.shows_lists.store(true, Ordering::SeqCst);
        self
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// All requests that were read.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.all()
    }

    /// The only request that was read.
    pub fn request(&self) -> Request {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests.into_iter().next().unwrap()
    }

    /// The number of requests for a list with this `Authorization`, which distinguishes a test's own requests from
    /// those that the program makes by itself.
    pub fn lists_for(&self, authorization: &str) -> usize {
        let theirs = |request: &&Request| request.header("authorization") == Some(authorization);
        self.requests().iter().filter(theirs).count()
    }

    pub fn wait_for(&self, target: &str) -> Request {
        self.sees_within(target, DEADLINE).unwrap_or_else(|| panic!("no request for {target}"))
    }

    pub fn sees_within(&self, target: &str, limit: Duration) -> Option<Request> {
        let wanted = |request: &&Request| request.target() == target;
        self.shared.requests.wait_for(limit, |requests| requests.iter().find(wanted).cloned())
    }

    /// Whether this many requests for a target arrive before the limit.
    pub fn counts_within(&self, target: &str, count: usize, limit: Duration) -> bool {
        let wanted = |request: &&Request| request.target() == target;
        let enough = |all: &[Request]| (all.iter().filter(wanted).count() >= count).then_some(());
        self.shared.requests.wait_for(limit, enough).is_some()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes `accept`
        for stream in self.shared.open.lock().unwrap().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Request {
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap()
    }

    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// The values of a header, in order.
pub fn values<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let named = headers.iter().filter(|header| header.0.eq_ignore_ascii_case(name));
    named.map(|header| header.1.as_str()).collect()
}

/// One connection of the proxy to the fake.
pub struct Conn {
    stream: TcpStream,
    tls: Option<ServerConnection>,
    unread: Vec<u8>,
    id: usize,
    shared: Arc<Shared>,
    is_reset: bool,
}

impl Conn {
    fn new(stream: TcpStream, tls: Option<ServerConnection>, shared: &Arc<Shared>) -> Conn {
        let id = shared.connections.fetch_add(1, Ordering::SeqCst);
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        shared.open.lock().unwrap().insert(id, stream.try_clone().unwrap());
        Conn { stream, tls, unread: Vec::new(), id, shared: Arc::clone(shared), is_reset: false }
    }

    /// Reads the next request with its body; `None` if the connection ends first.
    pub fn read_request(&mut self) -> Option<Request> {
        let mut request = self.next_head()?;
        request.body = self.read_body(&request)?;
        self.shared.requests.push(request.clone());
        Some(request)
    }

    /// Reads the head of the next request. The body is not read.
    pub fn read_head(&mut self) -> Option<Request> {
        let request = self.next_head()?;
        self.shared.requests.push(request.clone());
        Some(request)
    }

    fn next_head(&mut self) -> Option<Request> {
        loop {
            let request = self.parse_head()?;
            let list = request.method() == "GET" && request.target().ends_with("/models");
            if !list || self.shared.shows_lists.load(Ordering::SeqCst) {
                return Some(request);
            }
            self.write(json(200, r#"{"object":"list","data":[]}"#));
        }
    }

    fn parse_head(&mut self) -> Option<Request> {
        let head = String::from_utf8_lossy(&self.read_until(b"\r\n\r\n")?).into_owned();
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next()?.to_string();
        let headers = lines
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("no header: {line}")))
            .map(|(name, value)| (name.to_string(), value.trim().to_string()))
            .collect();
        Some(Request { connection: self.id, line, headers, body: Vec::new() })
    }

    /// Reads the body of a request whose head was read.
    pub fn read_body(&mut self, request: &Request) -> Option<Vec<u8>> {
        if request.header("transfer-encoding") == Some("chunked") {
            let mut body = Vec::new();
            loop {
                let line = String::from_utf8(self.read_until(b"\r\n")?).unwrap();
                let size = usize::from_str_radix(line.trim(), 16).unwrap();
                let chunk = self.read_exactly(size + 2)?;
                body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    return Some(body);
                }
            }
        }
        let length = request.header("content-length").map_or(0, |n| n.parse().unwrap());
        self.read_exactly(length)
    }

    /// Reads and discards `length` bytes of a body.
    pub fn skip(&mut self, length: usize) -> bool {
        let mut left = length - self.unread.len().min(length);
        self.unread.clear();
        let mut buffer = vec![0; 64 * 1024];
        while left > 0 {
            let room = left.min(buffer.len());
            match self.read(&mut buffer[..room]) {
                Ok(count @ 1..) => left -= count,
                _ => return false,
            }
        }
        true
    }

    /// Returns whether the write worked; most tests judge only what the client gets.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        match &mut self.tls {
            None => self.stream.write_all(bytes.as_ref()).is_ok(),
            Some(tls) => {
                rustls::Stream::new(tls, &mut self.stream).write_all(bytes.as_ref()).is_ok()
            }
        }
    }

    /// Writes each as a TLS record, in a single write.
    pub fn write_records(&mut self, records: [&[u8]; 2]) {
        let tls = self.tls.as_mut().unwrap();
        let mut together = Vec::new();
        for record in records {
            tls.writer().write_all(record).unwrap();
            tls.write_tls(&mut together).unwrap();
        }
        assert!(!tls.wants_write());
        self.stream.write_all(&together).unwrap();
    }

    /// Writes data and, in the same write, a TLS key update behind it.
    pub fn write_with_new_keys(&mut self, bytes: &[u8]) {
        let tls = self.tls.as_mut().unwrap();
        let mut together = Vec::new();
        tls.writer().write_all(bytes).unwrap();
        tls.write_tls(&mut together).unwrap();
        tls.refresh_traffic_keys().unwrap();
        tls.write_tls(&mut together).unwrap();
        self.stream.write_all(&together).unwrap();
    }

    /// Reads what comes next, of no form; `None` at the end.
    pub fn take_some(&mut self) -> Option<Vec<u8>> {
        if self.unread.is_empty() {
            self.fill()?;
        }
        Some(std::mem::take(&mut self.unread))
    }

    /// Breaks the connection with a reset.
    pub fn reset(&mut self) {
        self.shared.open.lock().unwrap().remove(&self.id);
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
        self.is_reset = true;
    }

    /// Whether the proxy has reset the connection.
    pub fn was_reset(&self) -> bool {
        self.is_reset
    }

    /// Copies all bytes between the proxy and an address.
    pub fn tunnel_to(&mut self, address: &str) {
        let there = TcpStream::connect(address).unwrap();
        let (mut from_here, mut to_there) = (self.stream.try_clone().unwrap(), &there);
        let (mut from_there, mut to_here) = (&there, &self.stream);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // Ends when either side closes.
                let _ = io::copy(&mut from_here, &mut to_there);
                let _ = to_there.shutdown(Shutdown::Both);
            });
            let _ = io::copy(&mut from_there, &mut to_here);
            let _ = to_here.shutdown(Shutdown::Both);
        });
    }

    /// Sends the close_notify of TLS. Without it a closed connection counts as cut.
    pub fn close_notify(&mut self) {
        let tls = self.tls.as_mut().unwrap();
        tls.send_close_notify();
        tls.complete_io(&mut self.stream).unwrap();
    }

    /// Writes one chunk of a chunked body.
    pub fn chunk(&mut self, data: impl AsRef<[u8]>) -> bool {
        self.write(chunk(data))
    }

    /// Closes the connection, also in the middle of a response.
    pub fn cut(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Waits until the proxy has closed the connection.
    pub fn wait_until_closed(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    }

    fn read_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|part| part == end) {
                return Some(self.unread.drain(..at + end.len()).collect());
            }
            self.fill()?;
        }
    }

    fn read_exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            self.fill()?;
        }
        Some(self.unread.drain(..count).collect())
    }

    fn fill(&mut self) -> Option<()> {
        let mut buffer = vec![0; 64 * 1024];
        let read = self.read(&mut buffer);
        let is_reset = |error: &io::Error| error.kind() == ErrorKind::ConnectionReset;
        self.is_reset |= read.as_ref().is_err_and(is_reset);
        let count = read.ok().filter(|count| *count > 0)?;
        self.unread.extend_from_slice(&buffer[..count]);
        Some(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match &mut self.tls {
                None => self.stream.read(buffer),
                Some(tls) => rustls::Stream::new(tls, &mut self.stream).read(buffer),
            };
            match read {
                // Resuming from suspend interrupts reads that have a timeout.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A close without close_notify, which is common.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.shared.open.lock().unwrap().remove(&self.id);
    }
}

/// A chunk of a chunked body.
pub fn chunk(data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// A response of known length; `head` is its status and headers, in lines.
pub fn response(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = head.trim().split('\n').map(str::trim).collect::<Vec<_>>().join("\r\n");
    let length = format!("\r\nContent-Length: {}\r\n\r\n", body.len());
    [b"HTTP/1.1 ", head.as_bytes(), length.as_bytes(), body].concat()
}

/// A JSON response.
pub fn json(status: u16, body: &str) -> Vec<u8> {
    response(&format!("{status} Some Reason\nContent-Type: application/json"), body)
}

/// A list of models with these ids.
pub fn models<S: AsRef<str>>(ids: &[S]) -> String {
    let object = |id: &S| format!(r#"{{"id":"{}","object":"model"}}"#, id.as_ref());
    let objects: Vec<String> = ids.iter().map(object).collect();
    format!(r#"{{"object":"list","data":[{}]}}"#, objects.join(","))
}

/// The heads of an event stream and of a chunked JSON response.
pub const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                          Transfer-Encoding: chunked\r\n\r\n";
pub const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                           Transfer-Encoding: chunked\r\n\r\n";
/// The end of a chunked body.
pub const LAST_CHUNK: &str = "0\r\n\r\n";
