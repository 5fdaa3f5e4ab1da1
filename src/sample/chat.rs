//! Chat completions and completions, whole or as a stream of words.
//!
//! A word and the space after it count as one token. Limits: all choices for the same prompt
//! have the same text.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::reading;
use super::refusal::Refusal;
use super::shapes::{Choice, Content, Envelope, Message, Usage, json};
use super::words::{Text, reply_to_messages, reply_to_prompt, text_of};
use crate::headers::Headers;
use crate::record::Sent;
use crate::server::{Exchange, Response};

/// The pause before each token of a stream: 50 tokens per second, as from a model.
const PAUSE: Duration = Duration::from_millis(20);

/// The most choices in one response, as in the API.
const MAX_CHOICES: u64 = 128;

/// The response to a request, to be sent whole or as a stream.
#[derive(Debug)]
pub(super) struct Completion {
    kind: Kind,
    id: String,
    created: u64,
    model: String,
    choices: Vec<Text>,
    usage: Usage,
    streamed: bool,
    include_usage: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chat,
    Completion,
}

impl Kind {
    fn id_prefix(self) -> &'static str {
        match self {
            Kind::Chat => "chatcmpl",
            Kind::Completion => "cmpl",
        }
    }

    fn object(self) -> &'static str {
        match self {
            Kind::Chat => "chat.completion",
            Kind::Completion => "text_completion",
        }
    }

    fn chunk_object(self) -> &'static str {
        match self {
            Kind::Chat => "chat.completion.chunk",
            Kind::Completion => "text_completion",
        }
    }
}

impl Completion {
    /// The response to `POST /v1/chat/completions`.
    pub(super) fn to_chat(body: &Value) -> Result<Completion, Refusal> {
        let model = reading::model(body)?;
        let messages = body["messages"].as_array().filter(|messages| !messages.is_empty());
        let messages = messages.ok_or_else(|| {
            Refusal::bad_request(Some("messages"), "'messages' must be a list of messages.")
        })?;
        // The API counts a few tokens of framing per message.
        let asked = messages.iter().map(|message| 4 + reading::tokens_in(&text_of(message))).sum();
        Completion::new(Kind::Chat, body, model, asked, vec![reply_to_messages(model, messages)])
    }

    /// The response to `POST /v1/completions`.
    pub(super) fn to_prompts(body: &Value) -> Result<Completion, Refusal> {
        let model = reading::model(body)?;
        let prompts = reading::texts(body, "prompt")?;
        let asked = prompts.iter().map(|prompt| reading::tokens_in(prompt)).sum();
        let texts = prompts.iter().map(|prompt| reply_to_prompt(model, prompt)).collect();
        Completion::new(Kind::Completion, body, model, asked, texts)
    }

