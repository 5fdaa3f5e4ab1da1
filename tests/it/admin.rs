use crate::client::Client;
use crate::fake::{Fake, Request, json, models};
use crate::proxy::{ConfigFile, Proxy, plain, program};
use crate::several::{NOWHERE, upstreams};
use crate::wait::eventually;

const FROM_ELSEWHERE: (&str, &str) = ("X-Forwarded-For", "203.0.113.9");

fn metrics(proxy: &Proxy) -> String {
    let answer = proxy.get("/-/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4"));
    answer.text()
}

/// The value of a sample, named with its labels.
fn sample(text: &str, name: &str) -> f64 {
    let line =
        text.lines().find(|line| line.strip_prefix(name).is_some_and(|l| l.starts_with(' ')));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))[name.len() + 1..].parse().unwrap()
}

#[test]
fn what_is_below_the_dash_is_for_this_machine_or_with_a_key() {
    let fake = Fake::listing(&models(&["a"]));
    let proxy = Proxy::before(&fake, "");
    assert_eq!(proxy.get("/-/health").text(), "ok\n");
    for field in [
        FROM_ELSEWHERE,
        ("Forwarded", "for=x"),
        ("X-Real-IP", "1.2.3.4"),
        ("Via", "1.1 x"),
        ("x-forwarded-proto", "https"),
        ("X-Forwarded-Host", "llm.example"),
        ("CF-Connecting-IP", "1.2.3.4"),
        ("True-Client-IP", "1.2.3.4"),
        ("X-Cluster-Client-IP", "1.2.3.4"),
        ("X-Original-Host", "llm.example"),
    ] {
        for path in ["/-/ready", "/-/metrics"] {
            proxy.ask("GET", path, &[field], b"").own_error(403, "forbidden_host");
        }
        assert_eq!(proxy.ask("GET", "/-/health", &[field], b"").text(), "ok\n");
    }
    // As nginx forwards what anybody asks, if it has no `proxy_set_header`.
    for path in ["/-/ready", "/-/", "/-/models.json", "/-/health"] {
        let mut client = Client::of(&proxy);
        client.send_raw(format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"));
        match path {
            "/-/health" => assert_eq!(client.response().text(), "ok\n"),
            _ => drop(client.response().own_error(403, "forbidden_host")),
        }
    }
    let mut client = Client::of(&proxy);
    client.send_raw("GET /-/health HTTP/1.1\r\nHost: llm.example\r\n\r\n");
    assert_eq!(client.response().text(), "ok\n", "under any name");
    proxy.ask("POST", "/-/health", &[], b"").own_error(400, "bad_request");
    proxy.get("/-/nothing").own_error(404, "not_found");

    let keyed = Proxy::start(&format!(
        "{}server: {{client_keys: [a-key-of-ours]}}",
        plain(&fake.url("/v1"), "authorization: none")
    ));
    keyed.get("/v1/models").own_error(401, "invalid_api_key");
    assert_eq!(keyed.get("/-/health").status, 200);
    let key = ("x-api-key", "a-key-of-ours");
    assert_eq!(keyed.ask("GET", "/-/metrics", &[FROM_ELSEWHERE, key], b"").status, 200);
    let wrong = ("x-api-key", "a-key-of-others");
    let answer = keyed.ask("GET", "/-/metrics", &[FROM_ELSEWHERE, wrong], b"");
    answer.own_error(401, "invalid_api_key");
}

#[test]
fn it_is_ready_when_a_list_can_be_had() {
    let fake = Fake::listing(&models(&["a"]));
    let proxy = Proxy::start(&upstreams(&[("good", &fake.url("/v1"), ""), ("dead", NOWHERE, "")]));
    assert_eq!(proxy.get("/-/ready").text(), "ready\n");

    let proxy = Proxy::start(&upstreams(&[("one", NOWHERE, ""), ("two", NOWHERE, "")]));
    let answer = proxy.get("/-/ready");
    assert_eq!(answer.status, 503);
    let text = answer.text();
    assert!(text.contains("one: ") && text.contains("two: ") && text.contains("refused"), "{text}");
}

#[test]
fn it_is_ready_where_only_the_clients_have_credentials() {
    let fake = Fake::answering(|_: &Request| json(401, "{}")).showing_lists();
    assert_eq!(Proxy::before(&fake, "").get("/-/ready").status, 200);
    assert_eq!(Proxy::before(&fake, "api_key: wrong").get("/-/ready").status, 503);
}

#[test]
fn exchanges_are_counted_by_what_was_configured_and_never_by_what_a_client_chose() {
    let fake = Fake::answering(|request: &Request| match request.target() {
        "/v1/models" => json(200, &models(&["a"])),
        _ => json(200, "{}"),
    });
    let proxy = Proxy::start(&upstreams(&[("up", &fake.url("/v1"), "cache_ttl: 60")]));
    let odd = "/v1/some-odd-path?some-odd-query";
    for target in ["/v1/chat/completions", "/v1/chat/completions", odd, "/v1/audio/speech"] {
        proxy.ask("POST", target, &[], br#"{"model":"up/some-odd-model"}"#);
    }
    proxy.get("/v1/models");
    proxy.get("/v1/models/up/a");
    proxy.get("/v1/../x");
    // An exchange is counted after its client has the response.
    let all = "model_filter_http_requests_in_flight 1\n";
    let mut text = String::new();
    eventually("all have ended", || {
        text = metrics(&proxy);
        text.contains(all)
    });
    let count = |path, status| {
        let labels = format!("upstream=\"up\",path=\"{path}\",code=\"{status}\"");
        sample(&text, &format!("model_filter_http_requests_total{{{labels}}}"))
    };
    assert_eq!((count("chat/completions", 200), count("other", 200)), (2.0, 1.0));
    assert_eq!((count("audio", 200), count("model", 200), count("models", 200)), (1.0, 1.0, 1.0));
    assert_eq!(sample(&text, "model_filter_refusals_total{code=\"bad_request\"}"), 1.0);
    for name in ["time_to_first_byte", "http_request_duration"] {
        let labels = "{upstream=\"up\",path=\"chat/completions\"}";
        assert_eq!(sample(&text, &format!("model_filter_{name}_seconds_count{labels}")), 2.0);
    }
    assert_eq!(sample(&text, "model_filter_http_requests_in_flight"), 1.0, "this one");
    assert!(sample(&text, "model_filter_request_bytes_total") >= 4.0 * 29.0);
    assert!(sample(&text, "process_resident_memory_bytes") > 1e6);
    assert!(sample(&text, "process_virtual_memory_bytes") > 1e6);
    assert!(sample(&text, "process_max_fds") >= sample(&text, "process_open_fds"));
    assert!((0.0..60.0).contains(&sample(&text, "process_cpu_seconds_total")));
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let age = now - sample(&text, "process_start_time_seconds");
    assert!((-2.0..600.0).contains(&age), "{age}");
    let refreshes = "model_filter_list_refreshes_total{upstream=\"up\",outcome=\"success\"}";
    assert_eq!(sample(&text, refreshes), 1.0);
    assert!(sample(&text, "model_filter_list_cache_hits_total{upstream=\"up\"}") >= 1.0);
    assert!(!text.contains("odd"), "{text}");
}

#[test]
fn what_is_for_the_program_itself_is_not_logged_unless_it_fails() {
    let fake = Fake::listing(&models(&["a"]));
    let proxy = Proxy::before(&fake, "");
    proxy.get("/-/health");
    proxy.get("/-/nothing");
    proxy.exchange("/-/nothing");
    assert!(!proxy.log().iter().any(|line| line.contains("/-/health")), "{:?}", proxy.log());
}

/// The status without a key, under this `Host` and with these fields.
fn status_under(proxy: &Proxy, fields: &str) -> u16 {
    let mut client = Client::of(proxy);
    client.send_raw(format!("GET /-/exchanges.json HTTP/1.1\r\n{fields}\r\n"));
    client.response().status
}

#[test]
fn own_pages_need_a_key_under_a_name_that_others_can_point_here() {
    let fake = Fake::listing(&models(&["a"]));
    let keys = "server: {allowed_hosts: [llm.example], client_keys: [a-key-of-ours], \
                allowed_origins: ['http://localhost:3000']}";
    for (host, keys, refused) in
        [("127.0.0.1", keys, 401), ("0.0.0.0", keys, 401), ("0.0.0.0", "", 403)]
    {
        let config = ConfigFile::new(&format!("{}{keys}", plain(&fake.url("/v1"), "api_key: k")));
        let mut command = program();
        command.arg("--config").arg(config.path()).args(["--host", host, "--port", "0"]);
        let proxy = Proxy::spawn(command);
        for good in [
            "Host: localhost\r\n",
            "Host: LOCALHOST.:8080\r\n",
            "Host: 127.0.0.1:8080\r\n",
            "Host: [::1]:8080\r\n",
            "Host: 127.0.0.1:8080\r\nOrigin: http://127.0.0.1:8080\r\n",
            "Host: llm.example\r\nX-Api-Key: a-key-of-ours\r\n",
        ] {
            if !good.contains("Key") || !keys.is_empty() {
                assert_eq!(status_under(&proxy, good), 200, "{host} {good}");
            }
        }
        for bad in [
            "Host: llm.example\r\n",
            "Host: localhost.llm.example\r\n",
            "Host: 192.168.7.7\r\n",
            "Host: \r\n",
            "",
            "Host: localhost\r\nHost: llm.example\r\n",
            "Host: localhost:8080\r\nOrigin: http://localhost:3000\r\n",
        ] {
            let status = status_under(&proxy, bad);
            let is_unknown_host = host == "127.0.0.1" && status == 403;
            assert!(
                status == refused || is_unknown_host || status == 400,
                "{host} {bad}: {status}"
            );
        }
    }
}

#[test]
fn everything_of_ours_is_guarded_against_pages_of_others() {
    let fake = Fake::answering(|_: &Request| json(200, "{}")).showing_lists();
    let proxy = Proxy::before(&fake, "");
    let origin = [("Origin", "http://localhost:3000"), ("Access-Control-Request-Method", "GET")];
    for (method, target, fields) in [
        ("GET", "/-/", &[] as &[(&str, &str)]),
        ("GET", "/-", &[]),
        ("GET", "/-/page.js", &[]),
        ("GET", "/-/health", &[]),
        ("GET", "/-/metrics", &[]),
        ("GET", "/-/models.json", &[]),
        ("GET", "/-/exchanges.json", &[]),
        ("GET", "/-/nothing", &[]),
        ("GET", "/-/health", &[FROM_ELSEWHERE]),
        ("GET", "/v1/../x", &[]),
        ("GET", "/v1/models", &[]),
        ("OPTIONS", "/v1/models", &origin),
    ] {
        let answer = proxy.ask(method, target, fields, b"");
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'"), "{target}: {answer:?}");
        assert!(policy.contains("frame-ancestors 'none'"), "{target}: {answer:?}");
        assert_eq!(answer.all("x-content-type-options"), ["nosniff"], "{target}");
        assert_eq!(answer.all("cross-origin-resource-policy"), ["same-origin"], "{target}");
        assert_eq!(answer.all("referrer-policy"), ["no-referrer"], "{target}");
    }
    assert_eq!(proxy.get("/v1/x").header("content-security-policy"), None, "the upstream's");
}
