//! A client connection over a raw socket: sends what it is given and accepts only valid responses.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::fake::values;
use crate::proxy::Proxy;
use crate::wait::DEADLINE;

pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
    /// The methods of requests without a response so far: a response to HEAD has no body.
    asked: VecDeque<String>,
    framing: Framing,
    /// The start of an event that is incomplete so far.
    event: Vec<u8>,
    /// The connection ended with an error.
    reset: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    /// How many bytes are left of the current chunk.
    Chunked(u64),
    UntilClose,
    Ended(End),
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By its framing: all of it arrived.
    Complete,
    /// By a closed connection although the framing announced more, or by a broken connection.
    Cut,
}

#[derive(Debug)]
pub struct Response {
    pub version: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// Decoded.
    pub body: Vec<u8>,
    pub end: End,
    /// The statuses of the preceding 1xx responses.
    pub interim: Vec<u16>,
}

impl Client {
    pub fn of(proxy: &Proxy) -> Client {
        Client::try_of(proxy).unwrap()
    }

    /// A client of a proxy that may have ended.
    pub fn try_of(proxy: &Proxy) -> std::io::Result<Client> {
        let address = SocketAddr::from(([127, 0, 0, 1], proxy.port()));
        TcpStream::connect_timeout(&address, DEADLINE).map(Client::over)
    }

    /// A client on a given source port (0: any). It closes with a reset, so that another client can use the port at
    /// once.
    pub fn on_port(port: u16, proxy: &Proxy) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], proxy.port())).into()).unwrap();
        Client::over(socket.into())
    }

    /// The source port.
    pub fn port(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }

    fn over(stream: TcpStream) -> Client {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let framing = Framing::Ended(End::Complete);
        Client {
            stream,
            unread: Vec::new(),
            asked: VecDeque::new(),
            framing,
            event: Vec::new(),
            reset: false,
        }
    }

    /// Adds `Host`, and `Content-Length` if there is a body and `headers` do not frame it.
    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
        let framed = headers.iter().any(|(name, _)| {
            name.eq_ignore_ascii_case("content-length")
                || name.eq_ignore_ascii_case("transfer-encoding")
        });
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() && !framed {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        self.send_raw([head.as_bytes(), b"\r\n", body].concat());
    }

    /// Sends raw bytes: the beginning of a request, or several requests.
    pub fn send_raw(&mut self, request: impl AsRef<[u8]>) {
        let method = request.as_ref().split(|byte| *byte == b' ').next().unwrap();
        self.asked.push_back(String::from_utf8_lossy(method).into_owned());
        self.more(request);
    }

    /// Sends more of the request.
    pub fn more(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends bytes although the proxy may have closed the connection. Returns whether that worked.
    pub fn offer(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// A second handle, to write while this one reads.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// Takes what was read and not used.
    pub fn unread(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unread)
    }

    /// Reads a whole response, after any number of 1xx responses.
    pub fn response(&mut self) -> Response {
        let mut response = self.head();
        (response.body, response.end) = self.rest();
        response
    }

    /// Reads the head of a response. The body is not read.
    pub fn head(&mut self) -> Response {
        let mut interim = Vec::new();
        loop {
            let head = self.any_head();
            if head.status >= 200 {
                let asked = self.asked.pop_front();
                self.framing = framing(asked.as_deref(), &head);
                return Response { interim, ..head };
            }
            interim.push(head.status);
        }
    }

    /// Reads a whole response; `None` if the connection is closed instead.
    pub fn answer_or_close(&mut self) -> Option<Response> {
        if self.unread.is_empty() && self.fill().is_none() { None } else { Some(self.response()) }
    }

    /// Reads the next head, which may be that of a 1xx response.
    pub fn any_head(&mut self) -> Response {
        let head = self.read_until(b"\r\n\r\n").expect("a response, not a closed connection");
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let (version, status) = lines.next().unwrap().split_once(' ').unwrap();
        let headers = lines.map(|line| line.split_once(':').expect(line));
        Response {
            version: version.to_string(),
            status: status.split(' ').next().unwrap().parse().unwrap(),
            headers: headers.map(|(n, v)| (n.to_string(), v.trim().to_string())).collect(),
            body: Vec::new(),
            end: End::Cut,
            interim: Vec::new(),
        }
    }

    /// Reads the rest of the body. Returns also how it ended.
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        let mut body = std::mem::take(&mut self.event);
        let end = self.each_piece(|piece| body.extend_from_slice(piece));
        (body, end)
    }

    /// Reads the rest of the body and returns its length.
    pub fn count(&mut self) -> (u64, End) {
        let mut count = 0;
        let end = self.each_piece(|piece| count += piece.len() as u64);
        (count, end)
    }

    fn each_piece(&mut self, mut take: impl FnMut(&[u8])) -> End {
        loop {
            match self.piece() {
                Ok(piece) => take(&piece),
                Err(end) => return end,
            }
        }
    }

    /// Reads the next event of a stream; `None` at the end.
    pub fn event(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.event.windows(2).position(|part| part == b"\n\n") {
                let event = self.event.drain(..at + 2).collect();
                return Some(String::from_utf8(event).unwrap());
            }
            let piece = self.piece().ok()?;
            self.event.extend_from_slice(&piece);
        }
    }

    /// Reads the next bytes of the body as soon as they arrive.
    pub fn piece(&mut self) -> Result<Vec<u8>, End> {
        let piece = match self.framing {
            Framing::Ended(end) => return Err(end),
            Framing::Length(0) => return self.ended(End::Complete),
            Framing::Chunked(0) => {
                let Some(line) = self.read_until(b"\r\n") else { return self.ended(End::Cut) };
                let line = String::from_utf8(line).unwrap();
                let size = u64::from_str_radix(line.trim(), 16).expect(&line);
                self.framing = Framing::Chunked(size);
                if size == 0 {
                    let end = self.read_until(b"\r\n");
                    assert!(end.as_ref().is_none_or(|end| end == b"\r\n"), "trailers: {end:?}");
                    return self.ended(if end.is_some() { End::Complete } else { End::Cut });
                }
                return self.piece();
            }
            Framing::Length(left) | Framing::Chunked(left) => self.read_some(left as usize),
            Framing::UntilClose => self.read_some(usize::MAX),
        };
        let Some(piece) = piece else {
            let closed = self.framing == Framing::UntilClose && !self.reset;
            return self.ended(if closed { End::Complete } else { End::Cut });
        };
        match &mut self.framing {
            Framing::Length(left) => *left -= piece.len() as u64,
            Framing::Chunked(left) => {
                *left -= piece.len() as u64;
                if *left == 0 && self.read_until(b"\r\n").is_none() {
                    self.framing = Framing::Ended(End::Cut);
                }
            }
            Framing::UntilClose | Framing::Ended(_) => {}
        }
        Ok(piece)
    }

    fn ended(&mut self, end: End) -> Result<Vec<u8>, End> {
        self.framing = Framing::Ended(end);
        Err(end)
    }

    /// Waits for more, and returns whether the proxy closes the connection without another byte.
    pub fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && self.fill().is_none()
    }

    /// Reads and discards until the proxy closes the connection.
    pub fn wait_until_closed(&mut self) {
        while self.fill().is_some() {
            self.unread.clear();
        }
    }

    fn read_some(&mut self, most: usize) -> Option<Vec<u8>> {
        if self.unread.is_empty() {
            self.fill()?;
        }
        let count = most.min(self.unread.len());
        Some(self.unread.drain(..count).collect())
    }

    fn read_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|part| part == end) {
                return Some(self.unread.drain(..at + end.len()).collect());
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Option<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => {
                    self.unread.extend_from_slice(&buffer[..count]);
                    return Some(());
                }
                Err(error) => match error.kind() {
                    // Resuming from suspend interrupts reads that have a timeout.
                    ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset => {
                        self.reset = true;
                        return None;
                    }
                    _ => panic!("nothing came for {DEADLINE:?}: {error}"),
                },
            }
        }
    }
}