    /// Every text becomes `n` choices.
    fn new(
        kind: Kind,
        body: &Value,
        model: &str,
        prompt_tokens: u64,
        texts: Vec<String>,
    ) -> Result<Completion, Refusal> {
        let n = reading::number(body, "n", 1..=MAX_CHOICES)?.unwrap_or(1);
        if texts.len() as u64 * n > MAX_CHOICES {
            let message = format!("An answer has {MAX_CHOICES} choices at most.");
            return Err(Refusal::bad_request(Some("n"), message));
        }
        let most = match reading::number(body, "max_completion_tokens", 1..=u64::MAX)? {
            Some(most) => Some(most),
            None => reading::number(body, "max_tokens", 1..=u64::MAX)?,
        };
        let of_text = |text: &String| std::iter::repeat_n(Text::of(text, most), n as usize);
        let choices: Vec<Text> = texts.iter().flat_map(of_text).collect();
        let completion_tokens = choices.iter().map(|choice| choice.tokens.len() as u64).sum();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Completion {
            kind,
            id: new_id(kind, now),
            created: now.as_secs(),
            model: model.to_owned(),
            choices,
            usage: Usage {
                prompt_tokens,
                completion_tokens,
                total_tokens: prompt_tokens + completion_tokens,
            },
            streamed: body["stream"] == true,
            include_usage: body["stream_options"]["include_usage"] == true,
        })
    }

    /// Whether the request asked for a stream.
    pub(super) fn is_streamed(&self) -> bool {
        self.streamed
    }

    /// The response in one piece.
    pub(super) fn whole(&self) -> Vec<u8> {
        let texts: Vec<String> = self.choices.iter().map(|choice| choice.tokens.concat()).collect();
        let choices = texts.iter().zip(&self.choices).enumerate().map(|(index, (text, choice))| {
            let content = match self.kind {
                Kind::Chat => {
                    Content::Message(Message { role: Some("assistant"), content: Some(text) })
                }
                Kind::Completion => Content::Text(text),
            };
            Choice { index, content, logprobs: None, finish_reason: Some(choice.finish_reason) }
        });
        json(&Envelope {
            id: &self.id,
            object: self.kind.object(),
            created: self.created,
            model: &self.model,
            choices: choices.collect(),
            usage: Some(Some(self.usage)),
        })
    }

    /// Sends the response as server-sent events, until its end or until the client leaves.
    pub(super) fn stream(self, exchange: Box<Exchange>) -> Sent {
        let headers = Headers::new()
            .with("Content-Type", "text/event-stream")
            .with("Cache-Control", "no-cache");
        let mut response = exchange.begin(200, &headers, None);
        if self.kind == Kind::Chat {
            for index in 0..self.choices.len() {
                let first = Message { role: Some("assistant"), content: Some("") };
                self.send(&mut response, index, Content::Delta(first), None);
            }
        }
        let longest = self.choices.iter().map(|choice| choice.tokens.len()).max().unwrap_or(0);
        for at in 0..longest {
            thread::sleep(PAUSE);
            for (index, choice) in self.choices.iter().enumerate() {
                if let Some(token) = choice.tokens.get(at) {
                    self.send(&mut response, index, self.piece(Some(token)), None);
                }
            }
            if response.broken() {
                return response.abort();
            }
        }
        for (index, choice) in self.choices.iter().enumerate() {
            self.send(&mut response, index, self.piece(None), Some(choice.finish_reason));
        }
        if self.include_usage {
            self.send_chunk(&mut response, vec![], Some(Some(self.usage)));
        }
        response.write(b"data: [DONE]\n\n");
        response.end()
    }

    fn piece<'a>(&self, token: Option<&'a str>) -> Content<'a> {
        match self.kind {
            Kind::Chat => Content::Delta(Message { role: None, content: token }),
            Kind::Completion => Content::Text(token.unwrap_or_default()),
        }
    }

    fn send(
        &self,
        response: &mut Response,
        index: usize,
        content: Content<'_>,
        finish_reason: Option<&'static str>,
    ) {
        let choice = Choice { index, content, logprobs: None, finish_reason };
        self.send_chunk(response, vec![choice], self.include_usage.then_some(None));
    }

    fn send_chunk(
        &self,
        response: &mut Response,
        choices: Vec<Choice<'_>>,
        usage: Option<Option<Usage>>,
    ) {
        let mut event = b"data: ".to_vec();
        event.extend(json(&Envelope {
            id: &self.id,
            object: self.kind.chunk_object(),
            created: self.created,
            model: &self.model,
            choices,
            usage,
        }));
        event.extend(b"\n\n");
        response.write(&event);
    }
}

/// An id that is unique in this process.
fn new_id(kind: Kind, now: Duration) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{:x}{count:06x}", kind.id_prefix(), now.as_millis())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chat(more: Value) -> Result<Completion, Refusal> {
        let mut body = json!({"model": "openai/gpt-4o", "messages": [
            {"role": "user", "content": "hello"},
        ]});
        let fields = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        Completion::to_chat(&body)
    }

    #[test]
    fn a_whole_answer_has_the_shape_of_the_api() {
        let answer = chat(json!({"n": 2, "max_tokens": 3})).unwrap();
        let value: Value = serde_json::from_slice(&answer.whole()).unwrap();
        assert_eq!(value["object"], "chat.completion");
        assert_eq!(value["choices"].as_array().unwrap().len(), 2);
        assert_eq!(value["choices"][1]["index"], 1);
        assert_eq!(value["choices"][1]["message"]["content"], "I am the ");
        assert_eq!(value["choices"][1]["finish_reason"], "length");
        let usage = json!({"prompt_tokens": 6, "completion_tokens": 6, "total_tokens": 12});
        assert_eq!(value["usage"], usage);
    }

    #[test]
    fn each_prompt_gets_its_choices() {
        let body = json!({"model": "openai/gpt-4o", "prompt": ["a", "b"], "n": 2});
        let answer = Completion::to_prompts(&body).unwrap();
        let value: Value = serde_json::from_slice(&answer.whole()).unwrap();
        assert_eq!(value["object"], "text_completion");
        assert_eq!(value["choices"].as_array().unwrap().len(), 4);
        assert!(value["choices"][3]["text"].as_str().unwrap().contains("“b”"));
    }

    #[test]
    fn wrong_requests_are_refused() {
        for wrong in [
            json!({"model": null}),
            json!({"messages": null}),
            json!({"messages": "hello"}),
            json!({"messages": []}),
            json!({"n": 0}),
            json!({"n": 129}),
            json!({"max_tokens": "many"}),
        ] {
            assert_eq!(chat(wrong.clone()).unwrap_err().status, 400, "{wrong}");
        }
        assert_eq!(chat(json!({"model": "x"})).unwrap_err().status, 404);
    }

    #[test]
    fn ids_are_unique() {
        let now = Duration::from_secs(1);
        assert_ne!(new_id(Kind::Chat, now), new_id(Kind::Chat, now));
    }
}
