//! Which keys differ between two configurations. Values are compared by a hash and never shown.

use serde_yaml::Value;

use super::files::hash;
use super::keys;

/// The paths of all keys, each with a hash of its value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<(String, u64)>);

impl Fingerprint {
    /// Of a whole configuration, with anchors resolved.
    pub(super) fn of(document: &Value) -> Fingerprint {
        let mut leaves = Vec::new();
        for section in keys::TOP {
            if let Some(value) = document.get(section) {
                collect(section.to_owned(), value, &mut leaves);
            }
        }
        Fingerprint(leaves)
    }

    /// The keys whose values differ, that are new or that are gone.
    pub(super) fn changes(&self, old: &Fingerprint) -> Vec<String> {
        let is_new = |leaf: &&(String, u64)| !old.0.contains(leaf);
        let mut keys: Vec<String> =
            self.0.iter().filter(is_new).map(|(key, _)| key.clone()).collect();
        let is_gone = |key: &&String| !self.0.iter().any(|(own, _)| own == *key);
        keys.extend(old.0.iter().map(|(key, _)| key).filter(is_gone).cloned());
        keys
    }
}

/// Collects the values below a path that are no mappings.
fn collect(path: String, value: &Value, leaves: &mut Vec<(String, u64)>) {
    match value {
        Value::Mapping(mapping) if !mapping.is_empty() => {
            for (key, value) in mapping {
                collect(format!("{path}.{}", key.as_str().unwrap_or("?")), value, leaves);
            }
        }
        _ => leaves.push((path, hash(value))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_new_and_missing_keys_are_named() {
        let of = |yaml: &str| Fingerprint::of(&serde_yaml::from_str(yaml).unwrap());
        let old = of("{model_filter: {base_url: a, regexp: [a], cache_ttl: 1}, other: 1}");
        let new =
            of("{model_filter: {base_url: a, regexp: [b], exclude: {simple: [c]}}, other: 2}");
        let expected =
            ["model_filter.regexp", "model_filter.exclude.simple", "model_filter.cache_ttl"];
        assert_eq!(new.changes(&old), expected);
        assert!(new.changes(&new.clone()).is_empty());
    }
}
