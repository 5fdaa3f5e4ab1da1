//! Lists in the shapes that providers document: models are removed and renamed, and every other byte stays.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::fake::{Fake, json, response};
use crate::proxy::{Proxy, plain};
use crate::several::upstreams;

/// A list with the models `seen/one` and `seen/two`.
struct Shape {
    provider: &'static str,
    /// The path at the upstream, and by which clients ask for it.
    path: &'static str,
    before: &'static str,
    /// A model, with `@` for its id.
    model: &'static str,
    /// Behind the array, with `@` for the id of the last model.
    after: &'static str,
}

const SHAPES: &[Shape] = &[
    // https://openrouter.ai/docs/api-reference/list-available-models
    Shape {
        provider: "OpenRouter",
        path: "/v1/models",
        before: r#"{"data":"#,
        model: r#"{"id":"@","canonical_slug":"x","name":"A: Model","created":1741818122,"description":"\"id\": \"x\"","architecture":{"input_modalities":["text"],"tokenizer":"GPT"},"pricing":{"prompt":"0.0000007","completion":"0.0000007"},"supported_parameters":["tools"]}"#,
        after: "}",
    },
    // https://docs.together.ai/reference/models-1
    Shape {
        provider: "Together",
        path: "/v1/models",
        before: "",
        model: r#"{"id":"@","object":"model","created":1692896905,"type":"chat","display_name":"A Model","context_length":2048,"pricing":{"hourly":0,"input":0.3,"output":0.3}}"#,
        after: "",
    },
    // https://console.groq.com/docs/api-reference#models-list
    Shape {
        provider: "Groq",
        path: "/v1/models",
        before: "{\n \"object\": \"list\",\n \"data\": ",
        model: "{\n \"id\": \"@\",\n \"object\": \"model\",\n \"created\": 1693721698,\n \"active\": true,\n \"context_window\": 8192\n}",
        after: "\n}",
    },
    // https://docs.mistral.ai/api/endpoint/models
    Shape {
        provider: "Mistral",
        path: "/v1/models",
        before: r#"{"object":"list","data":"#,
        model: r#"{"id":"@","capabilities":{"completion_chat":true},"name":null,"aliases":[],"type":"base"}"#,
        after: "}",
    },
    // https://platform.claude.com/docs/en/api/models/list
    Shape {
        provider: "Anthropic",
        path: "/v1/models",
        before: r#"{"data":"#,
        model: r#"{"type":"model","id":"@","display_name":"Claude","created_at":"2025-02-19T00:00:00Z"}"#,
        after: r#","has_more":false,"first_id":"@","last_id":"@"}"#,
    },
    // https://ai.google.dev/gemini-api/docs/openai#list-models
    Shape {
        provider: "Gemini, OpenAI's shape",
        path: "/v1/models",
        before: r#"{"object":"list","data":"#,
        model: r#"{"id":"@","object":"model","owned_by":"google","display_name":"Gemini"}"#,
        after: "}",
    },
    // https://ai.google.dev/api/models#method:-models.list
    Shape {
        provider: "Gemini",
        path: "/v1beta/models",
        before: "{\n  \"models\": ",
        model: "{\n  \"name\": \"models/@\",\n  \"version\": \"001\",\n  \"displayName\": \"Gemini\",\n  \"inputTokenLimit\": 1048576\n}",
        after: "\n}\n",
    },
    // https://docs.ollama.com/api/tags
    Shape {
        provider: "Ollama",
        path: "/api/tags",
        before: r#"{"models":"#,
        model: r#"{"name":"@","model":"@","modified_at":"2025-05-10T08:06:48-07:00","size":4683087332,"details":{"parent_model":"","family":"qwen2","families":["qwen2"]}}"#,
        after: "}",
    },
    // https://docs.ollama.com/api/ps
    Shape {
        provider: "Ollama, loaded",
        path: "/api/ps",
        before: r#"{"models":"#,
        model: r#"{"name":"@","model":"@","size":5137025024,"expires_at":"2024-06-04T14:38:31-07:00"}"#,
        after: "}",
    },
    // https://lmstudio.ai/docs/developer/rest/endpoints
    Shape {
        provider: "LM Studio, v0",
        path: "/api/v0/models",
        before: r#"{"object":"list","data":"#,
        model: r#"{"id":"@","object":"model","type":"llm","publisher":"x","arch":"llama","state":"not-loaded","max_context_length":131072}"#,
        after: "}",
    },
    // https://lmstudio.ai/docs/developer/rest/list
    Shape {
        provider: "LM Studio, v1",
        path: "/api/v1/models",
        before: r#"{"models":"#,
        model: r#"{"type":"llm","publisher":"x","key":"@","display_name":"Gemma","loaded_instances":[]}"#,
        after: "}",
    },
    // https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    Shape {
        provider: "vLLM",
        path: "/v1/models",
        before: r#"{"object":"list","data":"#,
        model: r#"{"id":"@","object":"model","created":1,"owned_by":"vllm","root":"x","parent":null,"max_model_len":4096,"permission":[{"id":"modelperm-1","object":"model_permission"}]}"#,
        after: "}",
    },
    // https://deepinfra.com/docs/openai_api
    Shape {
        provider: "DeepInfra",
        path: "/v1/models",
        before: r#"{"object":"list","data":"#,
        model: r#"{"id":"@","object":"model","created":1,"owned_by":"deepinfra","root":"x","parent":null,"metadata":{"context_length":8192,"pricing":{"input_tokens":0.05},"tags":[]}}"#,
        after: "}",
    },
    // https://docs.fireworks.ai/api-reference/list-models
    Shape {
        provider: "Fireworks",
        path: "/v1/models",
        before: r#"{"models":"#,
        model: r#"{"name":"@","displayName":"X","state":"READY","contextLength":123,"supportsTools":true}"#,
        after: r#","totalSize":2}"#,
    },
    // https://docs.cohere.com/reference/list-models
    Shape {
        provider: "Cohere",
        path: "/v1/models",
        before: r#"{"models":"#,
        model: r#"{"name":"@","is_deprecated":false,"endpoints":["chat"],"finetuned":false,"context_length":4096}"#,
        after: "}",
    },
    // https://docs.github.com/en/rest/models/catalog
    Shape {
        provider: "GitHub Models",
        path: "/v1/models",
        before: "",
        model: r#"{"id":"@","name":"X 4.1","registry":"azure-openai","publisher":"X","capabilities":["streaming"],"limits":{"max_input_tokens":1048576}}"#,
        after: "",
    },
    // https://huggingface.co/docs/inference-providers/hub-api
    Shape {
        provider: "Hugging Face's router",
        path: "/v1/models",
        before: r#"{"object":"list","data":"#,
        model: r#"{"id":"@","object":"model","created":1,"owned_by":"x","providers":[{"provider":"novita","status":"live","context_length":131072,"pricing":{"input":0.5,"output":2.15}}]}"#,
        after: "}",
    },
];

