use crate::client::{Client, Response};
use crate::fake::{Fake, LAST_CHUNK, chunk, json};
use crate::proxy::Proxy;
use crate::wait::DEADLINE;

/// The body that the upstream receives if ids have the prefix `my/`.
fn relayed(content_type: Option<&str>, body: &[u8]) -> Vec<u8> {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::with_prefix(&fake, "");
    let headers: Vec<_> = content_type.iter().map(|value| ("Content-Type", *value)).collect();
    let answer = proxy.ask("POST", "/v1/x", &headers, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    fake.request().body
}

fn relayed_json(body: &str) -> String {
    String::from_utf8(relayed(Some("application/json"), body.as_bytes())).unwrap()
}

/// The response to a body that is not relayed.
fn refused(content_type: &str, body: &str) -> Response {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::with_prefix(&fake, "max_body: 1000");
    let answer = proxy.ask("POST", "/v1/x", &[("Content-Type", content_type)], body.as_bytes());
    assert_eq!(fake.requests().len(), 0, "{body}");
    answer
}

fn assert_bad_json(body: &str) {
    refused("application/json", body).own_error(400, "bad_request");
}

const FORM: &str = "multipart/form-data; boundary=\"a.b\"";

/// A multipart body of these parts: the headers after `name`, and the content.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        let head = format!("--a.b\r\nContent-Disposition: form-data; name={name}\r\n\r\n");
        body.extend([head.as_bytes(), content, b"\r\n"].concat());
    }
    body.extend(b"--a.b--\r\n");
    body
}

#[test]
fn only_the_bytes_of_the_models_value_change() {
    let around = |model| {
        format!(
            "\r\n{{ \"messages\" : [ {{\"content\":\"\\u00e9 é model my/x\",\"model\":\"my/in\"}} ],\n\
             \t\"model\" :  \"{model}\" , \"n\":1.0e0,\"big\":123456789012345678901,\"e\":[ ] }}\n"
        )
    };
    assert_eq!(relayed_json(&around("my/a/llama")), around("a/llama"));
}

