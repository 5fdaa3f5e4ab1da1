//! A browser without a window, driven over WebDriver (W3C).

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long the page may take for what it does by itself.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The name that WebDriver has for the key of an element's id.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys that have no letter (W3C WebDriver, table of keys).
pub const DOWN: &str = "\u{e015}";
pub const CONTROL: &str = "\u{e009}";

/// A browser with one window; closed when dropped.
pub struct Browser {
    driver: Child,
    session: String,
}

impl Browser {
    /// A browser whose window has this size.
    pub fn start(width: u32, height: u32) -> Browser {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver must be installed: Debian has it in chromium-driver");
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let started = lines.map_while(Result::ok).find_map(|line| {
            let port = line.split("started successfully on port ").nth(1)?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let root = format!("http://127.0.0.1:{}/session", started.expect("chromedriver's port"));
        let window = format!("--window-size={width},{height}");
        // In a container the browser's sandbox is not available; the rest keeps the browser from
        // talking to anybody but us.
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &window,
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": args},
        }}});
        let answer = call("POST", &root, &capabilities);
        let id = answer["sessionId"].as_str().expect("a session").to_owned();
        Browser { driver, session: format!("{root}/{id}") }
    }

    pub fn open(&self, url: &str) {
        self.post("url", &json!({"url": url}));
    }

    /// The result of a script.
    pub fn script(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until a script returns something true.
    pub fn until(&self, script: &str) {
        let since = Instant::now();
        let script = format!("return {script}");
        while self.script(&script) != Value::Bool(true) {
            assert!(since.elapsed() < PATIENCE, "never: {script}\n{}", self.text());
            std::thread::yield_now();
        }
    }

    /// Puts text into a field, key by key, in place of what is there.
    pub fn retype(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(&format!("element/{element}/clear"), &json!({}));
        self.post(&format!("element/{element}/value"), &json!({"text": text}));
    }

    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.post(&format!("element/{element}/click"), &json!({}));
    }

    /// Presses and releases keys, wherever the focus is.
    pub fn press(&self, keys: &str) {
        let keys: Vec<Value> = keys
            .chars()
            .flat_map(|key| [key_action("keyDown", key), key_action("keyUp", key)])
            .collect();
        self.perform(&keys);
    }

    /// Presses a key while another one is held.
    pub fn chord(&self, held: &str, key: &str) {
        let (held, key) = (held.chars().next().unwrap(), key.chars().next().unwrap());
        let actions = [("keyDown", held), ("keyDown", key), ("keyUp", key), ("keyUp", held)];
        self.perform(&actions.map(|(kind, key)| key_action(kind, key)));
    }

    fn perform(&self, actions: &[Value]) {
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.post("actions", &json!({"actions": [keyboard]}));
    }

    /// A command of Chromium's own.
    pub fn chromium(&self, command: &Value) {
        self.post("goog/cdp/execute", command);
    }

    /// The text of the whole page, as a reader sees it.
    pub fn text(&self) -> String {
        self.script("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post("element", &json!({"using": "css selector", "value": selector}));
        found[ELEMENT].as_str().unwrap_or_else(|| panic!("no {selector}: {found}")).to_owned()
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        call("POST", &format!("{}/{command}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = ureq::delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn key_action(kind: &str, key: char) -> Value {
    json!({"type": kind, "value": key.to_string()})
}

fn call(method: &str, url: &str, body: &Value) -> Value {
    let request = ureq::http::Request::builder().method(method).uri(url);
    let request = request.header("content-type", "application/json").body(body.to_string());
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build(),
    );
    let mut answer = agent.run(request.unwrap()).expect(url);
    let text = answer.body_mut().read_to_string().unwrap();
    let mut answer: Value = serde_json::from_str(&text).expect(&text);
    assert!(answer["value"]["error"].is_null(), "{url}: {text}");
    answer["value"].take()
}