impl Shape {
    fn list(&self, ids: &[&str]) -> String {
        let models: Vec<String> = ids.iter().map(|id| self.model.replace('@', id)).collect();
        let last = ids.last().unwrap();
        format!("{}[{}]{}", self.before, models.join(","), self.after.replace('@', last))
    }
}

#[test]
fn each_documented_shape_passes_with_only_the_wanted_changes() {
    for shape in SHAPES {
        // The first id of Anthropic's example is that of the last model, which shows that it is corrected.
        let list = shape.list(&["seen/one", "hidden", "seen/two"]);
        let fake = Fake::answering(move |_| json(200, &list)).showing_lists();
        for (proxy, prefix) in [
            (Proxy::before(&fake, "simple: [seen/two]"), ""),
            (Proxy::with_prefix(&fake, "simple: [seen/two]"), "my/"),
        ] {
            let got = proxy.get(shape.path);
            let wanted = shape.list(&[&format!("{prefix}seen/two")]);
            assert_eq!((got.status, got.text()), (200, wanted), "{}", shape.provider);
        }
    }
}

#[test]
fn each_documented_shape_is_part_of_a_union_with_an_id() {
    for shape in SHAPES.iter().filter(|shape| shape.path == "/v1/models") {
        let fake = Fake::listing(&shape.list(&["seen/one", "seen/two"]));
        let other = Fake::listing(r#"[{"id":"x"}]"#);
        let yaml = upstreams(&[
            ("a", &fake.url("/v1"), "simple: [seen/one]"),
            ("b", &other.url("/v1"), ""),
        ]);
        let list = Proxy::start(&yaml).get("/v1/models");
        assert_eq!(list.ids(), ["a/seen/one", "b/x"], "{}: {}", shape.provider, list.text());
    }
}

/// llama.cpp: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
#[test]
fn both_arrays_of_one_list_are_filtered() {
    let list = |ids: &[&str]| {
        let models =
            ids.iter().map(|id| format!(r#"{{"name":"{id}","model":"{id}","tags":[""]}}"#));
        let data = ids.iter().map(|id| format!(r#"{{"id":"{id}","meta":{{"n_ctx_train":1}}}}"#));
        let (models, data): (Vec<_>, Vec<_>) = (models.collect(), data.collect());
        format!(
            r#"{{"models":[{}],"object":"list","data":[{}]}}"#,
            models.join(","),
            data.join(",")
        )
    };
    let fake = Fake::listing(&list(&["a", "hidden"]));
    let settings = "exclude: {simple: [hidden]}";
    assert_eq!(Proxy::before(&fake, settings).get("/v1/models").text(), list(&["a"]));
    assert_eq!(Proxy::with_prefix(&fake, settings).get("/v1/models").text(), list(&["my/a"]));
}

/// Ollama without models, https://github.com/ollama/ollama/blob/main/openai/openai.go
#[test]
fn null_is_an_empty_list() {
    let list = r#"{"object":"list","data":null}"#;
    let fake = Fake::listing(list);
    assert_eq!(Proxy::before(&fake, "").get("/v1/models").text(), list);
    let other = Fake::listing(r#"[{"id":"x"}]"#);
    let yaml = upstreams(&[("a", &fake.url("/v1"), ""), ("b", &other.url("/v1"), "")]);
    assert_eq!(Proxy::start(&yaml).get("/v1/models").ids(), ["b/x"]);
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_list_may_be_gzipped_though_identity_was_asked_for() {
    let head = "200 OK\nContent-Type: application/json\nContent-Encoding: gzip";
    let list = r#"{"data":[{"id":"a"},{"id":"b"}]}"#;
    let fake = Fake::answering(move |_| response(head, gzipped(list))).showing_lists();
    let proxy = Proxy::before(&fake, "simple: [a]");
    for path in ["/v1/models", "/api/v0/models"] {
        let list = proxy.get(path);
        assert_eq!(list.ids(), ["a"], "{path}");
        assert_eq!(list.header("content-encoding"), None);
    }
}

#[test]
fn a_compressed_list_is_bounded_and_other_codings_are_named() {
    let bomb = gzipped(&" ".repeat(80 << 20));
    for (coding, body, what) in [
        ("gzip", bomb, "longer than 67108864 bytes"),
        ("gzip", b"no gzip".to_vec(), "no valid gzip"),
        ("br", b"{}".to_vec(), "\"br\""),
    ] {
        let head = format!("200 OK\nContent-Encoding: {coding}");
        let fake = Fake::answering(move |_| response(&head, &body)).showing_lists();
        let message = Proxy::before(&fake, "").get("/v1/models");
        let message = message.own_error(502, "upstream_invalid_response");
        assert!(message.contains(what), "{message}");
    }
}

#[test]
fn a_native_list_is_relayed_like_any_exchange() {
    let head = "200 OK\nContent-Type: application/json\nX-Request-Id: r-1\nETag: \"all\"\nAccept-Ranges: bytes";
    let list = r#"{"models":[{"name":"a"},{"name":"hidden"}]}"#;
    let fake = Fake::answering(move |_| response(head, list)).showing_lists();
    let proxy = Proxy::before(&fake, "simple: [a]");
    let headers = [("Range", "bytes=0-9"), ("If-None-Match", "\"all\""), ("X-Mine", "1")];
    let list = proxy.ask("GET", "/api/tags?x=1", &headers, b"");
    assert_eq!((list.status, list.text().as_str()), (200, r#"{"models":[{"name":"a"}]}"#));
    assert_eq!((list.header("x-request-id"), list.header("etag")), (Some("r-1"), None));
    assert_eq!(list.header("accept-ranges"), None);
    let asked = fake.wait_for("/api/tags?x=1");
    assert_eq!((asked.header("x-mine"), asked.header("range")), (Some("1"), None));
    assert_eq!(asked.header("if-none-match"), None);
    let head = proxy.ask("HEAD", "/api/tags", &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, None));
}

#[test]
fn a_native_list_that_cannot_be_filtered_is_not_shown() {
    for (status, body) in
        [(200, "<html>hidden"), (200, "{\"error\":1,\"data\":7}"), (206, "[\"hidden\"]")]
    {
        let fake = Fake::answering(move |_| json(status, body)).showing_lists();
        Proxy::before(&fake, "").get("/api/tags").own_error(502, "upstream_invalid_response");
    }
    // LM Studio's answer to an unknown path, and an error status.
    let error = r#"{"error":"Unexpected endpoint or method. (GET /api/tags)"}"#;
    for status in [200, 404] {
        let fake = Fake::answering(move |_| json(status, error)).showing_lists();
        let answer = Proxy::before(&fake, "").get("/api/tags");
        assert_eq!((answer.status, answer.text().as_str()), (status, error));
    }
}

#[test]
fn a_native_list_comes_from_the_upstream_without_a_prefix() {
    let first = Fake::listing(r#"{"models":[{"name":"first"}]}"#);
    let second = Fake::listing(r#"{"models":[{"name":"second"}]}"#);
    let (one, two) = (first.url("/v1"), second.url("/v1"));
    let yaml = upstreams(&[("one", &one, ""), ("two", &two, "prefix: ''")]);
    assert_eq!(Proxy::start(&yaml).get("/api/tags").text(), r#"{"models":[{"name":"second"}]}"#);
    let yaml = upstreams(&[("one", &one, ""), ("two", &two, "")]);
    Proxy::start(&yaml).get("/api/tags").own_error(400, "bad_request");
}

#[test]
fn a_key_reaches_a_native_list_only_below_the_base_url() {
    let fake = Fake::listing(r#"{"models":[]}"#);
    let proxy = Proxy::start(&plain(&fake.url(""), "api_key: ours"));
    proxy.get("/v1/api/tags?below");
    assert_eq!(fake.wait_for("/api/tags?below").header("authorization"), Some("Bearer ours"));
    let proxy = Proxy::start(&plain(&fake.url("/v1"), "api_key: ours"));
    proxy.get("/api/tags?beside");
    assert_eq!(fake.wait_for("/api/tags?beside").header("authorization"), None);
}
