//! `POST /v1/responses` (OpenAI), whole or as events.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::answer::{Answer, new_id, tokens_of};
use super::events::Events;
use super::reading;
use super::refusal::Refusal;
use crate::record::Sent;
use crate::server::Exchange;

/// A response to be sent, and its only item of output.
pub(super) struct ModelResponse {
    response: Value,
    item: Value,
    answer: Answer,
}

impl ModelResponse {
    pub(super) fn to(body: &Value) -> Result<ModelResponse, Refusal> {
        let model = reading::model(body)?;
        let messages = match &body["input"] {
            Value::String(text) => vec![json!({"role": "user", "content": text})],
            Value::Array(items) if !items.is_empty() => items.clone(),
            _ => {
                let what = "'input' must be a text or a list of items.";
                return Err(Refusal::bad_request(Some("input"), what));
            }
        };
        let most = reading::number(body, "max_output_tokens", 1..=u64::MAX)?;
        let answer = Answer::to(body, model, &messages, most);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (asked, answered) = (tokens_of(&messages), answer.tokens().len() as u64);
        let or = |name: &str, default: Value| match &body[name] {
            Value::Null => default,
            given => given.clone(),
        };
        let status = if answer.is_cut() { "incomplete" } else { "completed" };
        let reason = answer.is_cut().then(|| json!({"reason": "max_output_tokens"}));
        let item = match &answer {
            Answer::Text(text) => json!({
                "type": "message", "id": new_id("msg_", now), "status": status,
                "role": "assistant", "content": [part(&text.tokens.concat())],
            }),
            Answer::Call { name, arguments } => json!({
                "type": "function_call", "id": new_id("fc_", now), "call_id": new_id("call_", now),
                "status": status, "name": name, "arguments": arguments,
            }),
        };
        let response = json!({
            "id": new_id("resp_", now), "object": "response", "created_at": now.as_secs(),
            "status": status, "error": null, "incomplete_details": reason,
            "instructions": body["instructions"], "max_output_tokens": most, "model": model,
            "output": [item], "parallel_tool_calls": true, "previous_response_id": null,
            "reasoning": {"effort": null, "summary": null}, "store": false, "temperature": 1.0,
            "text": or("text", json!({"format": {"type": "text"}})), "top_p": 1.0,
            "tool_choice": or("tool_choice", json!("auto")), "tools": or("tools", json!([])),
            "truncation": "disabled", "metadata": {}, "user": null,
            "usage": {
                "input_tokens": asked, "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": answered, "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": asked + answered,
            },
        });
        Ok(ModelResponse { response, item, answer })
    }

    pub(super) fn whole(&self) -> &Value {
        &self.response
    }

    /// Sends the response as events.
    pub(super) fn stream(self, exchange: Box<Exchange>) -> Sent {
        let ModelResponse { response, item, answer } = self;
        let mut events = Events::begin(exchange);
        let mut number = 0;
        let mut send = |events: &mut Events, kind: &str, mut data: Value| {
            data["type"] = json!(kind);
            data["sequence_number"] = json!(number);
            number += 1;
            events.send(Some(kind), &data);
        };
        let (mut begun, mut empty) = (response.clone(), item.clone());
        (begun["status"], begun["output"], begun["usage"]) =
            (json!("in_progress"), json!([]), Value::Null);
        empty["status"] = json!("in_progress");
        send(&mut events, "response.created", json!({"response": begun}));
        send(&mut events, "response.in_progress", json!({"response": begun}));
        let place = json!({"item_id": item["id"], "output_index": 0});
        let with = |more: Value| {
            let mut place = place.clone();
            more.as_object()
                .into_iter()
                .flatten()
                .for_each(|(name, value)| place[name] = value.clone());
            place
        };
        let text = answer.tokens().concat();
        let (delta, whole) = match &answer {
            Answer::Text(_) => {
                empty["content"] = json!([]);
                ("response.output_text", json!({"content_index": 0, "text": text, "logprobs": []}))
            }
            Answer::Call { name, .. } => {
                empty["arguments"] = json!("");
                ("response.function_call_arguments", json!({"name": name, "arguments": text}))
            }
        };
        send(&mut events, "response.output_item.added", json!({"output_index": 0, "item": empty}));
        let is_text = matches!(answer, Answer::Text(_));
        let index = if is_text { json!({"content_index": 0, "logprobs": []}) } else { json!({}) };
        if is_text {
            let data = with(json!({"content_index": 0, "part": part("")}));
            send(&mut events, "response.content_part.added", data);
        }
        for token in answer.tokens() {
            if !events.pause() {
                break;
            }
            let mut data = with(index.clone());
            data["delta"] = json!(token);
            send(&mut events, &format!("{delta}.delta"), data);
        }
        send(&mut events, &format!("{delta}.done"), with(whole));
        if is_text {
            let data = with(json!({"content_index": 0, "part": part(&text)}));
            send(&mut events, "response.content_part.done", data);
        }
        send(&mut events, "response.output_item.done", json!({"output_index": 0, "item": item}));
        let last = if answer.is_cut() { "response.incomplete" } else { "response.completed" };
        send(&mut events, last, json!({"response": response}));
        events.end(b"")
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}
