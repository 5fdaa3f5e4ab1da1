use crate::fake::{Fake, json, models, response};
use crate::proxy::Proxy;
use crate::several::upstreams;

/// Two upstreams, `one` and `two`, with rules for the second.
fn two(rules: &str) -> (Fake, Fake, Proxy) {
    let (one, two) = (Fake::listing(&models(&["a"])), Fake::listing(&models(&["a", "b/c"])));
    let rules = if rules.is_empty() { "api_key: of-two" } else { rules };
    let yaml = upstreams(&[
        ("one", &one.url("/v1"), "api_key: of-one"),
        ("two", &two.url("/api/v1"), rules),
    ]);
    let proxy = Proxy::start(&yaml);
    (one, two, proxy)
}

#[test]
fn what_names_no_model_reaches_the_upstream_that_the_path_names() {
    let (one, two, proxy) = two("");
    for (method, target, seen) in [
        ("GET", "/two/v1/files?limit=1", "/api/v1/files?limit=1"),
        ("DELETE", "/two/v1/responses/r1", "/api/v1/responses/r1"),
        ("POST", "/two/v1/batches", "/api/v1/batches"),
        ("GET", "/two/api/tags", "/api/api/tags"),
    ] {
        assert_eq!(proxy.ask(method, target, &[], b"").status, 200);
        let key = two.wait_for(seen).header("authorization").map(str::to_owned);
        assert_eq!(key.as_deref() == Some("Bearer of-two"), !seen.ends_with("tags"), "{seen}");
    }
    assert!(one.requests().iter().all(|seen| seen.target() == "/v1/models"));
    let line = proxy.exchange("/two/v1/files");
    assert_eq!(line.get("upstream").as_deref(), Some("two"));
}

#[test]
fn there_its_models_have_no_prefix() {
    let (_one, two, proxy) = two("api_key: of-two, cache_ttl: 60");
    for _ in 0..2 {
        assert_eq!(proxy.get("/v1/models").ids(), ["one/a", "two/a", "two/b/c"]);
        for target in ["/two/v1/models", "//t%77o/v1/models/"] {
            assert_eq!(proxy.get(target).ids(), ["a", "b/c"], "{target}");
        }
    }
    let list = proxy.get("/two/v1/models");
    assert_eq!(list.text(), models(&["a", "b/c"]));
    assert_eq!(list.header("x-model-filter-missing"), None);
    let body = r#"{"model":"b/c", "x":1}"#;
    assert_eq!(proxy.post("/two/v1/chat/completions", body).status, 200);
    assert_eq!(two.wait_for("/api/v1/chat/completions").text(), body);
    assert_eq!(proxy.get("/two/v1/models/b/c").status, 200);
    two.wait_for("/api/v1/models/b/c");
}

#[test]
fn its_rules_hold_there_too() {
    let (_one, two, proxy) = two("regexp: ['a'], hidden: reject");
    assert_eq!(proxy.get("/two/v1/models").ids(), ["a"]);
    proxy.get("/two/v1/models/b/c").own_error(404, "model_not_found");
    proxy.post("/two/v1/x", r#"{"model":"b/c"}"#).own_error(404, "model_not_found");
    proxy.get("/two/v1/embeddings/models").own_error(404, "not_found");
    proxy.get("/two/v1/../x").own_error(400, "bad_request");
    assert_eq!(proxy.post("/two/v1/x", r#"{"model":"a"}"#).status, 200);
    let asked = two.requests();
    let others: Vec<&str> = asked.iter().map(|seen| seen.target()).collect();
    assert!(
        others.iter().all(|target| ["/api/v1/models", "/api/v1/x"].contains(target)),
        "{others:?}"
    );
}

#[test]
fn the_refusal_of_a_request_without_a_model_names_these_paths() {
    let (_one, _two, proxy) = two("");
    let message = proxy.get("/v1/files").own_error(400, "bad_request");
    assert!(message.contains("/one/v1/…") && message.contains("/two/v1/…"), "{message}");
}

#[test]
fn a_large_upload_is_streamed_there() {
    let (_one, two, proxy) = two("max_body: 1000");
    let body = "x".repeat(100_000);
    let form = [("Content-Type", "multipart/form-data; boundary=\"odd one\"")];
    let answer = proxy.ask("POST", "/two/v1/files", &form, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(two.wait_for("/api/v1/files").body.len(), body.len());
}

#[test]
fn only_configured_names_in_front_of_an_api_count() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::with_prefix(&fake, "");
    for (target, seen) in [
        ("/my/v1/x", "/v1/x"),
        ("/My/v1/x", "/My/v1/x"),
        ("/other/v1/x", "/other/v1/x"),
        ("/my/x", "/my/x"),
        ("/my", "/my"),
    ] {
        assert_eq!(proxy.get(target).status, 200, "{target}");
        fake.wait_for(seen);
    }
}

#[test]
fn the_error_of_its_list_is_mirrored() {
    let one = Fake::listing(&models(&["a"]));
    let two = Fake::answering(|_| response("429 Slow\nRetry-After: 7", "slow")).showing_lists();
    let proxy =
        Proxy::start(&upstreams(&[("one", &one.url("/v1"), ""), ("two", &two.url("/v1"), "")]));
    let answer = proxy.get("/two/v1/models");
    assert_eq!((answer.status, answer.text().as_str()), (429, "slow"));
    assert_eq!(answer.header("retry-after"), Some("7"));
}
