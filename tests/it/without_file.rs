//! Options and variables in place of a file, and the places where a file is looked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fake::{Fake, models};
use crate::proxy::{Proxy, plain, program, run};

/// An empty folder; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("without-file-{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// The program, started in this folder.
    fn program(&self, args: &[&str], env: &[(&str, &str)]) -> Command {
        let mut command = program();
        command.current_dir(&self.0).args(args).envs(env.iter().copied());
        command
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The status, standard output and standard error of a command that ends by itself.
fn ended(command: Command) -> (Option<i32>, String, String) {
    let output = run(command);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn three_models() -> Fake {
    Fake::listing(&models(&["a/one", "a/two", "b/one"]))
}

#[test]
fn variables_alone_are_a_configuration() {
    let (folder, fake) = (Folder::new("variables"), three_models());
    let proxy = Proxy::spawn(folder.program(
        &["--port", "0"],
        &[
            ("LLM_MF_BASE_URL", &fake.url("/v1")),
            ("LLM_MF_REGEXP", "a/.*\n.*/none"),
            ("LLM_MF_SIMPLE", "b/one,b/two"),
            ("LLM_MF_EXCLUDE", ".*/two"),
            ("LLM_MF_API_KEY", "sk-hush"),
            ("LLM_MF_CLIENT_KEYS", "first-key, second-key"),
        ],
    ));
    proxy.get("/v1/models").own_error(401, "invalid_api_key");
    let key = [("Authorization", "Bearer second-key")];
    assert_eq!(proxy.ask("GET", "/v1/models", &key, b"").ids(), ["a/one", "b/one"]);
    let sent = fake.wait_for("/v1/models");
    assert_eq!(sent.header("authorization"), Some("Bearer sk-hush"));
    assert!(!proxy.log().iter().any(|line| line.contains("hush") || line.contains("second-key")));
    assert!(proxy.wait_for_log("msg=\"listening\"").contains("config=none"));
}

#[test]
fn options_alone_are_a_configuration() {
    let (folder, fake) = (Folder::new("options"), three_models());
    let url = fake.url("/v1");
    let rules = ["--base-url", &url, "--keep", "a/.*", "--keep", "b/.*", "--hide", ".*/two"];
    let models = folder.program(&[&["models", "--kept"], &rules[..]].concat(), &[]);
    let (status, shown, _) = ended(models);
    assert_eq!(status, Some(0));
    assert!(shown.contains("2 of 3 kept") && shown.contains("+ b/one"), "{shown}");
    let proxy = Proxy::spawn(folder.program(&[&["--port", "0"], &rules[..]].concat(), &[]));
    assert_eq!(proxy.get("/v1/models").ids(), ["a/one", "b/one"]);
}

#[test]
fn options_replace_keys_of_a_file_with_one_upstream() {
    let (folder, fake) = (Folder::new("replaced"), three_models());
    folder.write("config.yaml", &plain(&fake.url("/v1"), "regexp: ['(']"));
    let proxy = Proxy::spawn(folder.program(&["--port", "0", "--keep", "b/.*"], &[]));
    assert_eq!(proxy.get("/v1/models").ids(), ["b/one"]);

    let several = "model_filter: {a: {base_url: 'sample:'}, b: {base_url: 'sample:'}}";
    folder.write("config.yaml", several);
    let (status, _, err) = ended(folder.program(&["check"], &[("LLM_MF_REGEXP", "a")]));
    assert_eq!(status, Some(2));
    assert!(err.starts_with("model-filter: LLM_MF_REGEXP: applies only if"), "{err}");
}

#[test]
fn a_key_of_the_file_does_not_go_to_the_server_of_an_option() {
    let folder = Folder::new("other-server");
    folder.write("config.yaml", &plain("https://a.example/v1", "api_key: sk-hush"));
    let (status, _, err) =
        ended(folder.program(&["check", "--base-url", "https://b.example/v1"], &[]));
    assert_eq!(status, Some(2));
    assert!(err.contains("api_key in config.yaml is for its own base_url"), "{err}");
    let args = ["check", "--base-url", "https://b.example/v1", "--api-key-env", "KEY"];
    assert_eq!(ended(folder.program(&args, &[("KEY", "sk-other")])).0, Some(0));
}

#[test]
fn an_error_names_the_option_or_variable() {
    let folder = Folder::new("errors");
    let base = ["check", "--base-url", "sample:"];
    for (args, env, begin) in [
        (&["--keep", "("] as &[&str], &[] as &[(&str, &str)], "--keep: \"(\": unclosed group"),
        (&["--keep", "*gpt*"], &[], "--keep: \"*gpt*\": a glob"),
        (&[], &[("LLM_MF_CACHE_TTL", "soon")], "LLM_MF_CACHE_TTL: \"soon\" is not a duration"),
        (&["--api-key-env", "NONE"], &[], "--api-key-env: the environment variable \"NONE\""),
        (&[], &[("LLM_MF_CLIENT_KEYS", "short")], "LLM_MF_CLIENT_KEYS: too short to be a key"),
        (&[], &[("LLM_MF_API_KEY", "Bearer sk-hush")], "LLM_MF_API_KEY: write the key without"),
    ] {
        let (status, _, err) = ended(folder.program(&[&base, args].concat(), env));
        assert_eq!(status, Some(2));
        assert!(err.starts_with(&format!("model-filter: {begin}")), "{err}");
        assert!(!err.contains("hush"), "{err}");
    }
}

#[test]
fn every_command_finds_the_same_file() {
    let (folder, fake) = (Folder::new("search"), three_models());
    let own = folder.0.join("own");
    let env = [("XDG_CONFIG_HOME", own.to_str().unwrap())];
    let (status, _, err) = ended(folder.program(&["check"], &env));
    assert_eq!(status, Some(2));
    let path = own.join("model-filter/config.yaml");
    for place in ["config.yaml", path.to_str().unwrap(), "/etc/model-filter/config.yaml"] {
        assert!(err.contains(place), "{err}");
    }
    assert!(err.contains("--base-url") && err.contains("--config"), "{err}");

    folder.write("own/model-filter/config.yaml", &plain(&fake.url("/v1"), "simple: [a/one]"));
    let (status, out, _) = ended(folder.program(&["check"], &env));
    assert_eq!((status, out.contains(path.to_str().unwrap())), (Some(0), true), "{out}");
    let (_, shown, _) = ended(folder.program(&["models", "--kept"], &env));
    assert!(shown.contains("1 of 3 kept"), "{shown}");
    let proxy = Proxy::spawn(folder.program(&["--port", "0"], &env));
    assert_eq!(proxy.get("/v1/models").ids(), ["a/one"]);
    let port = proxy.port().to_string();
    assert_eq!(ended(folder.program(&["health", "--port", &port], &env)).0, Some(0));

    folder.write("config.yaml", "model_filter: {}");
    let (_, _, err) = ended(folder.program(&["check"], &env));
    assert!(err.contains("config.yaml: model_filter: base_url is missing"), "{err}");
}

#[test]
fn check_takes_the_file_as_an_argument() {
    let folder = Folder::new("check");
    folder.write("mine.yaml", "model_filter: {base_url: 'sample:'}");
    let (status, out, _) = ended(folder.program(&["check", "mine.yaml"], &[]));
    assert_eq!((status, out.as_str()), (Some(0), "mine.yaml: the configuration is good\n"));
    let (status, out, _) = ended(folder.program(&["check", "--base-url", "sample:"], &[]));
    assert_eq!((status, out.as_str()), (Some(0), "the configuration is good\n"));
}

#[test]
fn a_literal_key_that_others_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("literal");
    let settings = "api_key: sk-hush\nheaders: {X-Api-Key: hush, X-Title: mine}";
    let yaml = plain("https://a.example/v1", settings);
    folder.write("config.yaml", &yaml);
    let with_mode = |mode: u32| {
        let file = folder.0.join("config.yaml");
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        ended(folder.program(&["check"], &[]))
    };
    let (status, _, err) = with_mode(0o644);
    assert_eq!((status, err.lines().count()), (Some(0), 2), "{err}");
    assert!(err.contains("model_filter.api_key: every user of this machine can read"), "{err}");
    assert!(err.contains("model_filter.headers.X-Api-Key: every user"), "{err}");
    assert!(!err.contains("hush"), "{err}");
    assert_eq!(with_mode(0o640).2, "");
}
