//! A small proxy in front of an OpenAI-compatible API that lists only the models you want.
//!
//! `/v1/models` is answered with the models that a filter keeps; everything else is relayed
//! as it is, streams included. Synchronous: one thread for each exchange, from a pool.
//!
//! # Where things are
//!
//! In the order in which they use each other; imports point down this list.
//!
//! | module | concern |
//! |---|---|
//! | `main.rs` | what was asked for, and how it ended |
//! | [`service`] | the running proxy: started, reloaded, ended |
//! | [`systemd`] | what a service manager is told |
//! | [`survey`] | `model-filter models` |
//! | [`relay`] | an exchange: up to the head of its response, and after it |
//! | [`admin`] | what the program tells of itself, below `/-/` |
//! | [`admission`] | who may call: client keys, and what browsers may do |
//! | [`catalog`] | the list that clients see: the union of the offers |
//! | [`offer`] | the list of one upstream: fetched, filtered, cached |
//! | [`list`] | pure: every shape of a list of models |
//! | [`facts`] | pure: what a list says about a model |
//! | [`recent`] | the last exchanges and minutes |
//! | [`record`] | the facts of one exchange |
//! | [`logging`] | the log, and the line of an exchange |
//! | [`upstream`] | one remote API: address, credentials, ureq, transports |
//! | [`cache`] | a TTL cache: single-flight, stale-on-error, back-off |
//! | [`sample`] | the built-in sample upstream |
//! | [`config`] | YAML and environment to their meaning; every configuration error |
//! | [`cli`] | the command line |
//! | [`server`] | the listener: the rooms that name tiny_http |
//! | [`metrics`] | what is counted, in the format of Prometheus |
//! | [`sys`] | system calls that the standard library does not have |
//! | [`probe`] | asking the running proxy how it is |
//! | [`reply`] | our own answers |
//! | [`filter`] | pure: patterns to kept or hidden |
//! | [`route`] | pure: method and target to where a request goes |
//! | [`model_field`] | pure: the model's name in a body, found and replaced |
//! | [`json`] | pure: one member of an object, as it stands in the text |
//! | [`headers`] | pure: header fields, hop-by-hop fields, credentials |
//! | [`elastic`] | pure: how large a buffer should be |
//! | [`wanted`] | whether the client of an exchange is still there |
//! | [`secret`] | text that does not show itself |
//! | [`error`] | what can go wrong in an exchange, and whose fault it is |
//!
//! # What always holds
//!
//! - Only [`server`] names tiny_http and only [`upstream`] names ureq.
//! - Only [`config`] reads the environment; only `main.rs` prints, and [`logging`] writes the log.
//! - The pure modules do no IO and know no other module but [`error`] and [`json`].
//! - Unsafe code is in [`sys`] alone.
//! - A response that is not complete is never ended cleanly.
//! - No log line, error or answer shows a credential.

pub mod admin;
pub mod admission;
pub mod cache;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod elastic;
pub mod error;
pub mod facts;
pub mod filter;
pub mod headers;
pub mod json;
pub mod list;
pub mod logging;
pub mod metrics;
pub mod model_field;
pub mod offer;
pub mod probe;
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
pub mod upstream;
pub mod wanted;
