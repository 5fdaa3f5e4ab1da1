use crate::fake::{Fake, json, models, response};
use crate::proxy::{Fields, Proxy, plain};
use crate::wait::eventually;

fn upstream() -> Fake {
    Fake::answering(|_| json(200, "{\"secret\":1}"))
}

/// The keys of a line, in order.
fn keys(line: &Fields) -> Vec<&str> {
    let words = line.0.split(' ').filter_map(|word| word.split_once('='));
    words.map(|(key, _)| key).collect()
}

#[test]
fn an_exchange_is_one_line() {
    let fake = upstream();
    let proxy = Proxy::before(&fake, "");
    proxy.post("/v1/chat/completions?q=secret", "{\"model\":\"a\"}");
    let line = proxy.exchange("/v1/chat/completions");
    for (key, value) in [("level", "info"), ("method", "POST"), ("status", "200")] {
        assert_eq!(line.get(key).as_deref(), Some(value), "{line:?}");
    }
    assert!(line.get("client").unwrap().starts_with("127.0.0.1:"), "{line:?}");
    assert_eq!((line.number("in"), line.number("out")), (13.0, 12.0), "{line:?}");
    assert!(line.number("ttfb_ms") <= line.number("total_ms"), "{line:?}");
    let order =
        ["time", "level", "client", "method", "path", "status", "ttfb_ms", "total_ms", "in", "out"];
    let known: Vec<_> = keys(&line).into_iter().filter(|key| order.contains(key)).collect();
    assert_eq!(known, order, "{line:?}");
    let count = proxy.log().iter().filter(|line| line.contains("path=/v1/chat")).count();
    assert_eq!(count, 1);
}

#[test]
fn the_model_is_logged_where_it_is_known() {
    let fake = upstream();
    let proxy = Proxy::with_prefix(&fake, "");
    proxy.post("/v1/x", "{\"model\":\"my/llama\"}");
    let line = proxy.exchange("/v1/x");
    assert!(line.get("model").unwrap().ends_with("llama"), "{line:?}");
    assert!(line.get("upstream").unwrap().contains("my"), "{line:?}");
}

#[test]
fn our_own_answers_are_logged_too() {
    let fake = Fake::listing(&models(&["a"]));
    let proxy = Proxy::before(&fake, "");
    proxy.get("/v1/models");
    assert_eq!(proxy.exchange("/v1/models").get("status").as_deref(), Some("200"));
    proxy.get("/v1/../x");
    let line = proxy.exchange("/v1/../x");
    assert_eq!(line.get("status").as_deref(), Some("400"), "{line:?}");
    assert_eq!(line.get("side").as_deref(), Some("client"), "{line:?}");
}

