//! The documentation is true: its configurations load, its commands print the output that it shows,
//! its tables are complete, and its links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use model_filter::error::Code;

use crate::fake::{Fake, models};
use crate::proxy::{Proxy, program, run};

/// A code block: its place, the words after its fence, and its lines.
struct Block {
    place: String,
    info: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: impl AsRef<Path>) -> String {
    let path = root().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages, as paths from the root.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in ["", "docs", "docs/design"] {
        let files = fs::read_dir(root().join(folder)).unwrap();
        let files = files.map(|file| Path::new(folder).join(file.unwrap().file_name()));
        pages.extend(files.filter(|file| file.extension().is_some_and(|end| end == "md")));
    }
    pages.sort();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// The fenced blocks of a page, without the indentation of their fence.
fn blocks(page: &Path) -> Vec<Block> {
    let text = read(page);
    let mut blocks: Vec<Block> = Vec::new();
    let mut fence: Option<usize> = None;
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match (line.trim_start().strip_prefix("```"), fence) {
            (Some(info), None) => {
                fence = Some(indent);
                let place = format!("{}:{}", page.display(), number + 1);
                blocks.push(Block { place, info: info.to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => fence = None,
            (None, Some(indent)) => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line.get(indent..).unwrap_or_default());
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(fence.is_none(), "{}: a code block has no end", page.display());
    blocks
}

fn all_blocks(info: &str) -> Vec<Block> {
    let blocks = pages().into_iter().flat_map(|page| blocks(&page));
    blocks.filter(|block| block.info == info).collect()
}

/// A new folder for one test.
fn folder(name: &str) -> PathBuf {
    let name = format!("documentation-{name}-{}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The names behind this word in a configuration, such as the variables that it needs.
fn named<'t>(text: &'t str, word: &str) -> Vec<&'t str> {
    let letters = |c: char| !c.is_ascii_alphanumeric() && !"_.-".contains(c);
    text.split(word).skip(1).map(|rest| rest.split(letters).next().unwrap()).collect()
}

/// The configuration that a block shows; none if it is a file of another program, which its first
/// line must name.
fn configuration(block: &Block) -> Option<String> {
    let first = block.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if first.starts_with("model_filter:") || first.starts_with("server:") {
        return Some(block.text.clone());
    }
    if first.starts_with("  ") {
        let base_url =
            if block.text.contains("  base_url:") { "" } else { "  base_url: 'sample:'\n" };
        return Some(format!("model_filter:\n{base_url}{}", block.text));
    }
    let is_another = first.starts_with("# ") && first.ends_with(".yaml");
    assert!(is_another, "{}: neither a configuration nor another file: {first}", block.place);
    None
}

/// The configurations that the pages show, each with its place.
pub fn configurations() -> Vec<(String, String)> {
    let blocks = all_blocks("yaml");
    let shown =
        blocks.iter().filter_map(|block| Some((block.place.clone(), configuration(block)?)));
    shown.collect()
}

#[test]
fn documented_configurations_load() {
    let folder = folder("configurations");
    let mut count = 0;
    for (place, text) in configurations() {
        let file = folder.join("config.yaml");
        fs::write(&file, &text).unwrap();
        for name in named(&text, " file:") {
            fs::write(folder.join(name), "a-secret-of-some-length\n").unwrap();
        }
        let mut command = program();
        let variables = [named(&text, "os.environ/"), named(&text, "${")].concat();
        command.envs(variables.iter().map(|name| (name, format!("value-of-{name}"))));
        command.args(["check", "--config"]).arg(&file);
        let output = run(command);
        let shown = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{place}: {shown}");
        assert_eq!(shown, "", "{place} has warnings");
        count += 1;
    }
    assert!(count > 10, "only {count} configurations found");
    fs::remove_dir_all(folder).unwrap();
}

/// The keys that the program knows in a section, from its error about an unknown one.
pub fn known_keys(yaml: &str) -> BTreeSet<String> {
    let folder = folder("schema");
    let file = folder.join("config.yaml");
    fs::write(&file, yaml.replace('?', "quite-another-word: 1")).unwrap();
    let mut command = program();
    command.args(["check", "--config"]).arg(&file);
    let shown = String::from_utf8(run(command).stderr).unwrap();
    let known = shown.split("known are: ").nth(1).unwrap_or_else(|| panic!("{yaml}: {shown}"));
    known.trim_end().split(", ").map(str::to_owned).collect()
}

/// The words in backticks in the first cell of each row below these headings.
fn documented(page: &str, heading: &str, end: &str) -> BTreeSet<String> {
    let text = read(page);
    let section = text.split(&format!("\n{heading}\n")).nth(1);
    let section = section.unwrap_or_else(|| panic!("{page} has no heading {heading}"));
    let section = section.split(&format!("\n{end}\n")).next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let words = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned);
    words.collect()
}

#[test]
fn the_keys_of_the_schema_and_of_the_documentation_are_the_same() {
    let mut known = known_keys("model_filter: {base_url: 'sample:', ?}");
    for mapping in ["exclude", "tls"] {
        assert!(known.remove(mapping));
        let below = known_keys(&format!("model_filter: {{base_url: 'sample:', {mapping}: {{?}}}}"));
        known.extend(below.iter().map(|key| format!("{mapping}.{key}")));
    }
    let page = "docs/configuration.md";
    assert_eq!(documented(page, "## Keys of an upstream", "## Keys of `server`"), known);
    let server = known_keys("model_filter: {base_url: 'sample:'}\nserver: {?}");
    assert_eq!(documented(page, "## Keys of `server`", "## Options and variables"), server);

    let shipped = read("config.yaml");
    for key in known.iter().chain(&server) {
        let key = key.rsplit('.').next().unwrap();
        assert!(shipped.contains(&format!("{key}:")), "config.yaml does not mention {key}");
    }
}

#[test]
fn the_options_of_the_help_are_documented() {
    let mut command = program();
    command.arg("--help");
    let help = String::from_utf8(run(command).stdout).unwrap();
    let page = read("docs/configuration.md");
    let words = help.split(|c: char| c.is_whitespace() || c == ',');
    for word in words.filter(|word| word.starts_with("--") || word.starts_with("LLM_MF_")) {
        assert!(page.contains(word), "docs/configuration.md does not mention {word}");
    }
}

#[test]
fn the_codes_of_errors_are_documented() {
    let text = read("docs/errors-and-log.md");
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.contains(" | `"));
    let statuses = rows.filter_map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let status: u16 = cells.next()?.parse().ok()?;
        Some((status, cells.next()?.trim_matches('`').to_owned()))
    });
    // Of the two codes with one name, the list has one; 499 is in the log only.
    let all = Code::ALL.iter().chain([&Code::UpgradeUnsupported]);
    let known = all.filter(|code| **code != Code::ClientLeft);
    let known: BTreeSet<_> = known.map(|code| (code.status(), code.as_str().to_owned())).collect();
    assert_eq!(statuses.collect::<BTreeSet<_>>(), known);
}

