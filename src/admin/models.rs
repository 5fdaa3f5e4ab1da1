//! What the page shows of the upstreams, and how rules would judge that are being typed.
//!
//! The judge is the program's own filter, so that what is shown is what will be. Limits: the
//! upstreams are asked with the credentials that the page's request has; nothing is kept of
//! rules that are tried.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::catalog::inventories;
use crate::error::{Code, Error, cut};
use crate::facts::Entry;
use crate::filter::{Filter, Rule, Rules};
use crate::headers::Headers;
use crate::offer::{Inventory, Offer, Refusal};
use crate::reply::Reply;
use crate::wanted::Wanted;

use super::in_json;

#[derive(Serialize)]
struct Overview<'a> {
    version: &'static str,
    upstreams: Vec<UpstreamView<'a>>,
}

#[derive(Serialize)]
struct UpstreamView<'a> {
    name: &'a str,
    prefix: &'a str,
    /// Whether its settings stand below a name of its own.
    nested: bool,
    error: Option<String>,
    took_ms: Option<f64>,
    age_s: Option<f64>,
    rules: Value,
    models: Vec<ModelView>,
    verdicts: Option<Verdicts>,
}

#[derive(Serialize)]
struct ModelView {
    id: String,
    owner: Option<String>,
    context: Option<u64>,
    input: Option<f64>,
    output: Option<f64>,
}

/// What a filter makes of all models.
#[derive(Serialize)]
struct Verdicts {
    kept: usize,
    /// Which model `default` puts first.
    first: Option<usize>,
    /// Each rule that decided about some model.
    rules: Vec<RuleView>,
    /// For each model, which of them.
    models: Vec<usize>,
}

#[derive(Serialize)]
struct RuleView {
    kept: bool,
    text: String,
    list: Option<&'static str>,
    index: Option<usize>,
}

/// Rules as the page and the configuration write them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedRules {
    regexp: Option<Vec<String>>,
    simple: Option<Vec<String>>,
    #[serde(default)]
    exclude: Exclude,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trial {
    upstream: String,
    rules: TypedRules,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Judgement {
    Good { verdicts: Verdicts, yaml: String },
    Bad { error: Fault },
}

#[derive(Serialize)]
struct Fault {
    /// Where the pattern stands: `regexp[1]`, say.
    key: String,
    message: String,
}

/// All upstreams with all their models, and what the running rules make of them.
///
/// # Errors
/// 499 where the client left meanwhile.
pub(super) fn overview(
    offers: &[Arc<Offer>],
    headers: &Headers,
    client: &dyn Wanted,
) -> Result<Reply, Error> {
    let asked = offers.iter().zip(inventories(offers, headers, Some(client))?);
    let upstreams = asked.map(|(offer, inventory)| UpstreamView::new(offer, inventory)).collect();
    Ok(in_json(&Overview { version: env!("CARGO_PKG_VERSION"), upstreams }))
}

/// Held while rules that are tried are compiled.
static TRIAL: Mutex<()> = Mutex::new(());

/// What rules would make of an upstream's models, and how they are written down.
///
/// # Errors
/// 400 for a question that cannot be understood; what the upstream has instead of a list; 499
/// where the client left meanwhile.
pub(super) fn preview(
    offers: &[Arc<Offer>],
    headers: &Headers,
    body: &[u8],
    client: &dyn Wanted,
) -> Result<Reply, Error> {
    let trial: Trial = serde_json::from_slice(body)
        .map_err(|error| Error::bad_request(format!("the rules cannot be read: {error}")))?;
    let offer = offers.iter().find(|offer| offer.upstream.name() == trial.upstream);
    let offer = offer.ok_or_else(|| {
        Error::client(Code::NotFound, format!("there is no upstream {:?}", cut(&trial.upstream)))
    })?;
    let yaml = trial.rules.yaml(offer.is_named);
    // Patterns take memory while they are compiled, and anybody here may ask at any time.
    let alone = TRIAL.lock().expect("nothing panics under this lock");
    let filter = Filter::on_trial(&trial.rules.into());
    drop(alone);
    let judgement = match filter {
        Err(error) => Judgement::Bad { error: Fault { key: error.key, message: error.message } },
        Ok(filter) => {
            let asked = offer.ask_inventory(headers);
            let inventory = offer.inventory(&asked, Some(client)).map_err(reason)?;
            Judgement::Good { verdicts: Verdicts::new(&filter, &inventory.entries), yaml }
        }
    };
    Ok(in_json(&judgement))
}

fn reason(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Failed(error) => error,
        Refusal::Mirrored(reply) => {
            let what = format!("the upstream's list has status {}", reply.status);
            Error::upstream(Code::UpstreamInvalidResponse, what)
        }
    }
}

