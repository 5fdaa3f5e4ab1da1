//! Requests and responses, generated from a seed: both ends of an exchange can compute every byte of it.

use std::fmt::Write;

/// A deterministic random number generator (SplitMix64).
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `least` to `end - 1`.
    pub fn between(&mut self, least: u64, end: u64) -> u64 {
        least + self.next() % (end - least)
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.next() % count == 0
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.between(0, choices.len() as u64) as usize]
    }
}

/// Random bytes.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&rng.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Random letters, which need no escapes in JSON.
pub fn letters(seed: u64, length: usize) -> String {
    bytes(seed, length).iter().map(|byte| char::from(b'a' + byte % 16)).collect()
}

/// The events of a stream, from a few bytes to some KB each.
pub fn events(seed: u64, count: usize) -> Vec<String> {
    let event = |number: usize| {
        let mut rng = Rng::new(seed ^ (number as u64).wrapping_mul(31));
        let most = if rng.one_in(20) { 8000 } else { 300 };
        let length = rng.between(0, most) as usize;
        let text = letters(rng.next(), length);
        format!("data: {{\"seed\":{seed},\"number\":{number},\"text\":\"{text}\"}}\n\n")
    };
    let mut events: Vec<String> = (0..count).map(event).collect();
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// The upstream's list of models.
pub fn models() -> String {
    list("")
}

/// The list that clients see.
pub fn shown_models() -> String {
    list("my/").replace(&model("my/", "hidden", 7), "").replace(",,", ",")
}

fn list(prefix: &str) -> String {
    let kept: Vec<String> = (0..40).map(|number| model(prefix, "chat", number)).collect();
    let hidden = model(prefix, "hidden", 7);
    format!("{{\"object\":\"list\",\"data\":[{},{hidden},{}]}}", kept[..20].join(","), kept[20])
}

fn model(prefix: &str, name: &str, number: u32) -> String {
    format!("{{\"id\":\"{prefix}{name}-{number}\",\"object\":\"model\",\"created\":{number}}}")
}

/// The treatment of a request by the upstream. It is encoded in the query, which the program relays unchanged.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub task: Task,
    pub seed: u64,
    /// Bytes of the body, or the number of events.
    pub size: usize,
    /// Milliseconds between two events.
    pub gap: u64,
    /// Whether the response body is chunked, if the task allows both.
    pub chunked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Respond with `size` bytes.
    Body,
    /// Respond with the request body.
    Echo,
    /// Respond with whether the request body matches its seed.
    Upload,
    /// Respond with `size` events.
    Stream,
    /// Send nothing until the connection is closed.
    Silence,
    /// Send `size` events, then nothing until the connection is closed.
    Stall,
    /// Send events until the connection is closed.
    Endless,
    /// Announce a short body and close in the middle of it.
    CutShort,
    /// Announce a long body and close after `size` bytes.
    CutLong,
    /// Close after `size` events.
    CutStream,
    /// Respond with something that is not HTTP.
    Garbage,
}

const TASKS: [(Task, &str); 11] = [
    (Task::Body, "body"),
    (Task::Echo, "echo"),
    (Task::Upload, "upload"),
    (Task::Stream, "stream"),
    (Task::Silence, "silence"),
    (Task::Stall, "stall"),
    (Task::Endless, "endless"),
    (Task::CutShort, "cut-short"),
    (Task::CutLong, "cut-long"),
    (Task::CutStream, "cut-stream"),
    (Task::Garbage, "garbage"),
];

impl Order {
    pub fn new(task: Task, seed: u64) -> Order {
        Order { task, seed, size: 0, gap: 0, chunked: false }
    }

    /// The target that encodes this order.
    pub fn target(&self, path: &str) -> String {
        let Order { task, seed, size, gap, chunked } = self;
        let name = TASKS.iter().find(|(known, _)| known == task).map_or("", |(_, name)| name);
        let mut target = format!("{path}?do={name}&seed={seed}&size={size}&gap={gap}");
        if *chunked {
            // Writing to a String cannot fail.
            let _ = write!(target, "&chunked=1");
        }
        target
    }

    /// Decodes a target.
    pub fn of(target: &str) -> Option<Order> {
        let field = |name: &str| {
            let fields = target.split_once('?')?.1.split('&');
            fields.filter_map(|field| field.split_once('=')).find(|(n, _)| *n == name)
        };
        let number = |name: &str| field(name)?.1.parse::<u64>().ok();
        let (task, _) = TASKS.iter().find(|(_, name)| field("do").is_some_and(|f| f.1 == *name))?;
        Some(Order {
            task: *task,
            seed: number("seed")?,
            size: number("size")? as usize,
            gap: number("gap")?,
            chunked: field("chunked").is_some(),
        })
    }
}
