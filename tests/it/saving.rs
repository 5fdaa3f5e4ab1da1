use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::client::{Client, Response};
use crate::fake::{Fake, models};
use crate::proxy::{Proxy, plain};
use crate::several::upstreams;

/// The origin of our own page, for the `Host` that the tests send.
const OWN: &str = "http://localhost";

/// A folder with a file of rules; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mf-rules-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn rules(&self) -> String {
        format!("rules: {}", self.file("rules.yaml").display())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// The first response that the page reads.
fn overview(proxy: &Proxy) -> Value {
    proxy.get("/-/models.json").json()
}

fn digest(overview: &Value) -> &str {
    overview["upstreams"][0]["file"]["digest"].as_str().unwrap()
}

fn request(overview: &Value, rules: &Value) -> String {
    let name = &overview["upstreams"][0]["name"];
    json!({"upstream": name, "digest": digest(overview), "rules": rules}).to_string()
}

/// Saves as the page does.
fn save(proxy: &Proxy, overview: &Value, rules: &Value) -> Response {
    let token = overview["token"].as_str().unwrap();
    let headers = [("Origin", OWN), ("X-Model-Filter-Token", token)];
    proxy.ask("POST", "/-/save", &headers, request(overview, rules).as_bytes())
}

#[test]
fn saved_rules_take_effect_at_once_and_after_a_restart() {
    let folder = Folder::new();
    let ids = ["<img src=x onerror=alert(1)>", ": [", "a", "b", "é", "yes", "#x"];
    let fake = Fake::listing(&models(&ids));
    let config = plain(&fake.url("/v1"), &folder.rules());
    let proxy = Proxy::start(&config);
    assert_eq!(proxy.get("/v1/models").ids(), ids, "an absent file means no rules");

    let kept = json!(["yes", ": [", "<img src=x onerror=alert(1)>", "é", "#x"]);
    let rules = json!({"simple": kept, "order": "rules", "exclude": {"simple": ["#x"]},
                       "where": {"max_price": "0.1", "supports": ["tools"], "max_age": "30d", "unknown": "hide"}});
    let saved = save(&proxy, &overview(&proxy), &rules);
    assert_eq!(saved.status, 200, "{}", saved.text());
    assert_eq!(saved.json()["warning"], Value::Null);
    let expected = ["yes", ": [", "<img src=x onerror=alert(1)>", "é"];
    assert_eq!(proxy.get("/v1/models").ids(), expected);
    let view = overview(&proxy);
    assert_eq!(digest(&view), saved.json()["digest"]);
    let shown = &view["upstreams"][0]["rules"];
    assert_eq!(shown["where"], rules["where"]);
    assert_eq!(shown["simple"], kept);
    drop(proxy);
    assert_eq!(Proxy::start(&config).get("/v1/models").ids(), expected);
    assert!(read(&folder.file("rules.yaml")).starts_with("# Written by the page of model-filter."));
}

#[test]
fn the_mode_of_the_file_and_what_it_held_are_kept() {
    let folder = Folder::new();
    let (file, old) = (folder.file("real.yaml"), "simple: [a] # mine\n");
    fs::write(&file, old).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    std::os::unix::fs::symlink("real.yaml", folder.file("rules.yaml")).unwrap();
    let fake = Fake::listing(&models(&["a", "b"]));
    let proxy = Proxy::start(&plain(&fake.url("/v1"), &folder.rules()));
    assert_eq!(proxy.get("/v1/models").ids(), ["a"]);
    assert_eq!(save(&proxy, &overview(&proxy), &json!({"simple": ["b"]})).status, 200);
    assert_eq!(proxy.get("/v1/models").ids(), ["b"]);
    let names = folder.names();
    assert_eq!(names, ["real.yaml", "real.yaml~", "rules.yaml"]);
    assert_eq!(read(&folder.file("real.yaml~")), old);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o604);
    assert!(fs::symlink_metadata(folder.file("rules.yaml")).unwrap().is_symlink());
}

