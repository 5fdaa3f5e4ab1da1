use crate::fake::{Fake, json};
use crate::proxy::Proxy;

/// A proxy in front of an upstream that counts what reaches it.
struct Lock {
    fake: Fake,
    proxy: Proxy,
}

impl Lock {
    fn with(config: &str) -> Lock {
        let fake = Fake::answering(|_| json(200, "{}"));
        let url = fake.url("/v1");
        let proxy = Proxy::start(&format!("model_filter: {{base_url: '{url}', {config}}}"));
        Lock { fake, proxy }
    }

    fn new() -> Lock {
        Lock::with("hidden: reject, simple: [kept]")
    }

    /// The status and the body of the answer. Only what is answered by 200 reaches the upstream.
    fn answer(&self, content_type: &str, body: &[u8]) -> (u16, String) {
        let before = self.fake.requests().len();
        let answer = self.proxy.ask("POST", "/v1/x", &[("Content-Type", content_type)], body);
        let reached = self.fake.requests().len() - before;
        assert_eq!(reached, usize::from(answer.status == 200), "{content_type}");
        (answer.status, answer.text())
    }

    fn assert_refused(&self, content_type: &str, body: &[u8], fault: &str) {
        let (status, text) = self.answer(content_type, body);
        let what = format!("{content_type}, {}: {text}", body.escape_ascii());
        assert_eq!(status, 400, "{what}");
        assert!(text.contains(fault), "{what}");
    }
}

fn part(header: &str, content: &str) -> String {
    format!("--B\r\n{header}\r\n\r\n{content}\r\n")
}

const MODEL: &str = "Content-Disposition: form-data; name=\"model\"";
const OTHER: &str = "Content-Disposition: form-data; name=\"x\"";
const FORM: &str = "multipart/form-data; boundary=B";

