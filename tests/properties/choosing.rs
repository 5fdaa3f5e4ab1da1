//! Conditions and orders, against a judge that asks one question after the other.

use std::time::Duration;

use model_filter::facts::{Facts, Price, Set};
use model_filter::filter::{Conditions, Filter, Order, Rule, Rules, Word};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cases;

const NOW: u64 = 2_000_000_000;

/// A model as the judge sees it: cents per million tokens, thousands of tokens, days.
#[derive(Debug, Clone)]
struct Model {
    id: String,
    prices: Option<(u32, u32)>,
    context: Option<u64>,
    inputs: Option<Vec<&'static str>>,
    supports: Option<Vec<&'static str>>,
    age: Option<u64>,
    name: Option<String>,
}

const MODALITIES: &[&str] = &["text", "image", "audio"];
const ABILITIES: &[&str] = &["tools", "reasoning", "structured_outputs", "seed"];

fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(words, 0..=words.len())
}

fn model() -> impl Strategy<Value = Model> {
    (
        "[a-c]{1,2}",
        prop::option::of((0..4_u32, 0..4_u32)),
        prop::option::of(1..5_u64),
        prop::option::of(some_of(MODALITIES)),
        prop::option::of(some_of(ABILITIES)),
        prop::option::of(1..6_u64),
        prop::option::of("[A-Da-d]{1,2}"),
    )
        .prop_map(|(id, prices, context, inputs, supports, age, name)| Model {
            id,
            prices,
            context,
            inputs,
            supports,
            age,
            name,
        })
}

/// US dollars per token for cents per million tokens, without a float.
fn per_token(cents: u32) -> String {
    format!("0.{cents:08}")
}

impl Model {
    /// As OpenRouter lists it.
    fn facts(&self) -> Facts {
        // Without a price it is a list of this dialect all the same.
        let (prompt, completion) =
            self.prices.map_or(("-1".into(), "-1".into()), |(a, b)| (per_token(a), per_token(b)));
        let mut entry =
            json!({"id": self.id, "pricing": {"prompt": prompt, "completion": completion}});
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                entry[key] = value;
            }
        };
        set("context_length", self.context.map(|count| json!(count * 1000)));
        set("architecture", self.inputs.clone().map(|words| json!({"input_modalities": words})));
        set("supported_parameters", self.supports.clone().map(|words| json!(words)));
        set("created", self.age.map(|days| json!(NOW - days * 86_400)));
        set("name", self.name.clone().map(Value::from));
        Facts::read(&entry.to_string())
    }
}

#[derive(Debug, Clone)]
struct Typed {
    max_input: Option<u32>,
    max_output: Option<u32>,
    min_context: Option<u64>,
    inputs: Vec<&'static str>,
    supports: Vec<&'static str>,
    max_age: Option<u64>,
    hides_unknown: bool,
}

fn typed() -> impl Strategy<Value = Typed> {
    (
        prop::option::of(0..4_u32),
        prop::option::of(0..4_u32),
        prop::option::of(0..5_u64),
        some_of(MODALITIES),
        some_of(ABILITIES),
        prop::option::of(0..6_u64),
        any::<bool>(),
    )
        .prop_map(
            |(max_input, max_output, min_context, inputs, supports, max_age, hides_unknown)| {
                Typed {
                    max_input,
                    max_output,
                    min_context,
                    inputs,
                    supports,
                    max_age,
                    hides_unknown,
                }
            },
        )
}

impl Typed {
    fn conditions(&self) -> Conditions {
        let price = |cents: u32| Price::per_million(&format!("0.{cents:02}")).unwrap();
        let inputs = self.inputs.iter().map(|word| Word::new(Set::Input, word));
        let supports = self.supports.iter().map(|word| Word::new(Set::Supports, word));
        Conditions {
            max_input_price: self.max_input.map(price),
            max_output_price: self.max_output.map(price),
            min_context: self.min_context.map(|count| count * 1000),
            words: inputs.chain(supports).collect(),
            max_age: self.max_age.map(|days| Duration::from_secs(days * 86_400)),
            hides_unknown: self.hides_unknown,
        }
    }

    /// Whether a model meets every condition. An unknown fact meets it or not, as is typed.
    fn is_met(&self, model: &Model) -> bool {
        let unknown = !self.hides_unknown;
        let mut answers = Vec::new();
        if let Some(most) = self.max_input {
            answers.push(model.prices.map_or(unknown, |(input, _)| input <= most));
        }
        if let Some(most) = self.max_output {
            answers.push(model.prices.map_or(unknown, |(_, output)| output <= most));
        }
        if let Some(least) = self.min_context {
            answers.push(model.context.map_or(unknown, |count| count >= least));
        }
        for word in &self.inputs {
            answers.push(model.inputs.as_ref().map_or(unknown, |words| words.contains(word)));
        }
        for word in &self.supports {
            answers.push(model.supports.as_ref().map_or(unknown, |words| words.contains(word)));
        }
        if let Some(most) = self.max_age {
            answers.push(model.age.map_or(unknown, |days| days <= most));
        }
        answers.into_iter().all(|answer| answer)
    }
}