#[test]
fn what_a_client_sends_cannot_forge_a_line() {
    let fake = upstream();
    let proxy = Proxy::with_prefix(&fake, "");
    proxy.post("/v1/x", r#"{"model":"my/a\nlevel=info status=200 \" side=proxy\u001b[2J"}"#);
    let line = proxy.exchange("/v1/x");
    assert!(!line.0.contains('\u{1b}'), "{line:?}");
    assert!(proxy.log().iter().all(|line| line.starts_with("time=")), "{:#?}", proxy.log());
}

#[test]
fn neither_bodies_nor_credentials_are_logged() {
    let fake = upstream();
    let yaml = plain(&fake.url("/v1"), "");
    let proxy = Proxy::start_with(&yaml, &[], &[("LLM_MF_LOG", "debug")]);
    let headers = [("Authorization", "Bearer secret"), ("Cookie", "secret")];
    proxy.ask("POST", "/v1/x", &headers, b"{\"secret\":2}");
    proxy.exchange("/v1/x");
    let log = proxy.log().join("\n");
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn at_level_warn_only_what_went_wrong_is_logged() {
    let fake = Fake::scripted(|conn| {
        while conn.read_request().is_some_and(|request| request.target() != "/v1/bad") {
            conn.write(json(200, "{}"));
        }
    });
    let proxy = Proxy::quiet(&plain(&fake.url("/v1"), ""), "warn");
    assert_eq!(proxy.get("/v1/good").status, 200);
    assert_eq!(proxy.get("/v1/bad").status, 502);
    assert_eq!(proxy.exchange("/v1/bad").get("level").as_deref(), Some("warn"));
    let log = proxy.log().join("\n");
    assert!(!log.contains("/v1/good") && !log.contains("level=info"), "{log}");
}

#[test]
fn at_level_off_nothing_is_logged() {
    let proxy = Proxy::quiet(&plain("http://127.0.0.1:1/v1", ""), "off");
    assert_eq!([proxy.get("/v1/x").status, proxy.get("/v1/y").status], [502, 502]);
    assert_eq!(proxy.log(), [""; 0]);
}

#[test]
fn the_start_tells_how_many_models_are_kept() {
    let fake = Fake::listing(&models(&["a1", "a2", "b1", "b2", "b3"]));
    let proxy = Proxy::before(&fake, "regexp: ['a.']");
    let line = proxy.wait_for_log("kept");
    assert!(line.contains('2') && line.contains('5') && line.contains("level=info"), "{line}");
    assert!(proxy.log().iter().any(|line| line.contains(&fake.host())), "{:#?}", proxy.log());
}

#[test]
fn no_query_and_no_password_of_a_target_is_logged_or_answered() {
    let fake = Fake::answering(|_: &crate::fake::Request| crate::fake::json(200, "{}"));
    let proxy = Proxy::before(&fake, "");
    let targets = [
        "/v1/../chat?key=secret",
        "/v1/chat?key=secret#x",
        "v1/chat?key=secret",
        "/v1\\chat?key=secret",
        "ftp://user:secret@host/chat?key=secret",
    ];
    for target in targets {
        let answer = proxy.get(target);
        assert_eq!(answer.status, 400, "{target}");
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
    proxy.get("/v1/last");
    proxy.exchange("/v1/last");
    assert!(!proxy.log().join("").contains("secret"), "{:?}", proxy.log());
}

#[test]
fn a_name_without_an_end_is_none() {
    let fake = upstream();
    let proxy = Proxy::before(&fake, "");
    for (path, length, is_named) in [("/v1/a", 1024, true), ("/v1/b", 1025, false)] {
        let body = format!(r#"{{"model":"{}"}}"#, "a".repeat(length));
        assert_eq!(proxy.post(path, &body).status, 200);
        assert_eq!(proxy.exchange(path).get("model").is_some(), is_named);
    }
}

#[test]
fn a_request_id_of_either_side_stands_in_the_line() {
    let fake = Fake::answering(|request| match request.target() {
        "/v1/theirs" => response("200 OK\nx-request-id: req_1", "{}"),
        "/v1/anthropic" => response("200 OK\nrequest-id: req_2", "{}"),
        _ => json(200, "{}"),
    });
    let proxy = Proxy::before(&fake, "");
    let ours = ("X-Request-Id", "a b\"c");
    for (target, sent, ids) in [
        ("/v1/theirs", None, [None, Some("req_1")]),
        ("/v1/anthropic", None, [None, Some("req_2")]),
        ("/v1/ours", Some(ours), [Some("a b\\"), None]),
        ("/v1/theirs?2", Some(("X-Request-Id", "req_1")), [Some("req_1"), None]),
        ("/v1/none", None, [None, None]),
    ] {
        proxy.ask("GET", target, sent.as_slice(), b"");
        let path = target.split('?').next().unwrap();
        let is_it = |line: &&String| line.contains(&format!(" path={path} "));
        let count = 1 + usize::from(target.contains('?'));
        eventually("the line", || proxy.log().iter().filter(is_it).count() == count);
        let line = Fields(proxy.log().iter().rfind(is_it).unwrap().clone());
        let seen = ["request_id", "upstream_request_id"].map(|key| line.get(key));
        assert_eq!(seen.each_ref().map(|id| id.as_deref()), ids, "{line:?}");
    }
}

#[test]
fn a_missing_list_is_logged_once_with_its_address_and_what_to_do() {
    let lost = Fake::answering(|_| json(404, "{}")).showing_lists();
    let proxy = Proxy::start(&plain(&lost.url("/api"), ""));
    let logged = proxy.wait_for_log("msg=\"no list\"");
    assert!(logged.contains("level=warn") && logged.contains("status=404"), "{logged}");
    assert!(logged.contains(&format!("url={}", lost.url("/api/models"))), "{logged}");
    assert!(logged.contains("hint=\"base_url must end"), "{logged}");

    let locked = Fake::answering(|_| json(401, "{}")).showing_lists();
    let open = Proxy::start(&plain(&locked.url("/v1"), ""));
    let logged = open.wait_for_log("no list without a client's credentials");
    assert!(logged.contains("level=info"), "{logged}");
    let keyed = Proxy::start(&plain(&locked.url("/v1"), "api_key: sk-hush"));
    let logged = keyed.wait_for_log("msg=\"no list\"");
    assert!(logged.contains("level=warn") && logged.contains("refuses the api_key"), "{logged}");

    let two = format!(
        "model_filter:\n  a: {{base_url: \"{}\"}}\n  b: {{base_url: 'sample:'}}\n",
        lost.url("/v1")
    );
    let proxy = Proxy::start(&two);
    proxy.wait_for_log("msg=\"models\" upstream=b");
    let count = proxy.log().iter().filter(|line| line.contains("no list")).count();
    assert_eq!(count, 1, "{:?}", proxy.log());
}