#[test]
fn the_metrics_are_documented() {
    let fake = Fake::listing(&models(&["a"]));
    let proxy = Proxy::before(&fake, "");
    let metrics = String::from_utf8(proxy.get("/-/metrics").body).unwrap();
    let names = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let names: BTreeSet<String> = names.map(str::to_owned).collect();
    let rows = documented("docs/operating.md", "## Metrics", "## Upgrading");
    let plain = |name: &String| name.split('{').next().unwrap().to_owned();
    assert_eq!(rows.iter().map(plain).collect::<BTreeSet<_>>(), names);
}

/// The metrics in a query: words with the prefix of the program or of the process.
fn queried(query: &str) -> Vec<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| word.starts_with("model_filter_") || word.starts_with("process_");
    words.filter(is_metric).map(str::to_owned).collect()
}

#[test]
fn the_queries_of_the_dashboard_and_the_pages_name_existing_metrics() {
    let fake = Fake::listing(&models(&["a"]));
    let proxy = Proxy::before(&fake, "cache_ttl: 60");
    proxy.get("/v1/models");
    let mut names = BTreeSet::new();
    crate::wait::eventually("the request is counted", || {
        let metrics = String::from_utf8(proxy.get("/-/metrics").body).unwrap();
        let samples = metrics.lines().filter(|line| !line.starts_with('#'));
        names =
            samples.filter_map(|line| Some(line.split(['{', ' ']).next()?.to_owned())).collect();
        names.contains("model_filter_http_requests_total")
    });
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/grafana.json")).unwrap();
    let mut queries: Vec<String> = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}", panel["title"]);
        queries.extend(targets.iter().map(|target| target["expr"].as_str().unwrap().to_owned()));
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    queries.extend(variables.iter().map(|variable| variable["query"].to_string()));
    queries.extend(all_blocks("promql").into_iter().map(|block| block.text));
    let queried: BTreeSet<String> = queries.iter().flat_map(|query| queried(query)).collect();
    assert!(queried.len() > 12, "{queried:?}");
    // A counter of an event that did not happen yet may have no sample.
    let missing: Vec<_> = queried.difference(&names).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Whether the shell can parse this text.
