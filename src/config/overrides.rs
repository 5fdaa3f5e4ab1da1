//! Settings from options and variables, which replace keys of the file, or take its place.
//!
//! Limits: they are for one upstream whose settings stand directly below `model_filter`.

use serde_yaml::{Mapping, Value};

use super::address;
use super::environment::{Environment, variable};
use super::errors::ConfigError;
use crate::cli::Options;

/// Keys with their new values.
pub(super) struct Overrides(Vec<Override>);

struct Override {
    section: &'static str,
    key: &'static str,
    /// The option or variable, for errors.
    source: &'static str,
    value: Value,
}

/// The path of a key, and the option or variable that its value is from.
pub(super) type Origin = (String, &'static str);

impl Overrides {
    /// Reads the options and variables.
    pub(super) fn read(options: &Options, env: Environment<'_>) -> Overrides {
        let list = |typed: &[String]| (!typed.is_empty()).then(|| strings(typed));
        let set = |name: &str| variable(env, name);
        let words = |name: &str, separators: &[char]| {
            let is_end = |c: char| c.is_whitespace() || separators.contains(&c);
            let text = set(name)?;
            let words = text.split(is_end).filter(|word| !word.is_empty());
            Some(strings(&words.map(str::to_owned).collect::<Vec<_>>()))
        };
        let excluded = |patterns: Value| {
            Value::Mapping(Mapping::from_iter([(Value::from("regexp"), patterns)]))
        };
        let key_variable = options.api_key_env.as_ref();
        let key = key_variable.map(|name| Value::from(format!("os.environ/{name}")));
        let upstream = [
            ("base_url", "--base-url", options.base_url.as_deref().map(Value::from)),
            ("base_url", "LLM_MF_BASE_URL", set("LLM_MF_BASE_URL").map(Value::from)),
            ("api_key", "--api-key-env", key),
            ("api_key", "LLM_MF_API_KEY", set("LLM_MF_API_KEY").map(Value::from)),
            ("regexp", "--keep", list(&options.keep)),
            ("regexp", "LLM_MF_REGEXP", words("LLM_MF_REGEXP", &[])),
            ("simple", "LLM_MF_SIMPLE", words("LLM_MF_SIMPLE", &[','])),
            ("exclude", "--hide", list(&options.hide).map(excluded)),
            ("exclude", "LLM_MF_EXCLUDE", words("LLM_MF_EXCLUDE", &[]).map(excluded)),
            ("cache_ttl", "LLM_MF_CACHE_TTL", set("LLM_MF_CACHE_TTL").map(Value::from)),
        ];
        let server = [("client_keys", "LLM_MF_CLIENT_KEYS", words("LLM_MF_CLIENT_KEYS", &[',']))];
        let mut overrides: Vec<Override> = Vec::new();
        let all = upstream.map(|entry| ("model_filter", entry)).into_iter();
        for (section, (key, source, value)) in all.chain(server.map(|entry| ("server", entry))) {
            let is_set = overrides.iter().any(|other| other.key == key);
            if let Some(value) = value.filter(|_| !is_set) {
                overrides.push(Override { section, key, source, value });
            }
        }
        Overrides(overrides)
    }

    /// Whether they take the place of a file.
    pub(super) fn name_an_upstream(&self) -> bool {
        self.0.iter().any(|own| own.key == "base_url")
    }

    /// Replaces the keys in what the file holds, which is null if there is none. Returns where
    /// the new values are from.
    ///
    /// # Errors
    /// If there are several upstreams, or a key of the file would be sent to another server.
    pub(super) fn apply(
        self,
        document: &mut Value,
        file: &str,
    ) -> Result<Vec<Origin>, ConfigError> {
        let mut origins = Vec::new();
        for section in ["model_filter", "server"] {
            let own: Vec<&Override> = self.0.iter().filter(|own| own.section == section).collect();
            let Some(first) = own.first() else { continue };
            let Some(settings) = mapping(document, section) else { continue };
            if section == "model_filter" && has_names(settings) {
                let what = "applies only if the settings of one upstream stand directly below";
                let message = format!("{what} `model_filter:`; change {file} instead");
                return Err(ConfigError::new(format!("{}: {message}", first.source)));
            }
            if let Some(error) = misdirected(settings, &own, file) {
                return Err(error);
            }
            for own in own {
                settings.insert(own.key.into(), own.value.clone());
                origins.push((format!("{section}.{}", own.key), own.source));
            }
        }
        Ok(origins)
    }
}

fn strings(texts: &[String]) -> Value {
    Value::Sequence(texts.iter().map(|text| Value::from(text.as_str())).collect())
}

/// The mapping below a key of the document; created if there is none. None if something else is
/// there, which is an error elsewhere.
fn mapping<'d>(document: &'d mut Value, key: &str) -> Option<&'d mut Mapping> {
    let or_empty = |value: &mut Value| {
        if value.is_null() {
            *value = Value::Mapping(Mapping::new());
        }
    };
    or_empty(document);
    let section = document.as_mapping_mut()?.entry(key.into()).or_insert(Value::Null);
    or_empty(section);
    section.as_mapping_mut()
}

/// Whether the settings of upstreams are below names.
fn has_names(settings: &Mapping) -> bool {
    let is_upstream = |value: &Value| value.get("base_url").is_some();
    !settings.contains_key("base_url") && settings.values().any(is_upstream)
}

/// The error if another server would get a credential of the file.
fn misdirected(settings: &Mapping, own: &[&Override], file: &str) -> Option<ConfigError> {
    let base_url = own.iter().find(|own| own.key == "base_url")?;
    let origin = |url: &Value| {
        let url = url.as_str().unwrap_or_default().to_ascii_lowercase();
        let scheme = url.split("://").next().unwrap_or_default().to_owned();
        (scheme, address::authority(&url).to_owned())
    };
    let is_other = settings
        .get("base_url")
        .is_some_and(|old| !old.is_null() && origin(old) != origin(&base_url.value));
    let is_replaced = |key: &str| own.iter().any(|own| own.key == key);
    let given = |key: &str| settings.get(key).is_some_and(|value| !value.is_null());
    let kept = ["api_key", "headers"].into_iter().find(|key| given(key) && !is_replaced(key));
    let key = kept.filter(|_| is_other)?;
    let advice = match key {
        "api_key" => "set LLM_MF_API_KEY or --api-key-env too, or change the file",
        _ => "change the file instead",
    };
    let (source, what) = (base_url.source, "is for its own base_url, not for another server");
    Some(ConfigError::new(format!("{source}: the {key} in {file} {what}: {advice}")))
}
