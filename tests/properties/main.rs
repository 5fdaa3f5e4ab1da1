//! Property tests of the pure modules, on thousands of generated inputs.
//!
//! The judge is a second, deliberately simple implementation that is written from the RFC or from
//! the documentation and shares no code with `src/`. Every run generates new inputs; a failure
//! prints the smallest one found. `PROPTEST_CASES=100000` runs more cases.

#![allow(clippy::print_stderr, missing_docs)]

use proptest::test_runner::Config;

mod advice; // rules that match nothing, and suggestions, against a naive count
mod choosing; // conditions and orders against a naive judge
mod crew; // one leader at a time, and no work is lost
mod elastic; // the size of a buffer
mod facts; // prices and dates against naive arithmetic, and a list of each dialect
mod filter; // patterns against a backtracking matcher
mod framing; // the length of a body against a naive grammar
mod headers; // which fields are removed, and that no other moves
mod list; // lists of models against serde_json
mod model_field; // JSON and multipart bodies against hand-written readers
mod progress; // what is decided about connections, over any sequence of events
mod route; // targets in every spelling against a simple decoder
mod text; // text that others sent

/// A configuration for this many cases, unless `PROPTEST_CASES` is set. Failures are not saved.
fn cases(count: u32) -> Config {
    let config = Config { failure_persistence: None, ..Config::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => Config { cases: count, ..config },
    }
}
