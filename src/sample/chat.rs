//! Chat completions and completions, whole or as a stream of words.
//!
//! A word and the space after it count as one token. Limits: all choices for the same prompt
//! have the same text.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::answer::{Answer, new_id, tokens_of};
use super::events::Events;
use super::reading;
use super::refusal::Refusal;
use super::shapes::{self, Choice, Content, Envelope, Message, Usage};
use super::words::{Text, reply_to_prompt};
use crate::record::Sent;
use crate::server::Exchange;

/// The most choices in one response, as in the API.
const MAX_CHOICES: u64 = 128;

/// The response to a request, to be sent whole or as a stream.
#[derive(Debug)]
pub(super) struct Completion {
    kind: Kind,
    id: String,
    created: u64,
    model: String,
    choices: Vec<Answer>,
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
            Kind::Chat => "chatcmpl-",
            Kind::Completion => "cmpl-",
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
        let answer = |most| vec![Answer::to(body, model, messages, most)];
        Completion::new(Kind::Chat, body, model, tokens_of(messages), answer)
    }

    /// The response to `POST /v1/completions`.
    pub(super) fn to_prompts(body: &Value) -> Result<Completion, Refusal> {
        let model = reading::model(body)?;
        let prompts = reading::texts(body, "prompt")?;
        let asked = prompts.iter().map(|prompt| reading::tokens_in(prompt)).sum();
        let answer = |prompt: &String, most| Text::of(&reply_to_prompt(model, prompt), most);
        let answers =
            |most| prompts.iter().map(|prompt| Answer::Text(answer(prompt, most))).collect();
        Completion::new(Kind::Completion, body, model, asked, answers)
    }

    /// Every answer becomes `n` choices. `answers` takes the most tokens of each.
    fn new(
        kind: Kind,
        body: &Value,
        model: &str,
        prompt_tokens: u64,
        answers: impl FnOnce(Option<u64>) -> Vec<Answer>,
    ) -> Result<Completion, Refusal> {
        let n = reading::number(body, "n", 1..=MAX_CHOICES)?.unwrap_or(1);
        let most = match reading::number(body, "max_completion_tokens", 1..=u64::MAX)? {
            Some(most) => Some(most),
            None => reading::number(body, "max_tokens", 1..=u64::MAX)?,
        };
        let answers = answers(most);
        if answers.len() as u64 * n > MAX_CHOICES {
            let message = format!("An answer has {MAX_CHOICES} choices at most.");
            return Err(Refusal::bad_request(Some("n"), message));
        }
        let each = |answer| std::iter::repeat_n(answer, n as usize);
        let choices: Vec<Answer> = answers.into_iter().flat_map(each).collect();
        let completion_tokens = choices.iter().map(|choice| choice.tokens().len() as u64).sum();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Completion {
            kind,
            id: new_id(kind.id_prefix(), now),
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
        let texts: Vec<String> =
            self.choices.iter().map(|choice| choice.tokens().concat()).collect();
        let choices = texts.iter().zip(&self.choices).enumerate().map(|(index, (text, choice))| {
            let content = match (self.kind, choice) {
                (Kind::Chat, Answer::Text(_)) => {
                    let content = Some(text.as_str());
                    Content::Message(Message { role: Some("assistant"), content, tool_calls: None })
                }
                (Kind::Chat, Answer::Call { .. }) => Content::Message(Message {
                    role: Some("assistant"),
                    content: None,
                    tool_calls: Some(self.call(choice)),
                }),
                (Kind::Completion, _) => Content::Text(text),
            };
            Choice { index, content, logprobs: None, finish_reason: Some(reason(choice)) }
        });
        shapes::json(&Envelope {
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
        let mut events = Events::begin(exchange);
        if self.kind == Kind::Chat {
            for index in 0..self.choices.len() {
                let (role, content) = (Some("assistant"), Some(""));
                let first = Message { role, content, tool_calls: None };
                self.send(&mut events, index, Content::Delta(first), None);
            }
        }
        let lengths = self.choices.iter().map(|choice| choice.tokens().len());
        for at in 0..lengths.max().unwrap_or(0) {
            if !events.pause() {
                break;
            }
            for (index, choice) in self.choices.iter().enumerate() {
                if let Some(token) = choice.tokens().get(at) {
                    let content = match choice {
                        Answer::Text(_) => self.piece(Some(token)),
                        Answer::Call { .. } => Content::Delta(Message {
                            role: None,
                            content: None,
                            tool_calls: Some(self.call(choice)),
                        }),
                    };
                    self.send(&mut events, index, content, None);
                }
            }
        }
        for (index, choice) in self.choices.iter().enumerate() {
            self.send(&mut events, index, self.piece(None), Some(reason(choice)));
        }
        if self.include_usage {
            self.send_chunk(&mut events, vec![], Some(Some(self.usage)));
        }
        events.end(b"data: [DONE]\n\n")
    }

    /// The tool calls of a message, or of the only delta that has them.
    fn call(&self, answer: &Answer) -> Value {
        let Answer::Call { name, arguments } = answer else { return json!([]) };
        let id = format!("call_{}", self.id);
        let function = json!({"name": name, "arguments": arguments});
        json!([{"index": 0, "id": id, "type": "function", "function": function}])
    }

    fn piece<'a>(&self, token: Option<&'a str>) -> Content<'a> {
        match self.kind {
            Kind::Chat => Content::Delta(Message { role: None, content: token, tool_calls: None }),
            Kind::Completion => Content::Text(token.unwrap_or_default()),
        }
    }

    fn send(
        &self,
        events: &mut Events,
        index: usize,
        content: Content<'_>,
        finish_reason: Option<&'static str>,
    ) {
        let choice = Choice { index, content, logprobs: None, finish_reason };
        self.send_chunk(events, vec![choice], self.include_usage.then_some(None));
    }

    fn send_chunk(
        &self,
        events: &mut Events,
        choices: Vec<Choice<'_>>,
        usage: Option<Option<Usage>>,
    ) {
        let chunk = Envelope {
            id: &self.id,
            object: self.kind.chunk_object(),
            created: self.created,
            model: &self.model,
            choices,
            usage,
        };
        events.send(None, &chunk);
    }
}

/// Why a choice ends, in the API's words.
fn reason(answer: &Answer) -> &'static str {
    match answer {
        Answer::Text(text) => text.finish_reason,
        Answer::Call { .. } => "tool_calls",
    }
}

#[cfg(test)]
mod tests {
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
}
