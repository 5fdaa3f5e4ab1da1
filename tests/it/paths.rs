use crate::client::Client;
use crate::fake::{Fake, json, models};
use crate::proxy::{Proxy, plain};

/// The target that the upstream sees, with this base URL's path.
fn relayed(base: &str, target: &str) -> String {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::start(&plain(&fake.url(base), ""));
    assert_eq!(proxy.get(target).status, 200, "{target}");
    fake.request().target().to_string()
}

#[test]
fn what_follows_v1_goes_below_the_base_url() {
    assert_eq!(relayed("/api/v1", "/v1/chat/completions"), "/api/v1/chat/completions");
    assert_eq!(relayed("/openai", "/v1/chat/completions"), "/openai/chat/completions");
    assert_eq!(relayed("/v1/", "/v1/embeddings"), "/v1/embeddings");
    assert_eq!(relayed("", "/v1/embeddings"), "/embeddings");
}

#[test]
fn other_paths_go_beside_v1() {
    assert_eq!(relayed("/api/v1", "/health?x"), "/api/health?x");
    assert_eq!(relayed("/v1", "/api/version"), "/api/version");
    assert_eq!(relayed("/openai", "/health"), "/openai/health");
    assert_eq!(relayed("/v1", "/v1x/y"), "/v1x/y");
    assert_eq!(relayed("/v1", "/"), "/");
}

#[test]
fn path_and_query_are_not_touched() {
    for target in [
        "/v1/files/a%2Fb%20c%C3%BC/%7e~;p=1",
        "/v1/x?a=%20b+c&&=&a=%2f&z=~%7E",
        "/v1/x?filter[a]=b|c&d={e}",
        "/v1/x?",
        "/v1/x?a=http://h/../y?z",
        "/v1/files//a//",
        "/v1/files/a..b/.hidden/...",
    ] {
        assert_eq!(relayed("/v1", target), target);
    }
    // But for what no target may have, which is escaped.
    let escaped = "/v1/x%60y?a=%22b%22%3Cc%3E&d=%5Ee";
    assert_eq!(relayed("/v1", "/v1/x`y?a=\"b\"<c>&d=^e"), escaped);
    let many = relayed("/v1", &format!("/v1/x?{}", "\"".repeat(10_000)));
    assert_eq!(many, format!("/v1/x?{}", "%22".repeat(10_000)));
}

#[test]
fn the_catalog_cannot_be_got_around() {
    let fake = Fake::listing(&models(&["kept", "hidden"]));
    let proxy = Proxy::before(&fake, "simple: [kept]");
    for target in [
        "/models",
        "/v1/models/",
        "/models/?x",
        "//v1//models//",
        "/v1/%6dodels",
        "/%76%31/%6D%6F%64%65%6C%73",
        "/v1%2Fmodels",
        "/v1/models?x=1",
        "/v1/models?",
        "/v1/;x/models",
        "/v1/models/;x",
        "/v1/models%20",
        "/v1/models%3Fx",
        "/v1/models%23x/y",
        "/v1/%256dodels",
        "/v1%5Cmodels",
        "/openai/v1/models",
        "/openai/models?api-version=2024-06-01",
        "/v1beta/openai/models",
        "/v1/models.json",
        "//host/v1/models",
    ] {
        assert_eq!(proxy.get(target).ids(), ["kept"], "{target}");
        let headers = [("X-HTTP-Method-Override", "GET"), ("X-Original-URL", "/v1/models")];
        proxy.ask("POST", "/v1/x", &headers, b"{}");
    }
    let overrides = ["x-http-method-override", "x-original-url"];
    let relayed = fake.requests();
    assert!(overrides.iter().all(|name| relayed.iter().all(|seen| seen.all(name).is_empty())));
    proxy.get("/openai/v1/models/hidden").own_error(404, "model_not_found");
    proxy.get("/v1/embeddings/models").own_error(404, "not_found");
}

/// A server may read `//host/models` as `/models` of another host.
#[test]
fn what_is_relayed_begins_with_one_slash() {
    assert_eq!(relayed("", "/v1//host/x"), "/host/x");
    assert_eq!(relayed("/v1", "//host/x"), "/host/x");
    assert_eq!(relayed("/v1", "///v1/;x//files//a"), "/v1/files//a");
    assert_eq!(relayed("/v1", "/api/v1/models/x?y"), "/api/v1/models/x?y");
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, "");
    for target in ["/%2Fhost/models", "/v1/%5chost/x", "/v1/%2525252541"] {
        proxy.get(target).own_error(400, "bad_request");
    }
    assert_eq!(fake.requests().len(), 0);
}