#[test]
fn a_file_that_changed_meanwhile_is_not_overwritten() {
    let folder = Folder::new();
    let fake = Fake::listing(&models(&["a", "b", "c"]));
    let proxy = Proxy::start(&plain(&fake.url("/v1"), &folder.rules()));
    let (first, second) = (overview(&proxy), overview(&proxy));
    assert_eq!(save(&proxy, &first, &json!({"simple": ["a"]})).status, 200);
    let late = save(&proxy, &second, &json!({"simple": ["b"]}));
    late.own_error(409, "conflict");
    assert_eq!(proxy.get("/v1/models").ids(), ["a"]);
    // The page can choose to save over it, by the digest of the answer.
    let mut chosen = second.clone();
    chosen["upstreams"][0]["file"]["digest"] = late.json()["digest"].clone();
    assert_eq!(save(&proxy, &chosen, &json!({"simple": ["b"]})).status, 200);
    assert_eq!(proxy.get("/v1/models").ids(), ["b"]);
    // An editor counts too, and the page can then show what was written.
    let view = overview(&proxy);
    fs::write(folder.file("rules.yaml"), "simple: [c]").unwrap();
    save(&proxy, &view, &json!({"simple": ["a"]})).own_error(409, "conflict");
    assert_eq!(overview(&proxy)["upstreams"][0]["rules"]["simple"], json!(["c"]));
}

