use std::time::{Duration, Instant};

use crate::client::{Client, Response};
use crate::fake::{Fake, json, models, response};
use crate::proxy::{ConfigFile, Proxy, program};
use crate::wait::{DEADLINE, eventually};

const KEYS: &str = "server: {client_keys: [first-key-1, os.environ/SECOND]}";
const PAGES: &str =
    "server: {allowed_hosts: [box.lan], allowed_origins: ['https://chat.example.com']}";
const CHAT: (&str, &str) = ("Origin", "https://chat.example.com");

fn upstream() -> Fake {
    let answer = "200 OK\nContent-Type: application/json\nAccess-Control-Allow-Origin: https://theirs\n\
                  access-control-allow-credentials: true\nX-Theirs: 1";
    let answer = response(answer, models(&["a"]));
    Fake::answering(move |_| answer.clone()).showing_lists()
}

fn before(fake: &Fake, rest: &str) -> Proxy {
    let yaml =
        format!("model_filter: {{base_url: '{}', cache_ttl: 60}}\n{rest}\n", fake.url("/v1"));
    Proxy::start_with(&yaml, &[], &[("SECOND", "second-key-2")])
}

/// A request whose `Host` is this one.
fn to_host(proxy: &Proxy, host: &str, fields: &str) -> Response {
    let mut client = Client::of(proxy);
    client.send_raw(format!("GET /v1/x HTTP/1.1\r\n{host}{fields}\r\n"));
    client.response()
}

#[test]
fn a_client_must_present_a_key() {
    let fake = upstream();
    let proxy = before(&fake, KEYS);
    for (name, value) in [
        ("Authorization", "Bearer first-key-1"),
        ("authorization", "bearer second-key-2"),
        ("AUTHORIZATION", "Bearer  first-key-1 "),
        ("x-api-key", "second-key-2"),
        ("X-API-KEY", "first-key-1"),
        ("api-key", "first-key-1"),
        ("X-Goog-Api-Key", "second-key-2"),
    ] {
        for target in ["/v1/models", "/v1/models/a", "/v1/x", "/health"] {
            let answer = proxy.ask("GET", target, &[(name, value)], b"");
            assert_eq!(answer.status, 200, "{name}: {value}: {}", answer.text());
        }
    }
}

#[test]
fn without_a_right_key_there_is_401_and_nothing_reaches_the_upstream() {
    let fake = upstream();
    let authorization = |value| vec![("Authorization", value)];
    for headers in [
        vec![],
        authorization("Bearer first-key-2"),
        authorization("Bearer first-key-"),
        authorization("Bearer first-key-11"),
        authorization("Bearer FIRST-KEY-1"),
        authorization("Bearer "),
        authorization("Bearer"),
        authorization("first-key-1"),
        authorization("Basic first-key-1"),
        authorization("Bearer first-key-1,second-key-2"),
        authorization("Bearer os.environ/SECOND"),
        vec![("x-api-key", "Bearer first-key-1")],
        vec![("api-key", "first-key-2")],
        vec![("key", "first-key-1")],
        vec![("Cookie", "first-key-1")],
        vec![("Proxy-Authorization", "Bearer first-key-1")],
    ] {
        // A new one each time: many wrong keys are slowed down.
        let proxy = before(&fake, KEYS);
        for target in ["/v1/models", "/models", "/v1/models/a", "/v1/x", "/health", "/"] {
            let answer = proxy.ask("GET", target, &headers, b"");
            answer.own_error(401, "invalid_api_key");
        }
        proxy
            .ask("POST", "/v1/x", &headers, b"{\"model\":\"a\"}")
            .own_error(401, "invalid_api_key");
    }
    let proxy = before(&fake, KEYS);
    proxy.ask("GET", "/v1/last", &[("x-api-key", "first-key-1")], b"");
    fake.wait_for("/v1/last");
    let others = fake.requests().into_iter().filter(|request| request.target() != "/v1/models");
    assert_eq!(others.count(), 1, "{:#?}", fake.requests());
}

