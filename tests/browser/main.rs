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

use driver::Browser;
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

fn field(name: &str) -> String {
    format!("[data-upstream] [name=\"{name}\"]")
}

/// A condition on the row of a model.
fn row(id: &str, condition: &str) -> String {
    let selector = format!("[data-model=\"{id}\"]");
    format!("document.querySelector({})?.{condition}", json!(selector))
}

fn kept(browser: &Browser) -> Vec<String> {
    let script =
        "return [...document.querySelectorAll('[data-kept=true]')].map(r => r.dataset.model)";
    let ids = browser.script(script);
    let mut ids: Vec<String> =
        ids.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn it_judges_while_one_types_and_marks_what_changes() {
    let fake = Fake::listing(&models(&["a/llama-3", "a/gpt", "b/llama-2"]));
    let (_proxy, browser) = page(&fake, "  simple: [a/gpt]\n");
    assert_eq!(kept(&browser), ["a/gpt"]);
    assert!(browser.text().contains("1 of 3"), "{}", browser.text());

    browser.retype(&field("regexp"), ".*llama.*");
    browser.until(&row("b/llama-2", "dataset.change === 'added'"));
    assert_eq!(kept(&browser), ["a/gpt", "a/llama-3", "b/llama-2"]);
    let tally =
        |name: &str| format!("document.querySelector({}).nextElementSibling", json!(field(name)));
    browser.until(&format!("{}.textContent === '2'", tally("regexp")));
    browser.retype(&field("exclude.regexp"), ".*\nclaude");
    browser.until(&format!("{}.textContent === '3\\n0'", tally("exclude.regexp")));
    browser.retype(&field("exclude.regexp"), "nothing");
    browser.until(&row("b/llama-2", "dataset.change === 'added'"));
    browser.retype(&field("simple"), "b/nothing");
    browser.until(&row("a/gpt", "dataset.change === 'removed'"));
    assert!(browser.text().contains("2 of 3"), "{}", browser.text());

    browser.click("[data-role=reset]");
    browser.until(&row("a/gpt", "dataset.change === undefined"));
    assert_eq!(kept(&browser), ["a/gpt"]);
}

#[test]
fn a_bad_pattern_is_shown_at_its_place() {
    let fake = Fake::listing(&models(&["a", "b"]));
    let (_proxy, browser) = page(&fake, "");
    browser.retype(&field("exclude.regexp"), "a\n(b");
    let invalid = format!(
        "document.querySelector({}).getAttribute('aria-invalid') === 'true'",
        json!(field("exclude.regexp"))
    );
    browser.until(&invalid);
    assert!(browser.text().contains("unclosed group"), "{}", browser.text());
    browser.retype(&field("exclude.regexp"), "b");
    browser.until(&row("b", "dataset.kept === 'false'"));
    assert!(!browser.text().contains("unclosed group"), "{}", browser.text());
    assert_eq!(browser.script(&format!("return {invalid}")), false);
}

#[test]
fn what_is_clicked_together_and_copied_is_what_the_program_then_lists() {
    let ids = ["a/llama-3", "a/gpt", "b/it's", "b/x: y"];
    let fake = Fake::listing(&models(&ids));
    let (_proxy, browser) = page(&fake, "  regexp: ['a/.*']\n");
    for (id, kept) in [("b/it's", true), ("b/x: y", true), ("a/gpt", false)] {
        // Makers of whom nothing is kept are folded.
        browser.retype("#search", id);
        browser.until(&row(id, "checkVisibility()"));
        browser.click(&format!("[data-model={}] button", json!(id)));
        browser.until(&row(id, &format!("dataset.kept === '{kept}'")));
    }
    let shown = kept(&browser);
    assert_eq!(shown, ["a/llama-3", "b/it's", "b/x: y"]);
    let yaml = browser.script("return document.querySelector('[data-role=yaml]').textContent");
    let successor = Proxy::start(&configured(&fake, yaml.as_str().unwrap()));
    let mut listed = successor.get("/v1/models").ids();
    listed.sort_unstable();
    assert_eq!(listed, shown);
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
    browser.until("document.querySelector('#exchanges tbody tr')?.innerText.includes('onerror')");
    assert!(browser.text().contains(evil), "{}", browser.text());
    assert_eq!(browser.script("return document.images.length"), 0);
    assert_ne!(browser.script("return document.title"), "owned");
}

#[test]
fn an_upstream_that_goes_down_is_seen_to() {
    let fake = Fake::listing(&models(&["a"]));
    let (_proxy, browser) = page(&fake, "");
    drop(fake);
    browser.until("document.querySelector('[data-role=state]').innerText.includes('refused')");
}

#[test]
fn exchanges_are_seen_as_they_happen() {
    let fake = Fake::listing(&models(&["a"]));
    let (proxy, browser) = page(&fake, "");
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
}
