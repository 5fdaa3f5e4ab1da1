use serde_json::{Value, json};

use crate::client::Response;
use crate::fake::{Fake, Request, json as answer};
use crate::proxy::Proxy;
use crate::several::upstreams;

/// Whether a model of the sample is free, calls tools and has a context of 100,000 tokens.
fn is_wanted(model: &Value) -> bool {
    let is_free = |of: &str| model["pricing"][of] == "0";
    let parameters = model["supported_parameters"].as_array().unwrap();
    is_free("prompt")
        && is_free("completion")
        && parameters.contains(&json!("tools"))
        && model["context_length"].as_u64().unwrap() >= 100_000
}

#[test]
fn free_models_with_tools_and_a_long_context_come_newest_first() {
    let all = Proxy::start("model_filter: {base_url: 'sample:'}").get("/v1/models").json();
    let mut wanted: Vec<Value> = all["data"].as_array().unwrap().clone();
    wanted.retain(is_wanted);
    // A stable sort, as the promise is.
    wanted.sort_by_key(|model| -model["created"].as_i64().unwrap());
    let wanted: Vec<&str> = wanted.iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert!(wanted.len() > 3, "{wanted:?}");
    let rules =
        "where: {max_price: 0, min_context: 100k, supports: [function_calling]}, order: newest";
    let proxy = Proxy::start(&format!("model_filter: {{base_url: 'sample:', {rules}}}"));
    assert_eq!(proxy.get("/v1/models").ids(), wanted);
}

/// A list in OpenRouter's shape: ids, each with its price in dollars per token and its context.
fn list(models: &[(&str, &str, u64)]) -> String {
    let model = |(id, price, context): &(&str, &str, u64)| {
        let pricing = json!({"prompt": price, "completion": price});
        json!({"id": id, "pricing": pricing, "context_length": context})
    };
    json!({"data": models.iter().map(model).collect::<Vec<_>>()}).to_string()
}

fn yaml(fake: &Fake, rules: &str) -> String {
    format!("model_filter: {{base_url: '{}', {rules}}}", fake.url("/v1"))
}

fn proxy(fake: &Fake, rules: &str) -> Proxy {
    Proxy::start(&yaml(fake, rules))
}

const MODELS: &[(&str, &str, u64)] = &[
    ("dear", "0.00001", 8000),
    ("cheap", "0.000001", 200_000),
    ("free", "0", 4000),
    ("odd", "-1", 128_000),
];

#[test]
fn conditions_apply_to_what_patterns_keep_and_names_are_exempt() {
    let fake = Fake::listing(&list(MODELS));
    let listed = |rules: &str| proxy(&fake, rules).get("/v1/models").ids();
    assert_eq!(listed("where: {max_price: 5}"), ["cheap", "free", "odd"]);
    assert_eq!(listed("where: {max_price: 5, unknown: hide}"), ["cheap", "free"]);
    assert_eq!(listed("where: {max_price: {input: 10}}"), ["dear", "cheap", "free", "odd"]);
    assert_eq!(listed("where: {min_context: 128k}"), ["cheap", "odd"]);
    let rules = "regexp: ['.*e.*'], simple: [free, dear], where: {min_context: 100k}";
    assert_eq!(listed(rules), ["dear", "cheap", "free"]);
    assert_eq!(listed(&format!("{rules}, exclude: {{simple: [dear]}}")), ["cheap", "free"]);
    assert_eq!(listed(&format!("{rules}, order: rules")), ["free", "dear", "cheap"]);
    assert_eq!(listed("order: price"), ["free", "cheap", "dear", "odd"]);
    assert_eq!(listed("order: price, default: 'dear'"), ["dear", "free", "cheap", "odd"]);
    assert_eq!(listed("order: upstream, default: odd"), ["odd", "dear", "cheap", "free"]);
    assert_eq!(listed("default: free"), ["free", "cheap", "dear", "odd"]);
}

#[test]
fn each_upstream_is_sorted_by_itself() {
    let fake = Fake::listing(&list(MODELS));
    let url = fake.url("/v1");
    let rules = "regexp: ['.*e.*']";
    let proxy = Proxy::start(&upstreams(&[
        ("one", &url, &format!("{rules}, order: id")),
        ("two", &url, &format!("{rules}, order: price")),
    ]));
    let ids = ["one/cheap", "one/dear", "one/free", "two/free", "two/cheap", "two/dear"];
    assert_eq!(proxy.get("/v1/models").ids(), ids);
}

