use std::io::Write;

use crate::client::{Client, Response};
use crate::fake::{Fake, LAST_CHUNK, Request, chunk, json, models};
use crate::proxy::Proxy;
use crate::several::upstreams;

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// `a/` and `a/b/`, and `bare` if there is one with the empty prefix.
struct Three {
    fakes: Vec<(&'static str, Fake)>,
    proxy: Proxy,
}

impl Three {
    fn new(bare: bool, settings: &str) -> Three {
        let names: &[(&str, &str)] = if bare {
            &[("a", "a"), ("ab", "a/b"), ("bare", "")]
        } else {
            &[("a", "a"), ("ab", "a/b/")]
        };
        let echo = |request: &Request| {
            let id = request.target().rsplit("models/").next().unwrap();
            json(200, &format!(r#"{{"at":1.0, "id":"{}"}}"#, id.replace("%2F", "/")))
        };
        let fakes: Vec<_> = names.iter().map(|(name, _)| (*name, Fake::answering(echo))).collect();
        let mut yaml = "model_filter:\n".to_string();
        for ((name, prefix), (_, fake)) in names.iter().zip(&fakes) {
            let url = fake.url("/v1");
            yaml += &format!("  {name}: {{base_url: '{url}', prefix: '{prefix}'{settings}}}\n");
        }
        let proxy = Proxy::start(&yaml);
        Three { fakes, proxy }
    }

    /// The upstream that got the only request since the last call, and the request.
    fn reached(&self, before: &[usize]) -> (&'static str, Request) {
        let new = self.fakes.iter().zip(before);
        let mut new: Vec<_> = new
            .flat_map(|((name, fake), before)| {
                fake.requests().into_iter().skip(*before).map(|request| (*name, request))
            })
            .collect();
        assert_eq!(new.len(), 1, "{new:#?}");
        new.remove(0)
    }

    fn counts(&self) -> Vec<usize> {
        self.fakes.iter().map(|(_, fake)| fake.requests().len()).collect()
    }

    fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (&'static str, Request) {
        let before = self.counts();
        let answer = self.proxy.ask(method, target, headers, body);
        assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
        self.reached(&before)
    }

    fn refuse(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let before = self.counts();
        let answer = self.proxy.ask(method, target, headers, body);
        assert_eq!(self.counts(), before, "{method} {target} was relayed");
        answer
    }
}

fn body_with(model: &str) -> String {
    format!(
        "{{ \"messages\" : [ {{\"model\":\"a/in\",\"x\":\"\\u00e9 a/b/ é\"}} ],\r\n\t\"model\" : \"{model}\" ,\
         \"n\":1.00e0,\"big\":12345678901234567890123, \"e\":[ ] }}\n"
    )
}

#[test]
fn the_longest_prefix_counts_and_is_stripped_once() {
    let three = Three::new(true, "");
    for (model, name, own) in [
        ("a/x", "a", "x"),
        ("a/b/x", "ab", "x"),
        ("a/b/b/x", "ab", "b/x"),
        ("a/b/a/b/x", "ab", "a/b/x"),
        ("a/a/x", "a", "a/x"),
        ("a/b", "a", "b"),
        ("a/bc/x", "a", "bc/x"),
        ("A/x", "bare", "A/x"),
        ("unknown/x", "bare", "unknown/x"),
        ("a", "bare", "a"),
        ("", "bare", ""),
    ] {
        let (reached, request) =
            three.send("POST", "/v1/chat/completions", &[JSON], body_with(model).as_bytes());
        assert_eq!((reached, request.text()), (name, body_with(own)), "{model}");
        assert_eq!(request.all("content-length"), [body_with(own).len().to_string()]);
    }
}

#[test]
fn a_model_counts_on_every_relayed_path_and_method() {
    let three = Three::new(false, "");
    for target in
        ["/v1/embeddings", "/v1/audio/speech?x=%2F", "/v1//images//edits", "/v1", "/api/x"]
    {
        for method in ["POST", "PUT", "PATCH"] {
            let (reached, request) = three.send(method, target, &[JSON], br#"{"model":"a/b/x"}"#);
            assert_eq!((reached, request.text().as_str()), ("ab", r#"{"model":"x"}"#), "{target}");
            // A double slash behind `/v1` is a slip in the client's base URL.
            let own = target.replacen("/v1//", "/v1/", 1);
            assert_eq!((request.method(), request.target()), (method, own.as_str()));
        }
    }
}

#[test]
fn a_form_goes_where_its_model_points() {
    let three = Three::new(false, "");
    let form = |model: &str| {
        let file = b"\0\xff\r\n--no boundary\r\nname=\"model\" a/b/x\r\n--B";
        let part =
            |name: &str| format!("--BB\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        [
            b"--BB\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a/b/model\"\r\n\r\n".as_slice(),
            file,
            format!("\r\n{}a/b/nested\r\n{}{model}\r\n--BB--\r\n", part("prompt"), part("model")).as_bytes(),
        ]
        .concat()
    };
    let kind = ("Content-Type", "multipart/form-data; boundary=BB");
    for target in ["/v1/audio/transcriptions", "/v1/images/edits"] {
        for (model, name, own) in
            [("a/b/whisper", "ab", "whisper"), ("a/whisper-1", "a", "whisper-1")]
        {
            let (reached, request) = three.send("POST", target, &[kind], &form(model));
            assert_eq!(reached, name);
            assert!(request.body == form(own), "{:?}", String::from_utf8_lossy(&request.body));
        }
    }
    let message = three
        .refuse("POST", "/v1/x", &[kind], &form("c/whisper"))
        .own_error(404, "model_not_found");
    assert!(message.contains("c/whisper"), "{message}");
}

#[test]
fn chunked_bodies_are_routed_too() {
    let three = Three::new(false, "");
    let framed =
        [chunk(r#"{"x":1,"mod"#), chunk(r#"el":"a/"#), chunk("b/y\"}"), LAST_CHUNK.into()].concat();
    let (reached, request) =
        three.send("POST", "/v1/x", &[JSON, ("Transfer-Encoding", "chunked")], &framed);
    assert_eq!((reached, request.text().as_str()), ("ab", r#"{"x":1,"model":"y"}"#));
    assert_eq!(request.all("content-length"), ["19"]);
    assert_eq!(request.header("transfer-encoding"), None);
}

#[test]
fn the_key_may_be_escaped_and_the_body_begin_with_a_mark() {
    let three = Three::new(false, "");
    for (body, own) in [
        (r#"{"\u006dodel":"a/b/x"}"#, r#"{"\u006dodel":"x"}"#),
        (r#"{"model":"\u0061\/b/x"}"#, r#"{"model":"x"}"#),
        ("\u{feff}{\"model\":\"a/b/x\"}", "\u{feff}{\"model\":\"x\"}"),
    ] {
        let (reached, request) = three.send("POST", "/v1/x", &[JSON], body.as_bytes());
        assert_eq!((reached, request.text().as_str()), ("ab", own));
    }
}

#[test]
fn without_a_model_it_is_the_upstream_with_the_empty_prefix() {
    let three = Three::new(true, "");
    let text = ("Content-Type", "text/plain");
    for (method, target, headers, body) in [
        ("GET", "/v1/files?purpose=x", &[][..], ""),
        ("DELETE", "/v1/files/a/b/1", &[], ""),
        ("GET", "/health", &[], ""),
        ("POST", "/v1/x", &[JSON], r#"{"x":{"model":"a/x"}}"#),
        ("POST", "/v1/x", &[JSON], r#"[{"model":"a/x"}]"#),
        ("POST", "/v1/x", &[text], r#"model: "a/x""#),
        ("POST", "/v1/x", &[], ""),
    ] {
        let (reached, request) = three.send(method, target, headers, body.as_bytes());
        assert_eq!((reached, request.text().as_str()), ("bare", body), "{method} {target}");
    }
}

#[test]
fn without_an_empty_prefix_a_request_must_name_a_model_with_a_known_one() {
    let three = Three::new(false, "");
    for (method, target, body) in [
        ("GET", "/v1/files", ""),
        ("GET", "/health", ""),
        ("POST", "/v1/x", r#"{"x":{"model":"a/x"}}"#),
    ] {
        let message =
            three.refuse(method, target, &[JSON], body.as_bytes()).own_error(400, "bad_request");
        assert!(message.contains("\"a/\"") && message.contains("\"a/b/\""), "{message}");
    }
    for model in ["c/x", "ax", "a", "A/x"] {
        let body = format!(r#"{{"model":"{model}"}}"#);
        let message = three
            .refuse("POST", "/v1/x", &[JSON], body.as_bytes())
            .own_error(404, "model_not_found");
        assert!(message.contains(model), "{message}");
        assert!(message.contains("\"a/\"") && message.contains("\"a/b/\""), "{message}");
    }
    three.refuse("GET", "/v1/models/c/x", &[], b"").own_error(404, "model_not_found");
    three.refuse("DELETE", "/v1/models/c/x", &[], b"").own_error(404, "model_not_found");
}

#[test]
fn one_model_is_looked_up_and_deleted_where_its_prefix_points() {
    let three = Three::new(true, "");
    for (id, name, own, shown) in [
        ("a/x/y", "a", "x/y", "a/x/y"),
        ("a/b/x", "ab", "x", "a/b/x"),
        ("a%2Fb%2Fx%2Fy", "ab", "x%2Fy", "a/b/x/y"),
        ("a%2fx", "a", "x", "a/x"),
        ("%61/b/x", "ab", "x", "a/b/x"),
        ("q/r", "bare", "q/r", "q/r"),
    ] {
        let before = three.counts();
        let answer = three.proxy.get(&format!("/v1/models/{id}?q"));
        assert_eq!(answer.status, 200, "{id}: {}", answer.text());
        let (reached, request) = three.reached(&before);
        assert_eq!((reached, request.target()), (name, format!("/v1/models/{own}?q").as_str()));
        assert_eq!(answer.json()["id"].as_str().unwrap().trim_end_matches("?q"), shown);
        assert!(answer.text().starts_with(r#"{"at":1.0, "#), "{}", answer.text());
        let (reached, request) = three.send("DELETE", &format!("/v1/models/{id}"), &[], b"");
        assert_eq!((reached, request.target()), (name, format!("/v1/models/{own}").as_str()));
    }
}

#[test]
fn what_names_no_model_or_two_is_refused() {
    let three = Three::new(true, "");
    for body in [
        r#"{"model":"a/x","model":"a/x"}"#,
        r#"{"model":"a/x","\u006dodel":"b"}"#,
        r#"{"model":7}"#,
        r#"{"model":null}"#,
    ] {
        three.refuse("POST", "/v1/x", &[JSON], body.as_bytes()).own_error(400, "bad_request");
    }
    let body = b"{\"model\":\"a/x\",\n  \"b\":]}";
    let message = three.refuse("POST", "/v1/x", &[JSON], body).own_error(400, "bad_request");
    assert!(message.contains("line 2 column 7"), "{message}");
    let part = "--B\r\nContent-Disposition: form-data; name=model\r\n\r\na/x\r\n";
    let form = format!("{part}{part}--B--\r\n");
    let kind = ("Content-Type", "multipart/form-data; boundary=B");
    three.refuse("POST", "/v1/x", &[kind], form.as_bytes()).own_error(400, "bad_request");
}

#[test]
fn a_body_of_max_body_passes_and_one_byte_more_does_not() {
    let length = 64 * 1024 * 1024;
    let head = r#"{"model":"a/x","pad":""#;
    let fake = Fake::scripted(move |conn| {
        let Some(request) = conn.read_head() else { return };
        let whole = request.header("content-length") == Some((length - 2).to_string().as_str());
        let sent = conn.skip(length - 2);
        conn.write(json(if whole && sent { 200 } else { 500 }, "{}"));
    });
    let other = Fake::answering(|_| json(200, "{}"));
    let yaml = upstreams(&[("a", &fake.url("/v1"), ""), ("b", &other.url("/v1"), "")]);
    let proxy = Proxy::start(&yaml);
    let mut body = head.as_bytes().to_vec();
    body.resize(length - 2, b'x');
    body.extend(b"\"}");
    assert_eq!(proxy.ask("POST", "/v1/x", &[JSON], &body).status, 200);

    let mut client = Client::of(&proxy);
    let over = (length + 1).to_string();
    client.send("POST", "/v1/x", &[JSON, ("Content-Length", &over)], b"");
    let _ = client.writer().write_all(&body[..1024]);
    client.response().own_error(413, "request_too_large");
    assert_eq!((fake.requests().len(), other.requests().len()), (1, 0));
}

#[test]
fn each_upstream_has_a_max_body_of_its_own() {
    let (small, large) =
        (Fake::answering(|_| json(200, "{}")), Fake::answering(|_| json(200, "{}")));
    let yaml = upstreams(&[
        ("small", &small.url("/v1"), "max_body: 1000"),
        ("large", &large.url("/v1"), "max_body: 2000"),
    ]);
    let proxy = Proxy::start(&yaml);
    let body = |name: &str, pad| format!(r#"{{"model":"{name}/x","pad":"{}"}}"#, "x".repeat(pad));
    assert_eq!(proxy.post("/v1/x", &body("large", 1500)).status, 200);
    assert_eq!(proxy.post("/v1/x", &body("small", 500)).status, 200);
    proxy.post("/v1/x", &body("large", 2500)).own_error(413, "request_too_large");
    let message = proxy.post("/v1/x", &body("small", 1500)).own_error(413, "request_too_large");
    assert!(message.contains("1000"), "{message}");
}

#[test]
fn a_request_is_not_routed_by_what_is_compressed() {
    let three = Three::new(true, "");
    let headers = [JSON, ("Content-Encoding", "gzip")];
    three.refuse("POST", "/v1/x", &headers, b"\x1f\x8b").own_error(400, "bad_request");
}

#[test]
fn the_log_names_the_model_and_the_upstream() {
    let three = Three::new(false, "");
    three.send("POST", "/v1/logged", &[JSON], br#"{"model":"a/b/x"}"#);
    let fields = three.proxy.exchange("/v1/logged");
    assert_eq!(fields.get("upstream").as_deref(), Some("ab"));
    assert_eq!(fields.get("model").as_deref(), Some("a/b/x"));
}

#[test]
fn a_dead_upstream_does_not_hinder_requests_to_another() {
    let alive = Fake::answering(|_| json(200, &models(&["x"])));
    let yaml =
        upstreams(&[("dead", crate::several::NOWHERE, ""), ("alive", &alive.url("/v1"), "")]);
    let proxy = Proxy::start(&yaml);
    assert_eq!(proxy.post("/v1/x", r#"{"model":"alive/x"}"#).status, 200);
    let message =
        proxy.post("/v1/x", r#"{"model":"dead/x"}"#).own_error(502, "upstream_unreachable");
    assert!(message.contains("dead"), "{message}");
}
