//! Changed files of the configuration are read again without a signal.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::fake::{Fake, models};
use crate::proxy::{Proxy, plain, program};
use crate::wait::eventually;

/// A folder with a configuration; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("watching-{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    fn write(&self, file: &str, text: &str) {
        fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
        fs::write(self.path(file), text).unwrap();
    }

    fn start(&self) -> Proxy {
        let mut command = program();
        command.arg("--config").arg(self.path("config.yaml")).args(["--port", "0"]);
        Proxy::spawn(command)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn ids(proxy: &Proxy) -> Vec<String> {
    proxy.get("/v1/models").ids()
}

#[test]
fn an_edited_file_takes_effect_and_its_changed_keys_are_logged() {
    let fake = Fake::listing(&models(&["a", "b"]));
    let proxy = Proxy::before(&fake, "simple: [a]");
    assert_eq!(ids(&proxy), ["a"]);
    let keys = "server: {client_keys: [hush-hush-hush]}\n";
    proxy.rewrite(&format!("{}{keys}", plain(&fake.url("/v1"), "simple: [b]")));
    let logged = proxy.wait_for_log("msg=\"configuration reloaded\"");
    let changed = "changed=\"model_filter.simple, server.client_keys\"";
    assert!(logged.contains(changed), "{logged}");
    let key = [("Authorization", "Bearer hush-hush-hush")];
    assert_eq!(proxy.ask("GET", "/v1/models", &key, b"").ids(), ["b"]);
    assert!(!proxy.log().iter().any(|line| line.contains("hush")), "{:?}", proxy.log());
}

#[test]
fn a_half_written_or_missing_file_changes_nothing() {
    let fake = Fake::listing(&models(&["a", "b"]));
    let folder = Folder::new("half");
    let good = |id: &str| plain(&fake.url("/v1"), &format!("simple: [{id}]"));
    folder.write("config.yaml", &good("a"));
    let proxy = folder.start();
    folder.write("config.yaml", &good("b")[..30]);
    proxy.wait_for_log("msg=\"not reloaded");
    assert_eq!(ids(&proxy), ["a"]);
    fs::remove_file(folder.path("config.yaml")).unwrap();
    folder.write("new.yaml", &good("b"));
    fs::rename(folder.path("new.yaml"), folder.path("config.yaml")).unwrap();
    eventually("the new file is in force", || ids(&proxy) == ["b"]);
    let failures = proxy.log().iter().filter(|line| line.contains("not reloaded")).count();
    assert_eq!(failures, 1, "{:?}", proxy.log());
}

#[test]
fn the_swap_of_a_link_is_seen_as_with_a_config_map() {
    let fake = Fake::listing(&models(&["a", "b"]));
    let folder = Folder::new("link");
    for (version, id) in [("1", "a"), ("2", "b")] {
        let yaml = plain(&fake.url("/v1"), &format!("simple: [{id}]"));
        folder.write(&format!("{version}/config.yaml"), &yaml);
    }
    symlink("1", folder.path("data")).unwrap();
    symlink("data/config.yaml", folder.path("config.yaml")).unwrap();
    let proxy = folder.start();
    assert_eq!(ids(&proxy), ["a"]);
    symlink("2", folder.path("new")).unwrap();
    fs::rename(folder.path("new"), folder.path("data")).unwrap();
    eventually("the other file is in force", || ids(&proxy) == ["b"]);
}

#[test]
fn a_changed_key_file_is_read_again() {
    let fake = Fake::listing(&models(&["a"]));
    let folder = Folder::new("key");
    folder.write("key", "sk-first\n");
    folder.write("config.yaml", &plain(&fake.url("/v1"), "api_key: file:key"));
    let proxy = folder.start();
    folder.write("key", "sk-other-one\n");
    let logged = proxy.wait_for_log("msg=\"configuration reloaded\"");
    assert!(logged.contains("changed=model_filter.api_key"), "{logged}");
    proxy.get("/v1/own");
    let sent = fake.wait_for("/v1/own");
    assert_eq!(sent.header("authorization"), Some("Bearer sk-other-one"));
}

#[test]
fn without_watch_only_a_signal_counts() {
    let fake = Fake::listing(&models(&["a", "b"]));
    let yaml = |id: &str, watch: &str| {
        let plain = plain(&fake.url("/v1"), &format!("simple: [{id}]"));
        format!("{plain}server: {{watch: {watch}}}\n")
    };
    let (deaf, watching) = (Proxy::start(&yaml("a", "no")), Proxy::start(&yaml("a", "yes")));
    deaf.rewrite(&yaml("b", "no"));
    watching.rewrite(&yaml("b", "yes"));
    watching.wait_for_log("msg=\"configuration reloaded\"");
    assert_eq!((ids(&watching), ids(&deaf)), (vec!["b".to_owned()], vec!["a".to_owned()]));
    deaf.signal("HUP");
    eventually("the signal is obeyed", || ids(&deaf) == ["b"]);
}