#[test]
fn the_prefix_is_taken_off_once() {
    assert_eq!(relayed_json(r#"{"model":"my/my/a"}"#), r#"{"model":"my/a"}"#);
}

#[test]
fn an_escaped_model_is_the_same_model() {
    assert_eq!(relayed_json(r#"{"model":"m\u0079\/a"}"#), r#"{"model":"a"}"#);
    assert_eq!(relayed_json(r#"{"mod\u0065l":"my/a"}"#), r#"{"mod\u0065l":"a"}"#);
}

#[test]
fn what_must_be_escaped_stays_escaped() {
    let body = relayed_json(r#"{"model":"my/a\"\\\u0001b"}"#);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["model"], "a\"\\\u{1}b");
}

#[test]
fn the_length_is_that_of_the_new_body() {
    let fake = Fake::answering(|_| json(200, "{}"));
    Proxy::with_prefix(&fake, "").post("/v1/x", r#"{"model":"my/a"}"#);
    assert_eq!(fake.request().all("content-length"), ["13"]);
}

#[test]
fn the_prefix_is_taken_off_a_chunked_body() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::with_prefix(&fake, "");
    let framed = [chunk(r#"{"model":"m"#), chunk(r#"y/a"}"#), LAST_CHUNK.into()].concat();
    let headers = [("Transfer-Encoding", "chunked"), ("Content-Type", "application/json")];
    assert_eq!(proxy.ask("POST", "/v1/x", &headers, &framed).status, 200);
    assert_eq!(fake.request().text(), r#"{"model":"a"}"#);
}

#[test]
fn json_is_known_by_its_media_type_or_by_none() {
    for content_type in
        [None, Some("Application/JSON; charset=utf-8"), Some("application/vnd.api+json")]
    {
        assert_eq!(relayed(content_type, br#"{"model":"my/a"}"#), br#"{"model":"a"}"#);
    }
}

#[test]
fn what_is_neither_json_nor_a_form_is_not_touched() {
    let lines: &[u8] = b"{\"model\":\"my/a\"}\n{\"model\":\"my/a\"}\n";
    for content_type in ["text/plain", "application/octet-stream", "audio/wav"] {
        for body in [b"model=my/a", lines, b"{my/a}", b"{", b" [{\"model\":\"my/a\"}]"] {
            assert_eq!(relayed(Some(content_type), body), body);
        }
    }
}

#[test]
fn json_under_another_name_is_json() {
    for content_type in ["text/plain", "application/x-www-form-urlencoded"] {
        let body = b" {\"model\": \"my/a\"}";
        assert_eq!(relayed(Some(content_type), body), b" {\"model\": \"a\"}");
    }
}

#[test]
fn a_json_body_without_a_model_is_not_touched() {
    for body in [r#"{ "input" : 1.0 }"#, r#"{"x":{"model":"my/a"}}"#, ""] {
        assert_eq!(relayed_json(body), body);
    }
}

#[test]
fn a_model_without_the_prefix_goes_on_as_it_is_with_a_warning() {
    for model in ["other/a", "a", "my", "MY/a", "/my/a"] {
        let fake = Fake::answering(|_| json(200, "{}"));
        let proxy = Proxy::with_prefix(&fake, "");
        let body = format!("{{\"model\":\"{model}\"}}");
        assert_eq!(proxy.post("/v1/x", &body).status, 200);
        assert_eq!(fake.request().text(), body);
        proxy.exchange("/v1/x"); // logged after any warning
        let warned = |line: &String| line.contains("prefix") && line.contains(model);
        assert!(proxy.warnings().iter().any(warned), "{:#?}", proxy.log());
    }
}

#[test]
fn two_models_are_refused() {
    assert_bad_json(r#"{"model":"my/a","model":"my/b"}"#);
    assert_bad_json(r#"{"model":"my/a","x":1,"mod\u0065l":"my/b"}"#);
}

#[test]
fn a_model_that_is_no_string_is_refused() {
    for model in ["7", "null", "[\"my/a\"]", "{}", "true"] {
        assert_bad_json(&format!("{{\"model\":{model}}}"));
    }
}

#[test]
fn what_is_no_json_is_refused() {
    for body in ["{", "{\"model\":\"my/a\"", "{\"model\":\"my/a\"} x", "model", "{'a':1}"] {
        assert_bad_json(body);
    }
}

#[test]
fn without_a_prefix_nobody_reads_the_body() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, "max_body: 10");
    let body = r#"{"model":1,"model":2, no json at all"#;
    assert_eq!(proxy.post("/v1/x", body).status, 200);
    assert_eq!(fake.request().text(), body);
}

#[test]
fn a_body_that_must_be_held_is_bounded() {
    let body = format!(r#"{{"model":"my/a","x":"{}"}}"#, "y".repeat(1000));
    let message = refused("application/json", &body).own_error(413, "request_too_large");
    assert!(message.contains("1000"), "{message}");
}

#[test]
fn a_chunked_body_that_must_be_held_is_bounded_too() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::with_prefix(&fake, "max_body: 1000");
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/x", &[("Transfer-Encoding", "chunked")], b"");
    client.more(chunk("x".repeat(1001)));
    client.response().own_error(413, "request_too_large");
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn a_refused_body_does_not_become_the_next_request() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::with_prefix(&fake, "max_body: 1000");
    let evil = "GET /v1/evil HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (target, framing) in [
        ("/v1/../x", ("Content-Length", evil.len().to_string())),
        ("/v1/../x", ("Transfer-Encoding", "chunked".to_string())),
        ("/v1/x", ("Content-Length", evil.len().to_string())),
        ("/v1/x", ("Transfer-Encoding", "chunked".to_string())),
    ] {
        let mut client = Client::of(&proxy);
        client.send("POST", target, &[(framing.0, &framing.1)], b"");
        if framing.0 == "Content-Length" {
            client.more(evil);
        } else {
            client.more([chunk(evil), LAST_CHUNK.into()].concat());
        }
        client.response().own_error(400, "bad_request");
    }
    proxy.get("/v1/last");
    fake.wait_for("/v1/last");
    assert_eq!(fake.requests().len(), 1, "{:#?}", fake.requests());
}

#[test]
fn an_unread_body_does_not_spoil_the_next_request() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/../x", &[], &[b'x'; 10_000]);
    client.response().own_error(400, "bad_request");
    client.send("GET", "/v1/next", &[], b"");
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_long_unread_body_does_not_hold_a_worker() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/../x", &[("Content-Length", "1000000")], b"some");
    client.response().own_error(400, "bad_request");
    let begun = std::time::Instant::now();
    assert!(client.is_closed());
    assert!(begun.elapsed() < DEADLINE / 2);
}

#[test]
fn the_prefix_is_taken_off_the_model_part_of_a_form() {
    let file = b"\x00\xff--a\r\nname=\"model\"\r\n\r\nmy/x\r\n--a".as_slice();
    for name in ["\"model\"", "model"] {
        let with = |model| {
            form(&[("\"file\"; filename=\"model\"", file), (name, model), ("\"n\"", b"my/1")])
        };
        assert_eq!(relayed(Some(FORM), &with(b"my/whisper")), with(b"whisper"));
    }
}

#[test]
fn a_form_without_a_model_is_not_touched() {
    let body = form(&[("\"file\"", b"my/x"), ("\"models\"", b"my/x")]);
    assert_eq!(relayed(Some(FORM), &body), body);
}

#[test]
fn a_form_with_two_models_is_refused() {
    let body = form(&[("\"model\"", b"my/a"), ("\"model\"", b"my/b")]);
    refused(FORM, &String::from_utf8(body).unwrap()).own_error(400, "bad_request");
}

#[test]
fn a_form_that_does_not_end_is_refused() {
    let body = "--a.b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nmy/a";
    refused(FORM, body).own_error(400, "bad_request");
}

#[test]
fn a_long_blank_body_is_looked_at_once() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::with_prefix(&fake, "");
    let blank = vec![b' '; 8 << 20];
    let begun = std::time::Instant::now();
    let answer = proxy.ask("POST", "/v1/x", &[("Content-Type", "text/plain")], &blank);
    assert_eq!(answer.status, 200);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(fake.request().body == blank);
}

#[test]
fn a_name_without_an_end_is_refused() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::with_prefix(&fake, "");
    let name = |length: usize| format!("my/{}", "a".repeat(length - 3));
    let in_json = |length| format!(r#"{{"model":"{}"}}"#, name(length));
    assert_eq!(proxy.post("/v1/x", &in_json(1024)).status, 200);
    assert_eq!(proxy.ask("DELETE", &format!("/v1/models/{}", name(1024)), &[], b"").status, 200);

    let refused = |method: &str, target: &str, kind: &str, body: &[u8]| {
        let answer = proxy.ask(method, target, &[("Content-Type", kind)], body);
        let message = answer.own_error(400, "bad_request");
        assert!(message.contains("1024"), "{message}");
    };
    refused("POST", "/v1/x", "application/json", in_json(1025).as_bytes());
    refused("POST", "/v1/x", FORM, &form(&[("model", name(1025).as_bytes())]));
    for method in ["GET", "DELETE"] {
        refused(method, &format!("/v1/models/{}", name(1025)), "application/json", b"");
    }
    assert_eq!(fake.requests().len(), 2);
}