fn parses(text: &str) -> bool {
    let mut shell = Command::new("sh");
    let output = shell.args(["-n", "-c", text]).stderr(Stdio::null()).status();
    output.unwrap().success()
}

/// The commands of a session, each with the lines that follow it.
fn commands(session: &Block) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    for line in session.text.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), String::new())),
            (None, Some((command, shown))) if shown.is_empty() && !parses(command) => {
                *command = format!("{command}\n{line}");
            }
            (None, Some((_, shown))) => *shown = format!("{shown}{line}\n"),
            (None, None) => panic!("{}: a session begins with a command", session.place),
        }
    }
    commands
}

/// The text with the numbers that differ between two runs, such as seconds, replaced.
fn normalized(text: &str) -> String {
    let is_decimal = |word: &str| word.contains('.') && word.parse::<f64>().is_ok();
    let word = |word| if is_decimal(word) { "0.0" } else { word };
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let lines = lines.map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn documented_sessions_print_what_is_shown() {
    const RUN: [&str; 3] = ["curl", "model-filter", "printf"];
    let folder = folder("sessions");
    let program_file = env!("CARGO_BIN_EXE_model-filter");
    let link = folder.join("bin").join("model-filter");
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(program_file, &link).unwrap();
    fs::copy(root().join("config.yaml"), folder.join("config.yaml")).unwrap();
    fs::write(folder.join(".curlrc"), "silent\n").unwrap();
    let mut command = program();
    command.current_dir(&folder).args(["--port", "0"]);
    let proxy = Proxy::spawn(command);
    let port = proxy.port().to_string();

    let mut count = 0;
    for session in all_blocks("console") {
        for (typed, shown) in commands(&session) {
            let name = typed.split_whitespace().next().unwrap_or_default();
            assert!(RUN.contains(&name), "{}: {name} is not run: use ```sh", session.place);
            let typed = typed.replace("localhost:8080", &format!("127.0.0.1:{port}"));
            let typed = typed.replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
            let mut shell = Command::new("sh");
            shell.current_dir(&folder).env_clear().stdin(Stdio::null());
            let path = format!("{}:/usr/bin:/bin", link.parent().unwrap().display());
            shell.envs([("PATH", path.as_str()), ("HOME", folder.to_str().unwrap())]);
            shell.env("LLM_MF_PORT", &port).args(["-c", &format!("exec 2>&1\n{typed}")]);
            let output = String::from_utf8(run(shell).stdout).unwrap();
            let (printed, shown) = (normalized(&output), normalized(&shown));
            assert_eq!(printed, shown, "{}: {typed}", session.place);
            count += 1;
        }
    }
    assert!(count >= 7, "only {count} commands found");
    drop(proxy);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn shell_blocks_can_be_parsed() {
    let blocks = all_blocks("sh");
    assert!(blocks.len() > 3);
    for block in blocks {
        assert!(parses(&block.text), "{}: the shell cannot parse this", block.place);
    }
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let lower = heading.trim().to_lowercase();
    let kept = lower.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = read(&page).replace('\n', " ");
        let place = root().join(&page);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            // ../../releases is a page of the site that shows the repository.
            if target.contains("://") || target.starts_with("../../releases") {
                continue;
            }
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file =
                if file.is_empty() { place.clone() } else { place.parent().unwrap().join(file) };
            let is_there = file.exists();
            if !is_there || (!fragment.is_empty() && !anchors(&file).iter().any(|a| a == fragment))
            {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
