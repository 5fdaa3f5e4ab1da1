//! The promises of DESIGN.md, asked of the real program over real sockets.

#![allow(clippy::print_stderr, missing_docs)]

// What the tests are made of.
mod client; // one connection of a client, that tells a complete answer from a cut one
mod fake; // an upstream of raw sockets, that can misbehave
mod generated; // configurations and exchanges without end
mod oracle; // the rules of routing and credentials a second time, to judge those by
mod proxy; // the program under test, its log and its memory
mod recorder; // an upstream that keeps every byte that it is sent
mod wait; // gates and deadlines, since no test sleeps to be in step

// What is promised, one file for each kind of promise.
mod admin; // /-/health, /-/ready and /-/metrics
mod admission; // who may call: client keys, hosts, and the pages of browsers
mod bodies; // the prefix is taken off the model, and nothing else is touched
mod bursts; // clients that connect all at once, none of which is forgotten
mod cached_lists; // a list is for the credentials that it was fetched with
mod catalog; // which models are listed, how, and how long
mod command_line; // arguments, environment, and every error of the configuration
mod commands; // models, check and health
mod credentials; // who is sent which key
mod failures; // 502 and 504, and what they say
mod framing; // a body is never taken for a request
mod going_down; // SIGTERM and SIGINT
mod headers; // which headers go on, both ways
mod hidden; // requests that name a hidden model, where they are rejected
mod keep_alive; // connections are used again
mod leaving; // clients that go while a connection or a list is waited for
mod limits; // the server section's, and heads and chunks without an end
mod log; // one line for an exchange
mod memory; // constant, however long the body
mod models; // one model: GET /v1/models/{id}
mod page; // what the page where a filter is made is told
mod paths; // which path goes where
mod pool; // many exchanges at once
mod python_rules; // the filter against an oracle of the Python program's rules
mod relaying; // methods, bodies and statuses, as they are
mod reload; // SIGHUP: new requests under a new configuration
mod routing; // several upstreams: a request goes where its model's prefix points
mod sample; // the shipped configuration and the sample upstream
mod secrets; // the proof that no credential gets into the wrong hands
mod several; // several upstreams: one list of them all, whichever are alive
mod shortage; // of files and of threads
mod streams; // events at once, and the truth about cut streams
mod systemd; // what a service manager is told, and a socket that it passes on
mod tls; // an upstream that speaks it