impl<'a> UpstreamView<'a> {
    fn new(offer: &'a Offer, inventory: Result<Arc<Inventory>, Refusal>) -> UpstreamView<'a> {
        let mut view = UpstreamView {
            name: offer.upstream.name(),
            prefix: offer.upstream.prefix(),
            nested: offer.is_named,
            error: None,
            took_ms: None,
            age_s: None,
            rules: running(offer.filter.rules()),
            models: Vec::new(),
            verdicts: None,
        };
        match inventory {
            Err(refusal) => view.error = Some(reason(refusal).message),
            Ok(inventory) => {
                view.took_ms = Some(inventory.took.as_secs_f64() * 1000.0);
                view.age_s = Some(inventory.fetched.elapsed().as_secs_f64());
                view.models = inventory.entries.iter().map(ModelView::from).collect();
                view.verdicts = Some(Verdicts::new(&offer.filter, &inventory.entries));
            }
        }
        view
    }
}

impl From<&Entry> for ModelView {
    fn from(entry: &Entry) -> ModelView {
        let Entry { id, owner, context, input, output } = entry.clone();
        ModelView { id, owner, context, input, output }
    }
}

impl Verdicts {
    fn new(filter: &Filter, entries: &[Entry]) -> Verdicts {
        let mut known: HashMap<Rule, usize> = HashMap::new();
        let mut verdicts = Verdicts { kept: 0, first: None, rules: Vec::new(), models: Vec::new() };
        let mut kept_ids = Vec::new();
        for entry in entries {
            let verdict = filter.verdict(&entry.id);
            if verdict.kept {
                kept_ids.push(entry.id.as_str());
            }
            let rules = &mut verdicts.rules;
            let index = *known.entry(verdict.rule).or_insert_with_key(|rule| {
                let (list, index) = match rule {
                    Rule::Entry { list, index, .. } => (Some(*list), Some(*index)),
                    Rule::NoneGiven | Rule::NoneMatched => (None, None),
                };
                rules.push(RuleView { kept: verdict.kept, text: rule.to_string(), list, index });
                rules.len() - 1
            });
            verdicts.models.push(index);
        }
        verdicts.kept = kept_ids.len();
        let first = filter.first(kept_ids.into_iter());
        verdicts.first = first.and_then(|first| entries.iter().position(|e| e.id == first));
        verdicts
    }
}

impl TypedRules {
    /// The lines to paste into the configuration. Everything is quoted, so that no parser
    /// takes a name for something else.
    fn yaml(&self, nested: bool) -> String {
        let indent = if nested { 4 } else { 2 };
        let mut yaml = String::new();
        for (key, entries) in [("regexp", &self.regexp), ("simple", &self.simple)] {
            if let Some(entries) = entries {
                write_list(&mut yaml, indent, key, entries);
            }
        }
        if !(self.exclude.regexp.is_empty() && self.exclude.simple.is_empty()) {
            yaml += &format!("{:indent$}exclude:\n", "");
            write_list(&mut yaml, indent + 2, "regexp", &self.exclude.regexp);
            write_list(&mut yaml, indent + 2, "simple", &self.exclude.simple);
        }
        if let Some(default) = &self.default {
            yaml += &format!("{:indent$}default: {}\n", "", quoted(default));
        }
        if self.case_sensitive {
            yaml += &format!("{:indent$}case_sensitive: true\n", "");
        }
        yaml
    }
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

/// A YAML scalar that is this text: in single quotes, where backslashes are left alone, or,
/// with control characters in it, in double ones, as JSON writes it.
fn quoted(text: &str) -> String {
    if text.chars().any(|c| c.is_control() || c == '\u{feff}') {
        return Value::from(text).to_string();
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// The rules as the page reads them: whatever is not given, too.
fn running(rules: &Rules) -> Value {
    json!({
        "regexp": rules.regexp,
        "simple": rules.simple,
        "exclude": {"regexp": rules.exclude_regexp, "simple": rules.exclude_simple},
        "default": rules.default,
        "case_sensitive": rules.case_sensitive,
    })
}

impl From<TypedRules> for Rules {
    fn from(typed: TypedRules) -> Rules {
        let TypedRules { regexp, simple, exclude, default, case_sensitive } = typed;
        let (exclude_regexp, exclude_simple) = (exclude.regexp, exclude.simple);
        Rules { case_sensitive, regexp, simple, exclude_regexp, exclude_simple, default }
    }
}
