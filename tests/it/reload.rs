use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::client::{Client, End};
use crate::fake::{EVENTS, Fake, LAST_CHUNK, Request, chunk, json, models};
use crate::proxy::{Proxy, plain};
use crate::wait::{DEADLINE, Gate, eventually};

fn ids(proxy: &Proxy) -> Vec<String> {
    proxy.get("/v1/models").ids()
}

#[test]
fn a_good_configuration_takes_effect_while_streams_go_on_under_the_old_one() {
    let gate = Gate::new();
    let opened = gate.clone();
    let old = Fake::scripted(move |conn| {
        while let Some(request) = conn.read_request() {
            if request.target() == "/v1/models" {
                conn.write(json(200, &models(&["a", "b"])));
                continue;
            }
            conn.write([EVENTS.as_bytes(), &chunk("data: 1\n\n")].concat());
            opened.opened_within(DEADLINE * 6);
            conn.write([chunk("data: 2\n\n"), LAST_CHUNK.into()].concat());
        }
    })
    .showing_lists();
    let new = Fake::listing(&models(&["a", "b", "c"]));
    let proxy = Proxy::before(&old, "simple: [a]");
    assert_eq!(ids(&proxy), ["a"]);
    let mut client = Client::of(&proxy);
    client.send("POST", "/v1/stream", &[], b"{}");
    client.head();
    assert_eq!(client.event().unwrap(), "data: 1\n\n");

    proxy.reload(
        &plain(&new.url("/v1"), "exclude: {simple: [a]}"),
        "msg=\"configuration reloaded\"",
    );
    assert_eq!(ids(&proxy), ["b", "c"]);
    gate.open();
    assert_eq!(client.rest(), (b"data: 2\n\n".to_vec(), End::Complete));
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_all_that_is_wrong() {
    let fake = Fake::listing(&models(&["a", "b"]));
    let mut proxy = Proxy::before(&fake, "simple: [a]");
    let bad = format!("{}server: {{port: none}}", plain(&fake.url("/v1"), "regexp: ['(']"));
    proxy.reload(&bad, "regexp[0]");
    proxy.wait_for_log("server.port");
    assert_eq!(ids(&proxy), ["a"]);
    proxy.reload(&plain(&fake.url("/v1"), "simple: [b]"), "msg=\"configuration reloaded\"");
    assert_eq!(ids(&proxy), ["b"]);
    proxy.signal("TERM");
    assert_eq!(proxy.exit_code(), Some(0));
}

/// The other end of a pipe, once the proxy has begun to read it.
fn when_read(pipe: &Path) -> File {
    let (opened, waiting) = std::sync::mpsc::channel();
    let pipe = PathBuf::from(pipe);
    std::thread::spawn(move || opened.send(OpenOptions::new().write(true).open(pipe).unwrap()));
    waiting.recv_timeout(DEADLINE).expect("the proxy to read its file")
}

#[test]
fn signals_are_obeyed_while_a_reload_waits_for_its_file() {
    let fake = Fake::listing(&models(&["a", "b"]));
    let mut proxy = Proxy::before(&fake, "simple: [a]");
    let pipe = proxy.pipe_for_configuration();
    proxy.signal("HUP");
    let _never_ends = when_read(&pipe);
    assert_eq!(ids(&proxy), ["a"]);
    proxy.signal("TERM");
    assert_eq!(proxy.exit_code(), Some(0));
}

#[test]
fn what_is_asked_for_during_a_reload_is_done_after_it() {
    let fake = Fake::listing(&models(&["a", "b"]));
    let proxy = Proxy::before(&fake, "");
    let pipe = proxy.pipe_for_configuration();
    proxy.signal("HUP");
    let mut first = when_read(&pipe);
    proxy.signal("HUP");
    first.write_all(plain(&fake.url("/v1"), "simple: [a]").as_bytes()).unwrap();
    drop(first);
    proxy.wait_for_log("msg=\"configuration reloaded\"");
    assert_eq!(ids(&proxy), ["a"]);
    let mut second = when_read(&pipe);
    second.write_all(plain(&fake.url("/v1"), "simple: [b]").as_bytes()).unwrap();
    drop(second);
    eventually("the second configuration is in force", || ids(&proxy) == ["b"]);
}

#[test]
fn what_needs_a_restart_is_named() {
    let fake = Fake::listing(&models(&["a", "b"]));
    let proxy = Proxy::before(&fake, "");
    let changed = format!(
        "{}server: {{max_requests: 7, client_keys: [a-key-of-ours]}}",
        plain(&fake.url("/v1"), "authorization: none\nsimple: [b]")
    );
    proxy.reload(&changed, "this needs a restart");
    proxy.get("/v1/models").own_error(401, "invalid_api_key");
    let key = [("Authorization", "Bearer a-key-of-ours")];
    assert_eq!(proxy.ask("GET", "/v1/models", &key, b"").ids(), ["b"]);
}

#[test]
fn no_request_is_lost_to_a_hundred_reloads() {
    let fake = Fake::answering(|request: &Request| json(200, request.target()));
    let proxy = Proxy::before(&fake, "");
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::of(&proxy);
                    for number in 0..100 {
                        let target = format!("/v1/{number}");
                        client.send("POST", &target, &[], b"{}");
                        assert_eq!(client.response().text(), target);
                    }
                })
            })
            .collect();
        (0..100).for_each(|_| proxy.signal("HUP"));
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
    proxy.wait_for_log("msg=\"configuration reloaded\"");
}
