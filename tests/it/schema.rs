//! `config.schema.json` has the keys that the program knows, and accepts every configuration that
//! the program accepts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::Value;

use crate::documentation::{configurations, known_keys};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn schema() -> Value {
    let text = fs::read_to_string(root().join("config.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Checks a value by a schema; returns the first fault. Panics for a keyword that it does not know.
fn fault(root: &Value, schema: &Value, value: &Value, path: &str) -> Option<String> {
    let wrong = |what: String| Some(format!("{path}: {what}"));
    let holds = |schema: &Value| fault(root, schema, value, path).is_none();
    let below =
        |schema: &Value, key: &str| fault(root, schema, &value[key], &format!("{path}.{key}"));
    let object = value.as_object();
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        let found = match keyword.as_str() {
            "$schema" | "$defs" | "$comment" | "title" | "description" => None,
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                fault(root, &root["$defs"][name], value, path)
            }
            "type" => {
                let kind = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(number) if number.is_u64() || number.is_i64() => "integer",
                    Value::Number(_) => "number",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                let is =
                    |allowed: &str| allowed == kind || (allowed, kind) == ("number", "integer");
                let fits = match rule {
                    Value::Array(all) => all.iter().any(|one| is(one.as_str().unwrap())),
                    one => is(one.as_str().unwrap()),
                };
                if fits { None } else { wrong(format!("{kind} is none of {rule}")) }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => wrong(format!("not in {rule}")),
            "enum" => None,
            "anyOf" if !rule.as_array().unwrap().iter().any(holds) => {
                wrong(format!("{value} fits none of {rule}"))
            }
            "anyOf" => None,
            "if" => {
                let branch = if holds(rule) { "then" } else { "else" };
                fault(root, &schema[branch], value, path)
            }
            "then" | "else" => None,
            "required" => {
                let keys = rule.as_array().unwrap().iter().map(|key| key.as_str().unwrap());
                let missing = object.and_then(|o| keys.clone().find(|key| !o.contains_key(*key)));
                missing.and_then(|key| wrong(format!("{key} is missing")))
            }
            "properties" => {
                let rules = rule.as_object().unwrap().iter();
                let given = |key: &&String| object.is_some_and(|o| o.contains_key(*key));
                rules.filter(|(key, _)| given(key)).find_map(|(key, rule)| below(rule, key))
            }
            "additionalProperties" => {
                let known = |key: &&String| schema["properties"].get(*key).is_some();
                let mut others = object.iter().flat_map(|o| o.keys()).filter(|key| !known(key));
                match rule {
                    Value::Bool(false) => others.next().and_then(|key| wrong(format!("no {key}"))),
                    rule => others.find_map(|key| below(rule, key)),
                }
            }
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                let item = |(index, item)| fault(root, rule, item, &format!("{path}[{index}]"));
                items.filter_map(item).next()
            }
            "minItems" | "minProperties" => {
                let length = value.as_array().map(Vec::len).or_else(|| Some(object?.len()));
                let is_short =
                    length.is_some_and(|length| (length as u64) < rule.as_u64().unwrap());
                if is_short { wrong("too few".to_owned()) } else { None }
            }
            "minimum" | "maximum" => {
                let limit = rule.as_f64().unwrap();
                let fits = |n: f64| if keyword == "minimum" { n >= limit } else { n <= limit };
                let is_off = value.as_f64().is_some_and(|number| !fits(number));
                if is_off { wrong(format!("beyond {limit}")) } else { None }
            }
            "pattern" => {
                let pattern = Regex::new(rule.as_str().unwrap()).unwrap();
                let is_off = value.as_str().is_some_and(|text| !pattern.is_match(text));
                if is_off { wrong(format!("{value} does not match {rule}")) } else { None }
            }
            other => panic!("the keyword {other} is unknown to this test"),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The fault of a configuration in YAML.
fn fault_of(schema: &Value, yaml: &str) -> Option<String> {
    let mut value: serde_yaml::Value = serde_yaml::from_str(yaml).unwrap();
    // Each pass resolves the merge keys of one level.
    for _ in 0..5 {
        value.apply_merge().unwrap();
    }
    let value = serde_json::to_value(&value).unwrap();
    fault(schema, schema, &value, "")
}

#[test]
fn the_schema_has_the_keys_that_the_program_knows() {
    let schema = schema();
    let keys = |place: &Value| {
        place["properties"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>()
    };
    let upstream = &schema["$defs"]["upstream"];
    assert_eq!(keys(upstream), known_keys("model_filter: {base_url: 'sample:', ?}"));
    let server = known_keys("model_filter: {base_url: 'sample:'}\nserver: {?}");
    assert_eq!(keys(&schema["$defs"]["server"]), server);
    for (key, place) in [
        ("exclude", &schema["$defs"]["rules"]),
        ("where", &upstream["properties"]["where"]),
        ("tls", &upstream["properties"]["tls"]),
    ] {
        let known = known_keys(&format!("model_filter: {{base_url: 'sample:', {key}: {{?}}}}"));
        assert_eq!(keys(place), known, "{key}");
    }
}

#[test]
fn what_the_program_accepts_fits_the_schema() {
    let schema = schema();
    let folder = root().join("tests/data/config/valid");
    let mut files: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "yaml"));
    files.push(root().join("config.yaml"));
    let mut texts: Vec<(String, String)> = files
        .iter()
        .map(|file| (file.display().to_string(), fs::read_to_string(file).unwrap()))
        .collect();
    texts.extend(configurations());
    assert!(texts.len() > 20, "{}", texts.len());
    for (place, text) in texts {
        assert_eq!(fault_of(&schema, &text), None, "{place}");
    }
}

#[test]
fn the_schema_refuses_common_mistakes() {
    let schema = schema();
    for yaml in [
        "server: {port: 1}",
        "model_filter: {base_url: 'sample:', regex: [a]}",
        "model_filter: {base_url: 'sample:', regexp: a}",
        "model_filter: {base_url: 'sample:', cache_ttl: 15 minutes}",
        "model_filter: {base_url: 'sample:', hidden: yes}",
        "model_filter: {base_url: 'sample:', exclude: [a]}",
        "model_filter: {a: {url: 'sample:'}}",
        "model_filter: {a: {base_url: 'sample:', port: 80}}",
        "model_filter: {base_url: 'sample:'}\nserver: {port: 99999}",
        "model_filter: {base_url: 'sample:'}\nserver: {max_requests: 0}",
    ] {
        assert!(fault_of(&schema, yaml).is_some(), "{yaml}");
    }
}

#[test]
fn the_example_names_the_schema_for_editors() {
    let example = fs::read_to_string(root().join("config.yaml")).unwrap();
    let first = example.lines().next().unwrap();
    assert_eq!(first, "# yaml-language-server: $schema=config.schema.json");
}
