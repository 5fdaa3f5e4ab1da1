//! The promises of the pure files, asked of thousands of generated inputs.
//!
//! Each is judged by a second implementation, as plain as can be and written from the RFC or from
//! DESIGN.md, that shares no line with the one in `src/`. Every run draws other inputs; a failure
//! prints the smallest one that it finds. `PROPTEST_CASES=100000` asks for more than a test run
//! has time for.

#![allow(clippy::print_stderr, missing_docs)]

use proptest::test_runner::Config;

mod filter; // patterns against a matcher that tries every way
mod headers; // what is taken off, and that nothing else moves
mod list; // lists of models against serde_json
mod model_field; // JSON and multipart bodies against readers written by hand
mod route; // targets in every spelling against a decoder

/// As many cases as end soon in a debug build. What failed is printed and not kept in a file.
fn cases(count: u32) -> Config {
    let config = Config { failure_persistence: None, ..Config::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => Config { cases: count, ..config },
    }
}
