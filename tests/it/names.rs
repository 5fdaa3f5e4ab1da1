//! Displayed names, aliases, and several models in one body.

use crate::client::Response;
use crate::fake::{Fake, Request, json, models};
use crate::proxy::{Proxy, plain};
use crate::several::upstreams;
use crate::wait::eventually;

/// Lists `models` as they are, knows them by their paths, and echoes what else it gets.
fn upstream(models: &'static [&'static str]) -> Fake {
    let answer = |request: &Request| match request.target().split_once("/models") {
        Some((_, "")) => {
            json(200, &format!(r#"{{"object":"list","data":[{}]}}"#, models.join(",")))
        }
        Some((_, rest)) if request.method() == "GET" => {
            let id = format!("\"{}\"", &rest[1..]);
            let model = models.iter().find(|model| model.contains(&id));
            model.map_or_else(|| json(404, r#"{"error":"unknown"}"#), |model| json(200, model))
        }
        _ => json(200, r#"{"ok":true}"#),
    };
    Fake::answering(answer).showing_lists()
}

fn with_aliases(fake: &Fake, settings: &str, aliases: &str) -> Proxy {
    Proxy::start(&format!("{}\naliases: {aliases}\n", plain(&fake.url("/v1"), settings)))
}

fn names(list: &Response) -> Vec<String> {
    let list = list.json();
    let models = list["data"].as_array().unwrap();
    models.iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect()
}

fn last(fake: &Fake) -> Request {
    fake.requests().pop().unwrap()
}

const QWEN: &str = r#"{"id":"q/qwen" , "name" : "Qwen: Qwen3 \u0033", "x":{"name":"in"}}"#;

#[test]
fn two_upstreams_with_the_same_models_show_different_names() {
    let (home, cloud) = (upstream(&[QWEN]), upstream(&[QWEN, r#"{"id":"b","display_name":"B"}"#]));
    let with = |settings: &str| {
        Proxy::start(&upstreams(&[
            ("home", &home.url("/v1"), settings),
            ("cloud", &cloud.url("/v1"), ""),
        ]))
    };
    let list = with("").get("/v1/models").text();
    let named = |prefix: &str, name: &str| {
        QWEN.replacen("q/qwen", &format!("{prefix}q/qwen"), 1).replacen(
            "Qwen:",
            &format!("{name}Qwen:"),
            1,
        )
    };
    assert!(list.contains(&named("home/", "home: ")), "{list}");
    assert!(list.contains(&named("cloud/", "cloud: ")), "{list}");
    assert!(list.contains(r#"{"id":"cloud/b","display_name":"cloud: B"}"#), "{list}");
    for (settings, name) in [
        ("prefix: ''", "Qwen: Qwen3 3"),
        ("name_prefix: ''", "Qwen: Qwen3 3"),
        ("name_prefix: '[\"h] '", "[\"h] Qwen: Qwen3 3"),
    ] {
        let proxy = with(settings);
        assert_eq!(proxy.get("/v1/models").json()["data"][0]["name"], name, "{settings}");
        let id = if settings.starts_with("prefix") { "q/qwen" } else { "home/q/qwen" };
        let one = proxy.get(&format!("/v1/models/{id}")).json();
        assert_eq!((&one["id"], &one["name"]), (&id.into(), &name.into()));
        assert_eq!(proxy.get("/home/v1/models").json()["data"][0]["name"], "Qwen: Qwen3 3");
    }
}

#[test]
fn lists_without_displayed_names_stay_as_they_are() {
    let (first, second) = (upstream(&[r#"{"id":"a","name":null}"#]), upstream(&[r#"{"id":"b"}"#]));
    let yaml = upstreams(&[("one", &first.url("/v1"), ""), ("two", &second.url("/v1"), "")]);
    let list = Proxy::start(&yaml).get("/v1/models").text();
    assert!(list.contains(r#"[{"id":"one/a","name":null},{"id":"two/b"}]"#), "{list}");
    // A single upstream has no name to distinguish, unless one is given.
    let one = upstream(&[QWEN]);
    let alone = format!("model_filter: {{up: {{base_url: '{}'}}}}", one.url("/v1"));
    assert_eq!(names(&Proxy::start(&alone).get("/v1/models")), ["Qwen: Qwen3 3"]);
    let named = Proxy::before(&one, "name_prefix: 'Home: '");
    assert_eq!(names(&named.get("/v1/models")), ["Home: Qwen: Qwen3 3"]);
}

struct Two {
    or: Fake,
    home: Fake,
    proxy: Proxy,
}

const LONG: &str =
    r#"{"id":"g/long", "name":"Long", "context_length":8, "nested":{"id":"g/long"}}"#;
const KIMI: &str = r#"{"context_length":9,"id":"m/kimi","display_name":"K"}"#;
const ALIASES: &str = "aliases:\n  kimi: {model: or/m/kimi, name: \"Kimi \\\"2\\\"\"}\n  \
                       fast: or/g/long\n  gone: or/g/gone\n  local: tiny\n  q/qwen: or/m/kimi\n";

/// `or/` keeps one model and rejects hidden ones; `home` has no prefix.
fn two(aliases: &str) -> Two {
    let (or, home) = (upstream(&[LONG, KIMI]), upstream(&[QWEN, r#"{"id":"tiny"}"#]));
    let yaml = upstreams(&[
        ("or", &or.url("/v1"), "simple: [m/kimi], hidden: reject, cache_ttl: 60"),
        ("home", &home.url("/v1"), "prefix: ''"),
    ]);
    let proxy = Proxy::start(&format!("{yaml}{aliases}"));
    Two { or, home, proxy }
}

#[test]
fn aliases_come_first_as_copies_of_their_targets() {
    let two = two(ALIASES);
    let list = two.proxy.get("/v1/models");
    assert_eq!(list.ids(), ["kimi", "fast", "local", "q/qwen", "or/m/kimi", "tiny"]);
    let kimi = KIMI.replacen("m/kimi", "kimi", 1).replacen("\"K\"", r#""Kimi \"2\"""#, 1);
    let fast = LONG.replacen("g/long", "fast", 1).replacen("Long", "fast", 1);
    let start = format!(r#"{{"object":"list","data":[{kimi},{fast},{{"id":"local"}},"#);
    assert!(list.text().starts_with(&start), "{}", list.text());
    let missing = two.proxy.wait_for_log("not in its upstream's list");
    assert!(missing.contains("alias=gone model=or/g/gone"), "{missing}");
    let replaced = two.proxy.wait_for_log("an alias has the id of a model");
    assert!(replaced.contains("alias=q/qwen model=or/m/kimi"), "{replaced}");
    two.proxy.get("/v1/models");
    assert_eq!(two.proxy.warnings().len(), 2, "{:?}", two.proxy.warnings());
    // Below the name of an upstream its models have their own ids, and there are no aliases.
    assert_eq!(two.proxy.get("/home/v1/models").ids(), ["q/qwen", "tiny"]);
}

#[test]
fn a_single_upstream_has_aliases_in_the_shape_of_its_list() {
    let list = r#"{"object":"list", "data" : [{"id":"a"}, {"id":"b"}],"first_id":"a","last_id":"b","has_more":false}"#;
    let fake = Fake::listing(list);
    let proxy = with_aliases(&fake, "simple: [b]", "{x/y: b, hidden: a}");
    let expected = r#"{"object":"list", "data" : [{"id":"x/y"},{"id":"hidden"},{"id":"b"}],"first_id":"x/y","last_id":"b","has_more":false}"#;
    let answer = proxy.get("/v1/models");
    assert_eq!(answer.text(), expected);
    let etag = answer.header("etag").unwrap();
    assert_eq!(proxy.ask("GET", "/v1/models", &[("If-None-Match", etag)], b"").status, 304);
    // Ollama.
    let tags = r#"{"models":[{"name":"q:8b","model":"q:8b","size":1}]}"#;
    let fake = Fake::answering(|_| json(200, tags)).showing_lists();
    let proxy = with_aliases(&fake, "exclude: {simple: ['q:8b']}", "{q: 'q:8b'}");
    let list = proxy.get("/api/tags").text();
    assert_eq!(list, r#"{"models":[{"name":"q","model":"q","size":1}]}"#);
    assert_eq!(proxy.post("/api/chat", r#"{"model":"q"}"#).status, 200);
    assert_eq!(last(&fake).text(), r#"{"model":"q:8b"}"#);
}

#[test]
fn a_request_for_an_alias_goes_to_its_target_and_nothing_else_changes() {
    let two = two(ALIASES);
    let body = |model: &str| {
        format!("{{ \"x\":{{\"model\":\"fast\"}}, \"n\":1.0e0,\t\"model\" :\"{model}\"}}\n")
    };
    for (alias, fake, own) in [
        ("fast", &two.or, "g/long"),
        (r"f\u0061st", &two.or, "g/long"),
        ("kimi", &two.or, "m/kimi"),
        ("gone", &two.or, "g/gone"),
        ("q/qwen", &two.or, "m/kimi"),
        ("local", &two.home, "tiny"),
        ("or/m/kimi", &two.or, "m/kimi"),
        ("Fast", &two.home, "Fast"),
    ] {
        let answer = two.proxy.post("/v1/chat/completions", &body(alias));
        assert_eq!(answer.status, 200, "{alias}: {}", answer.text());
        assert_eq!(last(fake).text(), body(own), "{alias}");
    }
    let line = two.proxy.wait_for_log("model=fast");
    assert!(line.contains(" model=fast target=or/g/long upstream=or "), "{line}");
    for hidden in ["or/g/long", "or/g/gone", "or/fast"] {
        let answer = two.proxy.post("/v1/chat/completions", &body(hidden));
        answer.own_error(404, "model_not_found");
    }
    let form = |model: &str| {
        let part = format!("Content-Disposition: form-data; name=\"model\"\r\n\r\n{model}");
        let length = format!("Content-Length: {}\r\n", model.len());
        format!("--B\r\n{length}{part}\r\n--B--\r\n").into_bytes()
    };
    let of_form = [("Content-Type", "multipart/form-data; boundary=B")];
    let answer = two.proxy.ask("POST", "/v1/audio/transcriptions", &of_form, &form("kimi"));
    assert_eq!((answer.status, last(&two.or).body), (200, form("m/kimi")));
}

#[test]
fn a_path_may_name_an_alias() {
    let two = two(ALIASES);
    let list = two.proxy.get("/v1/models").json();
    for (at, alias) in ["kimi", "fast", "local", "q/qwen"].iter().enumerate() {
        let one = two.proxy.get(&format!("/v1/models/{alias}"));
        assert_eq!((one.status, one.json()), (200, list["data"][at].clone()), "{alias}");
    }
    assert_eq!(two.proxy.get("/v1/models/q%2Fqwen/").status, 200);
    assert_eq!(two.proxy.get("/v1/models/gone").text(), r#"{"error":"unknown"}"#);
    assert_eq!(last(&two.or).target(), "/v1/models/g/gone");
    for hidden in ["or/g/long", "fastx", "fast:free", "fast/a/b", "or/fast"] {
        let status = two.proxy.get(&format!("/v1/models/{hidden}")).status;
        assert_eq!(status, 404, "{hidden}");
    }
    let below = two.proxy.get("/v1/models/fast/endpoints?x=%2F");
    assert_eq!((below.status, last(&two.or).target()), (404, "/v1/models/g/long/endpoints?x=%2F"));
    for (path, own) in [
        ("/v1beta/models/fast:generateContent", "/v1beta/models/g/long:generateContent"),
        ("/v1beta/models/f%61st%3AcountTokens?a", "/v1beta/models/g/long%3AcountTokens?a"),
        ("/v1/models/kimi:streamGenerateContent", "/v1/models/m/kimi:streamGenerateContent"),
    ] {
        assert_eq!(two.proxy.post(path, r#"{"contents":[]}"#).status, 200, "{path}");
        assert_eq!(last(&two.or).target(), own);
    }
    let refused = two.proxy.post("/v1beta/models/or/g/long:generateContent", "{}");
    assert_eq!(refused.status, 404);
}

#[test]
fn an_alias_of_a_model_without_a_path_of_its_own_is_read_from_the_list() {
    let fake = Fake::answering(|request: &Request| match request.target() {
        "/v1/models" => json(200, &models(&["a b", "c"])),
        _ => json(405, "{}"),
    })
    .showing_lists();
    let proxy = with_aliases(&fake, "", "{x: {model: a b, name: Ä}}");
    let one = proxy.get("/v1/models/x").json();
    assert_eq!((one["id"].as_str(), one["name"].as_str()), (Some("x"), Some("Ä")));
}

#[test]
fn an_alias_of_an_excluded_model_opens_no_other_hidden_model() {
    let fake = upstream(&[r#"{"id":"g"}"#, r#"{"id":"g/x"}"#]);
    let proxy = with_aliases(&fake, "exclude: {regexp: ['g.*']}", "{fast: g}");
    assert_eq!(proxy.get("/v1/models/fast").status, 200);
    for path in ["fast/x", "fast%2Fx", "fast//x", "fast/x/", "fast/%2578"] {
        assert_eq!(proxy.get(&format!("/v1/models/{path}")).status, 404, "{path}");
    }
}

#[test]
fn all_models_of_a_body_are_routed_and_judged() {
    let two = two(ALIASES);
    let send = |body: &str| two.proxy.post("/v1/chat/completions", body);
    for (body, fake, own) in [
        (
            r#"{"model":"or/m/kimi" ,"models":[ "or/m/kimi", "fast" ],"m":["or/m/kimi"]}"#,
            &two.or,
            r#"{"model":"m/kimi" ,"models":[ "m/kimi", "g/long" ],"m":["or/m/kimi"]}"#,
        ),
        (r#"{"models":["kimi","or/m/kimi"]}"#, &two.or, r#"{"models":["m/kimi","m/kimi"]}"#),
        (
            r#"{"models":["kimi"],"x":1,"model":"fast"}"#,
            &two.or,
            r#"{"models":["m/kimi"],"x":1,"model":"g/long"}"#,
        ),
        (r#"{"models":["a","t\u0069ny"]}"#, &two.home, r#"{"models":["a","t\u0069ny"]}"#),
        (r#"{"models":null,"model":"a"}"#, &two.home, r#"{"models":null,"model":"a"}"#),
    ] {
        let answer = send(body);
        assert_eq!((answer.status, last(fake).text().as_str()), (200, own), "{}", answer.text());
    }
    let mixed = send(r#"{"model":"or/m/kimi","models":["or/m/kimi","tiny"]}"#);
    let message = mixed.own_error(400, "bad_request");
    assert!(message.contains("one upstream") && message.contains("\"tiny\""), "{message}");
    for hidden in [
        r#"{"model":"or/m/kimi","models":["or/g/long"]}"#,
        r#"{"models":["kimi","or/m/kimi","or/g/long"]}"#,
    ] {
        send(hidden).own_error(404, "model_not_found");
    }
    for odd in [r#"{"model":"a","models":"b"}"#, r#"{"model":"a","models":[1]}"#] {
        send(odd).own_error(400, "bad_request");
    }
}

#[test]
fn without_rules_for_names_any_body_is_relayed() {
    let fake = upstream(&[r#"{"id":"a"}"#]);
    let proxy = Proxy::before(&fake, "");
    for body in [r#"{"models":"b"}"#, r#"{"models":[1],"models":2}"#, r#"{"models":["x"]}"#] {
        assert_eq!(proxy.post("/v1/chat/completions", body).status, 200);
        assert_eq!(last(&fake).text(), body);
    }
}

#[test]
fn an_alias_holds_no_body_longer_than_a_prefix_does() {
    let fake = upstream(&[r#"{"id":"a"}"#]);
    let proxy = with_aliases(&fake, "max_body: 100", "{fast: a}");
    let long = format!(r#"{{"model":"fast","x":"{}"}}"#, "y".repeat(100));
    proxy.post("/v1/chat/completions", &long).own_error(413, "request_too_large");
    let bytes = [("Content-Type", "application/octet-stream")];
    let answer = proxy.ask("POST", "/v1/files", &bytes, &[b'x'; 9000]);
    assert_eq!((answer.status, last(&fake).body.len()), (200, 9000));
}

#[test]
fn the_page_and_the_command_show_aliases() {
    let two = two(ALIASES);
    let overview = two.proxy.get("/-/models.json").json();
    let shown: Vec<_> = overview["aliases"].as_array().unwrap().iter().collect();
    assert_eq!(shown.len(), 5);
    assert_eq!((&shown[1]["id"], &shown[1]["target"]), (&"fast".into(), &"or/g/long".into()));
    assert_eq!((&shown[1]["upstream"], &shown[1]["listed"]), (&"or".into(), &true.into()));
    assert_eq!((&shown[2]["id"], &shown[2]["listed"]), (&"gone".into(), &false.into()));
    two.proxy.post("/v1/chat/completions", r#"{"model":"fast"}"#);
    eventually("the exchange is shown", || {
        let recent = two.proxy.get("/-/exchanges.json").json();
        recent["exchanges"][0]["target"] == "or/g/long"
    });
}

#[test]
fn a_reload_changes_what_an_alias_means() {
    let fake = upstream(&[r#"{"id":"a"}"#, r#"{"id":"b"}"#]);
    let yaml =
        |target: &str| format!("{}aliases: {{fast: {target}}}\n", plain(&fake.url("/v1"), ""));
    let proxy = Proxy::start(&yaml("a"));
    proxy.post("/v1/chat/completions", r#"{"model":"fast"}"#);
    assert_eq!(last(&fake).text(), r#"{"model":"a"}"#);
    proxy.reload(&yaml("b"), "reloaded");
    eventually("the alias means the other model", || {
        proxy.post("/v1/chat/completions", r#"{"model":"fast"}"#);
        fake.requests().iter().any(|request| request.body == br#"{"model":"b"}"#)
    });
}
