//! No client waits for a list if another one may be returned; and what clients and the log say about lists.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::fake::{Fake, Request, json, models, response};
use crate::proxy::{Proxy, plain};
use crate::several::{MISSING, upstreams};
use crate::wait::{Gate, eventually};

/// Serves a list that a test can replace.
fn changing(list: &str) -> (Fake, Arc<Mutex<String>>) {
    let list = Arc::new(Mutex::new(list.to_owned()));
    let current = Arc::clone(&list);
    let answer = move |_: &Request| json(200, &current.lock().unwrap());
    (Fake::answering(answer).showing_lists(), list)
}

/// Lists one model until it is switched off, and is silent from then on.
fn sleeping() -> (Fake, Arc<AtomicBool>, Gate) {
    let (asleep, gate) = (Arc::new(AtomicBool::new(false)), Gate::new());
    let (is_asleep, wakes) = (Arc::clone(&asleep), gate.clone());
    let answer = move |_: &Request| {
        if is_asleep.load(Ordering::SeqCst) {
            wakes.opened_within(Duration::from_secs(30));
        }
        json(200, &models(&["home"]))
    };
    (Fake::answering(answer).showing_lists(), asleep, gate)
}

/// Longer than a response from memory takes on a busy machine, shorter than any wait for an upstream.
const AT_ONCE: Duration = Duration::from_secs(4);

fn at_once<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = work();
    assert!(begun.elapsed() < AT_ONCE, "{what} took {:?}", begun.elapsed());
    result
}

#[test]
fn a_stale_list_is_returned_at_once_while_the_upstream_is_silent() {
    let (fake, asleep, gate) = sleeping();
    let settings = "cache_ttl: 0.2\ncache_stale: 600\napi_key: k";
    let proxy = Proxy::start(&plain(&fake.url("/v1"), settings));
    assert_eq!(proxy.get("/v1/models").ids(), ["home"]);
    asleep.store(true, Ordering::SeqCst);
    let asked = fake.requests().len();
    eventually("it is asked again", || {
        at_once("a stale list", || assert_eq!(proxy.get("/v1/models").ids(), ["home"]));
        fake.requests().len() > asked
    });
    // The refresh runs, and no client waits for it or begins another one.
    for _ in 0..5 {
        at_once("a stale list", || assert_eq!(proxy.get("/v1/models").ids(), ["home"]));
    }
    assert_eq!(fake.requests().len(), asked + 1);
    gate.open();
}

#[test]
fn one_refresh_at_a_time_runs_for_all_clients_of_an_upstream() {
    let (fake, asleep, gate) = sleeping();
    let proxy = Proxy::before(&fake, "cache_ttl: 0.1\ncache_stale: 600");
    let ask = |n: usize| {
        let key = format!("Bearer {n}");
        proxy.ask("GET", "/v1/models", &[("Authorization", &key)], b"").ids()
    };
    for n in 0..8 {
        assert_eq!(ask(n), ["home"]);
    }
    asleep.store(true, Ordering::SeqCst);
    let asked = fake.requests().len();
    eventually("it is asked again", || {
        (0..8).for_each(|n| at_once("a stale list", || assert_eq!(ask(n), ["home"])));
        fake.requests().len() > asked
    });
    (0..8).for_each(|n| at_once("a stale list", || assert_eq!(ask(n), ["home"])));
    assert_eq!(fake.requests().len(), asked + 1);
    gate.open();
}

#[test]
fn a_silent_upstream_is_waited_for_once_and_then_missing_at_once() {
    let (silent, asleep, gate) = sleeping();
    asleep.store(true, Ordering::SeqCst);
    let alive = Fake::listing(&models(&["a"]));
    let proxy = Proxy::start(&upstreams(&[
        ("silent", &silent.url("/v1"), "list_timeout: 6"),
        ("alive", &alive.url("/v1"), ""),
    ]));
    let ask = || {
        let list = proxy.get("/v1/models");
        assert_eq!((list.ids(), list.header(MISSING)), (vec!["alive/a".into()], Some("silent")));
    };
    ask();
    for _ in 0..5 {
        at_once("a list without the silent upstream", ask);
    }
    // After the back-off it is asked again, and still no client waits.
    let asked = silent.requests().len();
    eventually("it is asked again", || {
        at_once("a list without the silent upstream", ask);
        silent.requests().len() > asked
    });
    at_once("a list while the silent upstream is asked", ask);
    gate.open();
    eventually("it is back", || proxy.get("/v1/models").ids() == ["silent/home", "alive/a"]);
}

