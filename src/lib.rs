//! A small proxy in front of an OpenAI-compatible API that lists only the models you want.
//!
//! It answers `/v1/models` with the models that a filter keeps, and relays everything else
//! unchanged, streams included. Synchronous: one thread for each exchange, from a pool.
//!
//! # Map
//!
//! In import order: imports point down this list.
//!
//! | module | concern |
//! |---|---|
//! | `main.rs` | runs a command, prints its result |
//! | [`service`] | the running proxy: start, reload, shutdown |
//! | [`systemd`] | the protocol of a service manager |
//! | [`relay`] | the way of a request: decide, hold its body, deliver the response |
//! | [`admin`] | the program's own paths below `/-/`, and the page |
//! | [`survey`] | `model-filter models` |
//! | [`catalog`] | the list that clients see: the union of the offers |
//! | [`offer`] | one upstream's list: fetched, filtered, cached |
//! | [`list`] | pure: every shape of a list of models |
//! | [`admission`] | client keys, and the rules for browsers |
//! | [`upstream`] | one remote API: address, credentials, ureq, the transport |
//! | [`sample`] | the built-in sample upstream |
//! | [`server`] | the listener; hides tiny_http |
//! | [`progress`] | pure: the state of a client connection, and the action that it needs |
//! | [`config`] | YAML and environment to settings; every configuration error |
//! | [`cli`] | the command line |
//! | [`recent`] | the last exchanges and minutes, for the page |
//! | [`logging`] | the log, and the line of an exchange |
//! | [`metrics`] | counters and histograms, for Prometheus |
//! | [`process_metrics`] | memory, CPU time and descriptors of the process, for Prometheus |
//! | [`record`] | the facts of one exchange |
//! | [`trim`] | when freed memory is returned |
//! | [`tunnel`] | bytes both ways between two connections that have switched protocols |
//! | [`sys`] | system calls that the standard library does not have |
//! | [`probe`] | asks the running proxy for its health |
//! | [`crew`] | threads that take turns: one waits for work, the others follow |
//! | [`cache`] | a TTL cache with single-flight fetches, stale-while-revalidate and back-off |
//! | [`reply`] | whole responses, and the shape of our own errors |
//! | [`filter`] | pure: rules to kept or hidden, and the order; rules that do nothing |
//! | [`facts`] | pure: what a list says about a model |
//! | [`route`] | pure: method and target to the destination of a request |
//! | [`model_field`] | pure: the model's name in a body, found and replaced |
//! | [`json`] | pure: one member of an object, as it stands in the text |
//! | [`framing`] | pure: HTTP/1.1 framing of requests and responses |
//! | [`chunks`] | pure: chunked bodies, decoded |
//! | [`headers`] | pure: header fields, hop-by-hop fields, credentials |
//! | [`elastic`] | pure: the size of a buffer |
//! | [`base64`] | pure: base64 |
//! | [`wanted`] | whether the client of an exchange is still there |
//! | [`secret`] | text that is not shown in logs |
//! | [`error`] | the errors of an exchange |
//! | [`text`] | pure: shortens, shows and compares text of others; loopback hosts |
//!
//! # Invariants
//!
//! - Only [`server`] names tiny_http and only [`upstream`] names ureq.
//! - Only [`config`] reads the environment; only `main.rs` prints, and [`logging`] writes the log.
//! - The pure modules do no IO and import only [`error`], [`headers`], [`json`] and [`text`].
//! - Unsafe code is in [`sys`] alone.
//! - A response that is not complete is never ended cleanly.
//! - No log line, error or answer shows a credential.

pub mod admin;
pub mod admission;
pub mod base64;
pub mod cache;
pub mod catalog;
pub mod chunks;
pub mod cli;
pub mod config;
pub mod crew;
pub mod elastic;
pub mod error;
pub mod facts;
pub mod filter;
pub mod framing;
pub mod headers;
pub mod json;
pub mod list;
pub mod logging;
pub mod metrics;
pub mod model_field;
pub mod offer;
pub mod probe;
pub mod process_metrics;
pub mod progress;
pub mod recent;
pub mod record;
pub mod relay;
pub mod reply;
pub mod route;
pub mod sample;
pub mod secret;
pub mod server;
pub mod service;
pub mod survey;
pub mod sys;
pub mod systemd;
pub mod text;
pub mod trim;
pub mod tunnel;
pub mod upstream;
pub mod wanted;
