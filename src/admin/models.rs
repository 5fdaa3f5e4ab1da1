//! The models of the upstreams for the page, and the preview of rules that are being typed.
//!
//! The program's own filter judges, so that the preview is exact. Limits: the upstreams are asked
//! with the credentials of the page's request; rules that are tried are not stored.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cache::Standing;
use crate::catalog::inventories;
use crate::config::Alias;
use crate::error::{Code, Error};
use crate::facts::{Entry, Facts};
use crate::filter::{Filter, Order, Rule, Rules};
use crate::headers::Headers;
use crate::offer::{Inventory, Offer, Refusal, seconds_since_1970};
use crate::reply::Reply;
use crate::text::{cut, milliseconds, yaml_quoted as quoted};
use crate::wanted::Wanted;

#[derive(Serialize)]
struct Overview<'a> {
    version: &'static str,
    upstreams: Vec<UpstreamView<'a>>,
    aliases: Vec<AliasView<'a>>,
}

#[derive(Serialize)]
struct AliasView<'a> {
    id: &'a str,
    /// The id of its model as clients see it.
    target: &'a str,
    name: Option<&'a str>,
    upstream: &'a str,
    /// Whether clients see it in the list: whether its upstream lists the model.
    listed: bool,
}

#[derive(Serialize)]
struct UpstreamView<'a> {
    name: &'a str,
    prefix: &'a str,
    /// Whether its settings are below a name of its own.
    nested: bool,
    error: Option<String>,
    took_ms: Option<f64>,
    age_s: Option<f64>,
    /// The list that clients get from the cache; none if they wait for a new one.
    served: Option<ServedView>,
    rules: Value,
    models: Vec<Entry>,
    verdicts: Option<Verdicts>,
}

#[derive(Serialize)]
struct ServedView {
    /// When it came, in seconds since 1970.
    came: u64,
    age_s: f64,
    stale: bool,
}

/// The verdicts of a filter on all models.
#[derive(Serialize)]
struct Verdicts {
    kept: usize,
    /// The index of the model that `default` puts first.
    first: Option<usize>,
    /// Each rule that decided on a model.
    rules: Vec<RuleView>,
    /// For each model, the index of the rule that decided.
    models: Vec<usize>,
    /// For each list of patterns or names, how many models each entry matches.
    counts: BTreeMap<&'static str, Vec<usize>>,
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
    /// The place of the pattern, such as `regexp[1]`.
    key: String,
    message: String,
}

/// All upstreams with all their models, and the verdicts of the running rules.
///
/// # Errors
/// 499 if the client left meanwhile.
pub(super) fn overview(
    offers: &[Arc<Offer>],
    headers: &Headers,
    client: &dyn Wanted,
) -> Result<Reply, Error> {
    let asked = offers.iter().zip(inventories(offers, headers, Some(client))?);
    let upstreams = asked
        .map(|(offer, inventory)| UpstreamView::new(offer, inventory, offer.standing(headers)));
    let upstreams: Vec<UpstreamView<'_>> = upstreams.collect();
    let aliases = offers.first().map_or(&[][..], |offer| offer.aliases.all());
    let aliases = aliases.iter().map(|alias| AliasView::new(alias, &upstreams[alias.upstream]));
    let aliases = aliases.collect();
    Ok(Reply::fresh_json(&Overview { version: env!("CARGO_PKG_VERSION"), upstreams, aliases }))
}

/// Held while rules are compiled: that takes memory, and anybody here may ask at any time.
static TRIAL: Mutex<()> = Mutex::new(());

/// The verdicts of rules on an upstream's models, and the rules in YAML.
///
/// # Errors
/// 400 and 404 for a request that cannot be used; the failure of the upstream's list; 499 if the
/// client left meanwhile.
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
    let running = offer.filter.rules();
    let yaml = trial.rules.yaml(running, offer.is_named);
    let alone = TRIAL.lock().expect("nothing panics under this lock");
    let filter = Filter::on_trial(&trial.rules.beside(running));
    drop(alone);
    let judgement = match filter {
        Err(error) => Judgement::Bad { error: Fault { key: error.key, message: error.message } },
        Ok(filter) => {
            let asked = offer.ask_inventory(headers)?;
            let inventory = offer.inventory(&asked, Some(client)).map_err(failure)?;
            Judgement::Good { verdicts: Verdicts::new(&filter, &inventory.entries), yaml }
        }
    };
    Ok(Reply::fresh_json(&judgement))
}

