use crate::fake::{Fake, Request, json, models, response};
use crate::proxy::{Proxy, plain};
use crate::several::upstreams;
use crate::wait::eventually;

const CREDENTIALS: &[(&str, &str)] = &[
    ("Authorization", "Bearer client-secret"),
    ("x-api-key", "client-secret"),
    ("api-key", "client-secret"),
    ("x-goog-api-key", "client-secret"),
    ("Cookie", "session=client-secret"),
    ("Proxy-Authorization", "Basic client-secret"),
    ("cf-aig-authorization", "Bearer client-secret"),
    ("Ocp-Apim-Subscription-Key", "client-secret"),
    ("X-Auth-Token", "client-secret"),
    ("X-Auth-Key", "client-secret"),
    ("Helicone-Auth", "Bearer client-secret"),
    ("x-portkey-api-key", "client-secret"),
    ("x_api_key", "client-secret"),
    ("X-Api-Token", "client-secret"),
    ("X-Amz-Security-Token", "client-secret"),
    ("CF-Access-Client-Secret", "client-secret"),
    ("xi-api-key", "client-secret"),
    ("X-OpenAI-Key", "client-secret"),
];

/// Each parameter that may carry a key in a query, in odd spellings too.
const QUERY_KEYS: [&str; 14] = [
    "key",
    "KEY",
    "api_key",
    "api-key",
    "apikey",
    "apiKey",
    "access_token",
    "token",
    "%6bey",
    "ap%69%5Fkey",
    "key[]",
    "$key",
    "subscription-key",
    "x-goog-api-key",
];

fn upstream() -> Fake {
    Fake::answering(|_| json(200, &models(&["a"]))).showing_lists()
}

