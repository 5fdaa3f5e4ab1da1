//! A list is served only to the credentials that it was fetched with.

use crate::client::Client;
use crate::fake::{Fake, LAST_CHUNK, Request, chunk, json, models};
use crate::proxy::{Proxy, plain};
use crate::recorder::Recorder;
use crate::several::upstreams;

/// Lists one model, named after the client's credentials.
fn personal() -> Fake {
    Fake::answering(|request: &Request| {
        let all = ["authorization", "x-api-key", "cookie"].map(|name| request.all(name).join("+"));
        let who = all.join("|").replace("Bearer ", "");
        json(200, &models(&[who]))
    })
    .showing_lists()
}

fn ask(proxy: &Proxy, headers: &[(&str, &str)]) -> Vec<String> {
    proxy.ask("GET", "/v1/models", headers, b"").ids()
}

#[test]
fn each_client_of_a_passthrough_upstream_has_a_list_of_its_own() {
    let fake = personal();
    let proxy = Proxy::start(&plain(&fake.url("/v1"), "cache_ttl: 60"));
    let alice = [("Authorization", "Bearer alice")];
    let bob = [("Authorization", "Bearer bob")];
    for _ in 0..2 {
        assert_eq!(ask(&proxy, &alice), ["alice||"]);
        assert_eq!(ask(&proxy, &bob), ["bob||"]);
        assert_eq!(ask(&proxy, &[("x-api-key", "alice")]), ["|alice|"]);
        assert_eq!(ask(&proxy, &[("Cookie", "alice")]), ["||alice"]);
        assert_eq!(ask(&proxy, &[alice[0], bob[0]]), ["alice+bob||"]);
        assert_eq!(ask(&proxy, &[alice[0], ("Connection", "authorization")]), ["||"]);
        assert_eq!(ask(&proxy, &[]), ["||"]);
    }
    assert_eq!((fake.lists_for("Bearer alice"), fake.lists_for("Bearer bob")), (2, 1));
}

#[test]
fn a_keyring_is_told_apart_by_the_part_that_counts() {
    let (one, two) = (personal(), personal());
    let rule = "authorization: keyring, cache_ttl: 60";
    let yaml = upstreams(&[("one", &one.url("/v1"), rule), ("two", &two.url("/v1"), rule)]);
    let proxy = Proxy::start(&yaml);
    for (token, first, second) in [
        ("Bearer one=a,two=b", "one/a||", "two/b||"),
        ("Bearer two=b,one=a", "one/a||", "two/b||"),
        ("Bearer one=a,two=c", "one/a||", "two/c||"),
        ("Bearer one=d", "one/d||", "two/||"),
    ] {
        assert_eq!(ask(&proxy, &[("Authorization", token)]), [first, second], "{token}");
    }
    assert_eq!((one.lists_for("Bearer a"), two.lists_for("Bearer b")), (1, 1));
}

#[test]
fn where_credentials_do_not_matter_one_list_is_for_all() {
    for settings in ["api_key: ours\ncache_ttl: 60", "authorization: none\ncache_ttl: 60"] {
        let fake = personal();
        let proxy = Proxy::start(&plain(&fake.url("/v1"), settings));
        let own = if settings.contains("ours") { "ours||" } else { "||" };
        for client in ["alice", "bob"] {
            let bearer = format!("Bearer {client}");
            assert_eq!(ask(&proxy, &[("Authorization", &bearer), ("Cookie", client)]), [own]);
        }
        assert_eq!(fake.requests().len(), 1, "the start's own list is the same");
    }
}

#[test]
fn one_key_ring_is_one_question_for_clients_with_client_keys() {
    let fake = personal();
    let settings = "cache_ttl: 60\nauthorization: none\n";
    let yaml = format!(
        "{}server: {{client_keys: [first-key-1, second-key-2]}}",
        plain(&fake.url("/v1"), settings)
    );
    let proxy = Proxy::start(&yaml);
    for key in ["first-key-1", "second-key-2"] {
        assert_eq!(ask(&proxy, &[("x-api-key", key), ("Cookie", key)]), ["||"]);
    }
    assert_eq!(fake.requests().len(), 1);
}

#[test]
fn lists_of_many_clients_take_a_bounded_room() {
    let padding = "x".repeat(5_000_000);
    let list = format!(r#"{{"data":[{{"id":"m","padding":"{padding}"}}]}}"#);
    let fake = Fake::answering(move |_: &Request| json(200, &list)).showing_lists();
    let proxy = Proxy::start(&plain(&fake.url("/v1"), "cache_ttl: 60"));
    let clients = ["Bearer a", "Bearer b", "Bearer c", "Bearer d"];
    for client in clients {
        assert_eq!(ask(&proxy, &[("Authorization", client)]), ["m"]);
    }
    ask(&proxy, &[("Authorization", "Bearer d")]);
    ask(&proxy, &[("Authorization", "Bearer a")]);
    assert_eq!(fake.lists_for("Bearer d"), 1, "the newest is kept");
    assert_eq!(fake.lists_for("Bearer a"), 2, "the oldest made room");
}

/// Values that a parser might or might not take for a credential: none is relayed.
#[test]
fn a_credential_in_a_trailer_or_an_odd_spelling_goes_nowhere() {
    let recorder = Recorder::answering(|_| json(200, "{}"));
    let settings = "api_key: the-own-key\n";
    let proxy = Proxy::start(&plain(&recorder.url("/v1"), settings));
    let head = "POST /v1/x HTTP/1.1\r\nHost: localhost\r\n";
    let trailer = [
        format!("{head}Trailer: Authorization\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes(),
        chunk("{}"),
        LAST_CHUNK.replace("\r\n\r\n", "\r\nAuthorization: Bearer client-secret\r\n\r\n").into(),
    ]
    .concat();
    let odd = [
        "Authorization : Bearer client-secret",
        "Authorization\t: Bearer client-secret",
        " Authorization: Bearer client-secret",
        "X-Folded: a\r\n Authorization: Bearer client-secret",
        "X-Folded: a\r\n\tcookie: client-secret",
        "Connection: X-Api-Key\r\nX-Api-Key: client-secret",
        "Connection: Authorization, Cookie\r\nCOOKIE:client-secret\r\nauthorization:client-secret",
    ];
    let odd =
        odd.map(|field| format!("{head}{field}\r\nContent-Length: 2\r\n\r\n{{}}").into_bytes());
    for request in odd.into_iter().chain([trailer]) {
        let mut client = Client::of(&proxy);
        client.send_raw(&request);
        let _ = client.writer().shutdown(std::net::Shutdown::Write);
        while !client.is_closed() {
            if client.response().status >= 400 {
                break;
            }
        }
    }
    proxy.get("/v1/last");
    drop(proxy);
    let bytes = recorder.bytes().concat();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("GET /v1/last ") && text.contains("Bearer the-own-key"), "{text}");
    assert!(!text.contains("client-secret"), "{text}");
}
