//! What is asked and what is answered, made from a seed: so both ends of an exchange know
//! each byte of it without telling each other.

use std::fmt::Write;

/// Numbers that look random and are the same for the same seed (SplitMix64).
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

    /// From `least` up to but without `end`.
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

/// Bytes of all values.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&rng.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Letters that mean nothing in JSON.
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

/// The list of models that the upstream has.
pub fn models() -> String {
    list("")
}

/// What clients see of it.
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

/// What the upstream shall do with a request. It stands in the query of the target, which
/// the program passes on as it is.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub task: Task,
    pub seed: u64,
    /// Bytes of a body, or the number of events.
    pub size: usize,
    /// Milliseconds from one event to the next.
    pub gap: u64,
    /// Whether the answer's body is chunked, where there is a choice.
    pub chunked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Answers with `size` bytes.
    Body,
    /// Answers with the body of the request.
    Echo,
    /// Answers whether the body of the request is what its seed says.
    Upload,
    /// Answers with `size` events.
    Stream,
    /// Says nothing until the connection is closed.
    Silence,
    /// Sends `size` events, and then as above.
    Stall,
    /// Sends events until the connection is closed.
    Endless,
    /// Promises a short body and closes in the middle of it.
    CutShort,
    /// Promises a long body and closes after `size` bytes.
    CutLong,
    /// Closes after `size` events.
    CutStream,
    /// Answers with what is no HTTP.
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

    /// A target that says all this.
    pub fn target(&self, path: &str) -> String {
        let Order { task, seed, size, gap, chunked } = self;
        let name = TASKS.iter().find(|(known, _)| known == task).map_or("", |(_, name)| name);
        let mut target = format!("{path}?do={name}&seed={seed}&size={size}&gap={gap}");
        if *chunked {
            // Writing to a String does not fail.
            let _ = write!(target, "&chunked=1");
        }
        target
    }

    /// Reads such a target.
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
