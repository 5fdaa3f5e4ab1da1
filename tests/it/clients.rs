//! Bodies as real clients write them, each sent once: the first line of a file is the
//! `Content-Type`, the rest is the body. Most are captured; those of Firefox, Dart, Alamofire,
//! reqwest, ktor, Spring and Netty follow their source code.

use crate::fake::{Fake, json};
use crate::proxy::Proxy;

/// Sends a body to a proxy with the prefix `my/`, which must pass it on without the prefix and
/// otherwise unchanged, and the same body with a hidden model, which must not reach the upstream.
fn pass(content_type: Option<&str>, body: &str, kept: &str) {
    let fake = Fake::answering(|_| json(200, "{}"));
    let proxy = Proxy::with_prefix(&fake, &format!("hidden: reject\nsimple: [{kept}]"));
    let fields: Vec<_> = content_type.iter().map(|value| ("Content-Type", *value)).collect();
    let prefixed = format!("my/{kept}");
    assert!(body.contains(&prefixed));

    let answer = proxy.ask("POST", "/v1/x", &fields, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let length = |name: &str| format!("ength: {}\r\n", name.len());
    let expected = body.replace(&prefixed, kept).replace(&length(&prefixed), &length(kept));
    assert_eq!(fake.request().text(), expected);

    let hidden = "h".repeat(kept.len());
    let answer = proxy.ask("POST", "/v1/x", &fields, body.replace(kept, &hidden).as_bytes());
    answer.own_error(404, "model_not_found");
    assert_eq!(fake.requests().len(), 1);
}

macro_rules! forms {
    ($($client:ident)*) => {
        mod form {
            $(
                #[test]
                fn $client() {
                    let file = include_str!(concat!("clients/", stringify!($client)));
                    let (content_type, body) = file.split_once('\n').unwrap();
                    super::pass(Some(content_type), body, "whisper-1");
                }
            )*
        }
    };
}

forms! {
    aiohttp alamofire apache_httpclient chromium curl curl_typed dart_http dotnet firefox firefox_esr
    form_data form_data_encoder go guzzle httpx ktor needle netty node_fetch okhttp openai_node
    openai_python perl_lwp requests reqwest ruby_multipart_post ruby_net_http spring undici urllib3
}

macro_rules! documents {
    ($($client:ident $content_type:literal $body:literal)*) => {
        mod document {
            $(
                #[test]
                fn $client() {
                    let content_type = Some($content_type).filter(|text| !text.is_empty());
                    super::pass(content_type, $body, "gpt-4");
                }
            )*
        }
    };
}

documents! {
    aiohttp "application/json" r#"{"model": "my/gpt-4"}"#
    apache_httpclient "application/json; charset=UTF-8" r#"{"model":"my/gpt-4"}"#
    curl "application/x-www-form-urlencoded" r#"{"model":"my/gpt-4"}"#
    curl_json "application/json" r#"{"model":"my/gpt-4"}"#
    dart_http "application/json; charset=utf-8" r#"{"model":"my/gpt-4"}"#
    dotnet "application/json; charset=utf-8" r#"{"model":"my/gpt-4","messages":[{"content":"h\u00E9"}]}"#
    fetch_string "text/plain;charset=UTF-8" r#"{"model":"my/gpt-4"}"#
    go "application/json" r#"{"model":"my/gpt-4"}"#
    needle "application/json; charset=utf-8" r#"{"model":"my/gpt-4"}"#
    okhttp "application/json; charset=utf-8" r#"{"model":"my/gpt-4"}"#
    openai_node "application/json" r#"{"model":"my/gpt-4","messages":[]}"#
    openai_python "application/json" r#"{"model":"my/gpt-4","messages":[{"role":"user","content":"hé"}]}"#
    raw_socket "" r#"{"model":"my/gpt-4"}"#
    requests "application/json" r#"{"model": "my/gpt-4"}"#
    spring "application/json;charset=UTF-8" r#"{"model":"my/gpt-4"}"#
    urllib "application/x-www-form-urlencoded" r#"{"model":"my/gpt-4"}"#
}
