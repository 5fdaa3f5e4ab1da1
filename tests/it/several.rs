use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fake::{Fake, json, models, response};
use crate::proxy::Proxy;
use crate::wait::{DEADLINE, Gate, eventually};

pub const MISSING: &str = "x-model-filter-missing";

/// An address without a listener.
pub const NOWHERE: &str = "http://127.0.0.1:1/v1";

/// The section `model_filter` of these upstreams: name, base URL, settings in flow style.
pub fn upstreams(all: &[(&str, &str, &str)]) -> String {
    let entry = |(name, url, settings): &(&str, &str, &str)| {
        let comma = if settings.is_empty() { "" } else { ", " };
        format!("  {name}: {{base_url: '{url}'{comma}{settings}}}\n")
    };
    format!("model_filter:\n{}", all.iter().map(entry).collect::<String>())
}

fn listing(ids: &[&str]) -> Fake {
    Fake::listing(&models(ids))
}

/// Lists `ids` while the switch is on.
fn switched(ids: &[&str]) -> (Fake, Arc<AtomicBool>) {
    let on = Arc::new(AtomicBool::new(true));
    let (list, is_on) = (json(200, &models(ids)), Arc::clone(&on));
    let answer = move |_: &_| match is_on.load(Ordering::SeqCst) {
        true => list.clone(),
        false => json(500, r#"{"error":"off"}"#),
    };
    (Fake::answering(answer).showing_lists(), on)
}

fn lists_asked(fake: &Fake) -> usize {
    fake.requests().iter().filter(|request| request.target().ends_with("/models")).count()
}

#[test]
fn the_catalog_is_the_union_in_the_order_of_the_file() {
    let (first, second, third) = (listing(&["z", "a"]), listing(&["a"]), listing(&["m/n"]));
    let yaml = upstreams(&[
        ("zeta", &first.url("/v1"), ""),
        ("own", &second.url("/api/v1"), "prefix: deep/er"),
        ("bare", &third.url("/v1"), "prefix: ''"),
    ]);
    let proxy = Proxy::start(&yaml);
    for target in ["/v1/models", "/models"] {
        let list = proxy.get(target);
        assert_eq!(list.ids(), ["zeta/z", "zeta/a", "deep/er/a", "m/n"]);
        assert_eq!(list.header(MISSING), None);
        assert_eq!(list.json()["object"], "list");
    }
}

#[test]
fn each_upstream_has_filters_of_its_own_and_objects_stay_as_they_are() {
    let object = r#"{"x" : 1.0e0,"id":"keep", "id2":"keep"}"#;
    let first = Fake::listing(&format!(r#"{{"data":[{object},{{"id":"hide"}}]}}"#));
    let second = listing(&["b", "hide", "a"]);
    let proxy = Proxy::start(&upstreams(&[
        ("one", &first.url("/v1"), "simple: [keep]"),
        ("two", &second.url("/v1"), "default: 'b'"),
    ]));
    let list = proxy.get("/v1/models");
    assert_eq!(list.ids(), ["one/keep", "two/b", "two/a", "two/hide"]);
    let prefixed = object.replacen("\"keep\"", "\"one/keep\"", 1);
    assert!(list.text().contains(&prefixed), "{}", list.text());
}

#[test]
fn an_empty_list_is_no_failure() {
    let (first, second) = (listing(&[]), listing(&["a"]));
    let yaml = upstreams(&[("one", &first.url("/v1"), ""), ("two", &second.url("/v1"), "")]);
    let list = Proxy::start(&yaml).get("/v1/models");
    assert_eq!((list.ids(), list.header(MISSING)), (vec!["two/a".to_string()], None));
}

#[test]
fn a_dead_upstream_costs_its_own_models_and_nothing_else() {
    let alive = listing(&["a"]);
    let broken = Fake::answering(|_| json(500, "{}")).showing_lists();
    let proxy = Proxy::start(&upstreams(&[
        ("dead", NOWHERE, ""),
        ("alive", &alive.url("/v1"), ""),
        ("broken", &broken.url("/v1"), ""),
    ]));
    let list = proxy.get("/v1/models");
    assert_eq!(list.ids(), ["alive/a"]);
    assert_eq!(list.header(MISSING), Some("dead, broken"));
    for name in ["dead", "broken"] {
        let is_logged = |line: &String| line.contains("no list") && line.contains(name);
        eventually("the failure is logged", || proxy.warnings().iter().any(is_logged));
    }
    assert_eq!(proxy.ask("HEAD", "/v1/models", &[], b"").header(MISSING), Some("dead, broken"));
}

#[test]
fn a_failed_upstream_is_left_in_peace_for_five_seconds() {
    let alive = listing(&["a"]);
    let broken = Fake::answering(|_| json(500, "{}")).showing_lists();
    let proxy = Proxy::start(&upstreams(&[
        ("broken", &broken.url("/v1"), ""),
        ("alive", &alive.url("/v1"), ""),
    ]));
    assert_eq!(proxy.get("/v1/models").ids(), ["alive/a"]);
    let failed = Instant::now();
    let asked = lists_asked(&broken);
    assert_eq!(asked, 1);
    let again = || {
        assert_eq!(proxy.get("/v1/models").header(MISSING), Some("broken"));
        lists_asked(&broken) > asked
    };
    for _ in 0..10 {
        assert!(!again() || failed.elapsed() > Duration::from_secs(4));
    }
    eventually("it is asked again", again);
    let rested = failed.elapsed();
    assert!((4.0..8.0).contains(&rested.as_secs_f64()), "asked again after {rested:?}");
    assert!(lists_asked(&alive) > 10, "the other one was asked as ever");
}

#[test]
fn lists_are_asked_for_in_parallel() {
    let gates = [Gate::new(), Gate::new()];
    let meeting = |own: usize| {
        let (own, other) = (gates[own].clone(), gates[1 - own].clone());
        let answer = move |_: &_| {
            own.open();
            other.wait();
            json(200, &models(&["a"]))
        };
        Fake::answering(answer).showing_lists()
    };
    let (first, second) = (meeting(0), meeting(1));
    let yaml = upstreams(&[("one", &first.url("/v1"), ""), ("two", &second.url("/v1"), "")]);
    assert_eq!(Proxy::start(&yaml).get("/v1/models?together").ids(), ["one/a", "two/a"]);
}

#[test]
fn an_answer_takes_no_longer_than_the_slowest_list_timeout() {
    let gate = Gate::new();
    let until = gate.clone();
    let silent = Fake::answering(move |_| {
        until.wait();
        json(200, "{}")
    })
    .showing_lists();
    let stopping = Fake::scripted(|conn| {
        conn.read_request();
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{\"data\":[");
        // A byte now and then, so that no deadline between two reads expires.
        while conn.write(" ") {
            if Gate::new().opened_within(Duration::from_millis(100)) {
                return;
            }
        }
    })
    .showing_lists();
    let alive = listing(&["a"]);
    let proxy = Proxy::start(&upstreams(&[
        ("silent", &silent.url("/v1"), "list_timeout: 1"),
        ("alive", &alive.url("/v1"), ""),
        ("dripping", &stopping.url("/v1"), "list_timeout: 0.5"),
    ]));
    let started = Instant::now();
    let list = proxy.get("/v1/models?late");
    let took = started.elapsed();
    gate.open();
    assert_eq!(
        (list.ids(), list.header(MISSING)),
        (vec!["alive/a".into()], Some("silent, dripping"))
    );
    assert!((0.9..2.5).contains(&took.as_secs_f64()), "{took:?}");
}

#[test]
fn where_all_fail_the_first_failure_is_mirrored() {
    let first = "418 Teapot\nContent-Type: text/x-tea\nRetry-After: 7\nX-Request-Id: r-1";
    let first = Fake::answering(move |_| response(first, "no coffee")).showing_lists();
    let second = Fake::answering(|_| json(500, "second")).showing_lists();
    let yaml = upstreams(&[("one", &first.url("/v1"), ""), ("two", &second.url("/v1"), "")]);
    let answer = Proxy::start(&yaml).get("/v1/models");
    assert_eq!((answer.status, answer.text().as_str()), (418, "no coffee"));
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert_eq!(answer.header("content-type"), Some("text/x-tea"));
    assert_eq!(answer.header("x-request-id"), Some("r-1"));
}

#[test]
fn where_none_can_be_reached_that_is_told() {
    let yaml = upstreams(&[("one", NOWHERE, ""), ("two", NOWHERE, "")]);
    let message = Proxy::start(&yaml).get("/v1/models").own_error(502, "upstream_unreachable");
    assert!(message.contains("one"), "{message}");
}

#[test]
fn cache_stale_serves_the_last_list_of_a_dead_upstream() {
    let (dying, on) = switched(&["a"]);
    let alive = listing(&["b"]);
    let proxy = Proxy::start(&upstreams(&[
        ("dying", &dying.url("/v1"), "cache_ttl: 0.2, cache_stale: 60"),
        ("alive", &alive.url("/v1"), ""),
    ]));
    assert_eq!(proxy.get("/v1/models").ids(), ["dying/a", "alive/b"]);
    on.store(false, Ordering::SeqCst);
    let asked = lists_asked(&dying);
    eventually("a refresh fails", || {
        let list = proxy.get("/v1/models");
        assert_eq!((list.ids().len(), list.header(MISSING)), (2, None));
        lists_asked(&dying) > asked
    });
    assert_eq!(proxy.get("/v1/models").ids(), ["dying/a", "alive/b"]);
}

#[test]
fn a_failed_refresh_is_told_in_the_log_though_the_old_list_serves() {
    let (dying, on) = switched(&["a"]);
    let alive = listing(&["b"]);
    let proxy = Proxy::start(&upstreams(&[
        ("dying", &dying.url("/v1"), "cache_ttl: 0.2, cache_stale: 60"),
        ("alive", &alive.url("/v1"), ""),
    ]));
    assert_eq!(proxy.get("/v1/models").ids(), ["dying/a", "alive/b"]);
    on.store(false, Ordering::SeqCst);
    let asked = lists_asked(&dying);
    eventually("a refresh fails", || {
        proxy.get("/v1/models");
        lists_asked(&dying) > asked
    });
    let is_logged = |line: &String| line.contains("dying") && line.contains("500");
    eventually("the status is logged", || proxy.warnings().iter().any(is_logged));
}

#[test]
fn without_cache_stale_the_models_of_a_dead_upstream_go() {
    let (dying, on) = switched(&["a"]);
    let alive = listing(&["b"]);
    let proxy = Proxy::start(&upstreams(&[
        ("dying", &dying.url("/v1"), "cache_ttl: 0.2"),
        ("alive", &alive.url("/v1"), ""),
    ]));
    assert_eq!(proxy.get("/v1/models").ids(), ["dying/a", "alive/b"]);
    on.store(false, Ordering::SeqCst);
    eventually("it is missed", || {
        let list = proxy.get("/v1/models");
        list.header(MISSING) == Some("dying") && list.ids() == ["alive/b"]
    });
}

#[test]
fn an_upstreams_cache_entry_survives_the_failure_of_another() {
    let (first, first_on) = switched(&["a"]);
    let (second, second_on) = switched(&["b"]);
    let proxy = Proxy::start(&upstreams(&[
        ("one", &first.url("/v1"), "cache_ttl: 60"),
        ("two", &second.url("/v1"), ""),
    ]));
    assert_eq!(proxy.get("/v1/models").ids(), ["one/a", "two/b"]);
    let asked = lists_asked(&first);
    first_on.store(false, Ordering::SeqCst);
    second_on.store(false, Ordering::SeqCst);
    let list = proxy.get("/v1/models");
    assert_eq!((list.ids(), list.header(MISSING)), (vec!["one/a".to_string()], Some("two")));
    assert_eq!(lists_asked(&first), asked);
}

#[test]
fn a_failure_for_one_client_is_no_failure_for_another() {
    let fake = Fake::answering(|request| match request.header("authorization") {
        Some("Bearer right") => json(200, &models(&["a"])),
        _ => json(401, "{}"),
    })
    .showing_lists();
    let other = listing(&["b"]);
    let proxy = Proxy::start(&upstreams(&[
        ("one", &fake.url("/v1"), "authorization: passthrough"),
        ("two", &other.url("/v1"), ""),
    ]));
    let ask = |key: &str| proxy.ask("GET", "/v1/models", &[("Authorization", key)], b"");
    assert_eq!(ask("Bearer wrong").header(MISSING), Some("one"));
    assert_eq!(ask("Bearer right").ids(), ["one/a", "two/b"]);
    assert_eq!(ask("Bearer wrong").header(MISSING), Some("one"));
    assert!(fake.counts_within("/v1/models", 2, DEADLINE));
    assert_eq!(fake.lists_for("Bearer wrong"), 1);
}
