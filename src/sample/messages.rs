//! `POST /v1/messages` (Anthropic), whole or as events.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::answer::{Answer, new_id, tokens_of};
use super::events::Events;
use super::reading;
use super::refusal::Refusal;
use crate::record::Sent;
use crate::server::Exchange;

/// A message to be sent.
pub(super) struct ModelMessage {
    message: Value,
    answer: Answer,
}

/// The response to `POST /v1/messages/count_tokens`.
pub(super) fn count(body: &Value) -> Result<Value, Refusal> {
    Ok(json!({"input_tokens": tokens_of(messages_in(body)?)}))
}

fn messages_in(body: &Value) -> Result<&[Value], Refusal> {
    let messages = body["messages"].as_array().filter(|messages| !messages.is_empty());
    messages.map(Vec::as_slice).ok_or_else(|| {
        Refusal::bad_request(Some("messages"), "'messages' must be a list of messages.")
    })
}

impl ModelMessage {
    pub(super) fn to(body: &Value) -> Result<ModelMessage, Refusal> {
        let (model, messages) = (reading::model(body)?, messages_in(body)?);
        let most = reading::number(body, "max_tokens", 1..=u64::MAX)?;
        let answer = Answer::to(body, model, messages, most);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (content, reason) = match &answer {
            Answer::Text(text) => {
                let reason = if answer.is_cut() { "max_tokens" } else { "end_turn" };
                (json!({"type": "text", "text": text.tokens.concat()}), reason)
            }
            Answer::Call { name, arguments } => {
                let input: Value = serde_json::from_str(arguments).unwrap_or_default();
                let id = new_id("toolu_", now);
                (json!({"type": "tool_use", "id": id, "name": name, "input": input}), "tool_use")
            }
        };
        let message = json!({
            "id": new_id("msg_", now), "type": "message", "role": "assistant", "model": model,
            "content": [content], "stop_reason": reason, "stop_sequence": null,
            "usage": {"input_tokens": tokens_of(messages), "output_tokens": answer.tokens().len()},
        });
        Ok(ModelMessage { message, answer })
    }

    pub(super) fn whole(&self) -> &Value {
        &self.message
    }

    /// Sends the message as events.
    pub(super) fn stream(self, exchange: Box<Exchange>) -> Sent {
        let ModelMessage { message, answer } = self;
        let mut events = Events::begin(exchange);
        let send = |events: &mut Events, kind: &str, mut data: Value| {
            data["type"] = json!(kind);
            events.send(Some(kind), &data);
        };
        let (mut begun, mut block) = (message.clone(), message["content"][0].clone());
        (begun["content"], begun["stop_reason"]) = (json!([]), Value::Null);
        begun["usage"]["output_tokens"] = json!(0);
        let (kind, field) = match answer {
            Answer::Text(_) => {
                block["text"] = json!("");
                ("text_delta", "text")
            }
            Answer::Call { .. } => {
                block["input"] = json!({});
                ("input_json_delta", "partial_json")
            }
        };
        send(&mut events, "message_start", json!({"message": begun}));
        let start = json!({"index": 0, "content_block": block});
        send(&mut events, "content_block_start", start);
        for token in answer.tokens() {
            if !events.pause() {
                break;
            }
            let delta = json!({"index": 0, "delta": {"type": kind, field: token}});
            send(&mut events, "content_block_delta", delta);
        }
        send(&mut events, "content_block_stop", json!({"index": 0}));
        let delta = json!({"stop_reason": message["stop_reason"], "stop_sequence": null});
        let usage = json!({"output_tokens": message["usage"]["output_tokens"]});
        send(&mut events, "message_delta", json!({"delta": delta, "usage": usage}));
        send(&mut events, "message_stop", json!({}));
        events.end(b"")
    }
}
