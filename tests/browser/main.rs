//! `make test-browser`: the page below `/-/` in a real browser, without a window.
//!
//! Not part of `make test`, since it needs chromium and chromedriver.
#![allow(dead_code, missing_docs, clippy::print_stderr)] // the rooms below are made for tests/it

#[path = "../it/client.rs"]
mod client;
mod driver;
#[path = "../it/fake.rs"]
mod fake;
#[path = "../it/proxy.rs"]
mod proxy;
#[path = "../it/wait.rs"]
mod wait;

use serde_json::json;

use driver::{Browser, CONTROL, DOWN};
use fake::{Fake, models};
use proxy::Proxy;

/// The page of a proxy before one upstream, with its models in sight.
fn page(fake: &Fake, rules: &str) -> (Proxy, Browser) {
    let proxy = Proxy::start(&configured(fake, rules));
    let browser = Browser::start(1280, 1000);
    browser.open(&format!("http://127.0.0.1:{}/-/", proxy.port()));
    browser.until("document.querySelector('[data-model]') !== null");
    (proxy, browser)
}

fn configured(fake: &Fake, rules: &str) -> String {
    format!("model_filter:\n  base_url: {}\n{rules}", fake.url("/v1"))
}

/// The field of a key in the view of rules.
fn field(name: &str) -> String {
    format!("#rules [name=\"{name}\"]")
}

/// A condition on the row of a model.
fn row(id: &str, condition: &str) -> String {
    let selector = format!("[data-model={}]", json!(id));
    format!("document.querySelector({})?.{condition}", json!(selector))
}

