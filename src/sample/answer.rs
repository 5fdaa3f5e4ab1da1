//! What the sample answers to a chat, in whichever API: a text, JSON for a schema, or a call of a tool.
//! Pure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::reading::tokens_in;
use super::schema::example;
use super::words::{Text, reply_to_messages, text_of};

/// An answer.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Text(Text),
    Call {
        name: String,
        /// An object as JSON.
        arguments: String,
    },
}

impl Answer {
    /// The answer to these messages. `most` limits the tokens of a text.
    pub(super) fn to(body: &Value, model: &str, messages: &[Value], most: Option<u64>) -> Answer {
        if let Some((name, schema)) = forced_tool(body) {
            let arguments = example(&schema).to_string();
            return Answer::Call { name: name.to_owned(), arguments };
        }
        let text = match wanted_schema(body) {
            Some(schema) => example(schema).to_string(),
            None => reply_to_messages(model, messages),
        };
        Answer::Text(Text::of(&text, most))
    }

    /// Its parts as they are streamed.
    pub(super) fn tokens(&self) -> &[String] {
        match self {
            Answer::Text(text) => &text.tokens,
            Answer::Call { arguments, .. } => std::slice::from_ref(arguments),
        }
    }

    /// Whether it is cut because it would be too long.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self, Answer::Text(Text { finish_reason: "length", .. }))
    }
}

/// The tokens of messages: the APIs count a few of framing for each.
pub(super) fn tokens_of(messages: &[Value]) -> u64 {
    messages.iter().map(|message| 4 + tokens_in(&text_of(message))).sum()
}

/// An id that is unique in this process.
pub(super) fn new_id(prefix: &str, now: Duration) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}{:x}{count:06x}", now.as_millis())
}

/// The tool that must be called, with the schema of its arguments.
fn forced_tool(body: &Value) -> Option<(&str, Value)> {
    // Chats have the function in a field of its own, the other APIs in the tool itself.
    let function = |value: &'_ Value| match &value["function"] {
        Value::Null => value.clone(),
        function => function.clone(),
    };
    let choice = &body["tool_choice"];
    let chosen = function(choice)["name"].as_str().map(str::to_owned);
    let kind = choice.as_str().or_else(|| choice["type"].as_str());
    if chosen.is_none() && !matches!(kind, Some("required" | "any")) {
        return None;
    }
    body["tools"].as_array()?.iter().find_map(|tool| {
        let inside = if tool["function"].is_null() { tool } else { &tool["function"] };
        let name = inside["name"].as_str()?;
        let is_it = chosen.as_deref().is_none_or(|chosen| chosen == name);
        let schema = if inside["parameters"].is_null() { "input_schema" } else { "parameters" };
        is_it.then(|| (name, inside[schema].clone()))
    })
}

/// The schema that the text must have: of chats, responses and messages.
fn wanted_schema(body: &Value) -> Option<&Value> {
    ["/response_format/json_schema/schema", "/text/format/schema", "/output_config/format/schema"]
        .iter()
        .find_map(|path| body.pointer(path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(more: Value) -> Answer {
        Answer::to(&more, "m", &[json!({"role": "user", "content": "hi"})], None)
    }

    #[test]
    fn a_forced_tool_is_called_in_each_api() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
        for body in [
            json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
                   "tool_choice": {"type": "function", "function": {"name": "f"}}}),
            json!({"tools": [{"type": "function", "name": "f", "parameters": schema}],
                   "tool_choice": "required"}),
            json!({"tools": [{"name": "e"}, {"name": "f", "input_schema": schema}],
                   "tool_choice": {"type": "tool", "name": "f"}}),
        ] {
            let Answer::Call { name, arguments } = answer(body) else { panic!() };
            assert_eq!((name.as_str(), arguments.as_str()), ("f", r#"{"a":0}"#));
        }
        let auto = json!({"tools": [{"name": "f"}], "tool_choice": {"type": "auto"}});
        assert!(matches!(answer(auto), Answer::Text(_)));
    }

    #[test]
    fn ids_are_unique() {
        let now = Duration::from_secs(1);
        assert_ne!(new_id("x", now), new_id("x", now));
    }
}
