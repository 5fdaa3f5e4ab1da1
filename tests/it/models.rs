use crate::fake::{Fake, json, models};
use crate::proxy::Proxy;

/// Knows `a/llama`, `llama` and `gpt`, in the list and one by one.
fn upstream() -> Fake {
    Fake::answering(|request| match request.target().split('?').next().unwrap() {
        "/v1/models" => json(200, &models(&["a/llama", "llama", "gpt"])),
        "/v1/models/a/llama" | "/v1/models/a%2Fllama" => {
            json(200, r#"{"n":1.0e-7, "id":"a/llama"}"#)
        }
        "/v1/models/llama" => json(200, r#"{"n":1.0e-7, "id":"llama"}"#),
        "/v1/models/gpt" => json(200, r#"{"id":"gpt"}"#),
        _ => json(404, r#"{"error":{"code":"model_not_found"}}"#),
    })
    .showing_lists()
}

const LLAMAS: &str = "regexp: ['.*llama']";

#[test]
fn a_kept_model_is_relayed() {
    let fake = upstream();
    let model = Proxy::before(&fake, LLAMAS).get("/v1/models/llama?q=%20");
    assert_eq!((model.status, model.text().as_str()), (200, r#"{"n":1.0e-7, "id":"llama"}"#));
    fake.wait_for("/v1/models/llama?q=%20");
}

#[test]
fn an_id_may_hold_slashes_raw_or_encoded() {
    let fake = upstream();
    let proxy = Proxy::before(&fake, LLAMAS);
    for target in ["/v1/models/a/llama", "/v1/models/a%2Fllama"] {
        assert_eq!(proxy.get(target).json()["id"], "a/llama");
        fake.wait_for(target);
    }
}

#[test]
fn with_a_prefix_the_head_of_a_model_does_not_say_that_it_is_empty() {
    let fake = Fake::scripted(|conn| {
        while let Some(request) = conn.read_request() {
            let whole = json(200, "\u{feff}{\"id\":\"llama\"}");
            let body =
                if request.method() == "HEAD" { "\u{feff}{\"id\":\"llama\"}".len() } else { 0 };
            conn.write(&whole[..whole.len() - body]);
        }
    });
    let proxy = Proxy::with_prefix(&fake, LLAMAS);
    let head = proxy.ask("HEAD", "/v1/models/my/llama", &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, None));
    assert_eq!(proxy.get("/v1/models/my/llama").text(), r#"{"id":"my/llama"}"#);
}

#[test]
fn a_hidden_model_is_not_found_and_not_asked_for() {
    let fake = upstream();
    let proxy = Proxy::before(&fake, LLAMAS);
    for target in ["/v1/models/gpt", "/v1/models/g%70t", "/v1/models/gpt/", "/models/gpt"] {
        proxy.get(target).own_error(404, "model_not_found");
    }
    assert!(fake.requests().iter().all(|request| !request.target().contains("gpt")));
}

#[test]
fn an_unknown_model_is_not_found() {
    let fake = upstream();
    let model = Proxy::before(&fake, LLAMAS).get("/v1/models/x-llama");
    assert_eq!((model.status, &model.json()["error"]["code"]), (404, &"model_not_found".into()));
}

#[test]
fn a_prefix_is_taken_off_on_the_way_up_and_put_before_the_id_on_the_way_down() {
    let fake = upstream();
    let proxy = Proxy::with_prefix(&fake, LLAMAS);
    for target in ["/v1/models/my/a/llama", "/v1/models/my%2Fa%2Fllama"] {
        let model = proxy.get(target);
        assert_eq!((model.status, &model.json()["id"]), (200, &"my/a/llama".into()), "{target}");
        assert!(model.text().contains("1.0e-7"), "{}", model.text());
    }
}

#[test]
fn a_model_that_was_changed_on_its_way_gets_its_prefix_too() {
    let fake = Fake::answering(|_| json(203, r#"{"id":"a"}"#));
    let model = Proxy::with_prefix(&fake, "").get("/v1/models/my/a");
    assert_eq!((model.status, model.text().as_str()), (203, r#"{"id":"my/a"}"#));
}

#[test]
fn other_methods_are_relayed() {
    let fake = upstream();
    let proxy = Proxy::before(&fake, LLAMAS);
    assert_eq!(proxy.ask("DELETE", "/v1/models/llama", &[], b"").status, 200);
    assert_eq!(fake.wait_for("/v1/models/llama").method(), "DELETE");
    assert_eq!(proxy.ask("POST", "/v1/models?q", &[], b"{}").status, 200);
    assert_eq!(fake.wait_for("/v1/models?q").method(), "POST");
}

#[test]
fn a_hidden_model_may_be_used_all_the_same() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, LLAMAS);
    assert_eq!(proxy.post("/v1/chat/completions", r#"{"model":"gpt"}"#).status, 200);
    assert_eq!(fake.request().text(), r#"{"model":"gpt"}"#);
}
