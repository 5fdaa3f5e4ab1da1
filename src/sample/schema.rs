//! A value that a JSON Schema accepts, for structured outputs and arguments of tools. Pure.
//!
//! Limits: no `pattern`, `not` or `if`; of alternatives the first; what recurs ends after [`DEPTH`] levels.

use serde_json::{Map, Value, json};

/// How deep properties that are not required are filled.
const DEPTH: u32 = 8;

/// A value for a schema.
pub(super) fn example(schema: &Value) -> Value {
    value(schema, schema, 0)
}

fn value(schema: &Value, root: &Value, depth: u32) -> Value {
    if depth > 2 * DEPTH {
        return Value::Null;
    }
    let below = |schema: &Value| value(schema, root, depth + 1);
    if let Some(reference) = schema["$ref"].as_str() {
        let found = reference.strip_prefix('#').and_then(|path| root.pointer(path));
        return found.map_or(Value::Null, below);
    }
    for fixed in [&schema["const"], &schema["default"], &schema["enum"][0], &schema["examples"][0]]
    {
        if !fixed.is_null() {
            return fixed.clone();
        }
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        if !schema[choice][0].is_null() {
            return below(&schema[choice][0]);
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    let count = |key: &str, default: u64| schema[key].as_u64().unwrap_or(default);
    match kind {
        Some("null") => Value::Null,
        Some("boolean") => json!(true),
        Some("integer" | "number") => number(schema),
        Some("string") => json!(text(schema, count("minLength", 0), count("maxLength", u64::MAX))),
        Some("array") => {
            let items = count("minItems", 1).min(count("maxItems", u64::MAX)).min(64);
            (0..items).map(|_| below(&schema["items"])).collect()
        }
        _ => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let is_wanted = |name: &str| depth < DEPTH || required.iter().any(|one| one == name);
            let properties = schema["properties"].as_object().into_iter().flatten();
            let wanted = properties.filter(|(name, _)| is_wanted(name));
            Value::Object(wanted.map(|(name, of)| (name.clone(), below(of))).collect::<Map<_, _>>())
        }
    }
}

/// The number nearest to 0 from above that is within the bounds.
fn number(schema: &Value) -> Value {
    let bound = |key: &str, step: f64| schema[key].as_f64().map(|bound| bound + step);
    let least = bound("minimum", 0.0).or(bound("exclusiveMinimum", 1.0));
    let most = bound("maximum", 0.0).or(bound("exclusiveMaximum", -1.0));
    let number = 0_f64.max(least.unwrap_or(0.0)).min(most.unwrap_or(f64::MAX));
    let number = if schema["type"] == "integer" { number.ceil() } else { number };
    if number.fract() == 0.0 { json!(number as i64) } else { json!(number) }
}

fn text(schema: &Value, least: u64, most: u64) -> String {
    let text = match schema["format"].as_str() {
        Some("date") => return "2026-01-01".to_owned(),
        Some("date-time") => return "2026-01-01T00:00:00Z".to_owned(),
        Some("time") => return "00:00:00Z".to_owned(),
        Some("email") => return "sample@example.com".to_owned(),
        Some("uri" | "url") => return "https://example.com/".to_owned(),
        Some("uuid") => return "00000000-0000-4000-8000-000000000000".to_owned(),
        _ => "sample",
    };
    let (least, most) = (least.min(4096) as usize, usize::try_from(most).unwrap_or(usize::MAX));
    text.chars().cycle().take(text.len().max(least).min(most)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_has_what_the_schema_asks_for() {
        let schema = json!({
            "type": "object",
            "required": ["name", "age"],
            "properties": {
                "name": {"type": "string", "minLength": 8},
                "age": {"type": "integer", "minimum": 18},
                "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2},
                "parent": {"$ref": "#/$defs/Person"},
                "maybe": {"anyOf": [{"type": "number", "exclusiveMaximum": 0}, {"type": "null"}]},
                "born": {"type": ["string", "null"], "format": "date"},
            },
            "$defs": {"Person": {"type": "object", "properties": {"is": {"type": "boolean"}}}},
        });
        let expected = json!({
            "name": "samplesa", "age": 18, "tags": ["a", "a"], "parent": {"is": true}, "maybe": -1,
            "born": "2026-01-01",
        });
        assert_eq!(example(&schema), expected);
    }

    #[test]
    fn a_schema_that_recurs_has_an_example() {
        let schema = json!({"properties": {"next": {"$ref": "#"}}, "required": ["next"]});
        assert!(example(&schema)["next"].is_object());
        assert_eq!(example(&json!({"$ref": "#"})), Value::Null);
    }
}
