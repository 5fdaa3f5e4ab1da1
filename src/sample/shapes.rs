//! The JSON of chat completions and completions, fields in the API's order.
//!
//! Whole responses and chunks of streams share these types. Limits: no refusals or log
//! probabilities.

use serde::Serialize;
use serde_json::Value;

/// Tokens of the request and of the response.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Usage {
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
    pub(super) total_tokens: u64,
}

/// A whole response, or one chunk of it.
#[derive(Serialize)]
pub(super) struct Envelope<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created: u64,
    pub(super) model: &'a str,
    pub(super) choices: Vec<Choice<'a>>,
    /// Absent; or, if usage was requested, null in every chunk but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Option<Usage>>,
}

/// One of the `n` choices, or one piece of it.
#[derive(Serialize)]
pub(super) struct Choice<'a> {
    pub(super) index: usize,
    #[serde(flatten)]
    pub(super) content: Content<'a>,
    pub(super) logprobs: Option<()>,
    pub(super) finish_reason: Option<&'static str>,
}

/// The variant is the name of the field.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content<'a> {
    Message(Message<'a>),
    Delta(Message<'a>),
    Text(&'a str),
}

/// In a stream, only the first piece has a role, and the last one has no content.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_calls: Option<Value>,
}

/// Writes a value whose type has string keys only.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("these types have string keys only and do not fail")
}
