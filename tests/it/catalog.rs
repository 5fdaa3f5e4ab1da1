use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::client::{Client, End, Response};
use crate::fake::{Fake, json, models, response};
use crate::proxy::Proxy;
use crate::wait::{Gate, eventually};

/// The ids that are listed with these settings if the upstream has `all`.
fn listed(all: &[&str], settings: &str) -> Vec<String> {
    let fake = Fake::listing(&models(all));
    Proxy::before(&fake, settings).get("/v1/models").ids()
}

fn list_for(proxy: &Proxy, token: &str) -> Response {
    proxy.ask("GET", "/v1/models", &[("Authorization", token)], b"")
}

/// Fails with `failure` the first time that `Bearer a` asks, or from then on.
fn failing(times: std::ops::Range<usize>, failure: Vec<u8>) -> Fake {
    let asked = AtomicUsize::new(0);
    Fake::answering(move |request| {
        let test = request.header("authorization").is_some();
        if test && times.contains(&asked.fetch_add(1, Ordering::SeqCst)) {
            failure.clone()
        } else {
            json(200, &models(&["a"]))
        }
    })
    .showing_lists()
}

const SOME: &[&str] = &["z/Llama-3", "gpt-4o", "a/llama-2", "mistral"];

#[test]
fn everything_is_listed_without_a_filter() {
    assert_eq!(listed(SOME, ""), SOME);
}

#[test]
fn a_null_filter_is_as_if_absent() {
    assert_eq!(listed(SOME, "regexp: null\nsimple:"), SOME);
}

#[test]
fn a_regexp_keeps_whole_ids_whatever_their_case_in_the_upstreams_order() {
    assert_eq!(
        listed(SOME, "regexp: ['.*llama.*', 'gpt', '.*MISTRA']"),
        ["z/Llama-3", "a/llama-2"]
    );
}

#[test]
fn an_alternative_matches_the_whole_id_too() {
    assert_eq!(listed(&["ax", "a", "b", "xb"], "regexp: ['a|b']"), ["a", "b"]);
}

#[test]
fn simple_keeps_exact_ids_whatever_their_case() {
    assert_eq!(listed(SOME, "simple: [MISTRAL, llama, gpt-4.]"), ["mistral"]);
}

#[test]
fn regexp_and_simple_add_up() {
    assert_eq!(listed(SOME, "simple: [gpt-4o]\nregexp: ['mis.*']"), ["gpt-4o", "mistral"]);
}

#[test]
fn case_counts_where_case_sensitive_is_on() {
    let settings = "case_sensitive: yes\nregexp: ['.*llama.*']\nsimple: [GPT-4o]";
    assert_eq!(listed(SOME, settings), ["a/llama-2"]);
}

#[test]
fn an_empty_filter_keeps_nothing() {
    assert_eq!(listed(SOME, "regexp: []"), [""; 0]);
    assert_eq!(listed(SOME, "simple: []"), [""; 0]);
}

#[test]
fn exclude_hides_what_was_kept() {
    let settings = "regexp: ['.*llama.*', 'gpt.*']\nexclude: {regexp: ['Z/.*'], simple: [GPT-4O]}";
    assert_eq!(listed(SOME, settings), ["a/llama-2"]);
    assert_eq!(listed(SOME, "exclude: {simple: [mistral]}"), &SOME[..3]);
}

#[test]
fn the_default_model_leads_and_the_others_are_sorted() {
    let ids = listed(&["d", "b2", "a", "b1", "hidden"], "regexp: ['.|b.']\ndefault: 'B.'");
    assert_eq!(ids, ["b1", "a", "b2", "d"]);
}

#[test]
fn a_default_that_is_not_kept_changes_no_order() {
    assert_eq!(listed(&["d", "x", "a"], "simple: [d, a]\ndefault: x"), ["d", "a"]);
}