/// The kept models in the order of the menu.
fn menu(browser: &Browser) -> Vec<String> {
    let script = "return [...document.querySelectorAll('#menu li > span')].map(s => s.textContent)";
    let ids = browser.script(script);
    ids.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// Waits until the menu is this one.
fn until_menu(browser: &Browser, ids: &[&str]) {
    let shown = "[...document.querySelectorAll('#menu li > span')].map(s => s.textContent)";
    browser.until(&format!("JSON.stringify({shown}) === {}", json!(json!(ids).to_string())));
}

fn choose(browser: &Browser, select: &str, value: &str) {
    browser.click(&format!("{select} option[value=\"{value}\"]"));
}

/// A list whose models differ in what can be filtered.
fn shop() -> String {
    let model = |id: &str, price: &str, context: u64, created: u64, supports: &[&str]| {
        json!({"id": id, "created": created, "context_length": context,
               "pricing": {"prompt": price, "completion": price}, "supported_parameters": supports,
               "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]}})
    };
    let tools = &["tools", "seed"][..];
    json!({"data": [
        model("a/free-old", "0", 131_072, 1_700_000_000, tools),
        model("a/free-new", "0", 200_000, 1_750_000_000, tools),
        model("a/free-preview", "0", 200_000, 1_760_000_000, tools),
        model("b/free-small", "0", 8192, 1_760_000_000, tools),
        model("b/free-dumb", "0", 200_000, 1_760_000_000, &["seed"]),
        model("b/paid", "0.000003", 200_000, 1_740_000_000, tools),
        model("c/dear", "0.00002", 1_000_000, 1_755_000_000, tools),
    ]})
    .to_string()
}

/// A proxy with a file of rules in a folder of its own.
fn saving(fake: &Fake, test: &str) -> (Proxy, std::path::PathBuf) {
    let file = std::env::temp_dir().join(format!("mf-page-{}-{test}.yaml", std::process::id()));
    let _ = std::fs::remove_file(&file);
    (Proxy::start(&configured(fake, &format!("  rules: {}\n", file.display()))), file)
}

fn open(proxy: &Proxy, width: u32, height: u32) -> Browser {
    let browser = Browser::start(width, height);
    browser.open(&format!("http://127.0.0.1:{}/-/", proxy.port()));
    browser.until("document.querySelector('[data-model]') !== null");
    browser
}

#[test]
fn a_menu_is_made_by_mouse_saved_and_served_in_its_order() {
    let fake = Fake::listing(&shop());
    let (proxy, file) = saving(&fake, "mouse");
    let browser = open(&proxy, 1280, 900);
    browser.click("#none");
    until_menu(&browser, &[]);
    browser.click("#chips [value=free]");
    browser.click("#chips [value='supports:tools']");
    choose(&browser, "#context", "100000");
    choose(&browser, "#without", "preview");
    browser.until("document.querySelectorAll('[data-model]').length === 2");
    browser.click("#keep-like");
    until_menu(&browser, &["a/free-old", "a/free-new"]);
    choose(&browser, "#order", "newest");
    browser.click("#clear");
    for id in ["b/paid", "c/dear"] {
        browser.until(&row(id, "checkVisibility()"));
        browser.click(&format!("[data-model='{id}'] input"));
        browser.until(&row(id, "dataset.kept === 'true'"));
    }
    let ids = ["c/dear", "a/free-new", "b/paid", "a/free-old"];
    until_menu(&browser, &ids);
    browser.click("#save");
    browser.until("document.querySelector('#place').textContent.startsWith('Saved in')");
    assert_eq!(proxy.get("/v1/models").ids(), ids);
    assert_eq!(browser.script("return location.hash"), "");
    let successor = Proxy::start(&configured(&fake, &format!("  rules: {}\n", file.display())));
    assert_eq!(successor.get("/v1/models").ids(), ids);
}

#[test]
fn the_keyboard_alone_searches_keeps_undoes_and_saves() {
    let fake = Fake::listing(&shop());
    let (proxy, _file) = saving(&fake, "keys");
    let browser = open(&proxy, 1280, 900);
    browser.click("#none");
    until_menu(&browser, &[]);
    browser.press("/");
    browser.until("document.activeElement.id === 'search'");
    browser.press("free -preview");
    browser.until("document.querySelectorAll('[data-model]').length === 4");
    browser.press(DOWN);
    browser.press(DOWN);
    browser.press(" ");
    until_menu(&browser, &["a/free-new"]);
    browser.press(DOWN);
    browser.press(" ");
    until_menu(&browser, &["a/free-old", "a/free-new"]);
    browser.chord(CONTROL, "z");
    until_menu(&browser, &["a/free-new"]);
    browser.chord(CONTROL, "y");
    until_menu(&browser, &["a/free-old", "a/free-new"]);
    browser.chord(CONTROL, "s");
    browser.until("document.querySelector('#place').textContent.startsWith('Saved in')");
    assert_eq!(proxy.get("/v1/models").ids(), ["a/free-old", "a/free-new"]);
}

#[test]
fn a_second_window_that_saves_later_is_asked() {
    let fake = Fake::listing(&models(&["a", "b"]));
    let (proxy, _file) = saving(&fake, "conflict");
    let (first, second) = (open(&proxy, 1280, 900), open(&proxy, 1280, 900));
    for (browser, id) in [(&first, "a"), (&second, "b")] {
        browser.click(&format!("[data-model={id}] input"));
        browser.until(&row(id, "dataset.change === 'removed'"));
    }
    first.click("#save");
    first.until("document.querySelector('#place').textContent.startsWith('Saved in')");
    second.click("#save");
    second.until("document.querySelector('#conflict').checkVisibility()");
    assert_eq!(proxy.get("/v1/models").ids(), ["b"]);
    second.click("#mine");
    second.until("document.querySelector('#place').textContent.startsWith('Saved in')");
    assert_eq!(proxy.get("/v1/models").ids(), ["a"]);
}

#[test]
fn what_is_found_is_sorted_counted_and_folded_and_no_rule_changes() {
    let fake = Fake::listing(&shop());
    let (_proxy, browser) = page(&fake, "");
    let shown = || {
        let script =
            "return [...document.querySelectorAll('[data-model]')].map(r => r.dataset.model)";
        browser.script(script)
    };
    browser.click("[data-sort=input]");
    browser.click("[data-sort=input]");
    browser.until("document.querySelector('tbody tr').dataset.model === 'c/dear'");
    assert_eq!(shown()[1], "b/paid");
    browser.click("[data-sort=id]");
    let free = "document.querySelector('#chips [value=free]').parentElement.innerText";
    browser.until(&format!("{free}.includes('5')"));
    browser.click("#fold");
    browser.until("document.querySelector('[data-model]') === null");
    browser.click("#fold");
    browser.retype("#search", "nothing at all");
    browser.until("document.querySelector('#empty').innerText.includes('No model matches')");
    browser.click("#clear-empty");
    browser.until("document.querySelectorAll('[data-model]').length === 7");
    assert_eq!(menu(&browser).len(), 7);
    assert_eq!(browser.script("return location.hash"), "");
}

#[test]
fn edited_rules_survive_a_reload_of_the_page() {
    let fake = Fake::listing(&models(&["a", "b"]));
    let (proxy, browser) = page(&fake, "");
    browser.click("[data-model=a] input");
    browser.until("location.hash !== ''");
    let url = browser.script("return location.href");
    let other = Browser::start(1280, 900);
    other.open(url.as_str().unwrap());
    other.until(&row("a", "dataset.change === 'removed'"));
    until_menu(&other, &["b"]);
    assert_eq!(proxy.get("/v1/models").ids(), ["a", "b"]);
}

#[test]
fn it_judges_while_one_types_and_marks_what_changes() {
    let fake = Fake::listing(&models(&["a/llama-3", "a/gpt", "b/llama-2"]));
    let (_proxy, browser) = page(&fake, "  simple: [a/gpt]\n");
    assert_eq!(menu(&browser), ["a/gpt"]);
    browser.click("[data-view=rules]");
    browser.retype(&field("regexp"), ".*llama.*");
    until_menu(&browser, &["a/llama-3", "a/gpt", "b/llama-2"]);
    let tally =
        |name: &str| format!("document.querySelector({}).nextElementSibling", json!(field(name)));
    browser.until(&format!("{}.textContent === '2'", tally("regexp")));
    browser.retype(&field("exclude.regexp"), ".*\nclaude");
    browser.until(&format!("{}.textContent === '3\\n0'", tally("exclude.regexp")));
    browser.until("document.querySelector('#advice').innerText.includes('matches no model')");
    browser.retype(&field("exclude.regexp"), "nothing");
    browser.retype(&field("simple"), "b/nothing");
    until_menu(&browser, &["a/llama-3", "b/llama-2"]);
    browser.click("#revert");
    until_menu(&browser, &["a/gpt"]);
}

#[test]
fn a_bad_rule_is_shown_at_its_place() {
    let fake = Fake::listing(&models(&["a", "b"]));
    let (_proxy, browser) = page(&fake, "");
    browser.click("[data-view=rules]");
    for (name, bad, why) in [
        ("exclude.regexp", "a\n(b", "unclosed group"),
        ("where.max_price", "much", "is not a price"),
    ] {
        browser.retype(&field(name), bad);
        let invalid = format!(
            "document.querySelector({}).getAttribute('aria-invalid') === 'true'",
            json!(field(name))
        );
        browser.until(&invalid);
        assert!(browser.text().contains(why), "{}", browser.text());
        browser.retype(&field(name), if name == "exclude.regexp" { "b" } else { "5" });
        browser.until(&format!("!({invalid})"));
    }
    until_menu(&browser, &["a"]);
}

#[test]
fn what_is_clicked_together_and_copied_is_what_the_program_then_lists() {
    let ids = ["a/llama-3", "a/gpt", "b/it's", "b/x: y"];
    let fake = Fake::listing(&models(&ids));
    let (_proxy, browser) = page(&fake, "  regexp: ['a/.*']\n");
    for (id, kept) in [("b/it's", true), ("b/x: y", true), ("a/gpt", false)] {
        browser.click(&format!("[data-model={}] input", json!(id)));
        browser.until(&row(id, &format!("dataset.kept === '{kept}'")));
    }
    let note = "document.querySelector('#note').innerText.includes('regexp[0]')";
    browser.until(note);
    let expected = ["a/llama-3", "b/it's", "b/x: y"];
    until_menu(&browser, &expected);
    let yaml = browser.script("return document.querySelector('#yaml').textContent");
    let successor = Proxy::start(&configured(&fake, yaml.as_str().unwrap()));
    assert_eq!(successor.get("/v1/models").ids(), expected);
    assert!(browser.text().contains("rules: rules.yaml"), "how to save is said");
}

#[test]
fn the_lines_for_another_alias_make_it() {
    let fake = Fake::listing(&models(&["a", "b/it's"]));
    let first = configured(&fake, "aliases: {old: {model: a, name: Old}, gone: c}\n");
    let proxy = Proxy::start(&first);
    let browser = Browser::start(1280, 1000);
    browser.open(&format!("http://127.0.0.1:{}/-/", proxy.port()));
    browser.until("document.querySelector('[data-alias=old]')?.innerText.includes('Old')");
    browser.until("document.querySelector('[data-alias=gone]').innerText.includes('not listed')");
    browser.click("[data-view=rules]");
    browser.click("#aliases summary");
    browser.retype("#aliases [name=target]", "old");
    browser.retype("#aliases [name=id]", "it's: new");
    let note = "document.querySelector('#aliases [data-role=note]').textContent";
    browser.until(&format!("{note}.includes('is an alias, too')"));
    browser.retype("#aliases [name=target]", "b/it's");
    browser.until(&format!("{note} === ''"));
    let yaml = "return document.querySelector('#aliases [data-role=yaml]').textContent";
    let yaml = browser.script(yaml);
    let successor = Proxy::start(&configured(&fake, yaml.as_str().unwrap()));
    assert_eq!(successor.get("/v1/models").ids(), ["old", "it's: new", "a", "b/it's"]);
}

#[test]
fn what_an_upstream_says_is_text_and_never_markup() {
    let evil = "<img src=x onerror=document.title='owned'>";
    let list =
        json!({"data": [{"id": evil, "owned_by": "<script>document.title='owned'</script>"}]});
    let fake = Fake::listing(&list.to_string());
    let (proxy, browser) = page(&fake, "");
    let body = json!({"model": "</td><img src=x onerror=document.title='owned'>"}).to_string();
    proxy.post("/v1/x", &body);
    browser.click("[data-view=exchanges]");
    browser.until("document.querySelector('#exchanges tbody tr')?.innerText.includes('onerror')");
    browser.click("[data-view=models]");
    assert!(browser.text().contains(evil), "{}", browser.text());
    assert_eq!(browser.script("return document.images.length"), 0);
    assert_ne!(browser.script("return document.title"), "owned");
}

#[test]
fn an_upstream_that_goes_down_is_seen_to() {
    let fake = Fake::listing(&models(&["a"]));
    let (_proxy, browser) = page(&fake, "");
    drop(fake);
    browser.click("#fetch");
    browser.until("document.querySelector('#state').innerText.includes('refused')");
    // The old list stays, marked.
    browser.until("document.querySelector('#state').innerText.includes('stale')");
    assert_eq!(menu(&browser), ["a"]);
}

#[test]
fn exchanges_are_seen_as_they_happen() {
    let fake = Fake::listing(&models(&["a"]));
    let (proxy, browser) = page(&fake, "");
    browser.click("[data-view=exchanges]");
    browser.until("document.querySelector('#exchanges').innerText.includes('No requests yet')");
    proxy.get("/v1/models");
    browser
        .until("document.querySelector('#exchanges tbody tr')?.innerText.includes('/v1/models')");
}

#[test]
fn it_fits_a_telephone() {
    let proxy = Proxy::start("model_filter: {base_url: 'sample:'}");
    let browser = Browser::start(500, 800);
    browser.open(&format!("http://127.0.0.1:{}/-/", proxy.port()));
    browser.until("document.querySelector('[data-model]') !== null");
    for width in [360, 500] {
        let size = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": {
            "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": true}});
        browser.chromium(&size);
        browser.until(&format!("innerWidth === {width}"));
        let overflow = "return document.documentElement.scrollWidth - innerWidth";
        assert_eq!(browser.script(overflow), 0, "at {width}");
    }
    assert_eq!(browser.script("return document.querySelector('#menu').checkVisibility()"), false);
    browser.click("#open-menu");
    browser.until("document.querySelector('#menu').checkVisibility()");
}