#[test]
fn a_list_with_its_own_key_is_refreshed_before_it_expires() {
    let count = AtomicUsize::new(0);
    let answer = move |_: &Request| {
        json(200, &models(&[format!("m{}", count.fetch_add(1, Ordering::SeqCst))]))
    };
    let fake = Fake::answering(answer).showing_lists();
    let settings = "cache_ttl: 1\napi_key: k";
    let proxy = Proxy::start(&plain(&fake.url("/v1"), settings));
    proxy.wait_for_log("kept=1");
    assert!(!fake.counts_within("/v1/models", 2, Duration::from_millis(1500)), "no client asked");
    let list = proxy.get("/v1/models").ids();
    assert_eq!(list, ["m1"], "the first one has expired");
    assert!(fake.counts_within("/v1/models", 4, Duration::from_secs(10)), "it is kept fresh");
}

#[test]
fn an_empty_list_is_soon_asked_for_again_and_replaces_no_other() {
    let (fake, list) = changing(&models::<&str>(&[]));
    let settings = "cache_ttl: 900\ncache_stale: 900\napi_key: k";
    let proxy = Proxy::start(&plain(&fake.url("/v1"), settings));
    assert!(proxy.get("/v1/models").ids().is_empty());
    *list.lock().unwrap() = models(&["a"]);
    eventually("the new list is there", || proxy.get("/v1/models").ids() == ["a"]);
    *list.lock().unwrap() = models::<&str>(&[]);
    let proxy = Proxy::start(&plain(&fake.url("/v1"), "cache_stale: 900\napi_key: k"));
    assert!(proxy.get("/v1/models").ids().is_empty());
    *list.lock().unwrap() = models(&["a"]);
    eventually("the new list is there", || proxy.get("/v1/models").ids() == ["a"]);
    *list.lock().unwrap() = models::<&str>(&[]);
    let asked = fake.requests().len();
    eventually("it is asked again", || {
        assert_eq!(proxy.get("/v1/models").ids(), ["a"]);
        fake.requests().len() >= asked + 2
    });
}