#[test]
fn a_model_object_is_passed_on_byte_for_byte() {
    let object = r#"{"created":1.0e-7,"id":"a\/Llama","z":{"y":[1,2.50,1E5,-0],"é":"\u00e9\ud83d\ude00"},"big":123456789012345678901234567890,"a":null,"z2":[ ]}"#;
    let fake = Fake::listing(&format!(r#"{{"data":[{{"id":"gpt"}},{object}]}}"#));
    let list = Proxy::before(&fake, "regexp: ['.*llama']").get("/v1/models");
    assert_eq!(list.ids(), ["a/Llama"]);
    assert!(list.text().contains(object), "{}", list.text());
}

#[test]
fn other_fields_of_the_list_stay() {
    let fake = Fake::listing(
        r#"{"x":"x","object":"list","data":[{"id":"a"}],"has_more":false,"n":{"m":1.50}}"#,
    );
    let list = Proxy::before(&fake, "").get("/v1/models").json();
    assert_eq!(list["object"], "list");
    assert_eq!(list["x"], "x");
    assert_eq!(list["has_more"], Value::Bool(false));
    assert_eq!(list["n"]["m"], 1.5);
}

#[test]
fn a_bare_array_is_read_too() {
    let fake = Fake::listing(r#"[{"id":"a"},{"id":"b"}]"#);
    let list = Proxy::before(&fake, "simple: [b]").get("/v1/models").json();
    let listed = list.as_array().or(list["data"].as_array()).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["id"], "b");
}

#[test]
fn objects_without_a_string_id_are_dropped_with_one_warning() {
    let fake = Fake::listing(r#"{"data":[{"id":7},{"label":"x"},"s",null,{"id":"a"}]}"#);
    let proxy = Proxy::before(&fake, "");
    assert_eq!(proxy.get("/v1/models").ids(), ["a"]);
    proxy.exchange("/v1/models"); // logged after any warning
    let warnings = proxy.warnings().len();
    let lists = fake.requests().len(); // one is fetched at the start
    assert!((1..=lists).contains(&warnings), "{warnings} warnings for {lists} lists");
}

#[test]
fn the_list_is_json_of_known_length() {
    let fake = Fake::listing(&models(SOME));
    let list = Proxy::before(&fake, "").get("/v1/models");
    assert!(list.header("content-type").unwrap().starts_with("application/json"));
    assert_eq!(list.header("content-length").unwrap(), list.body.len().to_string());
}

#[test]
fn head_is_get_without_the_body() {
    let fake = Fake::listing(&models(SOME));
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    client.send("HEAD", "/v1/models", &[], b"");
    let head = client.response();
    client.send("GET", "/v1/models", &[], b"");
    let get = client.response();
    assert_eq!((head.status, head.headers), (get.status, get.headers));
    assert_eq!(get.body.len(), models(SOME).len());
}

#[test]
fn the_list_is_asked_for_uncompressed() {
    let fake = Fake::listing(&models(SOME));
    let proxy = Proxy::before(&fake, "");
    proxy.ask("GET", "/v1/models?q", &[("Accept-Encoding", "gzip, br")], b"");
    assert_eq!(fake.wait_for("/v1/models?q").all("accept-encoding"), ["identity"]);
}

#[test]
fn without_a_cache_ttl_each_request_asks_the_upstream() {
    let fake = Fake::listing(&models(SOME));
    let proxy = Proxy::before(&fake, "");
    list_for(&proxy, "Bearer a");
    list_for(&proxy, "Bearer a");
    assert_eq!(fake.lists_for("Bearer a"), 2);
}

#[test]
fn within_cache_ttl_the_upstream_is_asked_once() {
    let fake = Fake::listing(&models(SOME));
    let proxy = Proxy::before(&fake, "cache_ttl: 60");
    let first = list_for(&proxy, "Bearer a");
    assert_eq!(list_for(&proxy, "Bearer a").body, first.body);
    assert_eq!(fake.lists_for("Bearer a"), 1);
}

#[test]
fn credentials_do_not_share_a_cached_list() {
    let fake = Fake::answering(|request| {
        json(200, &models(&[request.header("authorization").unwrap_or("no-key")]))
    })
    .showing_lists();
    let proxy = Proxy::before(&fake, "cache_ttl: 60");
    for token in ["Bearer a", "Bearer b", "Bearer a"] {
        assert_eq!(list_for(&proxy, token).ids(), [token]);
    }
    assert_eq!(proxy.get("/v1/models").ids(), ["no-key"]);
}

#[test]
fn query_strings_do_not_share_a_cached_list() {
    let fake = Fake::answering(|request| json(200, &models(&[request.target()]))).showing_lists();
    let proxy = Proxy::before(&fake, "cache_ttl: 60");
    for target in ["/v1/models?a=%20", "/v1/models?b", "/v1/models?a=%20", "/v1/models"] {
        assert_eq!(proxy.get(target).ids(), [target]);
    }
}

#[test]
fn only_a_200_is_cached() {
    let fake = failing(0..1, json(500, "{}"));
    let proxy = Proxy::before(&fake, "cache_ttl: 60");
    let statuses = [(); 3].map(|()| list_for(&proxy, "Bearer a").status);
    assert_eq!(statuses, [500, 200, 200]);
    assert_eq!(fake.lists_for("Bearer a"), 2);
}

#[test]
fn many_clients_at_once_cost_one_fetch() {
    let gate = Gate::new();
    let opened = gate.clone();
    let fake = Fake::scripted(move |conn| {
        while let Some(request) = conn.read_request() {
            if request.target() == "/v1/models?q" {
                opened.wait();
            }
            conn.write(json(200, &models(SOME)));
        }
    })
    .showing_lists();
    let proxy = Proxy::before(&fake, "cache_ttl: 60");
    // One after the other: connections that are opened at once are another test's affair.
    let warm = |_| {
        let mut client = Client::of(&proxy);
        client.send("GET", "/v1/warm", &[], b"");
        assert_eq!(client.response().status, 200);
        client
    };
    let mut clients: Vec<Client> = (0..16).map(warm).collect();
    for client in &mut clients {
        client.send("GET", "/v1/models?q", &[], b"");
    }
    // The time in which the others would ask for themselves.
    assert!(!fake.counts_within("/v1/models?q", 2, Duration::from_millis(300)));
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().ids(), SOME);
    }
    assert!(!fake.counts_within("/v1/models?q", 2, Duration::ZERO));
}

#[test]
fn with_cache_stale_a_failed_refresh_serves_the_old_list() {
    let fake = failing(1..usize::MAX, json(500, "{}"));
    let proxy = Proxy::before(&fake, "cache_ttl: 1\ncache_stale: 60");
    eventually("the list is requested again", || {
        assert_eq!(list_for(&proxy, "Bearer a").ids(), ["a"]);
        fake.lists_for("Bearer a") > 1
    });
    assert_eq!(list_for(&proxy, "Bearer a").ids(), ["a"]);
}

#[test]
fn without_cache_stale_a_failed_refresh_is_told() {
    let fake = failing(1..usize::MAX, json(500, "{}"));
    let proxy = Proxy::before(&fake, "cache_ttl: 1");
    assert_eq!(list_for(&proxy, "Bearer a").status, 200);
    eventually("the old list is gone", || list_for(&proxy, "Bearer a").status == 500);
}

#[test]
fn an_upstreams_error_is_mirrored() {
    let fake = Fake::answering(|_| {
        response("429 Slow Down\nContent-Type: application/problem+json\nRetry-After: 7", "{ }\n")
    })
    .showing_lists();
    let list = Proxy::before(&fake, "").get("/v1/models");
    assert_eq!((list.status, list.text().as_str()), (429, "{ }\n"));
    assert_eq!(list.header("content-type"), Some("application/problem+json"));
    assert_eq!(list.header("retry-after"), Some("7"));
    assert_eq!(list.header("x-model-filter-error"), None);
}

/// Although the proxy asks for an uncompressed list.
#[test]
fn an_error_that_the_upstream_compressed_says_so() {
    let compressed = "500 No\nContent-Type: text/plain\nContent-Encoding: gzip";
    let fake = Fake::answering(move |_| response(compressed, b"\x1f\x8b")).showing_lists();
    let list = Proxy::before(&fake, "").get("/v1/models");
    assert_eq!((list.status, list.body.as_slice()), (500, &b"\x1f\x8b"[..]));
    assert_eq!(list.header("content-encoding"), Some("gzip"));
}

#[test]
fn a_wrong_key_is_the_upstreams_own_error() {
    let body = r#"{"error":{"message":"Incorrect API key"}}"#;
    let fake = Fake::answering(move |_| {
        let head = "401 Unauthorized\nContent-Type: text/x; a=b\nWWW-Authenticate: Bearer r=\"x\"";
        response(head, body)
    })
    .showing_lists();
    let list = Proxy::before(&fake, "").get("/models");
    assert_eq!((list.status, list.text().as_str()), (401, body));
    assert_eq!(list.header("www-authenticate"), Some("Bearer r=\"x\""));
}

#[test]
fn a_list_that_was_changed_on_its_way_is_filtered_as_any() {
    let fake = Fake::answering(|_| json(203, &models(SOME))).showing_lists();
    let proxy = Proxy::before(&fake, "simple: [mistral]\ncache_ttl: 60");
    assert_eq!(list_for(&proxy, "Bearer a").ids(), ["mistral"]);
    assert_eq!(list_for(&proxy, "Bearer a").ids(), ["mistral"]);
    assert_eq!(fake.lists_for("Bearer a"), 1);
}

#[test]
fn no_list_is_shown_unfiltered_whatever_its_status() {
    for status in [201, 202, 206, 226, 299] {
        let fake = Fake::answering(move |_| json(status, &models(SOME))).showing_lists();
        let list = Proxy::before(&fake, "simple: [mistral]").get("/v1/models");
        let message = list.own_error(502, "upstream_invalid_response");
        assert!(message.contains(&status.to_string()), "{message}");
    }
}

/// Heads that are no valid response to any request.
const NOT_UNDERSTOOD: [&str; 3] = [
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "HTTP/1.1 500 No\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\nb\r\n{\"data\":[]}\r\n0\r\n\r\n",
];

#[test]
fn an_answer_that_is_not_understood_is_an_invalid_response() {
    for head in NOT_UNDERSTOOD {
        let fake = Fake::answering(move |_| head).showing_lists();
        let proxy = Proxy::before(&fake, "");
        for target in ["/v1/models", "/v1/models/a", "/v1/x"] {
            proxy.get(target).own_error(502, "upstream_invalid_response");
        }
        let proxy = Proxy::with_prefix(&fake, "");
        for target in ["/v1/models", "/v1/models/my/a"] {
            proxy.get(target).own_error(502, "upstream_invalid_response");
        }
    }
}

#[test]
fn a_list_that_is_no_json_is_an_invalid_response() {
    let fake = Fake::listing("<html>");
    let list = Proxy::before(&fake, "").get("/v1/models");
    assert!(list.own_error(502, "upstream_invalid_response").contains(&fake.host()));
}

#[test]
fn a_json_that_is_no_list_is_an_invalid_response() {
    for body in [r#"{"object":"list"}"#, r#"{"data":{}}"#, "7", "null"] {
        let fake = Fake::listing(body);
        let list = Proxy::before(&fake, "").get("/v1/models");
        list.own_error(502, "upstream_invalid_response");
    }
}

#[test]
fn a_list_cut_short_is_an_invalid_response() {
    let fake = Fake::scripted(|conn| {
        conn.read_request();
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n{\"data\":[]}");
        conn.cut();
    })
    .showing_lists();
    let list = Proxy::before(&fake, "").get("/v1/models");
    list.own_error(502, "upstream_invalid_response");
}

#[test]
fn a_list_that_does_not_come_is_waited_for_as_long_as_list_timeout() {
    let fake = Fake::scripted(|conn| {
        conn.read_request();
        conn.wait_until_closed();
    })
    .showing_lists();
    let list = Proxy::before(&fake, "list_timeout: 1").get("/v1/models");
    list.own_error(504, "upstream_timeout");
}

#[test]
fn a_list_may_come_in_chunks() {
    let fake = Fake::answering(|_| {
        let (head, end) = (crate::fake::CHUNKED, crate::fake::LAST_CHUNK);
        let (left, right) = (crate::fake::chunk("[{\"id\":"), crate::fake::chunk("\"a\"}]"));
        [head.as_bytes(), &left, &right, end.as_bytes()].concat()
    })
    .showing_lists();
    let list = Proxy::before(&fake, "").get("/v1/models");
    assert_eq!((list.status, list.end), (200, End::Complete));
    assert!(list.text().contains(r#"{"id":"a"}"#));
}

#[test]
fn a_prefix_goes_before_each_id_and_changes_nothing_else() {
    let fake = Fake::listing(r#"{"data":[{"n":1.0e-7, "id" : "a\/b","m":"a/b"},{"id":"c"}]}"#);
    let proxy = Proxy::with_prefix(&fake, "simple: [a/b]");
    let list = proxy.get("/v1/models");
    assert_eq!(list.ids(), ["my/a/b"]);
    let before = list.text().contains(r#"{"n":1.0e-7, "id" : "my/"#);
    assert!(before && list.text().contains(r#""m":"a/b"}"#), "{}", list.text());
}

#[test]
fn filter_and_default_see_ids_without_the_prefix() {
    let fake = Fake::listing(&models(&["b", "a", "my/x"]));
    let proxy = Proxy::with_prefix(&fake, "regexp: ['.']\ndefault: b");
    assert_eq!(proxy.get("/v1/models").ids(), ["my/b", "my/a"]);
}
