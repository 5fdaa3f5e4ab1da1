use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::fake::{Fake, json};
use crate::proxy::{ConfigFile, Proxy, plain, program, run};

const GOOD: &str = "model_filter: {base_url: 'http://127.0.0.1:1/v1'}\n";

/// The single line on stderr of a failed start. Asserts that it exits with 2.
fn refusal(args: &[&str], env: &[(&str, &str)]) -> String {
    let mut command = program();
    command.args(args).envs(env.iter().copied());
    let output = run(command);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(output.stdout.is_empty() && stderr.ends_with('\n'), "{stderr}");
    stderr.trim_end().to_string()
}

/// The same for a configuration; the file's name is removed.
fn complaint(yaml: &str) -> String {
    let config = ConfigFile::new(yaml);
    let path = config.path().to_str().unwrap();
    let line = refusal(&["-c", path, "-p", "0"], &[]);
    let place = format!("{path}: ");
    let at = line.find(&place).unwrap_or_else(|| panic!("{line} does not name {path}"));
    line[at + place.len()..].to_string()
}

/// The standard output of a successful command.
fn printed(arg: &str) -> String {
    let mut command = program();
    command.arg(arg);
    let output = run(command);
    assert!(output.status.success() && output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_names_every_argument_and_variable() {
    let help = printed("--help");
    assert_eq!(help, printed("-h"));
    for word in ["-c", "-H", "-p", "-r", "--config", "--host", "--port", "--root-path", "--version"]
    {
        assert!(help.contains(word), "{word}");
    }
    for variable in ["CONFIG", "HOST", "PORT", "ROOT_PATH", "LOG"] {
        assert!(help.contains(&format!("LLM_MF_{variable}")), "{variable}");
    }
}

#[test]
fn version_is_that_of_the_crate() {
    let expected = concat!("model-filter ", env!("CARGO_PKG_VERSION"));
    assert_eq!(printed("--version").trim_end(), expected);
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for (args, named) in [
        (&["--no-such"] as &[&str], "--no-such"),
        (&["stray"], "stray"),
        (&["--config"], "--config"),
        (&["--port", "many"], "many"),
        (&["--port", "70000"], "70000"),
    ] {
        let line = refusal(args, &[]);
        assert!(line.contains(named), "{line}");
    }
}

#[test]
fn a_variable_that_makes_no_sense_is_refused() {
    let config = ConfigFile::new(GOOD);
    let args = ["-c", config.path().to_str().unwrap()];
    let line = refusal(&args, &[("LLM_MF_PORT", "many")]);
    assert!(line.contains("LLM_MF_PORT") && line.contains("many"), "{line}");
}

#[test]
fn a_missing_file_is_named() {
    let line = refusal(&["-c", "/no/such.yaml"], &[]);
    assert!(line.contains("/no/such.yaml"), "{line}");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = ConfigFile::new(GOOD);
    let port = address.port().to_string();
    let line = refusal(&["-c", config.path().to_str().unwrap(), "-p", &port], &[]);
    assert!(line.contains(&address.to_string()) && line.contains("--port"), "{line}");
}

#[test]
fn a_mistyped_key_names_the_nearest_one() {
    let line = complaint("model_filter: {base_ur: x}\n");
    assert!(line.contains("base_ur") && line.contains("base_url"), "{line}");
    let line = complaint(&format!("{GOOD}server: {{prot: 1}}\n"));
    assert!(line.contains("server.prot") && line.contains("port"), "{line}");
}

#[test]
fn a_bad_regexp_is_named_with_its_place() {
    let line = complaint(&plain("http://h/v1", "regexp: ['fine', '(']"));
    assert!(line.starts_with("model_filter.regexp[1]: "), "{line}");
}

#[test]
fn a_regexp_that_is_only_whole_with_what_we_put_around_it_is_bad() {
    let line = complaint(&plain("http://h/v1", "regexp: ['a)|(?:b']"));
    assert!(line.starts_with("model_filter.regexp[0]: "), "{line}");
}

#[test]
fn a_look_ahead_points_to_exclude() {
    let line = complaint(&plain("http://h/v1", "regexp: ['(?!gpt).*']"));
    assert!(line.starts_with("model_filter.regexp[0]: ") && line.contains("exclude"), "{line}");
}

#[test]
fn an_unset_variable_is_named() {
    for settings in ["api_key: os.environ/NO_SUCH_KEY", "headers: {X-A: os.environ/NO_SUCH_KEY}"] {
        let line = complaint(&plain("http://h/v1", settings));
        assert!(line.contains("NO_SUCH_KEY"), "{line}");
    }
}

#[test]
fn a_key_at_the_top_that_holds_an_anchor_is_free() {
    let fake = Fake::answering(|_| json(200, "{}"));
    let yaml = format!(
        "anchors: &mine {{base_url: \"{}\"}}\nmodel_filter:\n  <<: *mine\n  api_key: k\n",
        fake.url("/v1")
    );
    let proxy = Proxy::start(&yaml);
    assert_eq!(proxy.get("/v1/x").status, 200);
}

/// The port that is chosen if these sources are set.
fn listens(argument: Option<u16>, variable: Option<u16>, file: Option<u16>) -> u16 {
    let [argument, variable, file] = [argument, variable, file].map(|p| p.map(|p| p.to_string()));
    let server = file.map(|port| format!("server:\n  port: {port}\n")).unwrap_or_default();
    let config = ConfigFile::new(&format!("{server}{GOOD}"));
    let mut command = program();
    command.arg("-c").arg(config.path());
    command.args(argument.iter().flat_map(|port| ["--port", port]));
    command.envs(variable.iter().map(|port| ("LLM_MF_PORT", port)));
    Proxy::spawn(command).port()
}

#[test]
fn arguments_rule_over_environment_over_file() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().port();
    assert_ne!(listens(Some(0), Some(taken), Some(taken)), taken);
    assert_ne!(listens(None, Some(0), Some(taken)), taken);
    assert_ne!(listens(None, None, Some(0)), 8080);
}

#[test]
fn the_host_is_chosen_like_the_port() {
    let config = ConfigFile::new(&format!("server: {{host: 127.0.0.1, port: 0}}\n{GOOD}"));
    for (args, env, host) in [
        (&[] as &[&str], &[] as &[(&str, &str)], "127.0.0.1"),
        (&[], &[("LLM_MF_HOST", "127.0.0.2")], "127.0.0.2"),
        (&["-H", "127.0.0.3"], &[("LLM_MF_HOST", "127.0.0.2")], "127.0.0.3"),
    ] {
        let mut command = program();
        command.arg("-c").arg(config.path()).args(args).envs(env.iter().copied());
        Proxy::spawn(command).wait_for_log(&format!("address=http://{host}:"));
    }
}

#[test]
fn the_file_is_config_yaml_in_the_current_directory_unless_told() {
    let here = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cwd-{}", std::process::id()));
    std::fs::create_dir_all(&here).unwrap();
    std::fs::write(here.join("config.yaml"), format!("server: {{port: 0}}\n{GOOD}")).unwrap();
    let mut command = program();
    command.current_dir(&here);
    Proxy::spawn(command);
    std::fs::remove_dir_all(&here).unwrap();

    let config = ConfigFile::new(&format!("server: {{port: 0}}\n{GOOD}"));
    let mut command = program();
    command.env("LLM_MF_CONFIG", config.path());
    Proxy::spawn(command);
}

/// The files of test data of one kind, with their contents.
fn data(kind: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new("tests/data/config").join(kind);
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder);
    let mut files: Vec<_> = std::fs::read_dir(&place)
        .unwrap_or_else(|error| panic!("{}: {error}", place.display()))
        .map(|entry| folder.join(entry.unwrap().file_name()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no files in {}", place.display());
    let read = |path: &PathBuf| {
        let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        String::from_utf8_lossy(&bytes).into_owned() // one file is not UTF-8, which is the error that it tests
    };
    files.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

#[test]
fn each_invalid_file_is_refused_as_its_first_line_says() {
    let mut wrong = Vec::new();
    for (path, text) in data("invalid") {
        let path = path.to_str().unwrap();
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# error: "));
        let expected = expected.unwrap_or_else(|| panic!("{path} does not say its error"));
        let line = refusal(&["--config", path, "--port", "0"], &[]);
        if !line.ends_with(&format!("{path}: {expected}")) {
            wrong.push(format!("{line}\n    expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn each_valid_file_starts() {
    for (path, text) in data("valid") {
        let mut command = program();
        command.arg("--config").arg(&path).args(["--host", "127.0.0.1", "--port", "0"]);
        // The variables that the files use are set.
        let names = text.split("os.environ/").chain(text.split("${")).skip(1).map(|rest| {
            rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap()
        });
        command.envs(names.map(|name| (name, "some-value")));
        Proxy::spawn(command);
    }
}

/// The options and commands in the help text.
fn words_of_the_help() -> (Vec<String>, Vec<String>) {
    let help = printed("--help");
    let words = help.split(|c: char| c.is_whitespace() || c == ',');
    let options = words.filter(|word| word.starts_with('-')).map(str::to_owned).collect();
    let usage = help.lines().filter_map(|line| line.trim().strip_prefix("model-filter "));
    let commands = usage.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    (options, commands)
}

fn deployed(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file))
        .unwrap()
}

#[test]
fn the_man_page_knows_what_the_help_knows() {
    let page = deployed("model-filter.1").replace("\\-", "-");
    let (options, commands) = words_of_the_help();
    assert!(options.len() >= 12 && commands.len() == 3, "{options:?} {commands:?}");
    for word in options.iter().chain(&commands) {
        assert!(page.contains(word), "{word}");
    }
    let help = printed("--help");
    for line in page.lines().filter(|line| line.starts_with(".BR -") || line.starts_with(".B -")) {
        let names = line.split([' ', ',', '"']).filter(|word| word.starts_with("--"));
        names.for_each(|name| assert!(help.contains(name), "{name} is not in the help"));
    }
    for variable in help.split_whitespace().filter(|word| word.starts_with("LLM_MF_")) {
        assert!(page.contains(variable.trim_end_matches(',')), "{variable}");
    }
}

#[test]
fn the_completions_know_what_the_help_knows() {
    let (options, commands) = words_of_the_help();
    for file in ["model-filter.bash", "_model-filter", "model-filter.fish"] {
        let text = deployed(&format!("completions/{file}"));
        for word in options.iter().chain(&commands) {
            let word = match (file, word.strip_prefix("--"), word.strip_prefix('-')) {
                ("model-filter.fish", Some(long), _) => format!("-l {long}"),
                ("model-filter.fish", None, Some(short)) => format!("-s {short}"),
                _ => word.clone(),
            };
            assert!(text.contains(&word), "{word} is not in {file}");
        }
    }
}

#[test]
fn no_error_shows_what_may_be_a_secret() {
    for (path, text) in data("invalid") {
        let path = path.to_str().unwrap();
        let output = run({
            let mut command = program();
            command.args(["check", "--config", path]);
            command
        });
        let shown = String::from_utf8(output.stderr).unwrap();
        let secrets = ["hush-hush", "sk-hush", "AKIAIOSFODNN7EXAMPLE"];
        assert!(!secrets.iter().any(|secret| shown.contains(secret)), "{text}{shown}");
    }
}
