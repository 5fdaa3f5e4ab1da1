//! An upstream that records every byte that it receives, until each connection ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::wait::{DEADLINE, eventually};

/// The response to any request that is not for a list.
type Answer = Box<dyn Fn(&Seen) -> Vec<u8> + Send + Sync>;

pub struct Recorder {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// One entry per connection.
    bytes: Mutex<Vec<Vec<u8>>>,
    requests: Mutex<Vec<Seen>>,
    open: AtomicUsize,
    ended: AtomicBool,
}

/// The head of a request, as received.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
}

impl Recorder {
    /// The connection is closed after a response with `Connection: close`, and in place of an empty response.
    pub fn answering(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let answer: Arc<Answer> = Arc::new(Box::new(answer));
        let recorder = Recorder { port, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                shared.open.fetch_add(1, Ordering::SeqCst);
                let index = {
                    let mut all = shared.bytes.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                let (shared, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                std::thread::spawn(move || {
                    record(stream, index, &shared, &answer);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        recorder
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// All bytes of all connections. Waits for the connections to end, so call it after the proxy has ended.
    pub fn bytes(&self) -> Vec<Vec<u8>> {
        eventually("all connections end", || self.shared.open.load(Ordering::SeqCst) == 0);
        self.shared.bytes.lock().unwrap().clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes `accept`
    }
}

impl Seen {
    pub fn all(&self, name: &str) -> Vec<&str> {
        crate::fake::values(&self.headers, name)
    }
}

/// Records until the connection ends, and responds to its requests.
fn record(mut stream: TcpStream, index: usize, shared: &Shared, answer: &Answer) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let (mut unread, mut answers) = (Vec::new(), true);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        while let Some((seen, length)) = whole_request(&unread) {
            unread.drain(..length);
            shared.requests.lock().unwrap().push(seen.clone());
            let answer = if answers { answer(&seen) } else { Vec::new() };
            let last = answer.is_empty() || find(&answer, b"Connection: close").is_some();
            answers &= !last && stream.write_all(&answer).is_ok();
            if !answers {
                let _ = stream.write_all(&answer);
                // Whatever the proxy sends after that is recorded too.
                let _ = stream.shutdown(Shutdown::Write);
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                shared.bytes.lock().unwrap()[index].extend_from_slice(&buffer[..count]);
                unread.extend_from_slice(&buffer[..count]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// The first request and its length, if all of it has arrived.
fn whole_request(bytes: &[u8]) -> Option<(Seen, usize)> {
    let head_end = find(bytes, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.trim_end().split("\r\n");
    let mut line = lines.next()?.split(' ');
    let (method, target) = (line.next()?.to_string(), line.next()?.to_string());
    let headers = lines.map(|line| line.split_once(':').unwrap());
    let headers = headers.map(|(name, value)| (name.to_string(), value.trim().to_string()));
    let seen = Seen { method, target, headers: headers.collect() };
    let body = &bytes[head_end..];
    let length = if seen.all("transfer-encoding") == ["chunked"] {
        find(body, b"0\r\n\r\n")? + 5
    } else {
        seen.all("content-length").first().map_or(0, |length| length.parse().unwrap())
    };
    (body.len() >= length).then_some((seen, head_end + length))
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
