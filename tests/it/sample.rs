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
