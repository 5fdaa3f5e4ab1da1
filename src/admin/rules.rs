//! Rules as the page sends them, as it reads them, and as YAML.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::conditions_in;
use crate::facts::{Price, Set};
use crate::filter::{Conditions, Order, Rules};
use crate::text::yaml_quoted as quoted;

/// Rules as the page and the configuration write them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypedRules {
    regexp: Option<Vec<String>>,
    simple: Option<Vec<String>>,
    #[serde(default)]
    exclude: Exclude,
    #[serde(default, rename = "where")]
    conditions: Map<String, Value>,
    order: Option<String>,
    default: Option<String>,
    #[serde(default)]
    case_sensitive: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exclude {
    #[serde(default)]
    regexp: Vec<String>,
    #[serde(default)]
    simple: Vec<String>,
}

/// A rule that cannot be used, as the page reads it.
#[derive(serde::Serialize)]
pub(super) struct Fault {
    /// The place of the rule, such as `regexp[1]`.
    pub(super) key: String,
    pub(super) message: String,
}

impl TypedRules {
    /// The meaning of these rules. Patterns are not compiled yet.
    ///
    /// # Errors
    /// A condition or an order that means nothing.
    pub(super) fn rules(self) -> Result<Rules, Fault> {
        let json = Value::Object(self.conditions).to_string();
        let conditions = conditions_in(&json).map_err(|errors| {
            let message = errors.to_string();
            let message = message.strip_prefix("where: ").unwrap_or(&message).to_owned();
            Fault { key: "where".to_owned(), message }
        })?;
        let order = match self.order.as_deref() {
            None => None,
            Some(word) => Some(Order::named(word).ok_or_else(|| {
                let message = format!("{word:?} is no order");
                Fault { key: "order".to_owned(), message }
            })?),
        };
        Ok(Rules {
            case_sensitive: self.case_sensitive,
            regexp: self.regexp,
            simple: self.simple,
            exclude_regexp: self.exclude.regexp,
            exclude_simple: self.exclude.simple,
            conditions,
            order,
            default: self.default,
        })
    }
}

/// Rules as lines of YAML that begin with this many blanks. All text is quoted, so that no YAML
/// parser reads a name as another type.
pub(super) fn yaml(rules: &Rules, indent: usize) -> String {
    let mut yaml = String::new();
    for (key, entries) in [("regexp", &rules.regexp), ("simple", &rules.simple)] {
        if let Some(entries) = entries {
            write_list(&mut yaml, indent, key, entries);
        }
    }
    if !(rules.exclude_regexp.is_empty() && rules.exclude_simple.is_empty()) {
        yaml += &format!("{:indent$}exclude:\n", "");
        write_list(&mut yaml, indent + 2, "regexp", &rules.exclude_regexp);
        write_list(&mut yaml, indent + 2, "simple", &rules.exclude_simple);
    }
    for line in rules.conditions.yaml() {
        yaml += &format!("{:indent$}{line}\n", "");
    }
    if let Some(order) = rules.order {
        yaml += &format!("{:indent$}order: {}\n", "", order.word());
    }
    if let Some(default) = &rules.default {
        yaml += &format!("{:indent$}default: {}\n", "", quoted(default));
    }
    if rules.case_sensitive {
        yaml += &format!("{:indent$}case_sensitive: true\n", "");
    }
    yaml
}

fn write_list(yaml: &mut String, indent: usize, key: &str, entries: &[String]) {
    if entries.is_empty() {
        *yaml += &format!("{:indent$}{key}: []\n", "");
        return;
    }
    *yaml += &format!("{:indent$}{key}:\n", "");
    for entry in entries {
        *yaml += &format!("{:indent$}  - {}\n", "", quoted(entry));
    }
}

/// Rules in the shape that the page reads and sends; absent ones are null.
pub(super) fn json(rules: &Rules) -> Value {
    json!({
        "regexp": rules.regexp,
        "simple": rules.simple,
        "exclude": {"regexp": rules.exclude_regexp, "simple": rules.exclude_simple},
        "where": conditions(&rules.conditions),
        "order": rules.order.map(Order::word),
        "default": rules.default,
        "case_sensitive": rules.case_sensitive,
    })
}

/// The value of `where`. Prices are text, so that no digit is lost.
fn conditions(conditions: &Conditions) -> Value {
    let mut fields = Map::new();
    let text = |price: Price| Value::from(price.to_string());
    let (input, output) = (conditions.max_input_price, conditions.max_output_price);
    match (input, output) {
        (Some(input), Some(output)) if input == output => {
            fields.insert("max_price".into(), text(input));
        }
        (None, None) => {}
        _ => {
            let prices = [("input", input), ("output", output)];
            let prices = prices.iter().filter_map(|(key, price)| Some((*key, text((*price)?))));
            let prices = prices.map(|(key, price)| (key.to_owned(), price));
            fields.insert("max_price".into(), Value::Object(prices.collect()));
        }
    }
    if let Some(tokens) = conditions.min_context {
        fields.insert("min_context".into(), tokens.into());
    }
    for (key, set) in [("input", Set::Input), ("output", Set::Output), ("supports", Set::Supports)]
    {
        let words = conditions.words.iter().map(crate::filter::Word::typed);
        let words: Vec<&str> = words.filter(|(of, _)| *of == set).map(|(_, word)| word).collect();
        if !words.is_empty() {
            fields.insert(key.into(), words.into());
        }
    }
    if let Some(age) = conditions.age() {
        fields.insert("max_age".into(), age.into());
    }
    if conditions.hides_unknown {
        fields.insert("unknown".into(), "hide".into());
    }
    Value::Object(fields)
}
