//! The buffers of one connection to an upstream, as large as the traffic needs.
//!
//! ureq's own are two of 64 KiB per connection, which would be most of the memory of an open
//! stream. Here the input grows and shrinks with what is read. The output is as large as its
//! request, and is freed once that is sent. The first part of a request may be held until more
//! of it is there, so that a head and a short body leave in one segment. Limits: a response
//! head of at most [`elastic::MOST`].

use ureq::unversioned::transport::Buffers;

use super::call::room;
use crate::elastic;

/// The largest input that is kept between two requests, in bytes.
const KEPT: usize = 4 * elastic::LEAST;

#[derive(Debug)]
pub(super) struct ElasticBuffers {
    input: Vec<u8>,
    /// The input that was read and not consumed is `start..end`.
    start: usize,
    end: usize,
    /// The size of the input once it is next empty.
    size: usize,
    /// Whether ureq consumed some of the input when it last looked.
    progress: bool,
    output: Vec<u8>,
    /// How much of the output is held.
    held: usize,
}

impl ElasticBuffers {
    pub(super) fn new() -> ElasticBuffers {
        ElasticBuffers {
            input: Vec::new(),
            start: 0,
            end: 0,
            size: elastic::LEAST,
            progress: false,
            output: Vec::new(),
            held: 0,
        }
    }

    /// Makes the target absolute in the first part of a request, which begins with the method. Returns
    /// the new length of that part.
    pub(super) fn insert_before_path(&mut self, amount: usize, origin: &str) -> usize {
        let part = &self.output[self.held..self.held + amount];
        let Some(method) = part.iter().position(|byte| *byte == b' ') else { return amount };
        let at = self.held + method + 1;
        self.output.splice(at..at, origin.bytes());
        amount + origin.len()
    }

    /// Holds the first part of a request.
    pub(super) fn hold(&mut self, amount: usize) {
        self.held = amount;
    }

    pub(super) fn holds(&self) -> bool {
        self.held > 0
    }

    /// The held part, and this much more behind it.
    pub(super) fn to_send(&self, amount: usize) -> &[u8] {
        &self.output[..self.held + amount]
    }

    pub(super) fn sent(&mut self) {
        self.held = 0;
    }

    /// Frees a large output, once the request is sent.
    pub(super) fn shrink_output(&mut self) {
        if self.output.len() > elastic::LEAST {
            self.output = Vec::new();
        }
    }

    /// Frees a large input, between two requests.
    pub(super) fn shrink_input(&mut self) {
        if self.start == self.end && self.input.len() > KEPT {
            self.input = Vec::new();
            (self.start, self.end) = (0, 0);
        }
    }

    /// Frees everything that an idle connection does not need.
    pub(super) fn settle(&mut self) {
        self.output = Vec::new();
        self.size = elastic::LEAST;
        if self.start == self.end {
            self.input = Vec::new();
            (self.start, self.end) = (0, 0);
        }
    }

    fn make_room(&mut self) {
        // The held part is within the room that was asked for, but TLS makes it a little longer.
        let wanted = room().output.max(self.held + elastic::LEAST / 4);
        if self.output.len() < wanted {
            self.output.resize(wanted, 0);
        }
    }

    fn free_input(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.input.len() != self.size {
                self.input = vec![0; self.size];
            }
        } else if self.end == self.input.len() {
            if self.start > 0 {
                self.input.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                // A little beyond the limit, so that ureq sees that a head is too long.
                let most = elastic::MOST + elastic::LEAST;
                self.input.resize((2 * self.end).min(most).max(self.end), 0);
            }
        }
        &mut self.input[self.end..]
    }
}

impl Buffers for ElasticBuffers {
    fn output(&mut self) -> &mut [u8] {
        self.make_room();
        &mut self.output[self.held..]
    }

    fn input(&self) -> &[u8] {
        &self.input[self.start..self.end]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.free_input()
    }

    fn input_appended(&mut self, amount: usize) {
        self.end += amount;
        self.size = elastic::next_size(self.input.len(), self.end);
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.start += amount;
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.make_room();
        self.free_input();
        let wanted = self.end + room().scratch;
        if self.input.len() < wanted {
            self.input.resize(wanted, 0);
        }
        (&mut self.input[self.end..], &mut self.output[self.held..])
    }

    fn can_use_input(&self) -> bool {
        self.progress && self.start < self.end
    }
}
