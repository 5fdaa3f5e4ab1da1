//! A response as server-sent events, at the pace of a model.

use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::shapes::json;
use crate::headers::Headers;
use crate::record::Sent;
use crate::server::{Exchange, Response};

/// The pause before each token of a stream: 50 tokens per second, as from a model.
const PAUSE: Duration = Duration::from_millis(20);

/// A stream of events that has begun.
pub(super) struct Events(Response);

impl Events {
    pub(super) fn begin(exchange: Box<Exchange>) -> Events {
        let headers = Headers::new()
            .with("Content-Type", "text/event-stream")
            .with("Cache-Control", "no-cache");
        Events(exchange.begin(200, &headers, None))
    }

    /// Sends an event, with a name if the API has names.
    pub(super) fn send(&mut self, name: Option<&str>, data: &impl Serialize) {
        let mut event =
            name.map(|name| format!("event: {name}\n")).unwrap_or_default().into_bytes();
        event.extend(b"data: ");
        event.extend(json(data));
        event.extend(b"\n\n");
        self.0.write(&event);
    }

    /// Waits for the next token. Returns whether the client is still there.
    pub(super) fn pause(&self) -> bool {
        thread::sleep(PAUSE);
        !self.0.broken()
    }

    /// Ends the stream with these bytes; cuts it if the client has left.
    pub(super) fn end(mut self, last: &[u8]) -> Sent {
        if self.0.broken() {
            return self.0.abort();
        }
        self.0.write(last);
        self.0.end()
    }
}
