//! The fake upstream, whose responses are prepared in advance.
//!
//! There is one thread per connection, and always a few more that wait in `accept`, so that a new connection does not
//! wait for a new thread. The target of the request says how to respond:
//!
//! - `/v1/chat/completions`: 1 KB of JSON
//! - `/v1/completions`: 100 events that hold the time, one every 20 ms
//! - `/v1/models`: the list
//! - `/v1/bytes/N`: N bytes
//! - `/v1/upload`: an empty object; all requests have their body read
//! - `/v1/tokens/N/P`: N events that hold the time, one every P µs
//! - `/v1/flood/alone/MS`, `/v1/flood/batched/MS`: events without pause for MS milliseconds, one per write, or as many
//!   as fit into 64 KB
//! - `/v1/hold`: one event, then nothing until the other side closes

use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::wire::{Framing, Wire};

/// Models in the list.
pub const MODELS: usize = 340;

/// The length of the small response.
pub const PLAIN: usize = 1024;

/// The text in front of the time in an event, and the number of digits of a time.
pub const STAMP: &[u8] = b"\"t\":";
pub const DIGITS: usize = 16;

/// The least and the most threads that wait for connections.
const WAITING: (usize, usize) = (4, 80);

/// The stack size of threads: there may be a thousand.
const STACK: usize = 128 * 1024;

/// The size of a write, for large bodies and floods.
const BATCH: usize = 64 * 1024;

/// The tokens of `/v1/completions`, and the pause between two of them.
pub const TOKENS: usize = 100;
pub const PAUSE: Duration = Duration::from_millis(20);

const EVENT_STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Nanoseconds since the first call, on one clock for all threads.
pub fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

pub struct Upstream {
    port: u16,
}

struct Shared {
    listener: TcpListener,
    waiting: AtomicUsize,
    plain: Vec<u8>,
    models: Vec<u8>,
    /// One event as a chunk, and as many as fit into a batch.
    event: Vec<u8>,
    events: Vec<u8>,
    zeros: Vec<u8>,
}

impl Upstream {
    pub fn start() -> io::Result<Upstream> {
        now();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let event = chunk(event(0).as_bytes());
        let shared = Arc::new(Shared {
            listener,
            waiting: AtomicUsize::new(0),
            plain: answer("application/json", plain().as_bytes()),
            models: answer("application/json", models().as_bytes()),
            events: event.repeat(BATCH / event.len()),
            event,
            zeros: vec![b'0'; BATCH],
        });
        for _ in 0..WAITING.0 {
            wait(&shared)?;
        }
        Ok(Upstream { port })
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Starts a thread that accepts connections. It ends with the process, or if too many threads wait.
fn wait(shared: &Arc<Shared>) -> io::Result<()> {
    let own = Arc::clone(shared);
    shared.waiting.fetch_add(1, Ordering::SeqCst);
    thread::Builder::new().stack_size(STACK).spawn(move || {
        loop {
            let accepted = own.listener.accept();
            if own.waiting.fetch_sub(1, Ordering::SeqCst) <= WAITING.0 {
                // If no thread can be started, the present ones accept when they are done.
                let _ = wait(&own);
            }
            // The client reports a broken connection.
            let _ = accepted.and_then(|(stream, _)| own.serve(stream));
            if own.waiting.fetch_add(1, Ordering::SeqCst) >= WAITING.1 {
                own.waiting.fetch_sub(1, Ordering::SeqCst);
                return;
            }
        }
    })?;
    Ok(())
}

impl Shared {
    /// Serves all requests of one connection.
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut wire = Wire::new(stream)?;
        let target = |line: &str| line.split(' ').nth(1).unwrap_or_default().to_owned();
        while let Some((target, framing)) = wire.head(target)? {
            wire.discard(framing)?;
            let mut words = target.split('/').skip(2);
            let word = words.next().unwrap_or_default();
            let how = words.clone().next().unwrap_or_default();
            let mut numbers = words.filter_map(|word| word.parse::<u64>().ok());
            let mut number = || numbers.next().unwrap_or_default();
            match word {
                "chat" => wire.write(&self.plain)?,
                "completions" => tokens(&mut wire, TOKENS as u64, PAUSE)?,
                "models" => wire.write(&self.models)?,
                "bytes" => self.bytes(&mut wire, number())?,
                "upload" => wire.write(&answer("application/json", b"{}"))?,
                "tokens" => tokens(&mut wire, number(), Duration::from_micros(number()))?,
                "flood" => {
                    let piece = if how == "alone" { &self.event } else { &self.events };
                    flood(&mut wire, piece, Duration::from_millis(number()))?;
                }
                "hold" => {
                    wire.write(&[EVENT_STREAM.as_bytes(), &self.event].concat())?;
                    // Only the end of the connection arrives.
                    wire.part(&mut Framing::Length(1))?;
                    return Ok(());
                }
                _ => wire.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
            }
        }
        Ok(())
    }

    fn bytes(&self, wire: &mut Wire, count: u64) -> io::Result<()> {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {count}\r\n\r\n"
        );
        wire.write(head.as_bytes())?;
        let mut left = count as usize;
        while left > 0 {
            let piece = left.min(self.zeros.len());
            wire.write(&self.zeros[..piece])?;
            left -= piece;
        }
        Ok(())
    }
}

/// Writes events that hold the time of the write. A late event does not delay the next.
fn tokens(wire: &mut Wire, count: u64, pause: Duration) -> io::Result<()> {
    wire.write(EVENT_STREAM.as_bytes())?;
    let mut due = Instant::now();
    for _ in 0..count {
        due += pause;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        wire.write(&chunk(event(now()).as_bytes()))?;
    }
    wire.write(LAST_CHUNK)
}

fn flood(wire: &mut Wire, piece: &[u8], lasting: Duration) -> io::Result<()> {
    wire.write(EVENT_STREAM.as_bytes())?;
    let began = Instant::now();
    while began.elapsed() < lasting {
        wire.write(piece)?;
    }
    wire.write(LAST_CHUNK)
}

/// An event of a chat completion that holds a time. All events have the same length.
pub fn event(time: u64) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\
         \"model\":\"vendor-7/model-7\",\"t\":{time:0DIGITS$},\
         \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"token \"}}}}]}}\n\n"
    )
}

fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

fn answer(content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn plain() -> String {
    let start = "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\
                 \"message\":{\"role\":\"assistant\",\"content\":\"";
    let end = "\"},\"finish_reason\":\"stop\"}]}";
    format!("{start}{}{end}", "x".repeat(PLAIN - start.len() - end.len()))
}

/// A list whose entries are as long as those of large providers.
fn models() -> String {
    let mut list = String::from("{\"object\":\"list\",\"data\":[");
    for number in 0..MODELS {
        let comma = if number == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(
            list,
            "{comma}{{\"id\":\"vendor-{}/model-{number}\",\"object\":\"model\",\"created\":{},\
             \"owned_by\":\"vendor-{}\",\"context_length\":131072,\"pricing\":{{\"prompt\":\"0.0000005\",\
             \"completion\":\"0.0000015\"}},\"description\":\"{}\"}}",
            number % 20,
            1_700_000_000 + number,
            number % 20,
            "A model for chat, for code and for long texts. ".repeat(5).trim_end(),
        );
    }
    list + "]}"
}
