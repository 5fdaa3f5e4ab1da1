use std::time::Instant;

use serde_json::Value;

use crate::client::{Client, End};
use crate::proxy::{Proxy, program};

/// The program with the shipped configuration.
fn shipped() -> Proxy {
    let mut command = program();
    command.args(["--config", "config.yaml", "--host", "127.0.0.1", "--port", "0"]);
    Proxy::spawn(command)
}

/// A model that the shipped configuration keeps.
fn a_model(proxy: &Proxy) -> String {
    proxy.get("/v1/models").ids().into_iter().next().expect("some model is kept")
}

fn chat(model: &str, more: &str) -> String {
    format!(
        r#"{{"model":"{model}","messages":[{{"role":"user","content":"why is rust red?"}}]{more}}}"#
    )
}

#[test]
fn the_start_says_that_it_is_a_sample() {
    shipped().wait_for_log("sample");
}

#[test]
fn the_shipped_configuration_keeps_a_few_of_many() {
    let all = Proxy::start("model_filter: {base_url: 'sample:'}").get("/v1/models");
    let count = all.ids().len();
    assert!((300..=400).contains(&count), "{count}");
    for field in ["name", "context_length", "pricing", "architecture"] {
        assert!(all.json()["data"][0].get(field).is_some(), "{field}");
    }
    let kept = shipped().get("/v1/models").ids().len();
    assert!(0 < kept && kept < count / 2, "{kept}");
}

#[test]
fn one_model_can_be_asked_for() {
    let proxy = shipped();
    let id = a_model(&proxy);
    assert_eq!(proxy.get(&format!("/v1/models/{id}")).json()["id"], id.as_str());
}

#[test]
fn a_chat_is_answered() {
    let proxy = shipped();
    let id = a_model(&proxy);
    let answer = proxy.post("/v1/chat/completions", &chat(&id, ""));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], id.as_str());
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(content.contains("why is rust red?"), "{content}");
    let usage = |key: &str| answer["usage"][key].as_u64().unwrap();
    assert_eq!(usage("total_tokens"), usage("prompt_tokens") + usage("completion_tokens"));
}

/// The JSON of the events of a streamed chat, which must end with `[DONE]`, and when they came.
fn streamed(more: &str) -> Vec<(Instant, Value)> {
    let proxy = shipped();
    let body = chat(&a_model(&proxy), &format!(",\"stream\":true{more}"));
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/chat/completions", &[], body.as_bytes());
    assert_eq!(
        client.head().header("content-type").unwrap().split(';').next(),
        Some("text/event-stream")
    );
    let mut events = Vec::new();
    loop {
        let event = client.event().expect("[DONE] before the end");
        let data = event.strip_prefix("data: ").unwrap().trim_end();
        if data == "[DONE]" {
            assert_eq!(client.rest(), (Vec::new(), End::Complete));
            return events;
        }
        events.push((Instant::now(), serde_json::from_str(data).unwrap()));
    }
}

#[test]
fn a_chat_is_streamed_token_by_token() {
    let events = streamed("");
    let parts = events.iter().filter_map(|(_, e)| e["choices"][0]["delta"]["content"].as_str());
    let content: String = parts.collect();
    assert!(content.contains("why is rust red?"), "{content}");
    assert!(events.iter().all(|(_, event)| event["object"] == "chat.completion.chunk"));
    assert_eq!(events.last().unwrap().1["choices"][0]["finish_reason"], "stop");
    assert!(events.len() > 5);
    let took = events[events.len() - 1].0 - events[0].0;
    assert!(took.as_millis() as usize > events.len() * 10, "{took:?} for {}", events.len());
}

#[test]
fn a_streamed_chat_tells_its_usage_where_that_is_asked_for() {
    let usage = |more| {
        let last = streamed(more).pop().unwrap().1;
        (last["usage"]["total_tokens"].is_u64(), last["choices"].as_array().unwrap().is_empty())
    };
    assert_eq!(usage(",\"stream_options\":{\"include_usage\":true}"), (true, true));
    assert_eq!(usage(""), (false, false));
}

#[test]
fn completions_and_embeddings_are_answered() {
    let proxy = shipped();
    let id = a_model(&proxy);
    let body = format!(r#"{{"model":"{id}","prompt":"one two"}}"#);
    let answer = proxy.post("/v1/completions", &body).json();
    assert_eq!(answer["object"], "text_completion");
    assert!(answer["choices"][0]["text"].as_str().unwrap().contains("one two"), "{answer}");
    let body = format!(r#"{{"model":"{id}","input":["one","two"]}}"#);
    let answer = proxy.post("/v1/embeddings", &body).json();
    assert_eq!(answer["data"].as_array().unwrap().len(), 2, "{answer}");
    assert_eq!(answer["data"][1]["index"], 1);
    assert!(answer["data"][1]["embedding"][0].is_number(), "{answer}");
}

#[test]
fn a_wrong_key_and_an_unknown_model_are_told_as_openai_does() {
    let proxy = shipped();
    let body = chat(&a_model(&proxy), "");
    let wrong = [("Authorization", "Bearer wrong")];
    for (method, target) in [("POST", "/v1/chat/completions"), ("GET", "/v1/models")] {
        let body = if method == "POST" { body.as_bytes() } else { b"" };
        let answer = proxy.ask(method, target, &wrong, body);
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("x-model-filter-error"), None);
        assert_eq!(answer.json()["error"]["code"], "invalid_api_key");
    }
    let answer = proxy.post("/v1/chat/completions", &chat("no/such", ""));
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &"model_not_found".into()));
}