#[test]
fn what_changed_is_logged_once_and_counted() {
    let (fake, list) = changing(&models(&["a", "b", "hidden-1"]));
    let settings = "cache_stale: 900\napi_key: k\nexclude: {regexp: ['hidden.*']}";
    let proxy = Proxy::start(&plain(&fake.url("/v1"), settings));
    assert_eq!(proxy.get("/v1/models").ids(), ["a", "b"]);
    let new = ["b", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "hidden-2"];
    *list.lock().unwrap() = models(&new);
    eventually("the new list is there", || proxy.get("/v1/models").ids().len() == 8);
    let line = proxy.wait_for_log("models changed");
    assert!(line.contains(r#"added="c1, c2, c3, c4, c5 and 2 more" removed=a"#), "{line}");
    *list.lock().unwrap() = models(&[&new[..8], &["hidden-3"]].concat());
    let asked = fake.requests().len();
    eventually("it is asked again", || {
        proxy.get("/v1/models");
        fake.requests().len() >= asked + 3
    });
    let lines = proxy.log().iter().filter(|line| line.contains("models changed")).count();
    assert_eq!(lines, 1, "hidden models are no news");
    let name = fake.host();
    let sample = format!("model_filter_list_changes_total{{upstream=\"{name}\"}} 1");
    assert!(proxy.get("/-/metrics").text().contains(&sample));
}

#[test]
fn an_id_of_two_upstreams_is_logged_once_with_where_its_requests_go() {
    let (fake, list) = changing(&models(&["two/a", "two/b", "x"]));
    let other = Fake::listing(&models(&["a", "c"]));
    let yaml =
        upstreams(&[("one", &fake.url("/v1"), "prefix: ''"), ("two", &other.url("/v1"), "")]);
    let proxy = Proxy::start(&yaml);
    for more in ["y", "z"] {
        assert_eq!(proxy.get("/v1/models").ids().len(), 5);
        *list.lock().unwrap() = models(&["two/a", "two/b", more]);
    }
    assert_eq!(proxy.get("/v1/models").ids().len(), 5);
    proxy.exchange("/v1/models"); // logged after any warning
    let warnings = proxy.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(
        warnings[0].contains("model=two/a upstreams=\"one, two\" requests_go_to=two"),
        "{warnings:?}"
    );
}

#[test]
fn a_list_that_a_client_has_is_not_sent_again() {
    let (fake, list) = changing(&models(&["a"]));
    let other = Fake::listing(&models(&["b"]));
    let two = upstreams(&[("one", &fake.url("/v1"), ""), ("two", &other.url("/v1"), "")]);
    for yaml in [plain(&fake.url("/v1"), ""), two] {
        let proxy = Proxy::start(&yaml);
        let all = proxy.get("/v1/models");
        let etag = all.header("etag").unwrap().to_owned();
        assert_eq!(all.header("cache-control"), Some("no-cache"));
        let head = proxy.ask("HEAD", "/v1/models", &[], b"");
        assert_eq!(head.header("etag"), Some(etag.as_str()));
        assert_eq!(head.header("content-length"), all.header("content-length"));
        for known in [etag.clone(), format!("\"x\", W/{etag}"), "*".to_owned()] {
            for method in ["GET", "HEAD"] {
                let same = proxy.ask(method, "/v1/models", &[("If-None-Match", &known)], b"");
                assert_eq!((same.status, same.body.len()), (304, 0), "{known}");
                assert_eq!(same.header("content-length"), None);
                assert_eq!(same.header("etag"), Some(etag.as_str()));
            }
        }
        let changed = models(&[etag.trim_matches('"')]);
        *list.lock().unwrap() = changed;
        let new = proxy.ask("GET", "/v1/models", &[("If-None-Match", &etag)], b"");
        assert_eq!(new.status, 200);
        assert_ne!(new.header("etag"), Some(etag.as_str()));
    }
}

#[test]
fn an_upstream_is_asked_whether_its_list_is_still_the_same() {
    let fake = Fake::answering(|request: &Request| match request.header("if-none-match") {
        Some("W/\"1\"") => response("304 Not Modified\nETag: W/\"1\"", ""),
        _ => response("200 OK\nContent-Type: application/json\nETag: W/\"1\"", models(&["a"])),
    })
    .showing_lists();
    let settings = "cache_stale: 900\napi_key: k\nhidden: reject";
    let proxy = Proxy::start(&plain(&fake.url("/v1"), settings));
    eventually("it is asked a third time", || {
        assert_eq!(proxy.get("/v1/models").ids(), ["a"]);
        fake.requests().len() > 2
    });
    for (at, request) in fake.requests().iter().enumerate() {
        assert_eq!(request.header("if-none-match").is_some(), at > 0, "request {at}");
    }
    assert_eq!(proxy.post("/v1/x", r#"{"model":"a"}"#).status, 200);
}

#[test]
fn the_only_upstreams_error_is_mirrored_like_any_response() {
    let head = "429 Too Many Requests\nContent-Type: text/x\nX-Request-Id: r-1\n\
                X-RateLimit-Remaining: 0\nRetry-After: 7\nSet-Cookie: s=1\nConnection: x-hop\n\
                X-Hop: no\nStrict-Transport-Security: max-age=1";
    let fake = Fake::answering(move |_| response(head, "slowly")).showing_lists();
    for (settings, cookie) in [("", Some("s=1")), ("api_key: k", None)] {
        let list = Proxy::before(&fake, settings).get("/v1/models");
        assert_eq!((list.status, list.text().as_str()), (429, "slowly"));
        for (name, value) in [
            ("x-request-id", Some("r-1")),
            ("x-ratelimit-remaining", Some("0")),
            ("retry-after", Some("7")),
            ("content-type", Some("text/x")),
            ("set-cookie", cookie),
            ("x-hop", None),
            ("strict-transport-security", None),
        ] {
            assert_eq!(list.header(name), value, "{name}");
        }
    }
}

#[test]
fn a_list_is_waited_for_no_longer_than_any_response() {
    let (fake, asleep, gate) = sleeping();
    asleep.store(true, Ordering::SeqCst);
    let proxy = Proxy::before(&fake, "total_timeout: 0.4");
    let message = proxy.get("/v1/models").own_error(504, "upstream_timeout");
    assert!(message.contains("0.4 s"), "{message}");
    gate.open();
}

#[test]
fn the_page_shows_the_age_of_the_list_that_clients_get() {
    let (fake, _) = changing(&models(&["a"]));
    let proxy = Proxy::before(&fake, "cache_stale: 900");
    let served = || proxy.get("/-/models.json").json()["upstreams"][0]["served"].clone();
    proxy.get("/v1/models");
    let served = served();
    assert_eq!(served["stale"], true);
    assert!(
        served["age_s"].as_f64().unwrap() < 60.0
            && served["came"].as_u64().unwrap() > 1_700_000_000
    );
}
