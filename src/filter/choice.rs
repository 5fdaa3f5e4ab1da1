//! All models of a list, judged and in order.

use super::judge::Filter;
use super::order::{Order, Place};
use super::rule::Verdict;
use crate::facts::Facts;

/// What was decided about the models of a list.
#[derive(Debug, Clone)]
pub struct Choice {
    /// For each model.
    pub verdicts: Vec<Verdict>,
    /// The indices of the kept models, in the order that clients see.
    pub kept: Vec<usize>,
}

impl Choice {
    /// The indices of the hidden models, in the upstream's order.
    pub fn hidden(&self) -> impl Iterator<Item = usize> {
        (0..self.verdicts.len()).filter(|&index| !self.verdicts[index].kept)
    }
}

impl Filter {
    /// Judges models, each given as its id and its facts, and sorts those that are kept. `now` is
    /// in seconds since 1970.
    pub fn choose(&self, models: &[(&str, &Facts)], now: u64) -> Choice {
        let judge = |(id, facts): &(&str, &Facts)| self.judge(id, facts, now);
        self.sorted(models, models.iter().map(judge).collect())
    }

    /// Sorts judged models that are kept; `verdicts` has one for each.
    pub fn sorted(&self, models: &[(&str, &Facts)], verdicts: Vec<Verdict>) -> Choice {
        let mut kept: Vec<usize> = (0..models.len()).filter(|&at| verdicts[at].kept).collect();
        self.order(&mut kept, |&at| place(models, &verdicts, at));
        Choice { verdicts, kept }
    }

    /// The model that `default` moved to the head of the kept ones.
    pub fn first(&self, models: &[(&str, &Facts)], choice: &Choice) -> Option<usize> {
        choice.kept.first().copied().filter(|&first| self.is_default(models[first].0))
    }
}

impl Order {
    /// Sorts indices of judged models.
    pub fn sort_indices(self, at: &mut [usize], models: &[(&str, &Facts)], choice: &Choice) {
        self.sort(at, |&at| place(models, &choice.verdicts, at));
    }
}

fn place<'a>(models: &[(&'a str, &'a Facts)], verdicts: &'a [Verdict], at: usize) -> Place<'a> {
    let (id, facts) = models[at];
    Place { id, facts, rule: &verdicts[at].rule }
}