/// Servers that match paths with `$` take a line feed at the end for nothing.
#[test]
fn control_characters_are_refused_encoded_too() {
    let fake = Fake::listing(&models(&["kept", "hidden"]));
    let proxy = Proxy::before(&fake, "simple: [kept]");
    for target in ["/v1/models%0A", "/v1/models%0d%0a?x", "/models%00", "/v1/models/hidden%7f"] {
        proxy.get(target).own_error(400, "bad_request");
    }
    assert_eq!(proxy.get("/v1/x?a=%0A").status, 200); // in a query it is the upstream's affair
}

#[test]
fn dot_segments_are_refused() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, "");
    for target in [
        "/..",
        "/v1/../x",
        "/v1/./x",
        "/v1/x/..",
        "/v1/.",
        "/v1/%2e%2e/x",
        "/v1/.%2E/x",
        "/v1/%2E/x",
        "/v1/..%2fx",
        "/v1/x%2F..",
        "/v1/..?x",
    ] {
        proxy.get(target).own_error(400, "bad_request");
    }
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn a_target_that_is_no_path_is_refused() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, "");
    for (method, target) in
        [("GET", "ftp://example.com/v1/x"), ("OPTIONS", "*"), ("GET", "v1/x"), ("GET", "?x")]
    {
        proxy.ask(method, target, &[], b"").own_error(400, "bad_request");
    }
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn a_target_in_absolute_form_means_its_path() {
    let fake = Fake::listing(&models(&["kept", "hidden"]));
    let proxy = Proxy::before(&fake, "simple: [kept]");
    assert_eq!(proxy.get("http://example.com/v1/models").ids(), ["kept"]);
    proxy.get("http://me:hush@example.com/v1/models/hidden").own_error(404, "model_not_found");
    assert_eq!(proxy.get("HTTP://example.com:8080/v1/x?a=//b").status, 200);
    fake.wait_for("/v1/x?a=//b");
    proxy.get("http://example.com/-/nothing").own_error(404, "not_found");
    let line = proxy.exchange("/v1/models/hidden");
    assert!(!line.0.contains("hush"), "{line:?}");
}

#[test]
fn slips_in_a_clients_base_url_reach_the_api() {
    for (target, seen) in [
        ("/v1/v1/chat/completions", "/api/v1/chat/completions"),
        ("/v1//chat/completions", "/api/v1/chat/completions"),
        ("/chat/completions?a", "/api/v1/chat/completions?a"),
        ("/responses/r1", "/api/v1/responses/r1"),
        ("/messages/count_tokens", "/api/v1/messages/count_tokens"),
        ("/audio/speech", "/api/v1/audio/speech"),
        ("/images/edits", "/api/v1/images/edits"),
        ("/moderations", "/api/v1/moderations"),
        ("/files", "/api/v1/files"),
        ("/batches/b", "/api/v1/batches/b"),
        // llama.cpp has others of these names.
        ("/completions", "/api/completions"),
        ("/embeddings", "/api/embeddings"),
    ] {
        assert_eq!(relayed("/api/v1", target), seen, "{target}");
    }
}

#[test]
fn a_client_with_a_wrong_base_url_gets_one_hint_in_the_log() {
    let fake = Fake::answering(|_| json(404, "{}"));
    let proxy = Proxy::before(&fake, "");
    for target in ["/v1/chat/completions", "/v1/x", "/health"] {
        assert_eq!(proxy.get(target).status, 404);
    }
    for _ in 0..3 {
        assert_eq!(proxy.get("/v1/chat/completions/chat/completions").status, 404);
    }
    proxy.exchange("/v1/chat/completions/chat/completions");
    let hints = proxy.log().into_iter().filter(|line| line.contains("base URL"));
    let hints: Vec<String> = hints.collect();
    assert_eq!(hints.len(), 1, "{hints:#?}");
    assert!(hints[0].contains("level=warn") && hints[0].contains("client=127.0.0.1:"), "{hints:?}");
    assert!(hints[0].contains(" path=/v1/chat/completions/chat/completions"), "{hints:?}");
}