fn framing(asked: Option<&str>, head: &Response) -> Framing {
    if asked == Some("HEAD") || head.status == 204 || head.status == 304 {
        Framing::Ended(End::Complete)
    } else if head.header("transfer-encoding") == Some("chunked") {
        Framing::Chunked(0)
    } else if let Some(length) = head.header("content-length") {
        Framing::Length(length.parse().unwrap())
    } else {
        Framing::UntilClose
    }
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} came {} times", all.len());
        all.first().copied()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The ids of a list of models.
    pub fn ids(&self) -> Vec<String> {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.end, End::Complete);
        let list = self.json();
        let models = list["data"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
        models.iter().map(|model| model["id"].as_str().unwrap().to_string()).collect()
    }

    /// The message of one of the program's own errors. Asserts that it has their shape.
    pub fn own_error(&self, status: u16, code: &str) -> String {
        assert_eq!((self.status, self.header("x-model-filter-error")), (status, Some(code)));
        assert_eq!(self.end, End::Complete);
        assert!(self.header("content-type").unwrap().starts_with("application/json"));
        let kind = if status < 500 { "invalid_request_error" } else { "server_error" };
        let body = self.json();
        let error = &body["error"];
        assert_eq!(error["type"], kind, "{body}");
        assert_eq!(error["code"], code, "{body}");
        assert_eq!(error.get("param"), Some(&Value::Null), "{body}");
        error["message"].as_str().unwrap().to_string()
    }
}
