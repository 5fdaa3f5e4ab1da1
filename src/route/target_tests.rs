//! Unit tests of [`super::target`].

use super::target::{Route, route};
use crate::error::{Code, Error};

fn get(target: &str) -> Route<'_> {
    route("GET", target, "").unwrap()
}

fn refusal(target: &str) -> Error {
    route("GET", target, "").unwrap_err()
}

fn model<'a>(id: &str, raw_id: &'a str) -> Route<'a> {
    Route::Model { id: id.into(), raw_id, slashed: None, beside: None, query: None }
}

#[test]
fn the_catalog_is_recognised_however_it_is_spelled() {
    let spellings = [
        "/v1/models",
        "/models",
        "/v1/models/",
        "//v1//models//",
        "/v1/%6dodels",
        "/%76%31/models",
        "/v1%2Fmodels",
        "/v1%2fmodels%2F",
        "/%2Fmodels",
        "/v1/models/%2F",
        "/V1/Models",
        "/v1/v1/models",
        "/v1/;x/models;y",
        "/;/models",
        "/v1/models/;x",
        "/v1/models%20",
        "/v1/%20/models%c2%a0",
        "/v1/models%3Fx/y",
        "/v1/models%23/y",
        "/v1/models/%3fx",
        "/v1/%256dodels",
        "/v1%252Fmodels%25252F",
        "/v1%5Cmodels",
        "/openai/v1/models",
        "/openai/models",
        "/v1beta/openai/models",
        "//host/v1/models/",
        "/v1/x/V1%2fmodels;a",
        "/v1/x%3f/v1/models",
        "/models/%3fx/v1",
        "/v1/models.json",
        "/v1.0/models:",
        "/v1/models%25",
        "/v1/models%E2%80%8B",
    ];
    for target in spellings {
        assert_eq!(get(target), Route::Catalog { query: None }, "{target}");
        assert_eq!(route("head", target, "").unwrap(), Route::Catalog { query: None });
    }
}

#[test]
fn a_query_is_passed_on_untouched() {
    let query = Some("a=%6d&b=/../?c");
    assert_eq!(get("/v1/models?a=%6d&b=/../?c"), Route::Catalog { query });
    assert_eq!(get("/models?"), Route::Catalog { query: Some("") });
    let Route::Model { id, query, .. } = get("/v1/models/a?b/c") else { panic!() };
    assert_eq!((id.as_str(), query), ("a", Some("b/c")));
    assert_eq!(get("/v1/chat?a=%2f"), Route::Below { rest: "/chat?a=%2f" });
    assert_eq!(get("/tags?a=%2f"), Route::Beside { path: "/tags?a=%2f" });
}

#[test]
fn paths_that_only_look_like_the_catalog_are_not() {
    assert_eq!(get("/v1/modelsx"), Route::Below { rest: "/modelsx" });
    assert_eq!(get("/v1/x%3Fmodels"), Route::Below { rest: "/x%3Fmodels" });
    assert_eq!(get("/v1/models-x"), Route::Below { rest: "/models-x" });
    assert_eq!(get("/x/models"), Route::Beside { path: "/x/models" });
}

#[test]
fn native_lists_are_recognised_however_they_are_spelled() {
    for (target, is_below) in [
        ("/api/tags", false),
        ("/api/ps", false),
        ("/api/v0/models?x=1", false),
        ("/api/v1/models", false),
        ("/v1beta/models/", false),
        ("/v1alpha/models", false),
        ("/V2/models;x", false),
        ("/x/api/tags", false),
        ("/API//Tags", false),
        ("/api%2Ftags", false),
        ("/api/tags;x", false),
        ("/api/%74ags%3Fx/y", false),
        ("/v1/api/tags", true),
    ] {
        let found = get(target);
        assert!(matches!(found, Route::Native { is_below: b, .. } if b == is_below), "{target}");
    }
    assert_eq!(get("/v1//api/tags?a"), Route::Native { is_below: true, target: "/api/tags?a" });
    assert_eq!(get("/api/tags/x"), Route::Beside { path: "/api/tags/x" });
    assert_eq!(get("/api/tagsx"), Route::Beside { path: "/api/tagsx" });
    let post = route("POST", "/api/tags", "").unwrap();
    assert_eq!(post, Route::Beside { path: "/api/tags" });
}

