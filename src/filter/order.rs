//! `order`: how an upstream's models are sorted.

use std::cmp::Reverse;

use super::rule::Rule;
use crate::facts::Facts;

/// How an upstream's models are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As the upstream lists them.
    Upstream,
    /// By the names of `simple` as typed, then by the first pattern that matched.
    Rules,
    /// The last published first.
    Newest,
    /// By id.
    Id,
    /// By the displayed name, else the id, without case.
    Name,
    /// By the sum of the prices of input and output, the cheapest first.
    Price,
}

/// What models are sorted by.
pub struct Place<'a> {
    /// The id, without the prefix.
    pub id: &'a str,
    /// What the list says about the model.
    pub facts: &'a Facts,
    /// The rule that kept or hid it.
    pub rule: &'a Rule,
}

impl Order {
    /// Each order with its word in the configuration.
    pub const WORDS: [(&'static str, Order); 6] = [
        ("upstream", Order::Upstream),
        ("rules", Order::Rules),
        ("newest", Order::Newest),
        ("id", Order::Id),
        ("name", Order::Name),
        ("price", Order::Price),
    ];

    /// The order that a word stands for.
    pub fn named(word: &str) -> Option<Order> {
        Order::WORDS.iter().find(|(name, _)| *name == word).map(|(_, order)| *order)
    }

    /// Its word in the configuration.
    pub fn word(self) -> &'static str {
        Order::WORDS.iter().find(|(_, order)| *order == self).map_or("", |(name, _)| name)
    }

    /// Whether models are sorted by what their list says about them.
    pub fn needs_facts(self) -> bool {
        matches!(self, Order::Newest | Order::Name | Order::Price)
    }

    /// Sorts models. Unknown values come last, and equal ones keep their order.
    pub fn sort<'p, T>(self, models: &mut [T], place: impl Fn(&T) -> Place<'p>) {
        match self {
            Order::Upstream => {}
            Order::Rules => models.sort_by_key(|model| place(model).rule.rank()),
            Order::Newest => models.sort_by_key(|model| {
                let created = place(model).facts.created;
                (created.is_none(), Reverse(created))
            }),
            Order::Id => models.sort_by(|a, b| place(a).id.cmp(place(b).id)),
            Order::Name => models.sort_by_cached_key(|model| {
                let Place { id, facts, .. } = place(model);
                facts.name.as_deref().unwrap_or(id).to_lowercase()
            }),
            Order::Price => models.sort_by_key(|model| {
                let facts = place(model).facts;
                let sum = facts.input_price.zip(facts.output_price);
                let sum = sum.map(|(input, output)| input.plus(output));
                (sum.is_none(), sum)
            }),
        }
    }
}
