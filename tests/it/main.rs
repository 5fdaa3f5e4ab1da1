//! Integration tests: what the program promises, tested over real sockets.

#![allow(clippy::print_stderr, missing_docs)]

// The harness.
mod client; // a client connection, which distinguishes a complete response from a cut one
mod fake; // an upstream over raw sockets, which can misbehave
mod generated; // generated configurations and exchanges
mod oracle; // a second implementation of the rules of routing and credentials
mod proxy; // the program under test: its process, log and memory
mod recorder; // an upstream that records every byte that it receives
mod wait; // gates and deadlines: no test sleeps to synchronize

// The tests, one file for each kind of promise.
mod admin; // /-/health, /-/ready and /-/metrics
mod admission; // who may call: client keys, hosts, origins
mod ambiguous; // bodies that two servers may read differently
mod bodies; // the prefix is removed from the model, and nothing else changes
mod bursts; // clients that all connect at once are all served
mod cached_lists; // a list is served only to the credentials that it was fetched with
mod catalog; // which models are listed, in which form, and for how long
mod choosing; // conditions, orders, and rules that do nothing
mod clients; // bodies as real clients write them
mod command_line; // arguments, environment, and every error of the configuration
mod commands; // models, check and health
mod credentials; // which key is sent to which upstream
mod documentation; // README.md and docs/ are true and complete
mod failures; // 502 and 504, and what they say
mod framing; // a body is never taken for a request
mod going_down; // SIGTERM and SIGINT
mod headers; // which headers are relayed, both ways
mod hidden; // hidden: reject
mod keep_alive; // connections are reused
mod leaving; // clients that leave while the proxy waits for a connection or a list
mod limits; // the limits of the section server; endless heads and chunks
mod log; // one line per exchange
mod memory; // memory stays constant, however long the body
mod models; // one model: GET /v1/models/{id}
mod named_paths; // /<name>/v1/…: one of several upstreams
mod names; // aliases, displayed names, several models in one body
mod own_models; // models and list_path
mod page; // what the filter page fetches
mod pages; // lists in pages are whole
mod paths; // which path goes where
mod pool; // many exchanges at once
mod python_rules; // the filter, compared with the Python program's rules
mod redirects; // a Location at the upstream itself leads to us
mod relaying; // methods, bodies and statuses are relayed unchanged
mod reload; // SIGHUP: new requests use the new configuration
mod routing; // several upstreams: the prefix of the model chooses one

mod sample; // the shipped configuration and the sample upstream
mod saving; // the page saves rules, and nothing else does
mod schema; // config.schema.json
mod secrets; // no credential reaches the wrong upstream or client
mod several; // several upstreams: the union of their lists, also if some are down
mod shapes; // lists in the shapes that providers document
mod shortage; // out of file descriptors, threads or memory
mod streams; // events arrive at once, and a cut stream never looks complete
mod systemd; // notifications to a service manager, and sockets inherited from it
mod tls; // upstreams over TLS
mod upgrades; // WebSockets: bytes both ways after a 101
mod waiting; // no client waits for a list, and each is told what is missing
mod watching; // changed files are read again without a signal
mod without_file; // options and variables in place of a file, and the search for a file