#[test]
fn a_charset_that_changes_what_a_body_says_is_refused() {
    let lock = Lock::new();
    let form = part("Content-Disposition: form-data; name=\"+AG0-odel\"", "hidden") + "--B--\r\n";
    for charset in
        ["utf-7", "UTF-16", "unicode_escape", "cp037", "\"utf-7\"", "utf-8; charset=utf-7"]
    {
        for kind in ["application/json", "application/vnd.api+json", "text/plain", "audio/wav"] {
            let content_type = format!("{kind}; charset={charset}");
            lock.assert_refused(&content_type, br#"{"+AG0-odel":"hidden"}"#, "Content-Type");
        }
        lock.assert_refused(&format!("{FORM}; charset={charset}"), form.as_bytes(), "Content-Type");
    }
    for charset in ["utf-8", "\"UTF-8\"", "utf8", "us-ascii"] {
        let content_type = format!("application/json; charset={charset}");
        assert_eq!(lock.answer(&content_type, br#"{"model":"kept"}"#).0, 200);
        assert_eq!(lock.answer(&content_type, br#"{"model":"hidden"}"#).0, 404);
    }
}

#[test]
fn utf_16_and_utf_32_are_refused_with_or_without_a_mark() {
    let lock = Lock::new();
    let text = r#" {"model":"hidden"}"#;
    for mark in ["", "\u{feff}"] {
        let text = format!("{mark}{text}");
        let units: Vec<u16> = text.encode_utf16().collect();
        let chars: Vec<u32> = text.chars().map(u32::from).collect();
        let encoded: [Vec<u8>; 4] = [
            units.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
            units.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
            chars.iter().flat_map(|c| c.to_le_bytes()).collect(),
            chars.iter().flat_map(|c| c.to_be_bytes()).collect(),
        ];
        for body in encoded {
            for content_type in ["application/json", "text/plain", "application/octet-stream"] {
                lock.assert_refused(content_type, &body, "UTF-16");
            }
        }
    }
}

#[test]
fn what_is_not_plain_is_refused_for_a_prefix_too() {
    let prefixed = Lock::with("prefix: my/");
    let body = br#"{"model":"my/a"}"#;
    assert_eq!(prefixed.answer("text/plain; charset=utf-16", body).0, 400);
    assert_eq!(prefixed.answer("text/plain", b"{\0}\0").0, 400);
    assert_eq!(prefixed.answer("multipart/form-data", body).0, 400);
    // Without a reason to know the model, every body passes.
    let open = Lock::with("simple: [kept]");
    assert_eq!(open.answer("text/plain; charset=utf-16", body).0, 200);
    assert_eq!(open.answer("multipart/form-data", body).0, 200);
}

#[test]
fn a_boundary_that_servers_read_differently_is_refused() {
    let lock = Lock::new();
    let boundaries = [
        r#""B\X""#,
        r#""B"#,
        r#""B"C""#,
        r#""B"C"#,
        r#""B\"X""#,
        "B x",
        "B,x",
        "B(c)",
        r#""B ""#,
        "B ; x=y",
        "'B=",
        "B; boundary=C",
        "B; boundary*=C",
        "B; x=\"; boundary=C\"",
        "",
        "B/C",
        "B:C",
        "B?",
    ];
    let body = part(MODEL, "kept") + "--B--\r\n";
    for boundary in boundaries {
        let content_type = format!("multipart/form-data; boundary={boundary}");
        lock.assert_refused(&content_type, body.as_bytes(), "Content-Type");
    }
    lock.assert_refused("multipart/form-data", body.as_bytes(), "boundary");
    for content_type in
        [FORM, "multipart/mixed;boundary=\"B\"", "Multipart/Form-Data; BOUNDARY=B; x=y"]
    {
        assert_eq!(lock.answer(content_type, body.as_bytes()).0, 200, "{content_type}");
    }
}

#[test]
fn a_boundary_that_is_not_a_line_of_its_own_is_refused() {
    let lock = Lock::new();
    let hidden = part(MODEL, "hidden");
    let bodies = [
        format!("junk{hidden}--B--\r\n"),
        format!("junk\r\n{hidden}--B--\r\n"),
        format!("{OTHER}\r\n\r\n--B--\r\n{hidden}--B--\r\n"),
        part(OTHER, &format!("abc{hidden}")) + "--B--\r\n",
        part(OTHER, &format!("a\r\n--B\x0c\r\n{MODEL}\r\n\r\nhidden")) + "--B--\r\n",
        part(OTHER, &format!("a\n{hidden}")) + "--B--\r\n",
        part(OTHER, "a\r\n--BC") + "--B--\r\n",
        part(OTHER, "a") + "--B--\r\n" + &hidden + "--B--\r\n",
        part(OTHER, "a") + &format!("--B--\r\n{MODEL}\r\n\r\nhidden"),
        part(OTHER, "a") + "--B--hidden",
        part(OTHER, "a") + "--B",
        part(OTHER, "a"),
    ];
    for body in bodies {
        lock.assert_refused(FORM, body.as_bytes(), "malformed");
    }
}

#[test]
fn a_part_that_servers_read_differently_is_refused() {
    let lock = Lock::new();
    let headers = [
        format!("X: y\n{MODEL}"),
        format!("X: y\r{MODEL}"),
        format!("{OTHER}\r\n{MODEL}"),
        format!("X: y\r\n {MODEL}"),
        format!("no colon\r\n{MODEL}"),
        format!("{MODEL}; filename = x"),
        format!("{MODEL}; a=b\"; filename=c\""),
        format!("{OTHER}; filename=\"a; name=model\""),
        format!("{OTHER}\r\nContent-Transfer-Encoding: base64"),
        format!("{OTHER}\r\nContent-Encoding: deflate"),
        format!("{OTHER}\r\nContent-Length: 3"),
        format!("{OTHER}\r\nContent-Type: multipart/mixed; boundary=C"),
        format!("{MODEL}\r\nContent-Type: text/plain; charset=utf-7"),
        format!("{MODEL}\r\nContent-Type: application/json"),
        "Content-Disposition: form-data name=\"model\"".to_owned(),
        "Content-Disposition: form-data; name=model x".to_owned(),
        "Content-Disposition: form-data; x=\"c:\\\"; name=\"model\"".to_owned(),
        "Content-Disposition: form-data; name=\"mod\\el\"".to_owned(),
        "Content-Disposition: form-data; name=\"Model\"".to_owned(),
        "Content-Disposition: form-data; name=\"model[]\"".to_owned(),
        "Content-Disposition: form-data; name=\"_charset_\"".to_owned(),
        "Content-Disposition: form-data; filename=\"x\"".to_owned(),
        "Content-Disposition: attachment; name=\"model\"".to_owned(),
        "Content-Disposition:".to_owned(),
    ];
    for header in headers {
        let body = part(&header, "hidden") + "--B--\r\n";
        lock.assert_refused(FORM, body.as_bytes(), "malformed");
    }
}

#[test]
fn a_part_called_model_is_judged_with_a_file_name_too() {
    let lock = Lock::new();
    let names =
        ["", "; filename=\"a\"", "; filename=\"\"", "; filename=model", "; filename*=UTF-8''x"];
    for name in names {
        let body = |model| part(&format!("{MODEL}{name}"), model) + "--B--\r\n";
        assert_eq!(lock.answer(FORM, body("kept").as_bytes()).0, 200, "{name}");
        assert_eq!(lock.answer(FORM, body("hidden").as_bytes()).0, 404, "{name}");
    }
}

#[test]
fn a_nul_does_not_end_a_name_before_its_end() {
    let lock = Lock::new();
    for body in [r#"{"model\u0000x":"hidden"}"#, r#"{"model":"kept","Model\u0000":"hidden"}"#] {
        lock.assert_refused("application/json", body.as_bytes(), "might read as `model`");
    }
    let exclude = Lock::with("hidden: reject, exclude: {simple: [hidden]}");
    exclude.assert_refused("application/json", br#"{"model":"hidden\u0000x"}"#, "NUL");
}

/// Gin, Echo and Fiber, and so LocalAI, read a request from many formats.
#[test]
fn a_body_in_another_notation_is_refused() {
    let bodies: [(&str, &[u8]); 7] = [
        ("application/xml", b"<r><Model>hidden</Model></r>"),
        ("text/xml; charset=utf-8", b"<r><model>hidden</model></r>"),
        ("application/x-yaml", b"model: hidden\n"),
        ("application/toml", b"model = 'hidden'\n"),
        ("application/x-msgpack", b"\x81\xa5model\xa6hidden"),
        ("application/cbor", b"\xa1\x65model\x66hidden"),
        ("application/x-protobuf", b"\x0a\x06hidden"),
    ];
    let (lock, prefixed) = (Lock::new(), Lock::with("prefix: my/"));
    for (content_type, body) in bodies {
        lock.assert_refused(content_type, body, "cannot be judged");
        assert_eq!(prefixed.answer(content_type, body).0, 200, "{content_type}");
    }
    for content_type in ["audio/wav", "image/svg+xml", "application/sdp", "text/plain"] {
        assert_eq!(lock.answer(content_type, b"<x>\n").0, 200, "{content_type}");
    }
    assert_eq!(lock.answer("application/xml", b"").0, 200);
}

#[test]
fn a_form_post_that_names_a_model_is_refused() {
    let form = "application/x-www-form-urlencoded";
    let lock = Lock::new();
    let names =
        ["model=hidden", "x=y&%6dodel=hidden", "x=y;model[]=hidden", r#"{"x":"&model=hidden&"}"#];
    for body in names {
        lock.assert_refused(form, body.as_bytes(), "form post");
        let chunked = [("Content-Type", form), ("Transfer-Encoding", "chunked")];
        let body = [crate::fake::chunk(body), crate::fake::LAST_CHUNK.into()].concat();
        lock.proxy.ask("POST", "/v1/x", &chunked, &body).own_error(400, "bad_request");
    }
    let others = ["grant_type=x&models=y", "x=model&y=%26model=z", "", r#"{"model":"kept"}"#];
    for body in others {
        assert_eq!(lock.answer(form, body.as_bytes()).0, 200, "{body}");
        assert_eq!(lock.fake.requests().last().unwrap().text(), body);
    }
    assert_eq!(lock.answer(form, br#"{"model":"hidden"}"#).0, 404);
    // With a prefix alone it passes as it is.
    let prefixed = Lock::with("prefix: my/");
    assert_eq!(prefixed.answer(form, b"model=my/a").0, 200);
    assert_eq!(prefixed.fake.request().text(), "model=my/a");
}