#[test]
fn other_lists_below_v1_are_refused() {
    for target in ["/v1/x/models", "/v1/x%20y/models;z", "/a/v1/b/models.json", "/v1/x/models%3f/a"]
    {
        assert_eq!(refusal(target).code, Code::NotFound, "{target}");
    }
    assert_eq!(get("/v1/models/x/models"), model("x/models", "x/models"));
    let post = route("POST", "/v1/x/models", "").unwrap();
    assert_eq!(post, Route::Below { rest: "/x/models" });
    assert_eq!(get("/v/models"), Route::Beside { path: "/v/models" });
    assert_eq!(get("/xv1/models"), Route::Beside { path: "/xv1/models" });
}

#[test]
fn other_methods_on_the_catalogs_path_are_relayed() {
    let post = |target| route("POST", target, "").unwrap();
    assert_eq!(post("/v1/models?a"), Route::Below { rest: "/models?a" });
    assert_eq!(post("/v1/models/"), Route::Below { rest: "/models/" });
    assert_eq!(post("/models"), Route::Beside { path: "/models" });
    assert_eq!(post("/api/v1/models/load"), Route::Beside { path: "/api/v1/models/load" });
    assert_eq!(post("/v1/models/a"), model("a", "a"));
}

#[test]
fn a_models_id_may_hold_slashes_raw_or_encoded() {
    assert_eq!(get("/v1/models/p/openai/gpt"), model("p/openai/gpt", "p/openai/gpt"));
    assert_eq!(get("/models/p%2Fgpt%3afree"), model("p/gpt:free", "p%2Fgpt%3afree"));
    assert_eq!(get("/v1//models/a/b/"), model("a/b", "a/b/"));
    assert_eq!(get("/v1%2Fmodels%2Fa"), model("a", "a"));
    assert_eq!(get("/v1/models/models"), model("models", "models"));
    assert_eq!(get("/v1/models/;x/a"), model("a", "a"));
}

#[test]
fn a_model_behind_another_v1_is_judged_and_relayed_where_it_stands() {
    let model = |beside| Route::Model {
        id: "a/b".into(),
        raw_id: "a%2Fb",
        slashed: None,
        beside: Some(beside),
        query: Some("q"),
    };
    assert_eq!(get("/api/v1/models/a%2Fb?q"), model("/api/v1/models/"));
    assert_eq!(get("/v1beta/models/a%2Fb?q"), model("/v1beta/models/"));
    assert_eq!(get("//api//v1/;x/models/a%2Fb?q"), model("/api//v1/;x/models/"));
    assert_eq!(get("/v1/x/v1/models/a%2Fb?q"), model("/v1/x/v1/models/"));
    let under_root = route("GET", "/llm/api/v1/models/a%2Fb?q", "/llm").unwrap();
    assert_eq!(under_root, model("/api/v1/models/"));
}

#[test]
fn an_id_may_begin_with_a_slash() {
    let slash = |target| match get(target) {
        Route::Model { id, slashed, .. } => (id, slashed),
        other => panic!("{other:?}"),
    };
    assert_eq!(slash("/v1/models//root/a/"), ("root/a".into(), Some("/root/a/")));
    assert_eq!(slash("/models/%2Froot%2Fa"), ("root/a".into(), Some("%2Froot%2Fa")));
    assert_eq!(slash("/v1/models/%252Fa"), ("a".into(), Some("%252Fa")));
    for target in ["/v1/models/a", "/v1/models///a", "/v1/models/;x/a", "/v1/models%2F/a"] {
        assert_eq!(slash(target), ("a".into(), None), "{target}");
    }
}

#[test]
fn a_method_of_geminis_api_is_judged_by_its_model() {
    let post = |target| route("POST", target, "").unwrap();
    for target in [
        "/v1/models/g:generateContent",
        "/v1beta/models/g:countTokens;x",
        "/v1alpha/models/g:generateContent%20",
        "/v1beta1/models/g:aMethodOfTomorrow",
        "/V1Beta/models/g",
        "/v2/models/g/infer",
        "/v1/projects/p/locations/l/publishers/google/models/g:generateContent",
        "/api/v1/models/g:x",
    ] {
        assert!(matches!(post(target), Route::Model { .. }), "{target}");
    }
    assert!(matches!(post("/x/models/g:x"), Route::Beside { .. }));
}

