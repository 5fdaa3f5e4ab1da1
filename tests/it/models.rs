use crate::fake::{Fake, json, models, response};
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

/// They describe the upstream's body: RFC 9110 §8.8, RFC 9530.
#[test]
fn validators_and_digests_stay_only_with_the_body_that_they_describe() {
    let head = "200 OK\nContent-Type: application/json\nETag: \"a\"\nRepr-Digest: sha-256=:YQ==:";
    let fake = Fake::answering(move |_| response(head, r#"{"id":"llama"}"#));
    for (proxy, target, etag) in [
        (Proxy::with_prefix(&fake, LLAMAS), "/v1/models/my/llama", None),
        (Proxy::before(&fake, LLAMAS), "/v1/models/llama", Some("\"a\"")),
    ] {
        let model = proxy.get(target);
        assert_eq!((model.status, model.header("etag")), (200, etag));
        assert_eq!(model.header("repr-digest").is_some(), etag.is_some());
    }
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

/// Below OpenRouter's models there are the providers of each.
#[test]
fn what_is_below_a_model_is_judged_by_it() {
    let answer = r#"{"data":{"id":"a/llama","endpoints":[{"name":"x"}]}}"#;
    for rules in [LLAMAS, "simple: [a/llama]", "exclude: {simple: [gpt, a/gpt]}"] {
        for hidden in ["allow", "reject"] {
            let fake = Fake::answering(move |request| match request.target() {
                "/v1/models" => json(200, &models(&["a/llama", "gpt", "a/gpt"])),
                _ => json(200, answer),
            })
            .showing_lists();
            let proxy = Proxy::before(&fake, &format!("{rules}\nhidden: {hidden}"));
            let kept = proxy.get("/v1/models/a/llama/endpoints");
            assert_eq!((kept.status, kept.text().as_str()), (200, answer), "{rules} {hidden}");
            for target in ["/v1/models/a/gpt/endpoints", "/v1/models/a%2Fgpt%2Fendpoints"] {
                proxy.get(target).own_error(404, "model_not_found");
            }
            proxy.get("/v1/models/gpt/endpoints/").own_error(404, "model_not_found");
            assert!(fake.requests().iter().all(|seen| !seen.target().contains("gpt")));
        }
    }
}

#[test]
fn a_method_behind_an_id_is_no_part_of_it() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let kept = Proxy::before(&fake, "simple: ['gemini:free']\nhidden: reject");
    let other = Proxy::before(&fake, "exclude: {simple: [gemini, 'gemini:free']}\nhidden: reject");
    let named = Proxy::with_prefix(&fake, "simple: ['gemini:free']\nhidden: reject");
    for method in ["generateContent", "streamGenerateContent", "countTokens", "embedContent"] {
        for version in ["/v1", "/v1beta"] {
            let target = format!("{version}/models/gemini:free:{method}?alt=sse");
            assert_eq!(kept.post(&target, "{}").status, 200, "{target}");
            fake.wait_for(&target);
            let prefixed = target.replace("gemini", "my/gemini");
            assert_eq!(named.post(&prefixed, "{}").status, 200, "{prefixed}");
            let hidden = target.replace("gemini:free", "gemini");
            for (proxy, target) in [(&kept, &hidden), (&other, &hidden), (&other, &target)] {
                let message = proxy.post(target, "{}").own_error(404, "model_not_found");
                assert!(!message.contains(method), "{message}");
            }
        }
    }
    assert!(fake.requests().iter().all(|seen| !seen.target().contains("my")));
}

#[test]
fn a_method_is_not_below_a_part_of_its_id() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, "simple: [kept]\nhidden: reject");
    for method in ["generateContent", "aMethodOfTomorrow"] {
        for version in ["/v1", "/v1beta"] {
            let target = format!("{version}/models/kept/dear:{method}");
            proxy.post(&target, "{}").own_error(404, "model_not_found");
        }
    }
    proxy.get("/v1/models/kept/dear:free").own_error(404, "model_not_found");
    assert_eq!(proxy.get("/v1/models/kept/endpoints").status, 200);
    assert_eq!(proxy.post("/v1/models/kept:generateContent", "{}").status, 200);
}

