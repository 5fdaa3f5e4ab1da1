//! The built-in sample upstream, for `base_url: "sample:"`.
//!
//! It speaks the OpenAI API on a loopback port, through the same server code as the proxy, so
//! that the program can be tried offline and without an account. No model is asked: responses
//! repeat what was sent. Limits: models, chat completions, completions and embeddings only;
//! every model does all of these; options that would need a model (tools, temperature, formats)
//! are accepted and ignored.

mod api;
mod catalog;
mod chat;
mod embeddings;
mod reading;
mod refusal;
mod shapes;
mod words;

pub use self::api::start;