#[test]
fn a_client_key_and_all_other_credentials_stay_here() {
    let fake = upstream();
    let proxy = before(&fake, KEYS);
    let headers = [
        ("Authorization", "Bearer first-key-1"),
        ("x-api-key", "client-secret"),
        ("api-key", "client-secret"),
        ("x-goog-api-key", "client-secret"),
        ("Cookie", "client-secret"),
        ("X-Kept", "yes"),
    ];
    for target in ["/v1/x", "/v1/models/a", "/health"] {
        proxy.ask("GET", target, &headers, b"");
        let request = fake.wait_for(target);
        let leaked = |(_, value): &&(String, String)| {
            value.contains("first-key") || value.contains("secret")
        };
        assert_eq!(request.headers.iter().find(leaked), None, "{target}");
        assert_eq!(request.header("x-kept"), Some("yes"));
    }
    let log = proxy.log().join("\n");
    assert!(!log.contains("first-key") && !log.contains("second-key"), "{log}");
}

#[test]
fn on_loopback_the_host_must_be_known() {
    let fake = upstream();
    let proxy = before(&fake, PAGES);
    for host in
        ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080", "box.lan", "BOX.lan:80"]
    {
        assert_eq!(to_host(&proxy, &format!("Host: {host}\r\n"), "").status, 200, "{host}");
    }
    assert_eq!(to_host(&proxy, "", "").status, 200);
    let served = fake.requests().len();
    for host in
        ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:8080", "10.0.0.1", "xbox.lan"]
    {
        let message =
            to_host(&proxy, &format!("Host: {host}\r\n"), "").own_error(403, "forbidden_host");
        assert!(message.contains(host) && message.contains("allowed_hosts"), "{message}");
    }
    assert_eq!(fake.requests().len(), served);
}

#[test]
fn an_allowed_host_may_be_an_ipv6_address() {
    let fake = upstream();
    let proxy = before(&fake, "server: {allowed_hosts: ['2001:db8::7']}");
    assert_eq!(to_host(&proxy, "Host: [2001:db8::7]:8080\r\n", "").status, 200);
    to_host(&proxy, "Host: [2001:db8::8]:8080\r\n", "").own_error(403, "forbidden_host");
}

