//! Any bytes as a JSON body: the name is found or the body refused, and in the body with another
//! name nothing but that changed, neither in its bytes nor in what they mean.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model_filter::model_field::{BodyKind, Names, find};
use model_filter_fuzz::check;
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    let kind = BodyKind::Json;
    let text = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    let value = serde_json::from_slice::<Value>(text);
    match find(&kind, body) {
        Ok(Names { model: Some(field), .. }) => {
            check(&kind, body, &field);
            if let Ok(mut value) = value {
                assert_eq!(value["model"].as_str(), Some(field.name.as_str()));
                let mut new = body.to_vec();
                field.replace(&mut new, "x");
                let new = new.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&new);
                value["model"] = "x".into();
                assert_eq!(serde_json::from_slice::<Value>(new).unwrap(), value);
            }
        }
        Ok(Names { model: None, .. }) => {
            if let Ok(value) = value {
                assert_eq!(value.get("model"), None);
            }
        }
        Err(_) => {
            // JSON is only refused for its model, or for a key that readers may take for it.
            if let Ok(value) = value {
                let is_similar = |key: &String| {
                    let key = key.split('\0').next().unwrap_or_default();
                    ["model", "models"].iter().any(|name| key.eq_ignore_ascii_case(name))
                };
                assert!(value.as_object().is_some_and(|object| object.keys().any(is_similar)));
            }
        }
    }
});
