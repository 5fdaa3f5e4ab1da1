//! `models` and `list_path`: models that a list lacks, and its address.

use crate::fake::{Fake, Request, json, models};
use crate::proxy::{Proxy, plain};
use crate::several::upstreams;

const MODELS: &str =
    "models: [plain, {id: 'x/full', context_length: 8192, name: \"A \\\"B\\\"\", tags: [1.5, ~]}]";

#[test]
fn an_upstream_with_models_is_not_asked_for_its_list() {
    let fake = Fake::listing(&models(&["other"]));
    let proxy = Proxy::before(&fake, MODELS);
    let list = proxy.get("/v1/models");
    assert_eq!(list.ids(), ["plain", "x/full"]);
    let list = list.json();
    assert_eq!((&list["object"], &list["data"][0]["object"]), (&"list".into(), &"model".into()));
    let object = r#"{"id":"x/full","context_length":8192,"name":"A \"B\"","tags":[1.5,null]}"#;
    assert!(proxy.get("/v1/models").text().contains(object), "{list}");
    let mut settings = vec![MODELS, "cache_ttl: 60", "simple: [plain]", "hidden: reject"];
    let proxy = Proxy::before(&fake, &settings.join("\n"));
    assert_eq!(proxy.get("/v1/models?x").ids(), ["plain"]);
    settings.retain(|line| !line.starts_with("simple"));
    let proxy = Proxy::before(&fake, &settings.join("\n"));
    let hidden = proxy.post("/v1/chat/completions", r#"{"model":"other"}"#);
    hidden.own_error(404, "model_not_found");
    assert_eq!(proxy.post("/v1/chat/completions", r#"{"model":"plain"}"#).status, 200);
    let lists = fake.requests().iter().filter(|r| r.target().contains("models")).count();
    assert_eq!(lists, 0);
}

#[test]
fn models_are_added_to_the_list_at_list_path() {
    let fake = Fake::answering(|request: &Request| match request.target() {
        "/v1/models/user?x=y" => json(200, r#"{"data":[{"id":"listed"},{"id":"plain","n":1}]}"#),
        _ => json(404, "{}"),
    })
    .showing_lists();
    let settings = format!("{MODELS}\nlist_path: /models/user?x=y\napi_key: ours");
    let proxy = Proxy::start(&plain(&fake.url("/v1"), &settings));
    let list = proxy.get("/v1/models");
    assert_eq!(list.ids(), ["listed", "plain", "x/full"]);
    assert!(list.text().contains(r#"{"id":"plain","n":1}"#), "the upstream's entry stays");
    let asked = fake.wait_for("/v1/models/user?x=y");
    assert_eq!(asked.header("authorization"), Some("Bearer ours"));
}

#[test]
fn list_path_may_be_a_url_of_the_same_origin() {
    let fake = Fake::answering(|request: &Request| json(200, &models(&[request.target()])));
    let fake = fake.showing_lists();
    let settings = format!("api_key: ours\nlist_path: {}", fake.url("/catalog/models?a=1"));
    let proxy = Proxy::start(&plain(&fake.url("/v1"), &settings));
    assert_eq!(proxy.get("/v1/models?b=2").ids(), ["/catalog/models?a=1&b=2"]);
    assert_eq!(fake.wait_for("/catalog/models?a=1&b=2").all("authorization"), ["Bearer ours"]);
}

#[test]
fn a_model_that_the_upstream_does_not_know_is_answered_for_it() {
    let fake = Fake::answering(|request: &Request| match request.target() {
        "/v1/models/known" => json(200, r#"{"id":"known","from":"upstream"}"#),
        "/v1/models/broken" => json(500, "{}"),
        _ => json(404, r#"{"error":{}}"#),
    });
    let settings = "models: [known, broken, {id: a/b, n: 1}]";
    for (proxy, prefix) in
        [(Proxy::before(&fake, settings), ""), (Proxy::with_prefix(&fake, settings), "my/")]
    {
        let get = |id: &str| proxy.get(&format!("/v1/models/{prefix}{id}"));
        assert_eq!(get("known").json()["from"], "upstream");
        assert_eq!(get("broken").status, 500);
        for id in ["a/b", "a%2Fb"] {
            let model = get(id);
            let wanted = format!(r#"{{"id":"{prefix}a/b","n":1}}"#);
            assert_eq!((model.status, model.text()), (200, wanted));
        }
        assert_eq!(get("unknown").status, 404);
    }
}

#[test]
fn the_page_and_the_command_know_these_models() {
    let fake = Fake::listing(&models(&["other"]));
    let other = Fake::listing(&models(&["b"]));
    let yaml =
        upstreams(&[("own", &fake.url("/v1"), "models: [a]"), ("asked", &other.url("/v1"), "")]);
    let proxy = Proxy::start(&yaml);
    assert_eq!(proxy.get("/v1/models").ids(), ["own/a", "asked/b"]);
    let overview = proxy.get("/-/models.json").json();
    assert_eq!(overview["upstreams"][0]["models"][0]["id"], "a");
}