/// Why there is no list.
pub(super) fn failure(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Failed(error) => error,
        Refusal::Mirrored(reply) => {
            let what = format!("its list has status {}", reply.status);
            Error::upstream(Code::UpstreamInvalidResponse, what)
        }
    }
}

impl<'a> UpstreamView<'a> {
    fn new(
        offer: &'a Offer,
        inventory: Result<Arc<Inventory>, Refusal>,
        standing: Option<Standing>,
    ) -> UpstreamView<'a> {
        let mut view = UpstreamView {
            name: offer.upstream.name(),
            prefix: offer.upstream.prefix(),
            nested: offer.is_named,
            error: None,
            took_ms: None,
            age_s: None,
            served: standing.map(ServedView::new),
            rules: running(offer.filter.rules()),
            models: Vec::new(),
            verdicts: None,
        };
        match inventory {
            Err(refusal) => view.error = Some(failure(refusal).message),
            Ok(inventory) => {
                view.took_ms = Some(milliseconds(inventory.took));
                view.age_s = Some(inventory.fetched.elapsed().as_secs_f64());
                view.models = inventory.entries.clone();
                view.verdicts = Some(Verdicts::new(&offer.filter, &inventory.entries));
            }
        }
        view
    }
}

impl<'a> AliasView<'a> {
    fn new(alias: &'a Alias, upstream: &UpstreamView<'a>) -> AliasView<'a> {
        AliasView {
            id: &alias.id,
            target: &alias.target,
            name: alias.name.as_deref(),
            upstream: upstream.name,
            listed: upstream.models.iter().any(|model| model.id == alias.model),
        }
    }
}

impl ServedView {
    fn new(standing: Standing) -> ServedView {
        let came = SystemTime::now().checked_sub(standing.age);
        let came = came.and_then(|came| came.duration_since(SystemTime::UNIX_EPOCH).ok());
        ServedView {
            came: came.unwrap_or_default().as_secs(),
            age_s: standing.age.as_secs_f64(),
            stale: standing.is_stale,
        }
    }
}

impl Verdicts {
    fn new(filter: &Filter, entries: &[Entry]) -> Verdicts {
        let models: Vec<(&str, &Facts)> =
            entries.iter().map(|entry| (entry.id.as_str(), &entry.facts)).collect();
        let choice = filter.choose(&models, seconds_since_1970());
        let (kept, first) = (choice.kept.len(), filter.first(&models, &choice));
        let ids: Vec<&str> = models.iter().map(|(id, _)| *id).collect();
        let counts = filter.counts(&ids).into_iter().collect();
        let mut known: HashMap<Rule, usize> = HashMap::new();
        let mut verdicts = Verdicts { kept, first, rules: Vec::new(), models: Vec::new(), counts };
        for verdict in choice.verdicts {
            let rules = &mut verdicts.rules;
            let index = *known.entry(verdict.rule).or_insert_with_key(|rule| {
                let (list, index) = rule.place();
                rules.push(RuleView { kept: verdict.kept, text: rule.to_string(), list, index });
                rules.len() - 1
            });
            verdicts.models.push(index);
        }
        verdicts
    }
}

impl TypedRules {
    /// These rules with the conditions and the order of the running ones, which the page shows
    /// and cannot change.
    fn beside(self, running: &Rules) -> Rules {
        let TypedRules { regexp, simple, exclude, default, case_sensitive } = self;
        let (exclude_regexp, exclude_simple) = (exclude.regexp, exclude.simple);
        let (conditions, order) = (running.conditions.clone(), running.order);
        Rules {
            case_sensitive,
            regexp,
            simple,
            exclude_regexp,
            exclude_simple,
            conditions,
            order,
            default,
        }
    }

    /// The lines to paste into the configuration. All text is quoted, so that no YAML parser reads
    /// a name as another type.
    fn yaml(&self, running: &Rules, nested: bool) -> String {
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
        for line in running.conditions.yaml() {
            yaml += &format!("{:indent$}{line}\n", "");
        }
        if let Some(order) = running.order {
            yaml += &format!("{:indent$}order: {}\n", "", order.word());
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

/// The running rules in the shape that the page reads; absent ones are null.
fn running(rules: &Rules) -> Value {
    json!({
        "regexp": rules.regexp,
        "simple": rules.simple,
        "exclude": {"regexp": rules.exclude_regexp, "simple": rules.exclude_simple},
        "default": rules.default,
        "case_sensitive": rules.case_sensitive,
        "where": rules.conditions.yaml(),
        "order": rules.order.map(Order::word),
    })
}
