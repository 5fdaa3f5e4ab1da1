use std::time::{Duration, Instant};

use crate::client::{Client, Response};
use crate::fake::{Conn, Fake, json};
use crate::proxy::{Proxy, plain};
use crate::wait::{DEADLINE, Gate};

/// The response if the upstream runs `script` after it has read the request.
fn answer_to(settings: &str, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Response {
    let fake = Fake::scripted(move |conn| {
        if conn.read_request().is_some() {
            script(conn);
        }
    });
    let proxy = Proxy::before(&fake, settings);
    let answer = proxy.post("/v1/x", "{}");
    let line = proxy.exchange("/v1/x");
    assert_eq!(line.get("side").as_deref(), Some("upstream"), "{line:?}");
    assert_eq!(line.get("status"), Some(answer.status.to_string()), "{line:?}");
    assert!(line.get("error").is_some(), "{line:?}");
    assert!(answer.text().contains(&fake.host()), "{}", answer.text());
    assert_eq!(fake.requests().len(), 1, "a POST is never sent twice");
    answer
}

fn assert_invalid(script: impl Fn(&mut Conn) + Send + Sync + 'static) {
    answer_to("", script).own_error(502, "upstream_invalid_response");
}

#[test]
fn a_refused_connection_is_502() {
    let proxy = Proxy::start(&plain("http://127.0.0.1:1/v1", ""));
    for target in ["/v1/x", "/v1/models", "/health"] {
        let message = proxy.get(target).own_error(502, "upstream_unreachable");
        assert!(message.contains("127.0.0.1:1"), "{message}");
        assert!(message.contains("refused"), "{message}");
    }
    assert_eq!(proxy.exchange("/v1/x").get("side").as_deref(), Some("upstream"));
}

#[test]
fn a_name_that_cannot_be_resolved_is_502() {
    let proxy = Proxy::start(&plain("http://no-such-host.invalid/v1", ""));
    let message = proxy.get("/v1/x").own_error(502, "upstream_unreachable");
    assert!(message.contains("no-such-host.invalid"), "{message}");
}

#[test]
fn tls_with_an_upstream_that_speaks_none_is_502() {
    let fake = Fake::scripted(|conn| {
        conn.write("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let url = fake.url("/v1").replace("http:", "https:");
    let answer = Proxy::start(&plain(&url, "")).get("/v1/x");
    assert_eq!(answer.status, 502);
    assert!(answer.header("x-model-filter-error").unwrap().starts_with("upstream_"));
}

#[test]
fn a_silent_upstream_is_504_after_total_timeout() {
    let begun = Instant::now();
    let answer = answer_to("total_timeout: 1", |conn| {
        conn.wait_until_closed();
    });
    answer.own_error(504, "upstream_timeout");
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn a_head_that_does_not_end_is_504_after_total_timeout() {
    let answer = answer_to("total_timeout: 1", |conn| {
        conn.write("HTTP/1.1 200 OK\r\nX-A: b\r\n");
        conn.wait_until_closed();
    });
    answer.own_error(504, "upstream_timeout");
}

#[test]
fn garbage_is_502() {
    assert_invalid(|conn| {
        conn.write("SSH-2.0-OpenSSH_9.6\r\n\r\n");
    });
}

#[test]
fn an_impossible_length_is_502() {
    assert_invalid(|conn| {
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n");
    });
}

#[test]
fn a_connection_closed_before_the_head_is_502() {
    assert_invalid(|conn| conn.cut());
}

#[test]
fn a_connection_closed_within_the_head_is_502() {
    assert_invalid(|conn| {
        conn.write("HTTP/1.1 200 OK\r\nContent-Le");
    });
}

#[test]
fn a_head_without_end_is_502() {
    assert_invalid(|conn| {
        conn.write("HTTP/1.1 200 OK\r\n");
        let line = format!("X-Long: {}\r\n", "x".repeat(1000));
        for _ in 0..10_000 {
            if !conn.write(&line) {
                break;
            }
        }
    });
}

#[test]
fn a_short_body_that_is_cut_is_still_502() {
    assert_invalid(|conn| {
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n{\"half\":");
    });
}

#[test]
fn a_request_body_that_ends_early_is_no_request_of_that_length() {
    let fake = Fake::scripted(|conn| {
        conn.read_request();
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    // tiny_http reads a body of up to 1,024 bytes before it hands out the request.
    client.send("POST", "/v1/x", &[("Content-Length", "2000")], b"half");
    drop(client);
    let line = proxy.exchange("/v1/x");
    assert_eq!(line.get("side").as_deref(), Some("client"), "{line:?}");
    assert_eq!(fake.requests().len(), 0, "a half body must not look whole");
}

#[test]
fn a_failure_ends_one_exchange_and_not_the_connection() {
    let fake = Fake::scripted(|conn| {
        while let Some(request) = conn.read_request() {
            if request.target() == "/v1/bad" {
                return;
            }
            conn.write(json(200, "{}"));
        }
    });
    let proxy = Proxy::before(&fake, "");
    let mut client = Client::of(&proxy);
    for (target, status) in [("/v1/x", 200), ("/v1/bad", 502), ("/v1/x", 200)] {
        client.send("POST", target, &[], b"{}");
        assert_eq!(client.response().status, status);
    }
}

#[test]
fn a_refused_upstream_does_not_hold_up_the_start() {
    let proxy = Proxy::start(&plain("http://127.0.0.1:1/v1", ""));
    proxy.get("/v1/../x").own_error(400, "bad_request");
    proxy.wait_for_log("level=warn"); // about the list
}

#[test]
fn a_silent_upstream_does_not_hold_up_the_start() {
    let fake = Fake::scripted(|conn| {
        conn.wait_until_closed();
    });
    let begun = Instant::now();
    let proxy = Proxy::before(&fake, "");
    proxy.get("/v1/../x").own_error(400, "bad_request");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// The response for an upstream behind an HTTP proxy that does this with a request for a
/// tunnel.
fn behind(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> String {
    let message = asked_behind(script, "").own_error(502, "upstream_unreachable");
    assert!(message.contains("\"upstream.invalid\": no connection: "), "{message}");
    message
}

fn asked_behind(script: impl Fn(&mut Conn) + Send + Sync + 'static, settings: &str) -> Response {
    let between = Fake::scripted(move |conn| {
        if conn.read_request().is_some() {
            script(conn);
        }
    });
    let remote = plain("https://upstream.invalid/v1", settings);
    let proxy = Proxy::start_with(&remote, &[], &[("HTTPS_PROXY", &between.url(""))]);
    let answer = proxy.post("/v1/x", "{}");
    assert_eq!(proxy.exchange("/v1/x").get("side").as_deref(), Some("upstream"));
    let asked = between.requests();
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|r| r.line == "CONNECT upstream.invalid:443 HTTP/1.1"), "{asked:?}");
    answer
}

#[test]
fn a_tunnel_that_an_http_proxy_refuses_is_502_unreachable() {
    let message = behind(|conn| {
        conn.write(json(403, "{}"));
    });
    assert!(message.contains("403"), "{message}");
}

#[test]
fn a_tunnel_that_an_http_proxy_breaks_off_is_502_unreachable() {
    behind(|conn| conn.cut());
    behind(|conn| {
        conn.write("HTTP/1.1 200 OK\r\n\r\n");
        conn.write("and no TLS");
    });
}

#[test]
fn a_tunnel_that_an_http_proxy_drips_is_504_after_connection_timeout() {
    let begun = Instant::now();
    let drip = |conn: &mut Conn| {
        conn.write("HTTP/1.1 200 OK\r\nX-Drip: ");
        while conn.write("x") && !Gate::new().opened_within(Duration::from_millis(50)) {}
    };
    asked_behind(drip, "connection_timeout: 1").own_error(504, "upstream_timeout");
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
}
