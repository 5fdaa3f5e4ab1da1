use crate::fake::{Fake, Request, json};
use crate::proxy::Proxy;
use crate::several::{NOWHERE, upstreams};

const RULES: &str = "hidden: reject, regexp: ['llama.*'], exclude: {simple: [llama-bad]}";

/// Works, but for its list.
fn without_list() -> Fake {
    let answer = |request: &Request| match request.target().starts_with("/v1/models?") {
        true => json(500, "{}"),
        false => json(200, r#"{"id":"llama-3"}"#),
    };
    Fake::answering(answer)
}

fn assert_not_found(proxy: &Proxy, model: &str) {
    let body = format!(r#"{{"model":"{model}"}}"#);
    let answer = proxy.post("/v1/chat/completions", &body);
    let message = answer.own_error(404, "model_not_found");
    let words = format!("the model '{model}' does not exist or you do not have access to it");
    assert!(message.to_lowercase().starts_with(&words), "{message}");
    for method in ["GET", "DELETE"] {
        let target = format!("/v1/models/{model}");
        proxy.ask(method, &target, &[], b"").own_error(404, "model_not_found");
    }
}

fn assert_relayed(proxy: &Proxy, model: &str) {
    let answer = proxy.post("/v1/chat/completions", &format!(r#"{{"model":"{model}"}}"#));
    assert_eq!(answer.status, 200, "{model}: {}", answer.text());
    assert_eq!(proxy.get(&format!("/v1/models/{model}")).status, 200);
}

#[test]
fn a_hidden_model_is_rejected_before_any_list_was_fetched_and_while_there_is_none() {
    let fake = without_list();
    let proxy =
        Proxy::start(&format!("model_filter: {{base_url: '{}', {RULES}}}", fake.url("/v1")));
    let assert_filtered = || {
        let before = fake.requests().len();
        for model in ["gpt-4", "llama-bad", "x-llama", "my/llama-3"] {
            assert_not_found(&proxy, model);
        }
        assert_eq!(fake.requests().len(), before);
        assert_relayed(&proxy, "llama-3");
        assert_relayed(&proxy, "LLAMA-4");
    };
    assert_filtered();
    assert_eq!(proxy.get("/v1/models?q").status, 500);
    assert_filtered();
}

#[test]
fn each_upstream_rejects_for_itself() {
    let (strict, lax) = (without_list(), without_list());
    let proxy = Proxy::start(&upstreams(&[
        ("strict", &strict.url("/v1"), RULES),
        ("lax", &lax.url("/v1"), "regexp: ['llama.*']"),
        ("dead", NOWHERE, RULES),
    ]));
    assert_not_found(&proxy, "strict/gpt-4");
    assert_not_found(&proxy, "dead/gpt-4");
    assert_not_found(&proxy, "unknown/llama-3");
    assert_eq!(strict.requests().len() + lax.requests().len(), 0);
    assert_relayed(&proxy, "strict/llama-3");
    assert_relayed(&proxy, "lax/llama-3");
    assert_eq!(proxy.post("/v1/x", r#"{"model":"lax/gpt-4"}"#).status, 200);
    let message = proxy.post("/v1/x", r#"{"model":"dead/llama-3"}"#);
    message.own_error(502, "upstream_unreachable");
}

#[test]
fn forms_and_chunks_are_no_way_around() {
    let fake = without_list();
    let proxy =
        Proxy::start(&format!("model_filter: {{base_url: '{}', {RULES}}}", fake.url("/v1")));
    let form = "--B\r\nContent-Disposition: form-data; name=model\r\n\r\ngpt-4\r\n--B--\r\n";
    let kind = [("Content-Type", "multipart/form-data; boundary=B")];
    let answer = proxy.ask("POST", "/v1/audio/transcriptions", &kind, form.as_bytes());
    answer.own_error(404, "model_not_found");
    let chunked = [("Transfer-Encoding", "chunked")];
    let body = b"9\r\n{\"model\":\r\n8\r\n\"gpt-4\"}\r\n0\r\n\r\n";
    proxy.ask("POST", "/v1/x", &chunked, body).own_error(404, "model_not_found");
    proxy.post("/v1/x", r#"{"\u006dodel":"gpt\u002d4"}"#).own_error(404, "model_not_found");
    proxy.post("/v1/x", r#"{"model":"llama-3","model":"gpt-4"}"#).own_error(400, "bad_request");
    assert_eq!(fake.requests().len(), 0);
}

/// Which of them counts, servers do not agree on.
#[test]
fn a_second_content_type_is_no_way_around() {
    let fake = without_list();
    let url = fake.url("/v1");
    let form = "--B\r\nContent-Disposition: form-data; name=model\r\n\r\ngpt-4\r\n--B--\r\n";
    let kinds = ["multipart/form-data; boundary=B", "application/octet-stream"];
    let [form_type, other] = kinds.map(|kind| ("Content-Type", kind));
    let proxy = Proxy::start(&format!("model_filter: {{base_url: '{url}', {RULES}}}"));
    for headers in [[other, form_type], [form_type, other], [form_type, form_type]] {
        let answer = proxy.ask("POST", "/v1/audio/transcriptions", &headers, form.as_bytes());
        answer.own_error(400, "bad_request");
    }
    assert_eq!(proxy.ask("POST", "/v1/x", &[other, form_type], b"").status, 200);
    assert_eq!(fake.request().all("content-type"), [kinds[1], kinds[0]]);
    // Where nobody asks for the model, they are the upstream's affair.
    let proxy = Proxy::before(&fake, "");
    let answer = proxy.ask("POST", "/v1/x", &[other, form_type], form.as_bytes());
    assert_eq!(answer.status, 200);
}

#[test]
fn without_a_model_nothing_is_rejected() {
    let fake = without_list();
    let proxy =
        Proxy::start(&format!("model_filter: {{base_url: '{}', {RULES}}}", fake.url("/v1")));
    assert_eq!(proxy.get("/v1/files").status, 200);
    assert_eq!(proxy.post("/v1/x", r#"{"input":{"model":"gpt-4"}}"#).status, 200);
}

#[test]
fn by_default_a_hidden_model_is_relayed() {
    let fake = without_list();
    for hidden in ["", "hidden: allow,"] {
        let url = fake.url("/v1");
        let yaml = format!("model_filter: {{base_url: '{url}', {hidden} regexp: ['llama.*']}}");
        let proxy = Proxy::start(&yaml);
        assert_eq!(proxy.post("/v1/x", r#"{"model":"gpt-4"}"#).status, 200);
        proxy.get("/v1/models/gpt-4").own_error(404, "model_not_found");
        assert_eq!(proxy.ask("DELETE", "/v1/models/gpt-4", &[], b"").status, 200);
    }
}

#[test]
fn a_body_is_looked_at_whatever_it_is_called() {
    let fake = without_list();
    let url = fake.url("/v1");
    let proxy = Proxy::start(&format!("model_filter: {{base_url: '{url}', {RULES}}}"));
    let text = [("Content-Type", "text/plain")];
    for body in [r#"{"model":"gpt-4"}"#, "\u{feff} \r\n{\"model\":\"gpt-4\"}"] {
        let answer = proxy.ask("POST", "/v1/x", &text, body.as_bytes());
        answer.own_error(404, "model_not_found");
    }
    let chunked = [text[0], ("Transfer-Encoding", "chunked")];
    let body = b"1\r\n \r\n9\r\n{\"model\":\r\n8\r\n\"gpt-4\"}\r\n0\r\n\r\n";
    proxy.ask("POST", "/v1/x", &chunked, body).own_error(404, "model_not_found");
    let zipped = [text[0], ("Content-Encoding", "gzip")];
    proxy.ask("POST", "/v1/x", &zipped, b"\x1f\x8b").own_error(400, "bad_request");
    let lax: [&[u8]; 4] = [
        b"{\"model\":\"gpt-4\"} x",
        b"{\"model\":\"gpt-4\",\"x\":\"\xff\"}",
        b"{\"x\":NaN,\"model\":\"gpt-4\"}",
        b"{'model':'gpt-4'}",
    ];
    for lax in lax {
        proxy.ask("POST", "/v1/x", &text, lax).own_error(400, "bad_request");
    }
    assert_eq!(fake.requests().len(), 0);

    let long = "no JSON ".repeat(20_000);
    for body in ["no JSON", " \r\n", "\u{feff}", "[]", &long, r#"{"model":"llama-3"}"#] {
        for chunked in [false, true] {
            let chunks = crate::fake::chunk(body);
            let chunks = [chunks, crate::fake::LAST_CHUNK.into()].concat();
            let (fields, sent): (&[_], &[u8]) = match chunked {
                true => (&[text[0], ("Transfer-Encoding", "chunked")], &chunks),
                false => (&text, body.as_bytes()),
            };
            assert_eq!(proxy.ask("POST", "/v1/x", fields, sent).status, 200);
            assert_eq!(fake.requests().last().unwrap().text(), body);
        }
    }
}

#[test]
fn another_spelling_is_no_way_around() {
    let fake = without_list();
    let url = fake.url("/v1");
    let proxy = Proxy::start(&format!("model_filter: {{base_url: '{url}', {RULES}}}"));
    for body in [r#"{"MODEL":"gpt-4"}"#, r#"{"model":"llama-3","Mod\u0045l":"gpt-4"}"#] {
        let message = proxy.post("/v1/x", body).own_error(400, "bad_request");
        assert!(message.contains("might read as `model`"), "{message}");
    }
    let kind = [("Content-Type", "multipart/form-data; boundary=B")];
    for name in ["name*=utf-8''model", "name=x; NAME*=utf-8''model", "name*0=mo; name*1=del"] {
        let form = format!("--B\r\nContent-Disposition: form-data; {name}\r\n\r\ngpt-4\r\n--B--");
        let answer = proxy.ask("POST", "/v1/x", &kind, form.as_bytes());
        let message = answer.own_error(400, "bad_request");
        assert!(message.contains("Content-Disposition"), "{message}");
    }
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn an_id_is_judged_as_any_server_may_read_it() {
    let fake = without_list();
    let rules = "hidden: reject, exclude: {simple: [secret, org/secret]}";
    let url = fake.url("/v1");
    let proxy = Proxy::start(&upstreams(&[("p", &url, rules), ("q", NOWHERE, "")]));
    for id in
        ["p//secret", "p%2F%2Fsecret", "p/secret;x", "p/;/secret", "p/org//secret", "p;/secret"]
    {
        for method in ["GET", "DELETE"] {
            let target = format!("/v1/models/{id}");
            proxy.ask(method, &target, &[], b"").own_error(404, "model_not_found");
        }
    }
    assert_eq!(fake.requests().len(), 0);
    assert_eq!(proxy.get("/v1/models/p/org/open").status, 200);
    assert!(proxy.get("/v1/models;x").text().starts_with("{\"object\":\"list\""));
}

#[test]
fn forms_that_others_may_read_otherwise_are_refused() {
    let fake = without_list();
    let url = fake.url("/v1");
    let proxy = Proxy::start(&format!("model_filter: {{base_url: '{url}', {RULES}}}"));
    let part = |header: &str, content: &str| format!("--B\r\n{header}\r\n\r\n{content}\r\n");
    let named = "Content-Disposition: form-data; name=";
    let end = "--B--\r\n";
    let forms = [
        format!("{{\"model\":\"gpt-4\"}}\r\n{end}"),
        format!("--B\n{named}model\n\ngpt-4\r\n{end}"),
        format!("x\n--B\r\n{named}model\r\n\r\ngpt-4\r\n{end}"),
        format!("{}{end}", part(&format!("{named}a"), &format!("x\n--B\n{named}model\n\ngpt-4"))),
        format!("{}{end}", part(&format!("Content-Transfer-Encoding: base64\r\n{named}x"), "x")),
    ];
    let kind = ("Content-Type", "multipart/form-data; boundary=B");
    for form in forms {
        let answer = proxy.ask("POST", "/v1/x", &[kind], form.as_bytes());
        answer.own_error(400, "bad_request");
    }
    let good = format!("{}{end}", part(&format!("{named}model"), "llama-3"));
    assert_eq!(proxy.ask("POST", "/v1/x", &[kind], good.as_bytes()).status, 200);
    for boundary in ["boundary=A; boundary=B", "boundary*=B", "boundary=B; boundary*0=A"] {
        let kind = format!("multipart/form-data; {boundary}");
        let answer = proxy.ask("POST", "/v1/x", &[("Content-Type", &kind)], good.as_bytes());
        answer.own_error(400, "bad_request");
    }
    let codings = [("Content-Encoding", "identity"), ("Content-Encoding", "gzip")];
    proxy.ask("POST", "/v1/x", &codings, b"{}").own_error(400, "bad_request");
    let text = [("Content-Type", "text/plain")];
    let wide: Vec<u16> = r#"{"model":"gpt-4"}"#.encode_utf16().collect();
    for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        let body: Vec<u8> = wide.iter().flat_map(|unit| bytes(*unit)).collect();
        proxy.ask("POST", "/v1/x", &text, &body).own_error(400, "bad_request");
    }
    let body = r#"{"model":"gpt-4"}"#;
    proxy.post("/v1/models/llama-3", body).own_error(404, "model_not_found");
    assert_eq!(fake.requests().len(), 1);
}

#[test]
fn the_answer_repeats_the_beginning_of_a_long_name() {
    let url = without_list().url("/v1");
    let proxy = Proxy::start(&format!("model_filter: {{base_url: '{url}', {RULES}}}"));
    let name = "x".repeat(1000);
    let body = format!(r#"{{"model":"{name}"}}"#);
    for answer in [proxy.post("/v1/x", &body), proxy.get(&format!("/v1/models/{name}"))] {
        let message = answer.own_error(404, "model_not_found");
        let begins = format!("the model '{}…' does", "x".repeat(200));
        assert!(message.starts_with(&begins), "{message}");
    }
}
