use std::sync::{Arc, OnceLock};

use crate::client::{Client, Response};
use crate::fake::{Fake, response};
use crate::proxy::{Proxy, plain};
use crate::several::upstreams;

/// Responds with a redirect to this place; `SELF` stands for the upstream's own origin.
fn moving(location: &'static str) -> Fake {
    let origin: Arc<OnceLock<String>> = Arc::default();
    let known = Arc::clone(&origin);
    let fake = Fake::answering(move |_| {
        let location = location.replace("SELF", known.get().unwrap());
        response(&format!("308 Moved\nLocation: {location}"), "")
    })
    .showing_lists();
    origin.set(fake.url("")).unwrap();
    fake
}

fn location(answer: &Response) -> &str {
    assert_eq!(answer.status, 308);
    answer.header("location").unwrap()
}

#[test]
fn a_redirect_to_the_upstream_itself_leads_to_us() {
    for (there, path) in [
        ("SELF/api/v1/files/?a=%2F#b", "/v1/files/?a=%2F#b"),
        ("SELF/api/health", "/health"),
        ("SELF/api/v1", "/v1"),
    ] {
        let fake = moving(there);
        let proxy = Proxy::start(&plain(&fake.url("/api/v1"), "api_key: ours"));
        let mut client = Client::of(&proxy);
        for (fields, origin) in [
            ("Host: localhost:99\r\n", "http://localhost:99"),
            ("Host: localhost\r\nX-Forwarded-Proto: https\r\n", "https://localhost"),
            ("", ""),
        ] {
            client.send_raw(format!("POST /v1/files HTTP/1.1\r\n{fields}\r\n"));
            assert_eq!(location(&client.response()), format!("{origin}{path}"), "{there}");
        }
    }
    let fake = moving("/api/v1/x/");
    let proxy = Proxy::start_with(&plain(&fake.url("/api/v1"), ""), &["-r", "/llm"], &[]);
    assert_eq!(location(&proxy.get("/llm/v1/x")), "/llm/v1/x/");
}

#[test]
fn a_redirect_elsewhere_is_passed_on() {
    for there in ["https://elsewhere.example/api/v1/x", "SELF/login", "SELF0/api/v1", "next", ""] {
        let fake = moving(there);
        let proxy = Proxy::start(&plain(&fake.url("/api/v1"), ""));
        let expected = there.replace("SELF", &fake.url(""));
        assert_eq!(location(&proxy.get("/v1/x")), expected);
    }
}

#[test]
fn with_several_upstreams_a_redirect_names_its_own() {
    let (fake, other) = (moving("SELF/v1/files/"), moving("SELF/v1/models/"));
    let yaml = upstreams(&[("one", &fake.url("/v1"), ""), ("two", &other.url("/v1"), "")]);
    let proxy = Proxy::start(&yaml);
    for (target, expected) in
        [("/one/v1/files", "/one/v1/files/"), ("/two/v1/models", "/two/v1/models/")]
    {
        assert_eq!(location(&proxy.get(target)), format!("http://localhost{expected}"));
    }
    let answer = proxy.post("/v1/files", r#"{"model":"one/a"}"#);
    assert_eq!(location(&answer), "http://localhost/one/v1/files/");
}

/// A client that followed it would get the list unfiltered.
#[test]
fn a_redirect_of_the_list_does_not_lead_around_the_filter() {
    let fake = moving("SELF/v1/models/");
    let proxy = Proxy::before(&fake, "simple: [a]");
    assert_eq!(location(&proxy.get("/v1/models")), "http://localhost/v1/models/");
    assert!(fake.requests().iter().all(|seen| seen.target() == "/v1/models"), "none is followed");
}
