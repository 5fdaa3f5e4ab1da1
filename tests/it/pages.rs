//! A list in pages is whole for clients, or it is an error.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::fake::{Fake, Request, json};
use crate::proxy::{Proxy, plain};
use crate::several::upstreams;
use crate::wait::Gate;

/// How a provider writes page `n` of three.
type Page = fn(usize) -> String;

/// The models of a page, the first of which must be hidden.
fn items(n: usize, name: &str) -> String {
    format!(r#"[{{"{name}":"hidden-{n}"}},{{"{name}":"m{n}"}}]"#)
}

/// Anthropic: https://platform.claude.com/docs/en/api/models/list
fn anthropic(n: usize) -> String {
    let (data, more) = (items(n, "id"), n < 3);
    format!(r#"{{"data":{data},"has_more":{more},"first_id":"hidden-{n}","last_id":"m{n}"}}"#)
}

/// OpenAI's lists: https://platform.openai.com/docs/api-reference/assistants/listAssistants
fn openai(n: usize) -> String {
    let (data, more) = (items(n, "id"), n < 3);
    format!(
        r#"{{"object":"list","data":{data},"first_id":"hidden-{n}","last_id":"m{n}","has_more":{more}}}"#
    )
}

/// OpenRouter: https://openrouter.ai/docs/api-reference
fn openrouter(n: usize) -> String {
    let next = if n < 3 { format!("\"/v1/models?p={}\"", n + 1) } else { "null".to_owned() };
    format!(r#"{{"data":{},"links":{{"next":{next}}}}}"#, items(n, "id"))
}

/// Gemini: https://ai.google.dev/api/models#method:-models.list
fn gemini(n: usize) -> String {
    let token = if n < 3 { format!(r#","nextPageToken":"t+{n}""#) } else { String::new() };
    format!(r#"{{"models":{}{token}}}"#, items(n, "name"))
}

/// Cohere: https://docs.cohere.com/reference/list-models
fn cohere(n: usize) -> String {
    let token = if n < 3 { format!(r#","next_page_token":"t+{n}""#) } else { String::new() };
    format!(r#"{{"models":{}{token}}}"#, items(n, "name"))
}

/// Serves the pages at these targets; anything else is an error.
fn paged(page: Page, targets: [&'static str; 3]) -> Fake {
    let answer = move |request: &Request| {
        let at = targets.iter().position(|target| *target == request.target());
        at.map_or_else(|| json(500, "{}"), |at| json(200, &page(at + 1)))
    };
    Fake::answering(answer).showing_lists()
}

#[test]
fn each_kind_of_pages_becomes_one_list() {
    let kinds: [(Page, _, &str); 5] = [
        (
            anthropic,
            ["/v1/models", "/v1/models?after_id=m1", "/v1/models?after_id=m2"],
            r#"{"data":[{"id":"m1"},{"id":"m2"},{"id":"m3"}],"has_more":false,"first_id":"m1","last_id":"m3"}"#,
        ),
        (
            openai,
            ["/v1/models", "/v1/models?after=m1", "/v1/models?after=m2"],
            r#"{"object":"list","data":[{"id":"m1"},{"id":"m2"},{"id":"m3"}],"first_id":"m1","last_id":"m3","has_more":false}"#,
        ),
        (
            openrouter,
            ["/v1/models", "/v1/models?p=2", "/v1/models?p=3"],
            r#"{"data":[{"id":"m1"},{"id":"m2"},{"id":"m3"}],"links":{"next":null}}"#,
        ),
        (
            gemini,
            ["/v1/models", "/v1/models?pageToken=t%2B1", "/v1/models?pageToken=t%2B2"],
            r#"{"models":[{"name":"m1"},{"name":"m2"},{"name":"m3"}],"nextPageToken":""}"#,
        ),
        (
            cohere,
            ["/v1/models", "/v1/models?page_token=t%2B1", "/v1/models?page_token=t%2B2"],
            r#"{"models":[{"name":"m1"},{"name":"m2"},{"name":"m3"}],"next_page_token":""}"#,
        ),
    ];
    for (page, targets, whole) in kinds {
        let fake = paged(page, targets);
        let list = Proxy::before(&fake, "regexp: ['m.']").get("/v1/models");
        assert_eq!((list.status, list.text().as_str()), (200, whole));
        let yaml = upstreams(&[
            ("a", &fake.url("/v1"), "simple: [m1, m3]"),
            ("b", &fake.url("/v1"), "simple: [m2]"),
        ]);
        assert_eq!(Proxy::start(&yaml).get("/v1/models").ids(), ["a/m1", "a/m3", "b/m2"]);
    }
}

#[test]
fn a_clients_pages_are_no_affair_of_the_upstreams() {
    let fake = paged(anthropic, ["/v1/models", "/v1/models?after_id=m1", "/v1/models?after_id=m2"]);
    let proxy = Proxy::before(&fake, "cache_ttl: 60");
    for query in ["", "?limit=1", "?after_id=m1&user=u", "?page%54oken=x", "?limit=2&limit=3&"] {
        assert_eq!(proxy.get(&format!("/v1/models{query}")).ids().len(), 6, "{query}");
    }
    assert_eq!(fake.requests().len(), 3, "one list is for all");
}

#[test]
fn another_query_is_sent_with_each_page() {
    let targets =
        ["/v1/models?x=%20", "/v1/models?x=%20&after_id=m1", "/v1/models?x=%20&after_id=m2"];
    let fake = paged(anthropic, targets);
    let list = Proxy::before(&fake, "").get("/v1/models?limit=5&x=%20&after=z");
    assert_eq!(list.ids().len(), 6);
}

#[test]
fn each_page_is_asked_for_with_the_key() {
    let fake = paged(openrouter, ["/v1/models", "/v1/models?p=2", "/v1/models?p=3"]);
    let proxy = Proxy::start(&plain(&fake.url("/v1"), "api_key: ours"));
    assert_eq!(proxy.get("/v1/models").ids().len(), 6);
    for request in fake.requests() {
        assert_eq!(request.all("authorization"), ["Bearer ours"]);
        assert_eq!(request.all("accept-encoding"), ["identity"]);
    }
}

#[test]
fn a_page_that_fails_fails_the_list_and_nothing_is_kept() {
    let asked = AtomicUsize::new(0);
    let fake = Fake::answering(move |request: &Request| match request.target() {
        "/v1/models" => json(200, &anthropic(1)),
        "/v1/models?after_id=m1" if asked.fetch_add(1, Ordering::SeqCst) < 2 => {
            json(429, r#"{"error":"later"}"#)
        }
        "/v1/models?after_id=m1" => json(200, &anthropic(2)),
        _ => json(200, &anthropic(3)),
    })
    .showing_lists();
    let proxy = Proxy::before(&fake, "cache_ttl: 60");
    proxy.wait_for_log("no list");
    let failed = proxy.get("/v1/models");
    assert_eq!((failed.status, failed.text().as_str()), (429, r#"{"error":"later"}"#));
    assert_eq!(proxy.get("/v1/models").ids().len(), 6);
}

#[test]
fn pages_without_end_or_at_another_origin_are_refused() {
    let other = |link: &str| {
        let list = format!(r#"{{"data":[],"links":{{"next":"{link}"}}}}"#);
        Fake::listing(&list)
    };
    let count = AtomicUsize::new(0);
    let endless = move |_: &Request| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        json(200, &format!(r#"{{"data":[],"nextPageToken":"{n}"}}"#))
    };
    for (fake, what) in [
        (Fake::answering(endless).showing_lists(), "more than 100 pages"),
        (Fake::listing(r#"{"data":[],"nextPageToken":"same"}"#), "follows itself"),
        (other("https://elsewhere.example/v1/models"), "another origin"),
        (other("//elsewhere.example/v1/models"), "another origin"),
        (other("models?page=2"), "another origin"),
    ] {
        let answer = Proxy::before(&fake, "").get("/v1/models");
        let message = answer.own_error(502, "upstream_invalid_response");
        assert!(message.contains(what), "{message}");
    }
}

#[test]
fn a_link_may_repeat_the_origin_but_not_extend_it() {
    for (end, is_followed) in
        [("/v1/models?p=2", true), (".evil.example/v1", false), ("@x/", false)]
    {
        let gate = Gate::new();
        let fake = Fake::answering(move |request: &Request| match request.target() {
            "/v1/models" => {
                let host = request.header("host").unwrap();
                json(200, &format!(r#"{{"data":[],"links":{{"next":"http://{host}{end}"}}}}"#))
            }
            _ => {
                gate.open();
                json(200, r#"{"data":[{"id":"last"}],"links":{}}"#)
            }
        })
        .showing_lists();
        let list = Proxy::before(&fake, "").get("/v1/models");
        match is_followed {
            true => assert_eq!(list.ids(), ["last"]),
            false => drop(list.own_error(502, "upstream_invalid_response")),
        }
    }
}

#[test]
fn all_pages_have_one_deadline() {
    let gate = Gate::new();
    let opened = gate.clone();
    let fake = Fake::answering(move |request: &Request| {
        if request.target() != "/v1/models" {
            opened.opened_within(Duration::from_millis(400));
        }
        let n = request.target().len();
        json(200, &format!(r#"{{"data":[],"nextPageToken":"{}"}}"#, "x".repeat(n)))
    })
    .showing_lists();
    let list = Proxy::before(&fake, "list_timeout: 1").get("/v1/models");
    list.own_error(504, "upstream_timeout");
}