#[test]
fn llama_cpps_router_is_reached_at_its_own_paths() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, "simple: [kept]\nhidden: reject");
    for path in ["/models/load", "/models/unload"] {
        assert_eq!(proxy.post(path, r#"{"model":"kept"}"#).status, 200);
        assert_eq!(fake.wait_for(path).text(), r#"{"model":"kept"}"#);
        proxy.post(path, r#"{"model":"hidden"}"#).own_error(404, "model_not_found");
    }
    assert_eq!(proxy.get("/models/sse").status, 200);
    fake.wait_for("/models/sse");
}

#[test]
fn connect_and_trace_are_not_supported() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, "");
    proxy.ask("CONNECT", "example.com:443", &[], b"").own_error(501, "unsupported");
    for method in ["TRACE", "trace", "TRACK"] {
        for target in ["/v1/models", "/v1/x", "/-/ready"] {
            proxy.ask(method, target, &[], b"").own_error(501, "unsupported");
        }
    }
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn the_root_path_is_taken_off() {
    let fake = Fake::answering(|_| json(200, &models(&["a", "b"])));
    let filter = plain(&fake.url("/v1"), "simple: [a]");
    let by_file = Proxy::start(&format!("server:\n  root_path: /llm\n{filter}"));
    let by_argument = Proxy::start_with(&filter, &["--root-path", "/llm"], &[]);
    let by_environment = Proxy::start_with(&filter, &[], &[("LLM_MF_ROOT_PATH", "/llm/")]);
    for (index, proxy) in [by_file, by_argument, by_environment].iter().enumerate() {
        assert_eq!(proxy.get(&format!("/llm/v1/x?{index}")).status, 200);
        fake.wait_for(&format!("/v1/x?{index}"));
        assert_eq!(proxy.get("/llm/v1/models?x").ids(), ["a"]);
        proxy.get("/llm/v1/../x").own_error(400, "bad_request");
    }
}

#[test]
fn a_root_path_is_a_whole_segment() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let yaml = plain(&fake.url("/v1"), "");
    let proxy = Proxy::start_with(&yaml, &["-r", "/llm"], &[]);
    proxy.get("/llmx/y");
    assert!(fake.requests().iter().all(|request| request.target() == "/llmx/y"));
}

#[test]
fn a_header_that_is_not_ascii_closes_the_connection() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("GET", "/v1/x", &[("X-Name", "é")], b"");
    assert!(client.is_closed());
    assert_eq!(proxy.get("/v1/x").status, 200); // and no other path's
}

#[test]
fn no_proxy_may_have_ranges_and_ports() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let other = Fake::answering(|_| json(418, "{}"));
    // Not on loopback by name, and yet here.
    let host = fake.host().replace("127.0.0.1", "0.0.0.0");
    let yaml = plain(&format!("http://{host}/v1"), "");
    let is_proxied = |no_proxy: &str| {
        let environment = [("HTTP_PROXY", &*other.url("")), ("NO_PROXY", no_proxy)];
        let before = other.requests().len();
        let answer = Proxy::start_with(&yaml, &[], &environment).get("/v1/x");
        let proxied = other.requests().len() > before;
        assert_eq!(answer.status == 200, !proxied, "{no_proxy}: {}", answer.text());
        proxied
    };
    for no_proxy in ["0.0.0.0", "10.0.0.0/8, 0.0.0.0/8", &host, "*"] {
        assert!(!is_proxied(no_proxy), "{no_proxy}");
    }
    for no_proxy in ["", "10.0.0.0/8", "0.0.0.0:1"] {
        assert!(is_proxied(no_proxy), "{no_proxy}");
    }
}

#[test]
fn a_proxy_of_the_environment_is_used_for_remote_upstreams_only() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let other = Fake::answering(|_| json(418, "{}"));
    let proxies = ["HTTP_PROXY", "http_proxy", "ALL_PROXY"];
    let url = other.url("");
    let environment = proxies.map(|name| (name, url.as_str()));

    let local = Proxy::start_with(&plain(&fake.url("/v1"), ""), &[], &environment);
    assert_eq!(local.get("/v1/x").status, 200);
    assert_eq!(other.requests().len(), 0);

    let remote = plain("http://upstream.invalid/v1", "");
    Proxy::start_with(&remote, &[], &environment).get("/v1/x");
    assert!(other.requests().iter().any(|request| request.line.contains("upstream.invalid")));
}

/// Squid refuses CONNECT to other ports than 443.
#[test]
fn a_plain_upstream_is_asked_through_an_http_proxy_in_absolute_form() {
    let other = Fake::answering(|_| json(200, &models(&["a"]))).showing_lists();
    let url = other.url("").replace("http://", "http://me:hush@");
    let yaml = plain("http://upstream.invalid:8081/api/v1", "api_key: ours");
    let proxy = Proxy::start_with(&yaml, &[], &[("HTTP_PROXY", &url)]);
    assert_eq!(proxy.get("/v1/models").ids(), ["a"]);
    for _ in 0..2 {
        assert_eq!(proxy.post("/v1/x?a=1", &"long".repeat(40_000)).status, 200);
    }
    let asked = other.requests();
    let (posts, lists): (Vec<_>, Vec<_>) = asked.iter().partition(|seen| seen.method() == "POST");
    assert_eq!(posts.len(), 2);
    for seen in posts.iter().chain(&lists) {
        let rest = if seen.method() == "POST" { "x?a=1" } else { "models" };
        let target = format!("http://upstream.invalid:8081/api/v1/{rest}");
        assert_eq!(seen.target(), target);
        assert_eq!(seen.all("host"), ["upstream.invalid:8081"]);
        assert_eq!(seen.all("proxy-authorization"), ["Basic bWU6aHVzaA=="]);
        assert_eq!(seen.all("authorization"), ["Bearer ours"]);
    }
    assert_eq!(posts[0].connection, posts[1].connection, "the connection is kept");
}
