//! The models of the upstreams for the page, and the preview of rules that are being typed.
//!
//! The program's own filter judges, so that the preview is exact. Limits: the upstreams are asked
//! with the credentials of the page's request; rules that are tried are not stored.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::find::find;
use super::program::Program;
use super::rules::{self, Fault, TypedRules};
use super::save;
use crate::cache::Standing;
use crate::catalog::inventories;
use crate::config::{Alias, RulesFile, digest};
use crate::error::{Code, Error};
use crate::facts::{Entry, Facts};
use crate::filter::{Filter, Rule, nothing_kept};
use crate::headers::Headers;
use crate::offer::{Inventory, Offer, Refusal, seconds_since_1970};
use crate::reply::Reply;
use crate::secret::Secret;
use crate::text::milliseconds;
use crate::wanted::Wanted;

/// The most rules that do nothing and are explained.
const ADVICE: usize = 10;

#[derive(Serialize)]
struct Overview<'a> {
    version: &'static str,
    /// What the page sends along when it changes something.
    token: Option<&'static str>,
    /// The configuration file.
    config: Option<String>,
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
    /// Why there is no list, or no newer one.
    error: Option<String>,
    took_ms: Option<f64>,
    age_s: Option<f64>,
    /// The list that clients get from the cache; none if they wait for a new one.
    served: Option<ServedView>,
    rules: Value,
    file: Option<FileView>,
    /// The same for the same models.
    digest: String,
    models: Vec<Entry>,
    verdicts: Option<Verdicts>,
}

/// The file that the rules are saved to.
#[derive(Serialize)]
struct FileView {
    path: String,
    digest: String,
    /// Why it cannot be saved.
    obstacle: Option<String>,
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
    /// The indices of the kept models, in the order that clients see.
    menu: Vec<usize>,
    /// The index of the model that `default` puts first.
    first: Option<usize>,
    /// Each rule that decided on a model.
    rules: Vec<RuleView>,
    /// For each model, the index of the rule that decided.
    models: Vec<usize>,
    /// For each list of patterns or names, how many models each entry matches.
    counts: BTreeMap<&'static str, Vec<usize>>,
    /// What is wrong with rules that do nothing, one line each.
    advice: Vec<String>,
}

#[derive(Serialize)]
struct RuleView {
    kept: bool,
    text: String,
    list: Option<&'static str>,
    index: Option<usize>,
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

/// All upstreams with all their models, and the verdicts of the running rules.
///
/// # Errors
/// 499 if the client left meanwhile.
pub(super) fn overview(
    offers: &[Arc<Offer>],
    headers: &Headers,
    client: &dyn Wanted,
    program: &dyn Program,
) -> Result<Reply, Error> {
    let asked = offers.iter().zip(inventories(offers, headers, Some(client))?);
    let upstreams = asked.map(|(offer, inventory)| UpstreamView::new(offer, inventory, headers));
    let upstreams: Vec<UpstreamView<'_>> = upstreams.collect();
    let aliases = offers.first().map_or(&[][..], |offer| offer.aliases.all());
    let aliases = aliases.iter().map(|alias| AliasView::new(alias, &upstreams[alias.upstream]));
    let aliases = aliases.collect();
    Ok(Reply::fresh_json(&Overview {
        version: env!("CARGO_PKG_VERSION"),
        token: save::token().map(Secret::expose),
        config: program.config_file(),
        upstreams,
        aliases,
    }))
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
    let offer = find(offers, &trial.upstream)?;
    let compiled = trial.rules.rules().and_then(|rules| {
        let alone = TRIAL.lock().expect("nothing panics under this lock");
        let filter = Filter::on_trial(&rules);
        drop(alone);
        filter.map_err(|error| Fault { key: error.key, message: error.message })
    });
    let judgement = match compiled {
        Err(error) => Judgement::Bad { error },
        Ok(filter) => {
            let asked = offer.ask_inventory(headers)?;
            let inventory = offer.inventory(&asked, Some(client)).map_err(failure)?;
            // A file of rules has no section around them.
            let indent = match (&offer.rules_file, offer.is_named) {
                (Some(_), _) => 0,
                (None, false) => 2,
                (None, true) => 4,
            };
            let yaml = rules::yaml(filter.rules(), indent);
            let verdicts = Verdicts::new(&filter, &inventory.entries, offer.upstream.prefix());
            Judgement::Good { verdicts, yaml }
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
        headers: &Headers,
    ) -> UpstreamView<'a> {
        let mut view = UpstreamView {
            name: offer.upstream.name(),
            prefix: offer.upstream.prefix(),
            nested: offer.is_named,
            error: None,
            took_ms: None,
            age_s: None,
            served: offer.standing(headers).map(ServedView::new),
            rules: rules::json(offer.filter.rules()),
            file: offer.rules_file.as_ref().map(FileView::new),
            digest: String::new(),
            models: Vec::new(),
            verdicts: None,
        };
        match inventory {
            Err(refusal) => view.error = Some(failure(refusal).message),
            Ok(inventory) => {
                view.error = offer.inventory_failure(headers).map(|why| failure(why).message);
                view.took_ms = Some(milliseconds(inventory.took));
                view.age_s = Some(inventory.fetched.elapsed().as_secs_f64());
                let prefix = offer.upstream.prefix();
                view.digest = digest(format!("{:?}", inventory.entries).as_bytes());
                view.models = inventory.entries.clone();
                view.verdicts = Some(Verdicts::new(&offer.filter, &inventory.entries, prefix));
            }
        }
        view
    }
}

impl FileView {
    fn new(file: &RulesFile) -> FileView {
        FileView {
            path: file.path.display().to_string(),
            digest: file.digest.clone(),
            obstacle: save::obstacle(file),
        }
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
    fn new(filter: &Filter, entries: &[Entry], prefix: &str) -> Verdicts {
        let models: Vec<(&str, &Facts)> =
            entries.iter().map(|entry| (entry.id.as_str(), &entry.facts)).collect();
        let choice = filter.choose(&models, seconds_since_1970());
        let (kept, first) = (choice.kept.len(), filter.first(&models, &choice));
        let ids: Vec<&str> = models.iter().map(|(id, _)| *id).collect();
        let counts = filter.counts(&ids).into_iter().collect();
        let mut known: HashMap<Rule, usize> = HashMap::new();
        let idle = filter.idle(&ids).into_iter().take(ADVICE);
        let mut advice: Vec<String> =
            idle.map(|idle| filter.finding(idle, &ids, prefix).to_string()).collect();
        advice.extend(nothing_kept(choice.verdicts.iter()));
        let mut verdicts = Verdicts {
            kept,
            menu: choice.kept,
            first,
            rules: Vec::new(),
            models: Vec::new(),
            counts,
            advice,
        };
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
