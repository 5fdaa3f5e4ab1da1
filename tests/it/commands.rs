use std::process::Output;

use crate::fake::{Fake, Request, json, models};
use crate::proxy::{ConfigFile, Proxy, plain, program, run};
use crate::several::{NOWHERE, upstreams};

/// Runs the command with this configuration. Returns its exit status, stdout and stderr.
fn command(args: &[&str], yaml: &str) -> (i32, String, String) {
    let config = ConfigFile::new(yaml);
    let mut command = program();
    command.args(args).arg("--config").arg(config.path());
    let Output { status, stdout, stderr } = run(command);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let path = config.path().to_str().unwrap();
    (status.code().unwrap(), text(stdout), text(stderr).replace(path, "FILE"))
}

const RULES: &str = "regexp: ['llama.*'], simple: [gpt-4o], exclude: {regexp: ['x', '.*:free']}, \
                     default: 'gpt.*'";

fn two(fake: &Fake) -> String {
    upstreams(&[("one", &fake.url("/v1"), RULES), ("dead", NOWHERE, "")])
}

fn offering() -> Fake {
    Fake::listing(&models(&["o1", "llama-3", "GPT-4o", "llama-2:free"]))
}

#[test]
fn models_tells_what_is_kept_and_hidden_and_by_which_rule() {
    let fake = offering();
    let (status, out, _) = command(&["models"], &two(&fake));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(status, 1, "one upstream is dead: {out}");
    assert!(lines[0].starts_with("one: 2 of 4 kept, in "), "{out}");
    assert_eq!(lines[1], "+ one/GPT-4o        simple \"gpt-4o\", default");
    assert_eq!(lines[2], "+ one/llama-3       regexp[0] \"llama.*\"");
    assert_eq!(lines[3], "- one/o1            no rule matched");
    assert_eq!(lines[4], "- one/llama-2:free  exclude.regexp[1] \".*:free\"");
    let advice = "warning: exclude.regexp[0] \"x\" matches no model, and none is similar";
    assert!(lines[5].starts_with(advice), "{out}");
    assert!(lines[6].starts_with("dead: ") && lines[6].contains("refused"), "{out}");
    assert_eq!(lines.len(), 7);
    assert!(!out.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn models_shows_only_what_is_asked_for() {
    let fake = offering();
    let yaml = upstreams(&[("one", &fake.url("/v1"), RULES)]);
    let shown = |args: &[&str]| {
        let (status, out, _) = command(&[&["models"], args].concat(), &yaml);
        assert_eq!(status, 0);
        let models = out.lines().filter(|line| line.starts_with(['+', '-']));
        let ids = models.map(|line| line.split_whitespace().nth(1).unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(shown(&["--kept"]), ["one/GPT-4o", "one/llama-3"]);
    assert_eq!(shown(&["--kept", "--sort", "upstream"]), ["one/llama-3", "one/GPT-4o"]);
    assert_eq!(shown(&["--hidden", "--sort", "id"]), ["one/llama-2:free", "one/o1"]);
    assert_eq!(shown(&["--hidden"]), ["one/o1", "one/llama-2:free"]);
    assert_eq!(shown(&["LLAMA"]), ["one/llama-3", "one/llama-2:free"]);
    assert_eq!(shown(&["--kept", "--hidden", "gpt"]), ["one/GPT-4o"]);
    let (status, out, _) = command(&["models", "claude"], &yaml);
    assert_eq!((status, out.contains("\nno id holds \"claude\"\n")), (0, true), "{out}");
}

#[test]
fn models_shows_facts_on_a_wide_terminal_alone() {
    let config = ConfigFile::new("model_filter: {base_url: 'sample:', regexp: ['.*:free']}");
    let table = |columns: u16| {
        // script(1) gives the program a terminal.
        let shell = format!(
            "stty cols {columns}; {} models --config {} glm-4.5-air",
            env!("CARGO_BIN_EXE_model-filter"),
            config.path().display(),
        );
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &shell, "/dev/null"]).env("NO_COLOR", "1");
        String::from_utf8(run(script).stdout).unwrap()
    };
    let wide = table(160);
    let line = |table: &str, id: &str| {
        let line = table.lines().find(|line| line.contains(id));
        line.unwrap_or_else(|| panic!("{table}")).to_owned()
    };
    let words = line(&wide, "air:free");
    let words: Vec<&str> = words.split_whitespace().collect();
    assert_eq!(words[..5], ["+", "z-ai/glm-4.5-air:free", "free", "free", "128K"], "{wide}");
    assert!(line(&wide, "MODEL").contains("CONTEXT"), "{wide}");
    assert!(!table(60).contains("CONTEXT"));
}

#[test]
fn check_asks_the_upstreams_if_it_is_told_to() {
    let fake = offering();
    let yaml = two(&fake);
    let (status, out, err) = command(&["check", "--online"], &yaml);
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("warning: one: exclude.regexp[0] \"x\" matches no model"), "{err}");
    assert!(err.contains("model-filter: dead: ") && err.contains("refused"), "{err}");
    let yaml = upstreams(&[("one", &fake.url("/v1"), "regexp: [gpt]")]);
    let (status, out, err) = command(&["check", "--online"], &yaml);
    assert_eq!(status, 0);
    assert!(out.ends_with("the configuration is good\n"), "{out}");
    let advice = "one: regexp[0] \"gpt\" matches no model; \"gpt.*\" would match 1";
    assert!(err.contains(advice) && err.contains("none of 4 models is kept"), "{err}");
    assert_eq!(command(&["check"], &yaml).2, "");
}

#[test]
fn models_speaks_json() {
    let fake = offering();
    let (status, out, _) = command(&["models", "--json"], &two(&fake));
    let upstreams: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status, 1);
    let first = &upstreams[0]["models"][3];
    assert_eq!(
        (first["id"].as_str(), first["kept"].as_bool()),
        (Some("one/llama-2:free"), Some(false))
    );
    assert_eq!(
        (first["list"].as_str(), first["index"].as_u64()),
        (Some("exclude.regexp"), Some(1))
    );
    assert!(upstreams[1]["error"].as_str().unwrap().contains("refused"), "{out}");
    assert_eq!(upstreams[0]["warnings"].as_array().unwrap().len(), 1, "{out}");
    assert!(first["context"].is_null() && first["price"]["input"].is_null(), "{out}");
}