#[test]
fn only_the_page_itself_saves() {
    let folder = Folder::new();
    let fake = Fake::listing(&models(&["a", "b"]));
    let proxy = Proxy::start(&plain(&fake.url("/v1"), &folder.rules()));
    let view = overview(&proxy);
    let body = request(&view, &json!({"simple": ["a"]}));
    let token = view["token"].as_str().unwrap();
    let attempts: [&[(&str, &str)]; 7] = [
        &[("X-Model-Filter-Token", token)],
        &[("Origin", OWN)],
        &[("Origin", OWN), ("X-Model-Filter-Token", "0123456789abcdef")],
        &[("Origin", "http://127.0.0.1"), ("X-Model-Filter-Token", token)],
        &[("Origin", "http://localhost:3000"), ("X-Model-Filter-Token", token)],
        &[("Origin", "null"), ("X-Model-Filter-Token", token)],
        &[("Origin", OWN), ("X-Model-Filter-Token", token), ("Sec-Fetch-Site", "same-site")],
    ];
    for headers in attempts {
        for path in ["/-/save", "/-/fetch"] {
            let answer = proxy.ask("POST", path, headers, body.as_bytes());
            assert_eq!(answer.status, 403, "{path} {headers:?}: {}", answer.text());
        }
    }
    // A name that was pointed here: DNS rebinding.
    let mut client = Client::of(&proxy);
    client.send_raw(format!(
        "POST /-/save HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\
         X-Model-Filter-Token: {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(client.response().status, 403);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    proxy.ask("POST", "/-/save", &form, b"rules=x").own_error(403, "forbidden_host");
    let all = [("Origin", OWN), ("X-Model-Filter-Token", token)];
    proxy.ask("GET", "/-/save", &all, b"").own_error(404, "not_found");
    let long = request(&view, &json!({"simple": ["a".repeat(70_000)]}));
    proxy.ask("POST", "/-/save", &all, long.as_bytes()).own_error(413, "request_too_large");
    assert!(folder.names().is_empty(), "{:?}", folder.names());
    assert_eq!(proxy.get("/v1/models").ids(), ["a", "b"]);
}

#[test]
fn behind_a_proxy_a_client_key_is_needed_to_save() {
    let folder = Folder::new();
    let fake = Fake::listing(&models(&["a", "b"]));
    let settings = format!("authorization: none\n{}", folder.rules());
    let config =
        format!("{}server: {{client_keys: [a-key-of-ours]}}", plain(&fake.url("/v1"), &settings));
    let proxy = Proxy::start(&config);
    let view = overview(&proxy);
    let body = request(&view, &json!({"simple": ["a"]}));
    let token = view["token"].as_str().unwrap();
    let mut headers = vec![
        ("Origin", "https://localhost"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Model-Filter-Token", token),
    ];
    proxy.ask("POST", "/-/save", &headers, body.as_bytes()).own_error(401, "invalid_api_key");
    headers.push(("Authorization", "Bearer a-key-of-ours"));
    assert_eq!(proxy.ask("POST", "/-/save", &headers, body.as_bytes()).status, 200);
}

#[test]
fn rules_that_cannot_be_used_or_written_leave_the_old_ones() {
    let folder = Folder::new();
    fs::write(folder.file("rules.yaml"), "simple: [a]").unwrap();
    let fake = Fake::listing(&models(&["a", "b"]));
    let proxy = Proxy::start(&plain(&fake.url("/v1"), &folder.rules()));
    let view = overview(&proxy);
    for rules in
        [json!({"regexp": ["("]}), json!({"where": {"max_price": "much"}}), json!({"order": "up"})]
    {
        save(&proxy, &view, &rules).own_error(400, "bad_request");
    }
    assert_eq!(read(&folder.file("rules.yaml")), "simple: [a]");

    let nowhere = format!("rules: {}", folder.file("missing/rules.yaml").display());
    let proxy = Proxy::start(&plain(&fake.url("/v1"), &nowhere));
    let view = overview(&proxy);
    let obstacle = view["upstreams"][0]["file"]["obstacle"].as_str().unwrap();
    assert!(obstacle.contains("missing: No such file"), "{obstacle}");
    save(&proxy, &view, &json!({"simple": ["b"]})).own_error(500, "internal_error");
    assert_eq!(proxy.get("/v1/models").ids(), ["a", "b"]);

    let inline = Proxy::start(&plain(&fake.url("/v1"), "simple: [a]"));
    let mut view = overview(&inline);
    assert_eq!(view["upstreams"][0]["file"], Value::Null);
    view["upstreams"][0]["file"] = json!({"digest": ""});
    save(&inline, &view, &json!({})).own_error(404, "not_found");
}

#[test]
fn each_of_several_upstreams_has_its_own_file() {
    let folder = Folder::new();
    fs::write(folder.file("rules.yaml"), "regexp: ['a.*']\nexclude: {simple: [a2]}\n").unwrap();
    let fake = Fake::listing(&models(&["a1", "a2", "b"]));
    let (url, rules) = (fake.url("/v1"), folder.rules());
    let proxy = Proxy::start(&upstreams(&[("one", &url, &rules), ("two", &url, "simple: [b]")]));
    assert_eq!(proxy.get("/v1/models").ids(), ["one/a1", "two/b"]);
    assert_eq!(save(&proxy, &overview(&proxy), &json!({"simple": ["a2"]})).status, 200);
    assert_eq!(proxy.get("/v1/models").ids(), ["one/a2", "two/b"]);
}

#[test]
fn fetch_now_asks_the_upstream_although_its_list_is_cached() {
    let fake = Fake::listing(&models(&["a"]));
    let proxy = Proxy::before(&fake, "cache_ttl: 3600");
    proxy.get("/v1/models");
    let view = overview(&proxy);
    let before = fake.requests().len();
    let token = view["token"].as_str().unwrap();
    let headers = [("Origin", OWN), ("X-Model-Filter-Token", token)];
    let fetched = proxy.ask("POST", "/-/fetch", &headers, b"");
    assert_eq!(fetched.json()["upstreams"][0]["models"][0]["id"], "a");
    assert!(fake.requests().len() > before);
    proxy.get("/v1/models");
    assert!(fake.requests().len() > before + 1, "the clients' list is fetched again too");
}
