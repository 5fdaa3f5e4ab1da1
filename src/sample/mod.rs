//! The built-in sample upstream, for `base_url: "sample:"`.
//!
//! It speaks the OpenAI API on a loopback port, through the same server code as the proxy, so
//! that the program can be tried offline and without an account. No model is asked: responses
//! repeat what was sent; a JSON schema and a forced tool get values that validate. Limits: models, chat
//! completions, completions, embeddings, responses (OpenAI), messages (Anthropic), and a WebSocket that
//! echoes; every model does all of these; other options that would need a model are ignored.

mod answer;
mod api;
mod catalog;
mod chat;
mod embeddings;
mod events;
mod messages;
mod reading;
mod refusal;
mod responses;
mod schema;
mod shapes;
mod socket;
mod words;

pub use self::api::start;