#[test]
fn models_judges_a_saved_list_and_asks_nobody() {
    let saved = ConfigFile::new(&models(&["llama-3", "o1"]));
    let path = saved.path().to_str().unwrap();
    let (status, out, _) =
        command(&["models", "--from", path], &upstreams(&[("dead", NOWHERE, RULES)]));
    assert_eq!((status, out.lines().next()), (0, Some("dead: 1 of 2 kept")));
    let (status, _, err) = command(&["models", "--from", "/nowhere"], &plain(NOWHERE, ""));
    assert_eq!(status, 2);
    assert!(err.contains("/nowhere: "), "{err}");
}

#[test]
fn models_asks_with_the_key_that_is_given_as_a_client_would() {
    let fake = Fake::answering(|request: &Request| match request.header("authorization") {
        Some("Bearer sk-1") => json(200, &models(&["a"])),
        _ => json(401, "{\"error\":\"no key\"}"),
    })
    .showing_lists();
    let yaml = plain(&fake.url("/v1"), "");
    assert_eq!(command(&["models", "--key", "sk-1"], &yaml).0, 0);
    let file = ConfigFile::new("sk-1\n");
    let named = format!("file:{}", file.path().display());
    assert_eq!(command(&["models", "--key", &named], &yaml).0, 0);
    let config = ConfigFile::new(&yaml);
    let mut with_variable = program();
    with_variable.args(["models", "--key", "os.environ/OUR_KEY", "-c"]).arg(config.path());
    with_variable.env("OUR_KEY", "sk-1");
    assert!(run(with_variable).status.success());
    for (key, why) in [
        ("os.environ/NO_SUCH_KEY", "--key: the environment variable \"NO_SUCH_KEY\" is not set"),
        ("os.environ/sk-hush", "--key: the environment variable (not shown) is not set"),
        ("file:sk-hush", "--key: the file (not shown) below \".\": no such file or directory"),
        ("file:/sk-hush", "--key: the file (not shown): no such file or directory"),
        ("", "--key: the value is empty"),
    ] {
        let (status, _, err) = command(&["models", "--key", key], &yaml);
        assert_eq!((status, err.contains(why), err.contains("hush")), (2, true, false), "{err}");
    }
    let ring = plain(&fake.url("/v1"), "authorization: keyring");
    let (status, _, err) = command(&["models", "--key", "sk-1"], &ring);
    assert_eq!((status, err.contains("name=secret")), (2, true), "{err}");
    let (status, out, _) = command(&["models"], &yaml);
    assert_eq!((status, out.contains("status 401: {\"error\":\"no key\"}")), (1, true), "{out}");
}

