use serde_json::{Value, json};

use crate::client::Response;
use crate::fake::{Fake, Request, json as answer, models};
use crate::proxy::{Proxy, plain};
use crate::several::{NOWHERE, upstreams};

fn parsed(answer: &Response) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

fn preview(proxy: &Proxy, upstream: &str, rules: &Value) -> Value {
    let question = json!({"upstream": upstream, "rules": rules}).to_string();
    parsed(&proxy.post("/-/preview", &question))
}

/// The kept models, by their indices.
fn kept(verdicts: &Value) -> Vec<usize> {
    let rules = verdicts["rules"].as_array().unwrap();
    let models = verdicts["models"].as_array().unwrap();
    let rule = |model: &Value| rules[model.as_u64().unwrap() as usize]["kept"] == true;
    let kept: Vec<usize> =
        models.iter().enumerate().filter(|(_, m)| rule(m)).map(|(index, _)| index).collect();
    assert_eq!(verdicts["kept"], kept.len());
    kept
}

#[test]
fn the_page_loads_nothing_but_itself() {
    let proxy = Proxy::start("model_filter: {base_url: 'sample:'}");
    let mut size = 0;
    let scripts = ["page", "draft", "exchanges", "finder", "form", "menu", "table", "text"];
    let mut files = vec![(String::new(), "text/html"), ("page.css".to_owned(), "text/css")];
    files.extend(scripts.iter().map(|name| (format!("{name}.js"), "text/javascript")));
    for (path, kind) in files {
        let file = proxy.get(&format!("/-/{path}"));
        assert_eq!(file.status, 200);
        assert!(file.header("content-type").unwrap().starts_with(kind));
        let policy = file.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; "));
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
        let text = file.text();
        for bad in ["http://", "https://", "innerHTML", "insertAdjacentHTML", "eval(", "onclick="] {
            let allowed = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!allowed.contains(bad), "{bad} in {path}");
        }
        size += text.len();
    }
    assert!(size < 84_000, "{size}");
    let moved = proxy.get("/-");
    assert_eq!((moved.status, moved.header("location")), (308, Some("-/")));
}

#[test]
fn models_json_has_all_models_with_what_decided() {
    let list = r#"{"data":[{"id":"b/x","context_length":8192,"pricing":{"prompt":"0.0000009","completion":"0.000002"}},
                           {"id":"a","owned_by":"me","max_model_len":4096}, {"id":"c"}]}"#;
    let fake = Fake::listing(list);
    let rules = "simple: [C, a], default: 'a|c'";
    let proxy =
        Proxy::start(&upstreams(&[("one", &fake.url("/v1"), rules), ("dead", NOWHERE, "")]));
    let view = parsed(&proxy.get("/-/models.json"));
    let one = &view["upstreams"][0];
    assert_eq!(
        (&one["name"], &one["prefix"], &one["nested"]),
        (&json!("one"), &json!("one/"), &json!(true))
    );
    let facts = |index: usize| {
        let model = &one["models"][index];
        ["id", "owner", "context", "input", "output"].map(|key| model[key].clone())
    };
    assert_eq!(json!(facts(0)), json!(["b/x", null, 8192, 0.9, 2.0]));
    assert_eq!(json!(facts(1)), json!(["a", "me", 4096, null, null]));
    assert_eq!(one["verdicts"]["counts"]["simple"], json!([1, 1]));
    assert_eq!(one["rules"]["simple"], json!(["C", "a"]));
    assert_eq!(one["rules"]["regexp"], Value::Null);
    assert_eq!((kept(&one["verdicts"]), &one["verdicts"]["first"]), (vec![1, 2], &json!(1)));
    assert!(one["took_ms"].as_f64().unwrap() > 0.0 && one["error"].is_null());
    assert!(one["served"].is_null(), "without cache_ttl clients wait for a new list");
    let dead = &view["upstreams"][1];
    assert!(dead["error"].as_str().unwrap().contains("refused") && dead["verdicts"].is_null());
}

#[test]
fn a_list_is_shown_to_the_credentials_that_it_was_fetched_with() {
    let fake = Fake::answering(|request: &Request| {
        answer(200, &models(&[request.header("authorization").unwrap_or("no-key")]))
    })
    .showing_lists();
    let proxy = Proxy::before(&fake, "");
    let shown = |key: &str| {
        let view = proxy.ask("GET", "/-/models.json", &[("Authorization", key)], b"");
        parsed(&view)["upstreams"][0]["models"][0]["id"].as_str().unwrap().to_owned()
    };
    for key in ["Bearer a", "Bearer b", "Bearer a"] {
        assert_eq!(shown(key), key);
    }
}