/// The credentials that the upstream receives of a request with every kind of them.
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
            for (name, value) in CREDENTIALS.iter().filter(|(name, _)| !name.starts_with("Proxy")) {
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

/// DeepSeek, Gemini's compatible API and Azure have base URLs that do not end in `/v1`.
#[test]
fn an_api_key_is_sent_to_every_path_below_a_base_url_without_v1() {
    for base in ["", "/v1beta/openai", "/openai/v1x"] {
        for (target, path) in [
            ("/chat/completions", "/chat/completions"),
            ("/v1/embeddings", "/embeddings"),
            ("/embeddings?a", "/embeddings?a"),
            ("/health", "/health"),
            ("/models/a", "/models/a"),
        ] {
            let fake = upstream();
            let proxy = Proxy::start(&plain(&fake.url(base), "api_key: our-secret"));
            proxy.ask("GET", target, CREDENTIALS, b"");
            let request = fake.wait_for(&format!("{base}{path}"));
            assert_nothing_of_the_client(&request);
            assert_eq!(request.all("authorization"), ["Bearer our-secret"], "{base} {target}");
        }
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

#[test]
fn a_key_in_a_query_goes_only_where_credentials_go() {
    for settings in ["authorization: none", "authorization: keyring", "api_key: ours"] {
        let fake = upstream();
        let proxy = Proxy::before(&fake, settings);
        eventually("the start has its list", || !fake.requests().is_empty());
        for name in QUERY_KEYS {
            for (asked, sent) in [
                ("KEY=client-secret", ""),
                ("a=1&KEY=client-secret", "?a=1"),
                ("KEY=client-secret&a=%2F&&b", "?a=%2F&&b"),
                ("a=1;KEY=client-secret;b=2", "?a=1;b=2"),
                ("a&KEY=client-secret&KEY=client-secret&next_token=x&", "?a&next_token=x&"),
                ("KEY", ""),
                ("a=1?KEY=client-secret", "?a=1"),
            ] {
                let asked = asked.replace("KEY", name);
                for path in ["/v1/x", "/v1/models", "/v1/models/a", "/health"] {
                    assert_eq!(proxy.get(&format!("{path}?{asked}")).status, 200);
                    let got = fake.requests().pop().unwrap();
                    assert_eq!(got.target(), format!("{path}{sent}"), "{settings} {asked}");
                }
            }
        }
    }
    let fake = upstream();
    let proxy = Proxy::before(&fake, "");
    for name in QUERY_KEYS {
        let target = format!("/v1/x?a=1&{name}=client-secret&b");
        proxy.get(&target);
        assert_eq!(fake.wait_for(&target).target(), target, "passed on unchanged");
    }
}

#[test]
fn a_query_without_a_key_is_not_changed() {
    for query in ["?", "?&&", "?;", "?page_token=1&pageToken=2", "?monkey=1&max_tokens=2&keys=3"] {
        let target = format!("/v1/x{query}");
        assert_eq!(seen("authorization: none", &target).target(), target);
    }
}

#[test]
fn a_list_is_not_cached_apart_for_keys_that_do_not_reach_its_upstream() {
    for (settings, lists) in [("authorization: none", 1), ("authorization: passthrough", 4)] {
        let fake = upstream();
        let proxy = Proxy::before(&fake, &format!("{settings}\ncache_ttl: 60"));
        for target in ["/v1/models", "/v1/models?key=alice", "/v1/models?key=bob"] {
            proxy.get(target);
            proxy.ask("GET", target, &[("xi-api-key", "carol")], b"");
        }
        let asked = fake.requests().len();
        assert!(asked == lists || (lists > 1 && asked > lists), "{settings}: {asked}");
    }
}

#[test]
fn what_a_browser_sends_by_itself_is_not_for_upstreams() {
    let cookie = ("Cookie", "session=client-secret");
    for field in
        [("Sec-Fetch-Site", "none"), ("sec-fetch-mode", "cors"), ("Origin", "http://localhost:1")]
    {
        let fake = upstream();
        let proxy = Proxy::before(&fake, "");
        let key = ("Authorization", "Bearer of-the-page");
        for target in ["/v1/x", "/v1/models?x", "/v1/models/a", "/health"] {
            proxy.ask("GET", target, &[cookie, field, key], b"");
            let request = fake.wait_for(target);
            assert_eq!(request.header("cookie"), None, "{target}");
            assert_eq!(request.header("authorization"), Some(key.1), "typed into the page");
        }
        let page = [cookie, field, ("Host", "localhost")];
        proxy.ask("GET", "/-/models.json", &page[..2], b"");
        assert!(fake.requests().iter().all(|request| request.header("cookie").is_none()));
        // Not even if the client calls the field hop-by-hop.
        let listed = ("Connection", field.0);
        proxy.ask("GET", "/v1/listed", &[cookie, field, listed], b"");
        assert_eq!(fake.wait_for("/v1/listed").header("cookie"), None);
    }
}

#[test]
fn a_session_of_the_configured_key_stays_with_its_owner() {
    let cookies = "Set-Cookie: session=of-the-owner\nset-cookie: second=of-the-owner";
    for (settings, target, passes) in [
        ("api_key: ours", "/v1/x", false),
        ("headers: {X-Org: ours}", "/v1/x", false),
        ("api_key: ours", "/health", true),
        ("", "/v1/x", true),
        ("authorization: none", "/v1/x", true),
    ] {
        for body in ["short", &"long ".repeat(40_000)] {
            let answer = response(&format!("200 OK\n{cookies}"), body);
            let fake = Fake::answering(move |_| answer.clone());
            let proxy = Proxy::before(&fake, settings);
            let answer = proxy.get(target);
            assert_eq!(answer.all("set-cookie").len(), if passes { 2 } else { 0 }, "{settings}");
        }
    }
}

/// Cookies ignore ports: a browser would send them to every program on this machine.
#[test]
fn an_upstream_sets_no_cookie_in_a_browser() {
    let fake = Fake::answering(|_| response("200 OK\nSet-Cookie: a=b", "{}"));
    let proxy = Proxy::before(&fake, "");
    for field in [("Sec-Fetch-Mode", "no-cors"), ("Origin", "http://localhost:1")] {
        for target in ["/v1/x", "/v1/models/a", "/health"] {
            let answer = proxy.ask("GET", target, &[field], b"");
            assert_eq!((answer.status, answer.header("set-cookie")), (200, None), "{target}");
        }
    }
    assert_eq!(proxy.get("/v1/x").header("set-cookie"), Some("a=b"));
}

#[test]
fn a_keyring_that_does_not_parse_whole_goes_to_nobody() {
    let (one, two) = (upstream(), upstream());
    let rule = "authorization: keyring";
    let yaml = upstreams(&[("one", &one.url("/v1"), rule), ("two", &two.url("/v1"), rule)]);
    let proxy = Proxy::start(&yaml);
    let are_asked = || [&one, &two].iter().all(|fake| !fake.requests().is_empty());
    eventually("the start has its lists", are_asked);
    let body = br#"{"model":"one/a"}"#;
    let chat = |token: &str| {
        let bearer = format!("Bearer {token}");
        let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        proxy.ask("POST", "/v1/chat/completions", &fields, body)
    };
    for good in ["one=sk-1,two=sk-2", "two=sk-2; one=sk-1", "  one=sk-1   two=sk-2", ",one=sk-1,"] {
        assert_eq!(chat(good).status, 200, "{good}");
        assert_eq!(one.requests().last().unwrap().header("authorization"), Some("Bearer sk-1"));
    }
    assert_eq!(chat("one=sk-1==").status, 200);
    assert_eq!(one.requests().last().unwrap().header("authorization"), Some("Bearer sk-1=="));
    let asked = (one.requests().len(), two.requests().len());
    for bad in [
        "sk-secret",
        "one=sk-secret|two=sk-secret",
        "one=sk-secret,sk-secret",
        "one=sk-secret,two",
        "one=sk-secret,two=",
        "one=sk-secret,two==",
        "one=sk-secret,=sk-secret",
        "one=sk-secret,one=sk-other",
        "one=sk=secret",
        "one= sk-secret",
    ] {
        let bearer = format!("Bearer {bad}");
        for answer in [
            chat(bad),
            proxy.ask("GET", "/v1/models", &[("Authorization", &bearer)], b""),
            proxy.ask("GET", "/v1/models", &[("x-api-key", bad)], b""),
            proxy.ask("GET", "/v1/models", &[("api-key", bad)], b""),
            proxy.ask("GET", "/one/v1/models", &[("x-goog-api-key", bad)], b""),
            proxy.ask("GET", "/v1/models/one/a", &[("x-api-key", bad)], b""),
            proxy.ask("GET", "/-/models.json", &[("x-api-key", bad)], b""),
        ] {
            let message = answer.own_error(401, "invalid_api_key");
            assert!(message.contains("name=secret") && !message.contains("sk-"), "{message}");
        }
    }
    assert_eq!((one.requests().len(), two.requests().len()), asked, "no upstream was asked");
}

#[test]
fn an_error_names_the_upstream_and_not_its_address() {
    let cut = Fake::scripted(|conn| {
        conn.read_request();
        conn.cut();
    })
    .showing_lists();
    let silent = Fake::scripted(|conn| {
        conn.wait_until_closed();
    });
    let odd = Fake::answering(|_: &Request| json(299, "no list")).showing_lists();
    for (url, settings) in [
        ("http://127.0.0.1:1/internal/v1".to_owned(), ""),
        (cut.url("/internal/v1"), ""),
        (silent.url("/internal/v1"), "list_timeout: 0.3"),
        (odd.url("/internal/v1"), ""),
    ] {
        let proxy = Proxy::start(&upstreams(&[("up", &url, settings)]));
        let list = proxy.get("/v1/models");
        let ready = proxy.get("/-/ready");
        let page = proxy.get("/-/models.json");
        assert!(list.status >= 500, "{url}: {list:?}");
        let place = url.trim_start_matches("http://");
        for text in [list.text(), ready.text(), page.text()] {
            assert!(text.contains("up") && !text.contains("internal"), "{text}");
            assert!(!text.contains(place.split('/').next().unwrap()), "{text}");
        }
        let line = proxy.wait_for_log(" path=/v1/models ");
        assert!(line.contains(&url), "{line}");
    }
}