#[test]
fn the_paths_of_llama_cpps_router_are_relayed() {
    for (method, path) in
        [("POST", "/models/load"), ("POST", "/models/unload"), ("GET", "/models/sse")]
    {
        assert_eq!(route(method, path, "").unwrap(), Route::Beside { path });
    }
    let post = |path| route("POST", path, "").unwrap();
    for path in ["/api/v1/models/load", "/api/v1/models/unload", "/api/v1/models/download"] {
        assert_eq!(post(path), Route::Beside { path });
    }
    assert!(matches!(post("/api/v1/models/load/x"), Route::Model { .. }));
    assert_eq!(get("/models/load"), model("load", "load"));
    assert!(matches!(route("POST", "/models/sse", "").unwrap(), Route::Model { .. }));
    assert!(matches!(route("POST", "/v1/models/load", "").unwrap(), Route::Model { .. }));
}

#[test]
fn slips_in_a_clients_base_url_reach_the_api() {
    for (target, rest) in [
        ("/v1/v1/chat/completions?a", "/chat/completions?a"),
        ("/v1//v1//chat", "/chat"),
        ("/v1/v1", ""),
        ("/chat/completions?a=%2f", "/chat/completions?a=%2f"),
        ("//chat/completions", "/chat/completions"),
        ("/responses/r1/cancel", "/responses/r1/cancel"),
        ("/messages", "/messages"),
        ("/audio/speech", "/audio/speech"),
        ("/images/edits", "/images/edits"),
        ("/moderations", "/moderations"),
        ("/files", "/files"),
        ("/batches/b", "/batches/b"),
    ] {
        assert_eq!(get(target), Route::Below { rest }, "{target}");
    }
    for path in ["/completions", "/embeddings", "/chat", "/audio", "/Files", "/filesx"] {
        assert_eq!(get(path), Route::Beside { path });
    }
    assert_eq!(refusal("/files/models").code, Code::NotFound);
}

#[test]
fn a_broken_escape_stays_and_broken_utf_8_is_replaced() {
    assert_eq!(get("/v1/models/a%zz%2"), model("a%zz%2", "a%zz%2"));
    assert_eq!(get("/v1/models/%+1%"), model("%+1%", "%+1%"));
    assert_eq!(get("/v1/models/%ff"), model("\u{fffd}", "%ff"));
    assert_eq!(get("/v1/models/%C3%a9"), model("é", "%C3%a9"));
    assert_eq!(get("/v1/models/é%"), model("é%", "é%"));
}

#[test]
fn what_is_relayed_keeps_its_spelling() {
    assert_eq!(get("/v1"), Route::Below { rest: "" });
    assert_eq!(get("/v1?a"), Route::Below { rest: "?a" });
    assert_eq!(get("/v1/"), Route::Below { rest: "/" });
    assert_eq!(get("//v1//chat//%41/"), Route::Below { rest: "/chat//%41/" });
    assert_eq!(get("/"), Route::Beside { path: "/" });
}

#[test]
fn what_is_relayed_begins_with_one_slash() {
    assert_eq!(get("//host/x?a"), Route::Beside { path: "/host/x?a" });
    assert_eq!(get("/%2F/;x/host/x"), Route::Beside { path: "/host/x" });
    assert_eq!(get("/v1//host/x"), Route::Below { rest: "/host/x" });
    assert_eq!(get("/v1/;x/host/x"), Route::Below { rest: "/host/x" });
    assert_eq!(get("//?a"), Route::Beside { path: "/?a" });
    assert_eq!(get("/v1//"), Route::Below { rest: "/" });
    for target in ["/%2Fhost/x", "/v1/%5chost", "/%252fhost/v1/models/a"] {
        assert!(refusal(target).message.contains("encoded slash"), "{target}");
    }
}

#[test]
fn a_path_that_is_encoded_many_times_is_refused() {
    assert_eq!(get("/v1/a%252541"), Route::Below { rest: "/a%252541" });
    assert!(refusal("/v1/a%25252541").message.contains("too many times"));
}

#[test]
fn an_encoded_slash_never_ends_up_behind_a_host_name() {
    assert_eq!(get("/v1%2F.evil.com/x"), Route::Beside { path: "/v1%2F.evil.com/x" });
    let target = "/llm%2F.evil.com/x";
    assert_eq!(route("GET", target, "/llm").unwrap(), Route::Beside { path: target });
}

#[test]
fn our_own_pages_are_never_relayed() {
    assert_eq!(get("/-/health?a"), Route::Own { path: "/-/health" });
    assert_eq!(get("/-"), Route::Own { path: "/-" });
    assert_eq!(get("//-//health"), Route::Own { path: "//-//health" });
    assert_eq!(get("/%2d/"), Route::Own { path: "/%2d/" });
    assert_eq!(get("/%2F-%2Fx"), Route::Own { path: "/%2F-%2Fx" });
    assert_eq!(get("/-x/"), Route::Beside { path: "/-x/" });
    assert_eq!(get("/v1/-/x"), Route::Below { rest: "/-/x" });
}

