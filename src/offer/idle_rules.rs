//! Logs rules that do nothing on a list, each once in the life of an upstream's settings.

use std::collections::HashSet;
use std::sync::Mutex;

use crate::filter::{Filter, Idle, Verdict, nothing_kept};
use crate::logging::Value;

/// Which rules were logged.
#[derive(Debug, Default)]
pub(super) struct IdleRules {
    logged: Mutex<HashSet<Option<Idle>>>,
}

impl IdleRules {
    /// Logs the rules that match none of these ids, and that no model is kept, unless that was
    /// logged before.
    pub(super) fn log(
        &self,
        filter: &Filter,
        ids: &[&str],
        verdicts: &[Verdict],
        (upstream, prefix): (&str, &str),
    ) {
        let is_new = |what: Option<Idle>| {
            self.logged.lock().expect("nothing panics under this lock").insert(what)
        };
        for idle in filter.idle(ids) {
            if is_new(Some(idle)) {
                let finding = filter.finding(idle, ids, prefix).to_string();
                let rule = Value(&finding);
                log::warn!("msg=\"a rule does nothing\" upstream={} rule={rule}", Value(upstream));
            }
        }
        if let Some(why) = nothing_kept(verdicts.iter()) {
            if is_new(None) {
                let why = Value(&why);
                log::warn!("msg=\"no model is listed\" upstream={} why={why}", Value(upstream));
            }
        }
    }
}