/// Whether one model comes before another: a comparison for an insertion sort.
fn is_before(order: Order, a: &Model, b: &Model, rank: impl Fn(&Model) -> usize) -> bool {
    let known_first = |a: Option<i64>, b: Option<i64>| match (a, b) {
        (Some(a), Some(b)) => a < b,
        (a, b) => a.is_some() && b.is_none(),
    };
    let sum = |model: &Model| model.prices.map(|(input, output)| i64::from(input + output));
    let shown = |model: &Model| model.name.clone().unwrap_or(model.id.clone()).to_lowercase();
    match order {
        Order::Upstream => false,
        Order::Rules => rank(a) < rank(b),
        Order::Newest => {
            let age = |model: &Model| model.age.map(|days| i64::try_from(days).unwrap());
            known_first(age(a), age(b))
        }
        Order::Id => a.id < b.id,
        Order::Name => shown(a) < shown(b),
        Order::Price => known_first(sum(a), sum(b)),
    }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn a_model_is_kept_if_it_meets_every_condition(
        typed in typed(),
        models in prop::collection::vec(model(), 1..8),
        (named, excluded) in ("[a-c]", "[a-c]"),
    ) {
        let conditions = typed.conditions();
        let rules = Rules {
            regexp: Some(vec![".*".into()]),
            simple: Some(vec![named.clone()]),
            exclude_simple: vec![excluded.clone()],
            conditions: conditions.clone(),
            ..Rules::default()
        };
        let filter = Filter::new(&rules).unwrap();
        for model in &models {
            let verdict = filter.judge(&model.id, &model.facts(), NOW);
            let expected = model.id != excluded && (model.id == named || typed.is_met(model));
            prop_assert_eq!(verdict.kept, expected, "{:?} {}", model, verdict.rule);
            if let Rule::Condition(failure) = &verdict.rule {
                prop_assert!(failure.key.starts_with("where."));
            }
        }
        let is_empty = typed.max_input.is_none() && typed.max_output.is_none()
            && typed.min_context.is_none() && typed.inputs.is_empty()
            && typed.supports.is_empty() && typed.max_age.is_none();
        prop_assert_eq!(conditions.is_empty(), is_empty);
    }

    #[test]
    fn an_order_is_that_of_an_insertion_sort(
        order in prop::sample::select(&Order::WORDS[..]),
        models in prop::collection::vec(model(), 0..9),
        names in prop::collection::vec("[a-c]{1,2}", 0..3),
    ) {
        let (_, order) = order;
        let rules = Rules {
            regexp: Some(vec!["a.*".into(), ".*".into()]),
            simple: Some(names.clone()),
            order: Some(order),
            ..Rules::default()
        };
        let rank = |model: &Model| match names.iter().position(|name| *name == model.id) {
            Some(index) => index,
            None => 100 + usize::from(!model.id.starts_with('a')),
        };
        let mut expected: Vec<usize> = Vec::new();
        for (at, model) in models.iter().enumerate() {
            // Behind all that do not come after it.
            let place = expected.iter().position(|&other| is_before(order, model, &models[other], rank));
            expected.insert(place.unwrap_or(expected.len()), at);
        }
        let facts: Vec<Facts> = models.iter().map(Model::facts).collect();
        let listed: Vec<(&str, &Facts)> =
            models.iter().map(|model| model.id.as_str()).zip(&facts).collect();
        let filter = Filter::new(&rules).unwrap();
        let choice = filter.choose(&listed, NOW);
        prop_assert_eq!(&choice.kept, &expected, "{:?}", order);

        // The default goes to the front of this order.
        let rules = Rules { default: Some("b.*".into()), ..rules };
        let filter = Filter::new(&rules).unwrap();
        let choice = filter.choose(&listed, NOW);
        let first = expected.iter().position(|&at| models[at].id.starts_with('b'));
        prop_assert_eq!(filter.first(&listed, &choice), first.map(|first| expected[first]));
        if let Some(first) = first {
            let default = expected.remove(first);
            expected.insert(0, default);
        }
        prop_assert_eq!(choice.kept, expected);
    }

}

#[test]
fn a_verdict_names_the_condition_and_the_value() {
    let model = Model {
        id: "a".into(),
        prices: Some((15, 75)),
        context: Some(8),
        inputs: Some(vec!["text"]),
        supports: Some(vec!["seed"]),
        age: Some(400),
        name: None,
    };
    let none = Typed {
        max_input: None,
        max_output: None,
        min_context: None,
        inputs: vec![],
        supports: vec![],
        max_age: None,
        hides_unknown: true,
    };
    let reason = |typed: Typed, model: &Model| {
        let rules = Rules { conditions: typed.conditions(), ..Rules::default() };
        Filter::new(&rules).unwrap().judge("a", &model.facts(), NOW).rule.to_string()
    };
    let price = Typed { max_input: Some(20), max_output: Some(5), ..none.clone() };
    assert_eq!(reason(price.clone(), &model), "where.max_price: output 0.75 > 0.05");
    let context = Typed { min_context: Some(64), ..none.clone() };
    assert_eq!(reason(context.clone(), &model), "where.min_context: 8000 < 64000");
    let input = Typed { inputs: vec!["image"], ..none.clone() };
    assert_eq!(reason(input.clone(), &model), "where.input: no image");
    let tools = Typed { supports: vec!["tools"], ..none.clone() };
    assert_eq!(reason(tools, &model), "where.supports: no tools");
    let age = Typed { max_age: Some(365), ..none };
    assert_eq!(reason(age.clone(), &model), "where.max_age: 400d > 365d");
    let unknown =
        Model { prices: None, context: None, inputs: None, supports: None, age: None, ..model };
    assert_eq!(reason(price, &unknown), "where.max_price: input price unknown");
    assert_eq!(reason(context, &unknown), "where.min_context: unknown");
    assert_eq!(reason(input, &unknown), "where.input: image unknown");
    assert_eq!(reason(age, &unknown), "where.max_age: unknown");
}
