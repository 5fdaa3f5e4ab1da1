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