#[test]
fn rules_are_judged_by_the_programs_own_filter() {
    let fake = Fake::listing(&models(&["a/1", "A/2", "b/1", "c"]));
    let proxy = Proxy::before(&fake, "");
    let judged = |rules: Value| kept(&preview(&proxy, &fake.host(), &rules)["verdicts"]);
    assert_eq!(judged(json!({})), [0, 1, 2, 3]);
    assert_eq!(judged(json!({"regexp": [], "simple": null})), [0; 0]);
    assert_eq!(judged(json!({"regexp": ["a/.*"]})), [0, 1]);
    assert_eq!(judged(json!({"regexp": ["a/.*"], "case_sensitive": true})), [0]);
    assert_eq!(judged(json!({"exclude": {"simple": ["C"], "regexp": ["b.*"]}})), [0, 1]);
    let bad = preview(&proxy, &fake.host(), &json!({"regexp": ["a", "("]}));
    assert_eq!(
        bad,
        json!({"error": {"key": "regexp[1]", "message": "unclosed group: close it with ), or write \\( for the character itself"}})
    );
    let many = preview(&proxy, &fake.host(), &json!({"regexp": vec!["a"; 101]}));
    assert!(many["error"]["message"].as_str().unwrap().contains("100 patterns"), "{many}");
    let large = preview(&proxy, &fake.host(), &json!({"regexp": [r"\w{120}"]}));
    assert!(large["error"]["message"].as_str().unwrap().contains("size limit"), "{large}");
    let lookahead = preview(&proxy, &fake.host(), &json!({"exclude": {"regexp": ["(?!a)"]}}));
    assert_eq!(lookahead["error"]["key"], "exclude.regexp[0]");
}

