//! `models`: the models of an upstream that has no list, or not all of them in it.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::errors::ConfigError;
use super::node::Node;
use super::settings::OwnModel;

/// Reads the models. `owner` stands in the object of one of which only the id is given.
pub(super) fn models(node: &Node<'_>, owner: &str) -> Result<Vec<OwnModel>, ConfigError> {
    let models = node.each("model ids, or mappings with an id", |item| model(item, owner))?;
    let mut seen = HashSet::new();
    if let Some(twice) = models.iter().find(|model| !seen.insert(&model.id)) {
        return Err(node.error(format!("{:?} stands here twice", twice.id)));
    }
    Ok(models)
}

fn model(node: &Node<'_>, owner: &str) -> Result<OwnModel, ConfigError> {
    if !node.is_mapping() {
        let id = id(node)?;
        let (quoted, owner) = (Json::from(id.as_str()), Json::from(owner));
        let object =
            format!(r#"{{"id":{quoted},"object":"model","created":0,"owned_by":{owner}}}"#);
        return Ok(OwnModel { object, id });
    }
    let fields = node.fields()?;
    let Some(given) = fields.get("id") else { return Err(node.error("a model needs an id")) };
    let id = id(given)?;
    let mut members = Vec::new();
    for (name, value) in &fields.entries {
        members.push(format!("{}:{}", Json::from(*name), value.json()?));
    }
    Ok(OwnModel { object: format!("{{{}}}", members.join(",")), id })
}

fn id(node: &Node<'_>) -> Result<String, ConfigError> {
    let id = node.string()?;
    if id.is_empty() || id.contains(char::is_control) {
        return Err(node.error("an id is one line of text"));
    }
    Ok(id.to_owned())
}