fn chat(proxy: &Proxy, model: &str) -> Response {
    proxy.post("/v1/chat/completions", &format!(r#"{{"model":"{model}"}}"#))
}

#[test]
fn a_model_that_fails_a_condition_does_not_exist_and_the_log_says_why() {
    let fake = Fake::listing(&list(MODELS));
    let rules = "hidden: reject, cache_ttl: 60, regexp: ['.*e.*', odd], simple: [named], \
                 where: {max_price: 5}";
    let proxy = proxy(&fake, rules);
    // The list is fetched before the first judgement.
    for model in ["cheap", "free", "odd", "named"] {
        assert_eq!(chat(&proxy, model).status, 200, "{model}");
    }
    for (model, rule) in [
        ("dear", "where.max_price: input 10 > 5"),
        ("never", "not in the list"),
        ("x", "no rule matched"),
        (" cheap", "begins or ends with a blank"),
    ] {
        let message = chat(&proxy, model).own_error(404, "model_not_found");
        assert!(message.contains("does not exist") && !message.contains("where"), "{message}");
        let log = proxy.wait_for_log(&format!("hidden_by=\"{rule}\""));
        assert!(log.contains("status=404"), "{log}");
    }
    assert_eq!(proxy.get("/v1/models/cheap").status, 200);
    proxy.get("/v1/models/dear").own_error(404, "model_not_found");
}

#[test]
fn conditions_hide_a_single_model_too_if_requests_may_name_it() {
    let fake = Fake::listing(&list(MODELS));
    let proxy = proxy(&fake, "where: {max_price: 5}");
    proxy.get("/v1/models/dear").own_error(404, "model_not_found");
    assert_eq!(proxy.get("/v1/models/cheap").status, 200);
    assert_eq!(chat(&proxy, "dear").status, 200);
}

#[test]
fn without_a_list_conditions_fail_closed() {
    let fake = Fake::answering(|request: &Request| match request.target() {
        "/v1/models" => answer(500, r#"{"error":"no list"}"#),
        _ => answer(200, "{}"),
    })
    .showing_lists();
    let rules = "hidden: reject, regexp: ['.*'], simple: [named], where: {max_price: 5}";
    let proxy = proxy(&fake, rules);
    let refused = chat(&proxy, "cheap");
    assert_eq!((refused.status, refused.text().contains("no list")), (500, true));
    assert_eq!(chat(&proxy, "named").status, 200);
    assert!(fake.requests().iter().all(|request| !request.text().contains("cheap")));
}

#[test]
fn a_rule_that_does_nothing_is_a_warning_once() {
    let fake = Fake::listing(&list(MODELS));
    let rules = "regexp: [chea, '.*e.*'], simple: [fre], exclude: {regexp: ['x*'], simple: [y]}";
    let proxy = proxy(&fake, rules);
    let count = |proxy: &Proxy| {
        let is_advice = |line: &&String| line.contains("msg=\"a rule does nothing\"");
        proxy.log().iter().filter(is_advice).count()
    };
    for part in [
        r#"rule="regexp[0] \"chea\" matches no model; \"chea.*\" would match 1""#,
        r#"rule="simple[0] \"fre\": no such model; nearest \"free\"""#,
        r#"rule="exclude.regexp[0] \"x*\""#,
        r#"rule="exclude.simple[0] \"y\": no such model"#,
    ] {
        let line = proxy.wait_for_log(part);
        assert!(line.contains("level=warn") && line.contains("upstream="), "{line}");
    }
    proxy.get("/v1/models");
    proxy.get("/v1/models");
    assert_eq!(count(&proxy), 4);
    proxy.reload(&yaml(&fake, "regexp: [dea]"), "msg=\"configuration reloaded\"");
    proxy.wait_for_log(r#"\"dea\" matches no model; \"dea.*\" would match 1"#);
    let line = proxy.wait_for_log("msg=\"no model is listed\"");
    assert!(line.contains("why=\"none of 4 models is kept: no rule matched (4)\""), "{line}");
    let line = proxy.wait_for_log("kept=0");
    assert!(line.contains("level=warn"), "{line}");
}