const SCHEMA: &str =
    r#"{"type":"object","properties":{"age":{"type":"integer","minimum":18}},"required":["age"]}"#;

/// The `data` of each event, and their names.
fn events(text: &str) -> Vec<(String, Value)> {
    let event = |event: &str| {
        let (name, data) = event.split_once('\n').unwrap();
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        (name.strip_prefix("event: ").unwrap().to_owned(), data)
    };
    text.split("\n\n").filter(|part| !part.is_empty()).map(event).collect()
}

#[test]
fn responses_are_answered_whole_and_as_events() {
    let proxy = shipped();
    let id = a_model(&proxy);
    let ask = |more: &str| {
        let body = format!(r#"{{"model":"{id}","input":"why?","max_output_tokens":9{more}}}"#);
        proxy.post("/v1/responses", &body)
    };
    let whole = ask("").json();
    let text = whole["output"][0]["content"][0]["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("I am the sample"), "{text}");
    assert_eq!(whole["status"], "incomplete");
    let events = events(&ask(r#","stream":true"#).text());
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!(
            (data["type"].as_str(), data["sequence_number"].as_u64()),
            (Some(name.as_str()), Some(number as u64))
        );
    }
    let deltas = events.iter().filter_map(|(_, data)| data["delta"].as_str());
    assert_eq!(deltas.collect::<String>(), text);
    assert_eq!(
        events.last().unwrap().1["response"]["output"][0]["content"][0]["text"],
        text.as_str()
    );
    let tool = format!(
        r#","tools":[{{"type":"function","name":"f","parameters":{SCHEMA}}}],"tool_choice":"required""#
    );
    assert_eq!(ask(&tool).json()["output"][0]["arguments"], r#"{"age":18}"#);
}

#[test]
fn messages_are_answered_whole_and_as_events() {
    let proxy = shipped();
    let id = a_model(&proxy);
    let ask = |more: &str| {
        let body = format!(
            r#"{{"model":"{id}","max_tokens":9,"messages":[{{"role":"user","content":"why?"}}]{more}}}"#
        );
        proxy.post("/v1/messages", &body)
    };
    let whole = ask("").json();
    let text = whole["content"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(whole["stop_reason"], "max_tokens");
    let stream = events(&ask(r#","stream":true"#).text());
    let deltas = stream.iter().filter_map(|(_, data)| data["delta"]["text"].as_str());
    assert_eq!(deltas.collect::<String>(), text);
    assert_eq!(stream.last().unwrap().0, "message_stop");
    let tool = format!(
        r#","tools":[{{"name":"f","input_schema":{SCHEMA}}}],"tool_choice":{{"type":"tool","name":"f"}}"#
    );
    assert_eq!(ask(&tool).json()["content"][0]["input"]["age"], 18);
}

#[test]
fn chats_have_structured_outputs_and_forced_tools() {
    let proxy = shipped();
    let id = a_model(&proxy);
    let format = format!(
        r#","response_format":{{"type":"json_schema","json_schema":{{"name":"x","schema":{SCHEMA}}}}}"#
    );
    let answer = proxy.post("/v1/chat/completions", &chat(&id, &format)).json();
    assert_eq!(answer["choices"][0]["message"]["content"], r#"{"age":18}"#);
    let tool = format!(
        r#","tools":[{{"type":"function","function":{{"name":"f","parameters":{SCHEMA}}}}}],"tool_choice":"required""#
    );
    let answer = proxy.post("/v1/chat/completions", &chat(&id, &tool)).json();
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!((&call["name"], &call["arguments"]), (&"f".into(), &r#"{"age":18}"#.into()));
}

#[test]
fn the_websocket_sends_messages_back() {
    let proxy = shipped();
    let id = a_model(&proxy);
    let fields = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let mut client = Client::of(&proxy);
    client.send("GET", &format!("/v1/realtime?model={id}"), &fields, b"");
    let head = client.any_head();
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    // A masked text of two bytes, a ping, and a close.
    client.more(b"\x81\x82\x01\x02\x03\x04ik\x89\x80\0\0\0\0\x88\x80\0\0\0\0");
    let mut answer = client.unread();
    std::io::Read::read_to_end(&mut client.writer(), &mut answer).unwrap();
    assert_eq!(answer, b"\x81\x02hi\x8a\0\x88\0");
    // Codex falls back to HTTP at once.
    assert_eq!(proxy.ask("GET", "/v1/responses", &fields, b"").status, 426);
}