#[test]
fn a_page_must_be_of_an_allowed_origin() {
    let fake = upstream();
    let proxy = before(&fake, PAGES);
    let ask = |origin| proxy.ask("GET", "/v1/x", &[("Origin", origin)], b"");
    for origin in [
        "https://chat.example.com",
        "http://localhost:3000",
        "https://localhost",
        "http://127.0.0.1:5173",
        "http://[::1]:3000",
    ] {
        let answer = ask(origin);
        assert_eq!(answer.status, 200, "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    }
    let served = fake.requests().len();
    for origin in [
        "null",
        "",
        "https://evil.example",
        "http://chat.example.com",
        "https://chat.example.com:8443",
        "https://chat.example.com.evil.example",
        "https://localhost.evil.example",
        "file://",
        "chrome-extension://abc",
    ] {
        let answer = ask(origin);
        answer.own_error(403, "forbidden_host");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
        let catalog = proxy.ask("GET", "/v1/models", &[("Origin", origin)], b"");
        catalog.own_error(403, "forbidden_host");
    }
    assert_eq!(fake.requests().len(), served);
}

#[test]
fn apps_and_extensions_have_origins_of_their_own() {
    for origin in [
        "app://obsidian.md",
        "tauri://localhost",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        "moz-extension://f745c4ad-86bf-4062-b715-e26739741e4d",
        "file://",
        "null",
    ] {
        let fake = upstream();
        let post = |proxy: &Proxy| proxy.ask("POST", "/v1/x", &[("Origin", origin)], b"{}");
        let message = post(&before(&fake, "")).own_error(403, "forbidden_host");
        // The refusal has the very line that lets it in.
        let line = format!("server: {{allowed_origins: [\"{origin}\"]}}");
        assert!(message.contains(&line), "{message}");
        let proxy = before(&fake, &line);
        let answer = post(&proxy);
        assert_eq!(answer.status, 200, "{origin}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        let asks = [("Origin", origin), ("Access-Control-Request-Method", "POST")];
        assert_eq!(proxy.ask("OPTIONS", "/v1/x", &asks, b"").status, 204, "{origin}");
    }
}

#[test]
fn a_page_of_this_machine_gets_no_credentials_of_the_browser() {
    let fake = upstream();
    let answer = before(&fake, "").ask("GET", "/v1/x", &[("Origin", "http://localhost:1")], b"");
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://localhost:1"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

/// Ollama judges `Origin` itself, and refuses pages that the configuration allows.
#[test]
fn an_upstream_does_not_see_where_a_page_is_from() {
    let fake = upstream();
    let proxy = before(&fake, PAGES);
    let asks = [
        CHAT,
        ("Access-Control-Request-Headers", "x"),
        ("Access-Control-Request-Private-Network", "true"),
    ];
    for (method, target) in [("POST", "/v1/x"), ("GET", "/v1/models/a"), ("OPTIONS", "/v1/y")] {
        assert_eq!(proxy.ask(method, target, &asks, b"").status, 200);
        let seen = fake.wait_for(target);
        let is_judged =
            |name: &str| name.eq_ignore_ascii_case("origin") || name.starts_with("access-control-");
        let judged = seen.headers.iter().find(|(name, _)| is_judged(&name.to_lowercase()));
        assert_eq!(judged, None, "{target}");
    }
}

#[test]
fn what_a_page_may_read_is_ours_to_say_also_on_errors() {
    let fake = upstream();
    let proxy = before(&fake, PAGES);
    for (method, target, status) in [
        ("GET", "/v1/x", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/v1/models/a", 200),
        ("GET", "/-/nothing", 403),
        ("GET", "/v1/../x", 400),
        ("OPTIONS", "/v1/x", 200),
    ] {
        let answer = proxy.ask(method, target, &[CHAT], b"");
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.all("access-control-allow-origin"), [CHAT.1], "{target}");
        assert_eq!(answer.all("access-control-allow-credentials"), ["true"], "{target}");
        assert!(answer.all("vary").iter().any(|vary| vary.contains("Origin")), "{target}");
    }
    assert_eq!(proxy.ask("GET", "/v1/x", &[CHAT], b"").header("x-theirs"), Some("1"));
}

#[test]
fn a_page_can_read_that_its_key_is_wrong() {
    let fake = upstream();
    let origins =
        "server: {client_keys: [first-key-1], allowed_origins: ['https://chat.example.com']}";
    let proxy = before(&fake, origins);
    for headers in [vec![CHAT], vec![CHAT, ("Authorization", "Bearer wrong-key")]] {
        let answer = proxy.ask("GET", "/v1/models", &headers, b"");
        answer.own_error(401, "invalid_api_key");
        assert_eq!(answer.header("access-control-allow-origin"), Some(CHAT.1));
    }
}

#[test]
fn without_an_origin_an_answer_is_the_upstreams() {
    let fake = upstream();
    let answer = before(&fake, PAGES).get("/v1/x");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://theirs"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.header("vary"), None);
    let proxy = before(&fake, PAGES);
    assert_eq!(proxy.ask("OPTIONS", "/v1/preflightless", &[], b"").status, 200);
    assert_eq!(fake.wait_for("/v1/preflightless").method(), "OPTIONS");
}

#[test]
fn a_preflight_is_answered_here_and_needs_no_key() {
    let fake = upstream();
    let origins =
        "server: {client_keys: [first-key-1], allowed_origins: ['https://chat.example.com']}";
    let proxy = before(&fake, origins);
    let asks = [
        CHAT,
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization, x-stainless-os"),
    ];
    for target in ["/v1/chat/completions", "/v1/models", "/health"] {
        let answer = proxy.ask("OPTIONS", target, &asks, b"");
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{target}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(CHAT.1));
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
        let allowed = answer.header("access-control-allow-headers");
        assert_eq!(allowed, Some("authorization, x-stainless-os"));
    }
    let evil = [("Origin", "https://evil.example"), asks[1]];
    proxy.ask("OPTIONS", "/v1/x", &evil, b"").own_error(403, "forbidden_host");
    let ours = |request: &crate::fake::Request| {
        request.target() == "/v1/models" && request.method() == "GET"
    };
    assert!(fake.requests().iter().all(ours), "{:#?}", fake.requests());
}

#[test]
fn a_preflight_on_one_connection_does_not_open_it() {
    let fake = upstream();
    let proxy = before(&fake, "server: {client_keys: [first-key-1]}");
    let mut client = Client::of(&proxy);
    let origin = ("Origin", "http://localhost:3000");
    client.send("OPTIONS", "/v1/x", &[origin, ("Access-Control-Request-Method", "GET")], b"");
    assert_eq!(client.response().status, 204);
    client.send("GET", "/v1/x", &[origin], b"");
    client.response().own_error(401, "invalid_api_key");
}

/// Listens on every address.
fn exposed(fake: &Fake, settings: &str, server: &str) -> (Proxy, ConfigFile) {
    let url = fake.url("/v1");
    let config = ConfigFile::new(&format!(
        "model_filter: {{base_url: '{url}', {settings}}}\nserver: {{{server}}}\n"
    ));
    let mut command = program();
    command.arg("--config").arg(config.path()).args(["--host", "0.0.0.0", "--port", "0"]);
    (Proxy::spawn(command), config)
}

#[test]
fn who_is_exposed_with_a_secret_is_warned() {
    let fake = Fake::answering(|_| json(200, "{}"));
    for (settings, server, warned) in [
        ("api_key: the-secret", "", Some("api_key")),
        ("headers: {X-Key: the-secret}", "", Some("headers")),
        ("api_key: the-secret", "client_keys: [first-key-1]", None),
        ("authorization: passthrough", "", None),
    ] {
        let (proxy, _config) = exposed(&fake, settings, server);
        let warnings = proxy.warnings();
        let warning = warnings.iter().find(|line| line.contains("client_keys"));
        assert_eq!(warning.is_some(), warned.is_some(), "{settings} {server}: {warnings:#?}");
        if let (Some(warning), Some(setting)) = (warning, warned) {
            assert!(warning.contains("anyone") && warning.contains(setting), "{warning}");
            assert!(!warning.contains("the-secret"), "{warning}");
        }
    }
}

#[test]
fn who_is_exposed_has_many_names_but_pages_must_be_allowed_all_the_same() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let (proxy, _config) = exposed(&fake, "authorization: none", "");
    assert_eq!(to_host(&proxy, "Host: box.lan\r\n", "").status, 200);
    let own = "Origin: http://192.168.7.7:8080\r\n";
    assert_eq!(to_host(&proxy, "Host: 192.168.7.7:8080\r\n", own).status, 200);
    for (host, origin) in [
        ("192.168.7.7:8080", "http://192.168.7.8:8080"),
        ("192.168.7.7:8080", "http://192.168.7.7:9090"),
        ("rebound.example", "http://rebound.example"),
    ] {
        let answer =
            to_host(&proxy, &format!("Host: {host}\r\n"), &format!("Origin: {origin}\r\n"));
        answer.own_error(403, "forbidden_host");
    }
    assert!(fake.counts_within("/v1/x", 2, DEADLINE));
}

/// The header fields of a browser that follows a link or fills a frame.
fn navigation<'a>(site: &'a str, dest: &'a str) -> [(&'a str, &'a str); 3] {
    [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", dest)]
}

#[test]
fn another_sites_page_leads_to_our_own_pages_alone() {
    let fake = upstream();
    let proxy = before(&fake, PAGES);
    for dest in ["document", "iframe", "frame", "object", "embed"] {
        for target in ["/ui/", "/v1/models", "/v1/models/a", "/v1/x"] {
            let answer = proxy.ask("GET", target, &navigation("cross-site", dest), b"");
            answer.own_error(403, "forbidden_host");
        }
        assert_eq!(proxy.ask("GET", "/-/health", &navigation("cross-site", dest), b"").status, 200);
    }
    let form = [CHAT, navigation("cross-site", "document")[0], ("Sec-Fetch-Mode", "navigate")];
    proxy.ask("POST", "/v1/x", &form, b"a=b").own_error(403, "forbidden_host");
    assert!(fake.requests().iter().all(|request| request.target() == "/v1/models"));
}

#[test]
fn what_an_upstream_shows_in_a_browser_is_no_page_of_ours() {
    let head = "200 OK\nContent-Type: text/html\nX-Content-Type-Options: off\n\
                Content-Security-Policy: default-src *";
    let page = response(head, "<script>1</script>");
    let list = response("404 Not Found\nContent-Type: text/html", "<script>2</script>");
    let fake = Fake::answering(move |request| match request.target() {
        "/v1/models" => list.clone(),
        _ => page.clone(),
    })
    .showing_lists();
    let proxy = before(&fake, PAGES);
    let html = [("Accept", "text/html,*/*;q=0.8")];
    for fields in [&navigation("same-site", "iframe")[..], &navigation("none", "document"), &html] {
        for target in ["/ui/", "/v1/x", "/v1/models", "/v1/models/a"] {
            let answer = proxy.ask("GET", target, fields, b"");
            assert!(answer.text().contains("<script>"), "{target}");
            let policies = answer.all("content-security-policy");
            assert!(policies.contains(&"sandbox"), "{target}: {policies:?}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{target}");
        }
    }
    // A browser may show an image of its cache as a document later.
    let image = [("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")];
    let agent = [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"), ("Accept", "image/*,*/*")];
    for fields in [&image[..], &agent, &[CHAT]] {
        for target in ["/ui/", "/v1/x", "/v1/models", "/v1/models/a"] {
            let answer = proxy.ask("GET", target, fields, b"");
            let policies = answer.all("content-security-policy");
            assert!(policies.contains(&"sandbox"), "{target}: {policies:?}");
        }
    }
    let answer = proxy.get("/ui/");
    assert_eq!(answer.all("content-security-policy"), ["default-src *"]);
    assert_eq!(answer.header("x-content-type-options"), Some("off"));
}

#[test]
fn no_upstream_speaks_for_the_whole_origin() {
    let fields = [
        "Clear-Site-Data: \"*\"",
        "Service-Worker-Allowed: /",
        "Strict-Transport-Security: max-age=1",
        "NEL: {}",
        "Report-To: {}",
        "Alt-Svc: h3=\":443\"",
        "Public-Key-Pins: x",
    ];
    let answer = response(&format!("200 OK\nX-Kept: 1\n{}", fields.join("\n")), "{\"id\":\"a\"}");
    let fake = Fake::answering(move |_| answer.clone());
    let proxy = before(&fake, PAGES);
    for target in ["/v1/x", "/v1/models/a", "/ui"] {
        let answer = proxy.get(target);
        assert_eq!(answer.header("x-kept"), Some("1"));
        for field in fields {
            assert_eq!(answer.header(field.split(':').next().unwrap()), None, "{target}: {field}");
        }
    }
}

#[test]
fn no_service_worker_is_given() {
    let fake = upstream();
    let proxy = before(&fake, PAGES);
    for target in ["/sw.js", "/v1/x", "/-/"] {
        let answer = proxy.ask("GET", target, &[("Service-Worker", "script")], b"");
        answer.own_error(403, "forbidden_host");
    }
    assert!(fake.requests().iter().all(|request| request.target() == "/v1/models"));
}

#[test]
fn many_wrong_keys_are_slowed_down_and_right_ones_are_not() {
    let fake = upstream();
    let proxy = before(&fake, KEYS);
    let status = |key: &str| proxy.ask("GET", "/v1/x", &[("x-api-key", key)], b"").status;
    let timed = |key: &str| {
        let began = Instant::now();
        (status(key), began.elapsed() >= Duration::from_secs(1))
    };
    for _ in 0..20 {
        proxy.get("/v1/x").own_error(401, "invalid_api_key"); // without a key: no guess
    }
    for number in 0..9 {
        assert_eq!(timed(&format!("wrong-{number}")), (401, false), "{number}");
    }
    assert!(!proxy.log().iter().any(|line| line.contains("many wrong")));
    assert_eq!(timed("wrong"), (401, true));
    let line = proxy.wait_for_log("many wrong client keys");
    assert!(line.contains("level=warn") && line.contains("client=127.0.0.1 "), "{line}");
    assert_eq!(timed("first-key-1"), (200, false));
    let key = [("X-Forwarded-For", "1.2.3.4"), ("x-api-key", "wrong")];
    let began = Instant::now();
    proxy.ask("GET", "/-/metrics", &key, b"").own_error(401, "invalid_api_key");
    assert!(began.elapsed() >= Duration::from_secs(1), "below /-/ too");
    // Many guesses at once do not delay other clients.
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| status("wrong"));
        }
        let refused = || proxy.log().iter().filter(|line| line.contains(" status=401 ")).count();
        eventually("most guesses are answered at once", || refused() >= 60);
        assert_eq!(timed("first-key-1"), (200, false));
    });
    let warnings = proxy.log().iter().filter(|line| line.contains("many wrong")).count();
    assert_eq!(warnings, 1);
}
