use crate::fake::{Fake, Request, json, models, response};
use crate::proxy::{Proxy, plain};

const CREDENTIALS: &[(&str, &str)] = &[
    ("Authorization", "Bearer client-secret"),
    ("x-api-key", "client-secret"),
    ("api-key", "client-secret"),
    ("x-goog-api-key", "client-secret"),
    ("Cookie", "session=client-secret"),
    ("Proxy-Authorization", "Basic client-secret"),
];

fn upstream() -> Fake {
    Fake::answering(|_| json(200, &models(&["a"]))).showing_lists()
}

/// What the upstream receives of a request with every kind of credential.
fn seen(settings: &str, target: &str) -> Request {
    let fake = upstream();
    let proxy = Proxy::before(&fake, settings);
    assert_eq!(proxy.ask("GET", target, CREDENTIALS, b"").status, 200);
    fake.wait_for(target)
}

fn assert_nothing_of_the_client(request: &Request) {
    let leaked = request.headers.iter().find(|(_, value)| value.contains("client-secret"));
    assert_eq!(leaked, None, "{}", request.line);
}

#[test]
fn one_upstream_without_a_key_gets_the_clients_credentials() {
    for settings in ["", "authorization: passthrough"] {
        for target in ["/v1/x", "/v1/models?x", "/v1/models/a", "/health"] {
            let request = seen(settings, target);
            for (name, value) in &CREDENTIALS[..5] {
                assert_eq!(request.all(name), [*value], "{target}");
            }
        }
    }
}

#[test]
fn with_authorization_none_no_credential_goes_on() {
    for target in ["/v1/x", "/v1/models?x", "/v1/models/a", "/health"] {
        let request = seen("authorization: none", target);
        assert_nothing_of_the_client(&request);
        assert_eq!(request.header("authorization"), None);
    }
}

#[test]
fn an_api_key_takes_the_place_of_all_credentials() {
    for target in ["/v1/x", "/v1/models?x", "/v1/models/a"] {
        let request = seen("api_key: our-secret", target);
        assert_nothing_of_the_client(&request);
        assert_eq!(request.all("authorization"), ["Bearer our-secret"], "{target}");
    }
}

#[test]
fn an_api_key_is_only_sent_below_the_base_url() {
    for target in ["/health", "/v1x/y", "/api/v1/x", "/"] {
        let request = seen("api_key: our-secret\nheaders: {X-Org: our-secret}", target);
        assert_nothing_of_the_client(&request);
        let leaked = request.headers.iter().find(|(_, value)| value.contains("our-secret"));
        assert_eq!(leaked, None, "{target}");
    }
}

#[test]
fn fixed_headers_are_added_below_the_base_url() {
    for target in ["/v1/x", "/v1/models?x", "/v1/models/a"] {
        let request = seen("headers: {X-Org: ours, X-Title: some words}", target);
        assert_eq!(request.all("x-org"), ["ours"], "{target}");
        assert_eq!(request.all("x-title"), ["some words"], "{target}");
        assert_eq!(request.all("authorization"), ["Bearer client-secret"], "{target}");
    }
}

#[test]
fn keys_may_come_from_the_environment() {
    let fake = upstream();
    let settings = "api_key: os.environ/OUR_KEY\nheaders: {X-Org: os.environ/OUR_ORG}";
    let environment = [("OUR_KEY", "our-secret"), ("OUR_ORG", "ours")];
    let proxy = Proxy::start_with(&plain(&fake.url("/v1"), settings), &[], &environment);
    proxy.get("/v1/x");
    let request = fake.wait_for("/v1/x");
    assert_eq!(request.all("authorization"), ["Bearer our-secret"]);
    assert_eq!(request.all("x-org"), ["ours"]);
}

#[test]
fn a_redirect_takes_no_key_elsewhere() {
    let elsewhere = upstream();
    let location = elsewhere.url("/v1/x");
    let fake = Fake::answering(move |_| response(&format!("308 Moved\nLocation: {location}"), ""));
    let proxy = Proxy::before(&fake, "api_key: our-secret");
    assert_eq!(proxy.post("/v1/x", "{}").header("location"), Some(elsewhere.url("/v1/x").as_str()));
    assert_eq!(proxy.get("/v1/models?x").status, 308);
    assert_eq!(elsewhere.requests().len(), 0);
}

#[test]
fn a_key_is_neither_logged_nor_told() {
    let proxy = Proxy::start_with(
        &plain("http://127.0.0.1:1/v1", "api_key: our-secret\nheaders: {X-Org: our-secret}"),
        &[],
        &[("LLM_MF_LOG", "debug")],
    );
    let answer = proxy.ask("GET", "/v1/x", CREDENTIALS, b"");
    proxy.ask("GET", "/v1/models", CREDENTIALS, b"");
    assert!(!answer.text().contains("secret"), "{}", answer.text());
    proxy.exchange("/v1/models");
    let log = proxy.log().join("\n");
    assert!(!log.contains("our-secret") && !log.contains("client-secret"), "{log}");
}