#[test]
fn the_root_path_is_taken_off_where_it_is_there() {
    for root in ["/llm", "/llm/", "llm"] {
        let under = |target| route("GET", target, root).unwrap();
        assert_eq!(under("/llm/v1/models"), Route::Catalog { query: None });
        assert_eq!(under("/v1/models"), Route::Catalog { query: None });
        assert_eq!(under("//l%6cm//models"), Route::Catalog { query: None });
        assert_eq!(under("/llm/v1/chat"), Route::Below { rest: "/chat" });
        assert_eq!(under("/llm/x?a"), Route::Beside { path: "/x?a" });
        assert_eq!(under("/llm/-/x"), Route::Own { path: "/-/x" });
        assert_eq!(under("/llm"), Route::Beside { path: "" });
        assert_eq!(under("/llm/llm/x"), Route::Beside { path: "/llm/x" });
    }
    let two = |target| route("GET", target, "/a/b").unwrap();
    assert_eq!(two("/a/b/v1/x"), Route::Below { rest: "/x" });
    assert_eq!(two("/a/v1/x"), Route::Beside { path: "/a/v1/x" });
    assert_eq!(two("/a"), Route::Beside { path: "/a" });
}

#[test]
fn the_root_path_is_taken_off_only_as_whole_segments() {
    let target = "/llmx/v1/chat";
    assert_eq!(route("GET", target, "/llm").unwrap(), Route::Beside { path: target });
}

#[test]
fn dot_segments_are_refused_in_every_spelling() {
    let hostile = [
        "/v1/../x",
        "/..",
        "/./v1/models",
        "/v1/.",
        "/v1/%2e%2E/x",
        "/v1/.%2e",
        "/v1/models/a%2F..%2Fb",
        "/v1/models/a%2f%2e",
        "/a%5C..%5Cb",
        "/v1/..%5cx",
        "/v1/..?a",
        "/v1/%252e%252E/x",
        "/v1/x%3F/..%20/y",
    ];
    for target in hostile {
        let error = refusal(target);
        assert_eq!(error.code, Code::BadRequest);
        assert!(error.message.contains("segment"), "{error}");
    }
    assert_eq!(get("/v1/..."), Route::Below { rest: "/..." });
    assert_eq!(get("/v1/models/gpt-4.1."), model("gpt-4.1.", "gpt-4.1."));
}

#[test]
fn encoded_control_characters_are_refused_in_the_path_alone() {
    for target in ["/v1/models%0A", "/v1%0d%0a/models", "/models/a%00", "/%7Fa", "/x%2F%1f"] {
        let error = refusal(target);
        assert_eq!(error.code, Code::BadRequest);
        assert!(error.message.contains("control character"), "{error}");
    }
    assert_eq!(get("/models?a=%0A"), Route::Catalog { query: Some("a=%0A") });
}

#[test]
fn a_target_that_is_no_path_is_refused_by_name() {
    for target in ["", "*", "http://host/v1/models", "v1/models", "host:443"] {
        let error = refusal(target);
        assert_eq!(error.code, Code::BadRequest);
        assert!(error.message.contains(&format!("{target:?} does not start")), "{error}");
    }
    for target in ["/a#b", "/a?b#c", "/a b", "/a\r\nb", "/a\0", "/a\x7f", "/v1\\models"] {
        assert_eq!(refusal(target).code, Code::BadRequest, "{target:?}");
        assert!(!refusal(target).message.contains('\n'));
    }
}

#[test]
fn a_long_target_is_cut_in_messages_without_splitting_a_character() {
    let message = refusal(&"é".repeat(10_000)).message;
    assert!(message.contains(&format!("{}…\" does not", "é".repeat(200))), "{message}");
}

#[test]
fn connect_and_trace_are_not_supported() {
    for (method, target) in
        [("CONNECT", "host:443"), ("connect", "/v1/x"), ("TRACE", "/v1/x"), ("Track", "/-/x")]
    {
        let error = route(method, target, "").unwrap_err();
        assert_eq!(error.code, Code::Unsupported);
        assert!(error.message.contains(&method.to_uppercase()), "{error}");
    }
}
