use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fake::{Fake, Request, json, models, response};
use crate::proxy::Proxy;
use crate::several::{NOWHERE, upstreams};

const RULES: &str = "hidden: reject, regexp: ['llama-[0-9]']";

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
    // If no rule needs the model, such bodies are relayed.
    let proxy = Proxy::before(&fake, "");
    let answer = proxy.ask("POST", "/v1/x", &[other, form_type], form.as_bytes());
    assert_eq!(answer.status, 200);
}

/// Versions and methods of Google's APIs that are not known here, and spellings of known ones.
#[test]
fn a_model_in_a_path_is_judged_below_each_version_and_before_each_method() {
    let fake = Fake::answering(|_| json(200, "{}"));
    for rules in ["simple: [kept]", "regexp: [kept]"] {
        let proxy = Proxy::before(&fake, &format!("{rules}\nhidden: reject"));
        for target in [
            "/v1beta/models/hidden",
            "/v1beta/models/hidden:generateContent;x",
            "/v1beta/models/hidden:generateContent%20",
            "/v1beta/models/hidden:%20generateContent",
            "/v1beta/models/hidden:aMethodOfTomorrow",
            "/v1alpha/models/hidden:generateContent",
            "/v1beta1/models/hidden%3Apredict",
            "/v1/projects/p/locations/l/publishers/google/models/hidden:generateContent",
            "/openai/v1/models/hidden",
            "/openai/models/hidden",
            "/v2/models/hidden/infer",
        ] {
            for method in ["POST", "DELETE", "GET"] {
                let answer = proxy.ask(method, target, &[], b"");
                answer.own_error(404, "model_not_found");
            }
            let kept = target.replace("hidden", "kept");
            let is_plain = !kept.contains([';', '%']) && !kept.ends_with("Tomorrow");
            if is_plain {
                assert_eq!(proxy.post(&kept, "{}").status, 200, "{kept}");
            }
        }
        let load = proxy.post("/api/v1/models/load", r#"{"model":"kept"}"#);
        assert_eq!(load.status, 200, "LM Studio loads a model");
        let load = proxy.post("/api/v1/models/load", r#"{"model":"hidden"}"#);
        load.own_error(404, "model_not_found");
    }
    assert!(fake.requests().iter().all(|seen| !seen.target().contains("hidden")));
}

#[test]
fn the_body_of_a_request_that_reads_is_judged_too() {
    let fake = without_list();
    let proxy = Proxy::before(&fake, "hidden: reject\nregexp: ['llama-[0-9]']");
    for method in ["GET", "HEAD"] {
        for target in ["/v1/models/llama-3", "/v1/models/llama-3/x", "/api/tags", "/v1/x"] {
            let answer = proxy.ask(method, target, &[], br#"{"model":"gpt-4"}"#);
            assert_eq!(answer.status, 404, "{method} {target}");
        }
        let answer = proxy.ask(method, "/v1/models/llama-3", &[], br#"{"model":"llama-4"}"#);
        assert_eq!(answer.status, 200, "{method}");
    }
    assert!(fake.requests().iter().all(|seen| !seen.text().contains("gpt")));
}

#[test]
fn a_body_is_judged_by_the_rules_of_the_upstream_that_gets_it() {
    let (strict, lax) = (without_list(), without_list());
    let rules = "hidden: reject, simple: [kept]";
    let lax_rules = "prefix: '', hidden: reject, regexp: ['.*']";
    let proxy = Proxy::start(&upstreams(&[
        ("strict", &strict.url("/v1"), rules),
        ("lax", &lax.url("/v1"), lax_rules),
    ]));
    let path = "/v1/models/strict/kept:generateContent";
    proxy.post(path, r#"{"model":"hidden"}"#).own_error(404, "model_not_found");
    for body in [r#"{"model":"strict/kept"}"#, "{}"] {
        assert_eq!(proxy.post(path, body).status, 200, "{body}");
    }
    assert!(strict.requests().iter().all(|seen| !seen.text().contains("hidden")));
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
    let lax: [&[u8]; 6] = [
        b"/**/{\"model\":\"gpt-4\"}",
        b" // a comment\n{\"model\":\"gpt-4\"}",
        b"{\"model\":\"gpt-4\"} x",
        b"{\"model\":\"gpt-4\",\"x\":\"\xff\"}",
        b"{\"x\":NaN,\"model\":\"gpt-4\"}",
        b"{'model':'gpt-4'}",
    ];
    for lax in lax {
        proxy.ask("POST", "/v1/x", &text, lax).own_error(400, "bad_request");
    }
    let slash = b"1\r\n/\r\n5\r\n**/{}\r\n0\r\n\r\n";
    proxy.ask("POST", "/v1/x", &chunked, slash).own_error(400, "bad_request");
    assert_eq!(fake.requests().len(), 0);

    let long = "no JSON ".repeat(20_000);
    for body in
        ["no JSON", "/", "/path", " \r\n", "\u{feff}", "[]", &long, r#"{"model":"llama-3"}"#]
    {
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
    let (fake, _) = with_list(&["org/open", "secret", "org/secret", "cheap"]);
    let rules = "hidden: reject, exclude: {simple: [secret, org/secret]}";
    let url = fake.url("/v1");
    let proxy = Proxy::start(&upstreams(&[("p", &url, rules), ("q", NOWHERE, "")]));
    for id in [
        "p//secret",
        "p%2F%2Fsecret",
        "p/secret;x",
        "p/;/secret",
        "p/org//secret",
        "p;/secret",
        "p/secret%20",
        "p/secret%3Fx",
        "p/secret%23/cheap",
        "p/%2573ecret",
        "p/org%255Csecret",
    ] {
        for method in ["GET", "DELETE"] {
            let target = format!("/v1/models/{id}");
            proxy.ask(method, &target, &[], b"").own_error(404, "model_not_found");
        }
    }
    assert!(fake.requests().iter().all(|request| request.target() == "/v1/models"));
    assert_eq!(proxy.get("/v1/models/p/org/open").status, 200);
    assert!(proxy.get("/v1/models;x").text().starts_with("{\"object\":\"list\""));
}

/// The rest of the path would be that of the upstream's list.
#[test]
fn an_id_that_is_nothing_but_a_prefix_names_no_model() {
    let (fake, _) = with_list(&["cheap", "secret"]);
    let url = fake.url("/v1");
    for bare in ["prefix: ''", "regexp: ['.*']"] {
        let rules = "exclude: {simple: [secret]}";
        let proxy = Proxy::start(&upstreams(&[("p", &url, rules), ("q", NOWHERE, bare)]));
        for id in ["p/;x", "p/%20", "p/%3Fx", "p/%23", "p/%3b", "p%2F;/%20/", "p/;x%3F/secret"] {
            for method in ["GET", "HEAD", "get"] {
                let answer = proxy.ask(method, &format!("/v1/models/{id}"), &[], b"");
                assert_eq!(answer.status, 404, "{method} {id}");
            }
        }
        assert_eq!(proxy.get("/v1/models/p/cheap").status, 200);
    }
    assert!(fake.requests().iter().all(|request| !request.target().contains(';')));
}

/// Lists these models while the switch is on, and answers every other request.
fn with_list(ids: &[&str]) -> (Fake, Arc<AtomicBool>) {
    let works = Arc::new(AtomicBool::new(true));
    let (list, is_on) = (json(200, &models(ids)), Arc::clone(&works));
    let answer = move |request: &Request| match request.target() {
        "/v1/models" if !is_on.load(Ordering::SeqCst) => {
            response("418 No List\nContent-Type: text/plain", "no list today")
        }
        "/v1/models" => list.clone(),
        _ => json(200, r#"{"id":"cheap"}"#),
    };
    (Fake::answering(answer).showing_lists(), works)
}

fn rejecting(fake: &Fake, rules: &str) -> Proxy {
    Proxy::before(fake, &format!("hidden: reject\n{rules}"))
}

const EXCLUDE: &str = "exclude: {simple: [expensive]}";

#[test]
fn beside_exclude_a_model_must_be_in_the_last_list() {
    for rules in [EXCLUDE, "", "cache_ttl: 60", "regexp: ['.*']\nexclude: {simple: [expensive]}"] {
        let (fake, _) = with_list(&["cheap", "Org/Also"]);
        let proxy = rejecting(&fake, rules);
        for model in ["expensive:nitro", "cheap:online", "cheap2", "", "org", "expensive"] {
            proxy
                .post("/v1/x", &format!(r#"{{"model":"{model}"}}"#))
                .own_error(404, "model_not_found");
        }
        proxy.get("/v1/models/cheap:online").own_error(404, "model_not_found");
        for model in ["cheap", "CHEAP", "org/also"] {
            assert_relayed(&proxy, model);
        }
        assert_eq!(proxy.post("/v1/x", r#"{"input":1}"#).status, 200, "names no model");
        let own = fake.requests().into_iter().filter(|request| request.target() == "/v1/models");
        assert!(own.count() <= 2, "{rules}: the last list decides");
    }
}

/// LiteLLM takes `a,b` for two models.
#[test]
fn a_name_of_simple_needs_no_list_and_a_comma_separates_names() {
    let (fake, works) = with_list(&["cheap"]);
    works.store(false, Ordering::SeqCst);
    let rules = "simple: [named, 'a,b']\nregexp: ['.*heap.*']\nexclude: {simple: [expensive]}";
    let proxy = rejecting(&fake, rules);
    let status = |proxy: &Proxy, model: &str| {
        proxy.post("/v1/x", &format!(r#"{{"model":"{model}"}}"#)).status
    };
    assert_eq!((status(&proxy, "Named"), status(&proxy, "a,b")), (200, 200));
    assert_eq!(status(&proxy, "cheap"), 418);
    works.store(true, Ordering::SeqCst);
    assert_eq!((status(&proxy, "cheap"), status(&proxy, "cheap:online")), (200, 404));
    let alone = rejecting(&fake, "regexp: ['cheap.*']");
    assert_eq!((status(&alone, "cheap:online"), status(&alone, "cheap,expensive")), (200, 404));
}

#[test]
fn a_model_that_a_client_sees_in_a_new_list_may_be_named_at_once() {
    let (fake, is_new) = with_list(&["cheap", "new"]);
    is_new.store(false, Ordering::SeqCst);
    let proxy = rejecting(&fake, "exclude: {simple: [expensive]}\ncache_stale: 60");
    let post = |model: &str| proxy.post("/v1/x", &format!(r#"{{"model":"{model}"}}"#)).status;
    assert_eq!(post("new"), 418);
    is_new.store(true, Ordering::SeqCst);
    assert_eq!(proxy.get("/v1/models").ids(), ["cheap", "new"]);
    is_new.store(false, Ordering::SeqCst);
    assert_eq!((post("new"), post("newer")), (200, 404));
}

#[test]
fn without_a_list_the_request_fails_as_the_list_does() {
    let (fake, works) = with_list(&["cheap"]);
    works.store(false, Ordering::SeqCst);
    let proxy = rejecting(&fake, EXCLUDE);
    for model in ["cheap", "expensive:nitro"] {
        let answer = proxy.post("/v1/x", &format!(r#"{{"model":"{model}"}}"#));
        assert_eq!((answer.status, answer.text().as_str()), (418, "no list today"), "{model}");
        assert_eq!(proxy.get(&format!("/v1/models/{model}")).status, 418);
    }
    assert!(fake.requests().iter().all(|request| request.target() == "/v1/models"));
    proxy.post("/v1/x", r#"{"model":"expensive"}"#).own_error(404, "model_not_found");
    works.store(true, Ordering::SeqCst);
    assert_relayed(&proxy, "cheap");
    works.store(false, Ordering::SeqCst);
    assert_relayed(&proxy, "cheap"); // by the last list
    proxy.post("/v1/x", r#"{"model":"cheap:x"}"#).own_error(404, "model_not_found");

    let dead = Proxy::start(&format!("model_filter: {{base_url: '{NOWHERE}', hidden: reject}}"));
    dead.post("/v1/x", r#"{"model":"cheap"}"#).own_error(502, "upstream_unreachable");
}

#[test]
fn each_client_is_judged_by_the_list_for_its_own_key() {
    let answer = |request: &Request| match (request.target(), request.header("authorization")) {
        ("/v1/models", Some("Bearer a")) => json(200, &models(&["for-a"])),
        ("/v1/models", Some("Bearer b")) => json(200, &models(&["for-b"])),
        ("/v1/models", _) => json(401, "{}"),
        _ => json(200, "{}"),
    };
    let fake = Fake::answering(answer).showing_lists();
    let proxy = rejecting(&fake, EXCLUDE);
    let status = |key: &str, model: &str| {
        let key = format!("Bearer {key}");
        let body = format!(r#"{{"model":"{model}"}}"#);
        proxy.ask("POST", "/v1/x", &[("Authorization", &key)], body.as_bytes()).status
    };
    for _ in 0..2 {
        assert_eq!(status("a", "for-a"), 200);
        assert_eq!(status("a", "for-b"), 404);
        assert_eq!(status("b", "for-b"), 200);
        assert_eq!(status("b", "for-a"), 404);
        assert_eq!(status("c", "for-a"), 401);
    }
}

#[test]
fn a_name_with_a_blank_at_either_end_is_hidden() {
    let (fake, _) = with_list(&["llama-3", "llama-bad"]);
    for rules in ["regexp: ['.*llama(.|\\s)*']\nexclude: {simple: [llama-bad]}", EXCLUDE] {
        let proxy = rejecting(&fake, rules);
        let blanks = [" ", "\\t", "\\u200b", "\\u00a0", "\\ufeff", "\\u007f", "\\u2060"];
        for blank in blanks {
            for model in [format!("{blank}llama-bad"), format!("llama-bad{blank}")] {
                proxy
                    .post("/v1/x", &format!(r#"{{"model":"{model}"}}"#))
                    .own_error(404, "model_not_found");
            }
        }
        proxy.post("/v1/x", r#"{"model":"llama-bad\u0000"}"#).own_error(400, "bad_request");
        proxy.ask("DELETE", "/v1/models/llama-bad%20", &[], b"").own_error(404, "model_not_found");
        assert_relayed(&proxy, "llama-3");
    }
    assert!(fake.requests().iter().all(|request| !request.text().contains("bad")));
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