#[test]
fn what_cannot_be_judged_is_an_error() {
    let proxy = Proxy::start(&plain(NOWHERE, ""));
    for question in ["", "[]", "{}", r#"{"upstream":"127.0.0.1:1","rules":{"regex":[]}}"#] {
        proxy.post("/-/preview", question).own_error(400, "bad_request");
    }
    proxy.post("/-/preview", r#"{"upstream":"x","rules":{}}"#).own_error(404, "not_found");
    let host = NOWHERE.split('/').nth(2).unwrap();
    let dead = json!({"upstream": host, "rules": {}}).to_string();
    proxy.post("/-/preview", &dead).own_error(502, "upstream_unreachable");
    let long = json!({"upstream": "x", "rules": {"simple": ["x".repeat(300_000)]}}).to_string();
    proxy.post("/-/preview", &long).own_error(413, "request_too_large");
    let page = [("Origin", "https://evil.example"), ("Content-Type", "text/plain")];
    proxy.ask("POST", "/-/preview", &page, b"{}").own_error(403, "forbidden_host");
}

/// A configuration with the lines of "Copy as YAML" gives the list that the page showed.
#[test]
fn the_yaml_means_what_was_shown() {
    let ids = [
        "yes",
        "it's",
        "a: b",
        "tab\there",
        "#x",
        "\\d",
        "null",
        "1.0",
        "é\u{1}",
        "a\nb",
        "{}",
        "- x",
    ];
    let list: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
    let fake = Fake::listing(&json!({"data": list}).to_string());
    let trials = [
        json!({"simple": ids}),
        json!({"simple": ["yes", "null", "1.0"], "exclude": {"simple": ["1.0"]}}),
        json!({"regexp": [r"\\d", "it's", "a: .*", "tab\\there", "é\u{1}", "#x"], "default": "#x"}),
        json!({"exclude": {"regexp": ["[a-z]+", ".*\n.*"]}, "case_sensitive": true}),
        json!({"regexp": []}),
        json!({"regexp": [], "simple": [], "default": "- x"}),
        json!({}),
    ];
    for nested in [false, true] {
        let start = |rules: &str| {
            let url = fake.url("/v1");
            Proxy::start(&match nested {
                false => format!("model_filter:\n  base_url: {url}\n{rules}"),
                true => {
                    format!("model_filter:\n  up:\n    base_url: {url}\n    prefix: ''\n{rules}")
                }
            })
        };
        let proxy = start("");
        let name = if nested { "up".to_owned() } else { fake.host() };
        for trial in &trials {
            let shown = preview(&proxy, &name, trial);
            let loaded = start(shown["yaml"].as_str().unwrap());
            let view = parsed(&loaded.get("/-/models.json"));
            assert_eq!(view["upstreams"][0]["verdicts"], shown["verdicts"], "{}", shown["yaml"]);
            let mut expected: Vec<&str> =
                kept(&shown["verdicts"]).into_iter().map(|index| ids[index]).collect();
            let mut listed = loaded.get("/v1/models").ids();
            expected.sort_unstable();
            listed.sort_unstable();
            assert_eq!(listed, expected);
        }
    }
}

#[test]
fn the_last_exchanges_are_told_without_bodies_queries_and_credentials() {
    let fake = Fake::answering(|_: &Request| answer(200, "{}"));
    let proxy = Proxy::before(&fake, "");
    for number in 0..60 {
        let target = format!("/v1/{number}?key=query-secret");
        let headers = [("Authorization", "Bearer header-secret")];
        proxy.ask("POST", &target, &headers, br#"{"model":"m","x":"body-secret"}"#);
        // The exchange is recorded and logged after its client has the whole response.
        proxy.exchange(&format!("/v1/{number}"));
    }
    let answer = proxy.get("/-/exchanges.json");
    assert!(!answer.text().contains("secret"), "{}", answer.text());
    let recent = parsed(&answer);
    let exchanges = recent["exchanges"].as_array().unwrap();
    assert_eq!(exchanges.len(), 50);
    let newest = &exchanges[0];
    assert_eq!(
        (&newest["path"], &newest["model"], &newest["status"]),
        (&json!("/v1/59"), &json!("m"), &json!(200))
    );
    assert_eq!(newest["upstream"], json!(fake.host()));
    let requests = recent["buckets"]["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 60);
    assert_eq!(requests.iter().filter_map(Value::as_u64).sum::<u64>(), 60);
}

#[test]
fn the_page_is_for_everybody_where_a_key_can_be_typed_into_it_and_the_rest_is_not() {
    let elsewhere = ("X-Forwarded-For", "203.0.113.9");
    let fake = Fake::listing(&models(&["a"]));
    let keyed = format!(
        "{}server: {{client_keys: [a-key-of-ours]}}",
        plain(&fake.url("/v1"), "authorization: none")
    );
    let proxy = Proxy::start(&keyed);
    assert_eq!(proxy.ask("GET", "/-/", &[elsewhere], b"").status, 200);
    for path in ["/-/models.json", "/-/exchanges.json"] {
        proxy.ask("GET", path, &[elsewhere], b"").own_error(401, "invalid_api_key");
        let key = ("Authorization", "Bearer a-key-of-ours");
        assert_eq!(proxy.ask("GET", path, &[elsewhere, key], b"").status, 200);
    }
    proxy.ask("POST", "/-/preview", &[elsewhere], b"{}").own_error(401, "invalid_api_key");
    let unkeyed = Proxy::before(&fake, "");
    unkeyed.ask("GET", "/-/", &[elsewhere], b"").own_error(403, "forbidden_host");
}

#[test]
fn a_browser_finds_the_page_and_what_an_upstream_has_at_the_root_stays() {
    let browser = [("Accept", "text/html,*/*;q=0.8")];
    let front = |proxy: &Proxy| {
        let answer = proxy.ask("GET", "/", &browser, b"");
        (answer.status, answer.header("location").map(str::to_owned))
    };
    let to_page = (302, Some("/-/".to_owned()));
    let api = Fake::answering(|request: &Request| match request.target() {
        "/v1/models" => answer(200, &models(&["a"])),
        _ => answer(404, "{}"),
    });
    let proxy = Proxy::before(&api, "");
    assert_eq!(front(&proxy), to_page);
    assert_eq!(proxy.get("/").status, 404, "a program gets what the upstream says");
    let listening = proxy.wait_for_log("msg=\"listening\"");
    assert!(listening.contains(&format!("page=http://127.0.0.1:{}/-/", proxy.port())));
    let ui = Fake::answering(|_: &Request| answer(200, "{}"));
    assert_eq!(front(&Proxy::before(&ui, "")).0, 200);
    let url = api.url("/v1");
    assert_eq!(front(&Proxy::start(&upstreams(&[("one", &url, ""), ("two", &url, "")]))), to_page);
}

#[test]
fn a_browser_elsewhere_reads_how_to_reach_the_page_and_a_wrong_key_is_called_wrong() {
    let fake = Fake::listing(&models(&["a"]));
    let elsewhere = [("X-Forwarded-For", "203.0.113.9"), ("Accept", "text/html")];
    let shown = Proxy::before(&fake, "").ask("GET", "/-/", &elsewhere, b"");
    assert_eq!((shown.status, shown.header("x-model-filter-error")), (403, Some("forbidden_host")));
    assert!(shown.text().contains("ssh -L "), "{}", shown.text());
    let keyed = format!(
        "{}server: {{client_keys: [a-key-of-ours]}}",
        plain(&fake.url("/v1"), "authorization: none")
    );
    let proxy = Proxy::start(&keyed);
    let wrong = proxy.ask("GET", "/v1/models", &[("Authorization", "Bearer other")], b"");
    let message = wrong.own_error(401, "invalid_api_key");
    assert!(message.contains("this key is not in server.client_keys"), "{message}");
}