#[test]
fn check_says_all_that_is_wrong_and_needs_no_network() {
    let (status, out, err) = command(&["check"], &plain(NOWHERE, ""));
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.ends_with(": the configuration is good\n"), "{out}");

    let bad = "model_filter:\n  a: {base_url: 'ftp://x', regexp: ['(', 'b', '[z-a]'], cache_ttl: x}\n  \
               b: {base_url: 'sample:', hidden: x, tls: {ca_file: nowhere}}\n  \
               c: {base_url: 'sample:', prefix: b, exclude: {regex: []}}\nserver: {port: -1}\n";
    let (status, out, err) = command(&["check"], bad);
    assert_eq!((status, out.as_str()), (2, ""));
    let keys = [
        "server.port",
        "a.base_url",
        "a.cache_ttl",
        "a.regexp[0]",
        "a.regexp[2]",
        "b.hidden",
        "b.tls.ca_file",
        "c.exclude.regex",
        "c.prefix",
    ];
    for key in keys {
        let count = err.lines().filter(|line| line.contains(&format!("{key}: "))).count();
        assert_eq!(count, 1, "{key} in {err}");
    }
    assert_eq!(err.lines().count(), keys.len(), "{err}");
}

#[test]
fn a_warning_is_no_error() {
    let (status, _, err) = command(&["check"], &plain("http://127.0.0.1:1/api", ""));
    assert_eq!(status, 0);
    assert!(err.contains("warning: ") && err.contains("http://127.0.0.1:1/api/v1"), "{err}");
}

#[test]
fn health_asks_the_running_one() {
    let fake = offering();
    let proxy = Proxy::before(&fake, "");
    let port = proxy.port().to_string();
    let yaml = plain(NOWHERE, "");
    assert_eq!(command(&["health", "-p", &port], &yaml), (0, "ok\n".into(), String::new()));
    assert_eq!(command(&["health", "--ready", "-p", &port], &yaml).1, "ready\n");
    let secret = plain(NOWHERE, "api_key: os.environ/ONLY_THE_SERVICE_HAS_IT");
    assert_eq!(command(&["health", "-p", &port], &secret).0, 0);
    assert_eq!(command(&["health"], &format!("{secret}server: {{port: {port}}}")).0, 0);
    assert_eq!(command(&["health"], &format!("{secret}server: {{port: x}}")).0, 2);
    let everywhere = ["health", "-p", &port, "-H", "0.0.0.0"];
    assert_eq!(command(&everywhere, &yaml).0, 0);
    drop(proxy);
    let (status, _, err) = command(&["health", "-p", &port], &yaml);
    assert_eq!((status, err.contains("refused")), (1, true), "{err}");

    let unready = Proxy::start(&yaml);
    let port = unready.port().to_string();
    assert_eq!(command(&["health", "-p", &port], &yaml).0, 0);
    let (status, _, err) = command(&["health", "--ready", "-p", &port], &yaml);
    assert_eq!((status, err.contains("status 503")), (1, true), "{err}");
}

#[test]
fn a_secret_may_be_in_a_file() {
    let fake = Fake::answering(|_: &Request| json(200, "{}"));
    let secret = ConfigFile::new("the-secret-in-a-file\n");
    let name = secret.path().file_name().unwrap().to_str().unwrap();
    let folder = secret.path().parent().unwrap().to_str().unwrap();
    let relative = plain(&fake.url("/v1"), &format!("api_key: file:{name}"));
    let proxies = [
        Proxy::start(&relative),
        Proxy::start_with(&relative, &[], &[("CREDENTIALS_DIRECTORY", folder)]),
        Proxy::start(&plain(&fake.url("/v1"), &format!("api_key: file:{folder}/{name}"))),
    ];
    for proxy in proxies {
        proxy.get("/v1/x");
        let request = fake.wait_for("/v1/x");
        assert_eq!(request.header("authorization"), Some("Bearer the-secret-in-a-file"));
    }
    let (status, _, err) = command(&["check"], &plain(NOWHERE, "api_key: file:nowhere"));
    assert_eq!(status, 2);
    assert!(
        err.contains("model_filter.api_key: ")
            && err.contains("no such file")
            && !err.contains("nowhere"),
        "{err}"
    );
}
