//! The text of the sample's responses, and its tokens. Pure.

use serde_json::Value;

/// The most characters of a prompt that a response quotes.
const QUOTED: usize = 160;

const WHO: &str = "the sample upstream that comes with model-filter";
const HOW: &str =
    "No model was asked: one line in config.yaml, base_url, puts a real API in my place.";

/// The text of one choice, cut into tokens.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// Joined, they are the text.
    pub(super) tokens: Vec<String>,
    /// Why it ends, in the API's words.
    pub(super) finish_reason: &'static str,
}

impl Text {
    /// Splits after spaces, and keeps at most `most` tokens.
    pub(super) fn of(text: &str, most: Option<u64>) -> Text {
        let mut tokens: Vec<String> = text.split_inclusive(' ').map(str::to_owned).collect();
        let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let finish_reason = if tokens.len() > most { "length" } else { "stop" };
        tokens.truncate(most);
        Text { tokens, finish_reason }
    }
}

/// The response to a chat.
pub(super) fn reply_to_messages(model: &str, messages: &[Value]) -> String {
    let count = match messages.len() {
        1 => "1 message".to_owned(),
        count => format!("{count} messages"),
    };
    let last = messages.iter().rfind(|message| message["role"] == "user");
    let said = match last.map(text_of) {
        Some(text) => format!("and your last one says: “{}”", shortened(&text)),
        None => "none of them from a user".to_owned(),
    };
    format!("I am {WHO}, answering as {model}. You sent {count}, {said}. {HOW}")
}

/// The response to a prompt.
pub(super) fn reply_to_prompt(model: &str, prompt: &str) -> String {
    let prompt = shortened(prompt);
    format!("I am {WHO}, answering as {model}. Your prompt was: “{prompt}”. {HOW}")
}

/// The text of a message, whose content is a string or a list of parts. A part that is no text is
/// shown by its type.
pub(super) fn text_of(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let text_of_part = |part: &Value| match (&part["text"], &part["type"]) {
                (Value::String(text), _) => text.clone(),
                (_, Value::String(kind)) => format!("[{kind}]"),
                _ => "[?]".to_owned(),
            };
            parts.iter().map(text_of_part).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

/// The beginning of a text, on one line.
fn shortened(text: &str) -> String {
    // This many words are more than this many characters, so a long text is not copied.
    let words: Vec<&str> = text.split_whitespace().take(QUOTED).collect();
    let line = words.join(" ");
    match line.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_user_message_is_quoted_and_all_are_counted() {
        let messages = [
            json!({"role": "user", "content": "first"}),
            json!({"role": "user", "content": "second"}),
            json!({"role": "assistant", "content": "third"}),
        ];
        let reply = reply_to_messages("qwen/qwen3-32b", &messages);
        assert!(reply.contains("answering as qwen/qwen3-32b. You sent 3 messages, "), "{reply}");
        assert!(reply.contains("“second”"), "{reply}");
        let none = reply_to_messages("m", &messages[2..]);
        assert!(none.contains("1 message, none of them from a user."), "{none}");
    }

    #[test]
    fn content_may_be_parts_or_missing() {
        let parts = json!({"content": [
            {"type": "text", "text": "what is"},
            {"type": "image_url", "image_url": {"url": "data:"}},
        ]});
        assert_eq!(text_of(&parts), "what is [image_url]");
        assert_eq!(text_of(&json!({"content": null})), "");
        assert_eq!(text_of(&json!("no object")), "");
    }

    #[test]
    fn a_quote_is_one_short_line() {
        assert_eq!(shortened(" a\n\n b\t"), "a b");
        assert_eq!(shortened(&"ä".repeat(QUOTED)), "ä".repeat(QUOTED));
        assert_eq!(shortened(&"ä".repeat(QUOTED + 1)), "ä".repeat(QUOTED) + "…");
    }

    #[test]
    fn tokens_make_up_the_text_and_can_be_limited() {
        let text = Text::of("one two  three", None);
        assert_eq!(text.tokens.concat(), "one two  three");
        assert_eq!(text.finish_reason, "stop");
        let text = Text::of("one two three", Some(2));
        assert_eq!((text.tokens.concat().as_str(), text.finish_reason), ("one two ", "length"));
        assert_eq!(Text::of("one two", Some(2)).finish_reason, "stop");
    }
}
