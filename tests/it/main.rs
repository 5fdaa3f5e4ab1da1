//! The promises of DESIGN.md, asked of the real program over real sockets.

#![allow(clippy::print_stderr, missing_docs)]

// What the tests are made of.
mod client; // one connection of a client, that tells a complete answer from a cut one
mod fake; // an upstream of raw sockets, that can misbehave
mod proxy; // the program under test, its log and its memory
mod wait; // gates and deadlines, since no test sleeps to be in step

// What is promised, one file for each kind of promise.
mod bodies; // the prefix is taken off the model, and nothing else is touched
mod bursts; // clients that connect all at once, none of which is forgotten
mod catalog; // which models are listed, how, and how long
mod command_line; // arguments, environment, and every error of the configuration
mod credentials; // who is sent which key
mod failures; // 502 and 504, and what they say
mod framing; // a body is never taken for a request
mod going_down; // SIGTERM and SIGINT
mod headers; // which headers go on, both ways
mod keep_alive; // connections are used again
mod limits; // the server section's, and heads and chunks without an end
mod log; // one line for an exchange
mod memory; // constant, however long the body
mod models; // one model: GET /v1/models/{id}
mod paths; // which path goes where
mod pool; // many exchanges at once
mod python_rules; // the filter against an oracle of the Python program's rules
mod relaying; // methods, bodies and statuses, as they are
mod sample; // the shipped configuration and the sample upstream
mod shortage; // of files and of threads
mod streams; // events at once, and the truth about cut streams
mod tls; // an upstream that speaks it