/// `/models/user` of OpenRouter.
#[test]
fn an_answer_that_is_a_list_is_filtered() {
    let list = |prefix: &str| format!(r#"{{"data":[{{"x":1,"id":"{prefix}a"}}], "n":1e3}}"#);
    let whole = r#"{"data":[{"x":1,"id":"a"},{"id":"gpt"}], "n":1e3}"#;
    let fake = Fake::answering(move |_| json(200, whole));
    let rules = "exclude: {simple: [gpt]}";
    assert_eq!(Proxy::before(&fake, rules).get("/v1/models/user").text(), list(""));
    assert_eq!(Proxy::with_prefix(&fake, rules).get("/v1/models/my/user").text(), list("my/"));
    assert_eq!(Proxy::before(&fake, "").get("/v1/models/user").text(), whole, "without rules");
    let asked = fake.requests();
    let codings = asked.iter().map(|seen| seen.header("accept-encoding"));
    assert_eq!(codings.collect::<Vec<_>>(), [Some("identity"), Some("identity"), None]);
}

#[test]
fn a_compressed_answer_that_could_be_a_list_is_not_relayed() {
    let answer = "200 OK\nContent-Type: application/json\nContent-Encoding: gzip";
    let fake = Fake::answering(move |_| response(answer, "zipped"));
    let answer = Proxy::before(&fake, LLAMAS).get("/v1/models/llama");
    answer.own_error(502, "upstream_invalid_response");
    assert_eq!(Proxy::before(&fake, "").get("/v1/models/llama").text(), "zipped");
}

/// The ids of vLLM and llama.cpp may be paths of files.
#[test]
fn an_id_may_begin_with_a_slash() {
    for rules in ["", "simple: [/root/a]", "regexp: ['/.*']", "simple: [/root/a]\nhidden: reject"] {
        let fake = Fake::answering(|_| json(200, r#"{"id":"/root/a"}"#));
        let proxy = Proxy::before(&fake, rules);
        for target in ["/v1/models//root/a", "/v1/models/%2Froot%2Fa"] {
            assert_eq!(proxy.get(target).json()["id"], "/root/a", "{rules}");
            fake.wait_for(target);
        }
        let prefixed = Proxy::with_prefix(&fake, rules);
        assert_eq!(prefixed.get("/v1/models/my//root/a").json()["id"], "my//root/a", "{rules}");
        assert_eq!(proxy.post("/v1/x", r#"{"model":"/root/a"}"#).status, 200);
    }
    let fake = upstream();
    let proxy = Proxy::before(&fake, "exclude: {simple: [gpt]}");
    for target in ["/v1/models//gpt", "/v1/models/%2Fgpt", "/v1/models/%252Fgpt"] {
        proxy.get(target).own_error(404, "model_not_found");
    }
}

/// Lists models, but does not know a single one by its name.
fn only_lists() -> Fake {
    Fake::answering(|request| match request.target().split('?').next().unwrap() {
        "/v1/models" => json(200, r#"{"data":[{"n":1.0e-7,"id":"a/llama"},{"id":"gpt"}]}"#),
        _ => json(404, r#"{"error":"no such path"}"#),
    })
    .showing_lists()
}

#[test]
fn a_listed_model_that_the_upstream_does_not_know_by_name_is_answered_from_the_list() {
    let fake = only_lists();
    let plain = Proxy::before(&fake, LLAMAS);
    assert_eq!(plain.get("/v1/models/a/llama").text(), r#"{"n":1.0e-7,"id":"a/llama"}"#);
    plain.get("/v1/models/gpt").own_error(404, "model_not_found");
    let unknown = plain.get("/v1/models/other-llama");
    assert_eq!((unknown.status, unknown.text().as_str()), (404, r#"{"error":"no such path"}"#));
    let all = Proxy::before(&fake, "");
    assert_eq!(all.get("/v1/models/gpt").text(), r#"{"id":"gpt"}"#);
    assert_eq!(all.get("/v1/models/a%2Fllama").json()["id"], "a/llama");
    let prefixed = Proxy::with_prefix(&fake, LLAMAS);
    assert_eq!(prefixed.get("/v1/models/my/a/llama").json()["id"], "my/a/llama");
    assert_eq!(prefixed.get("/my/v1/models/a/llama").json()["id"], "a/llama");
}
