//! The decision of a filter about each model.

use super::matcher::Matcher;
use super::order::{Order, Place};
use super::pattern::{Compiler, Id, Pattern, PatternError, folded};
use super::rule::{Rule, Verdict};
use super::rules::Rules;
use crate::facts::Facts;

/// The largest compiled pattern of the configuration, in bytes.
const SIZE_LIMIT: usize = 10 * 1024 * 1024;

/// The same for rules that a user tries out on the page.
const TRIAL_SIZE_LIMIT: usize = 512 * 1024;

/// How many patterns a user can try out at once.
const TRIAL_PATTERNS: usize = 100;

/// Compiled rules.
#[derive(Debug, Clone)]
pub struct Filter {
    rules: Rules,
    /// `None` keeps every model: neither `regexp` nor `simple` is given.
    pub(super) keep: Option<Matcher>,
    pub(super) exclude: Matcher,
    pub(super) default: Option<Pattern>,
}

impl Filter {
    /// Compiles the rules. Every model is kept if neither `regexp` nor `simple` is given; none is
    /// kept if they are given but empty.
    ///
    /// # Errors
    /// The first pattern that does not compile.
    pub fn new(rules: &Rules) -> Result<Filter, PatternError> {
        Filter::with_size_limit(rules, SIZE_LIMIT)
    }

    /// Compiles rules that a user tries out, within less memory.
    ///
    /// # Errors
    /// As [`Filter::new`], and for more than 100 patterns.
    pub fn on_trial(rules: &Rules) -> Result<Filter, PatternError> {
        let mut patterns = rules.regexp.iter().flatten().chain(&rules.exclude_regexp);
        match patterns.nth(TRIAL_PATTERNS) {
            None => Filter::with_size_limit(rules, TRIAL_SIZE_LIMIT),
            Some(pattern) => Err(PatternError {
                key: "regexp".into(),
                pattern: pattern.clone(),
                message: format!("no more than {TRIAL_PATTERNS} patterns can be tried at once"),
            }),
        }
    }

    fn with_size_limit(rules: &Rules, size_limit: usize) -> Result<Filter, PatternError> {
        let compiler = Compiler { case_sensitive: rules.case_sensitive, size_limit };
        let keep = match (&rules.regexp, &rules.simple) {
            (None, None) => None,
            (regexp, simple) => Some(Matcher::new(
                &compiler,
                ("regexp", regexp.as_deref().unwrap_or_default()),
                ("simple", simple.as_deref().unwrap_or_default()),
            )?),
        };
        let exclude = Matcher::new(
            &compiler,
            ("exclude.regexp", &rules.exclude_regexp),
            ("exclude.simple", &rules.exclude_simple),
        )?;
        let default = rules.default.as_deref();
        let default =
            default.map(|pattern| compiler.whole_match("default".into(), pattern)).transpose()?;
        Ok(Filter { rules: rules.clone(), keep, exclude, default })
    }

    /// The rules as the user typed them.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether the model is kept, and the rule that decided. A model that matches an `exclude` rule
    /// but no other is hidden because no rule matched.
    pub fn verdict(&self, id: &str) -> Verdict {
        let id = self.id(id);
        let kept_by = match &self.keep {
            None => Some(Rule::NoneGiven),
            Some(keep) => keep.rule_for(&id),
        };
        let Some(kept_by) = kept_by else {
            return Verdict { kept: false, rule: Rule::NoneMatched };
        };
        match self.exclude.rule_for(&id) {
            Some(rule) => Verdict { kept: false, rule },
            None => Verdict { kept: true, rule: kept_by },
        }
    }

    /// Whether the model is kept.
    pub fn keeps(&self, id: &str) -> bool {
        self.verdict(id).kept
    }

    /// Whether an `exclude` rule matches the model, whatever the other rules say.
    pub fn excludes(&self, id: &str) -> bool {
        self.exclude.rule_for(&self.id(id)).is_some()
    }

    /// Whether every model is kept, because there are no rules.
    pub fn keeps_all(&self) -> bool {
        self.keep.is_none() && self.exclude.is_empty() && !self.has_conditions()
    }

    /// Whether the model is kept, judged by its name and by what its list says about it. Names in
    /// `simple` need not meet the conditions. `now` is in seconds since 1970.
    pub fn judge(&self, id: &str, facts: &Facts, now: u64) -> Verdict {
        self.with_conditions(self.verdict(id), facts, now)
    }

    /// A verdict by name with the conditions applied: see [`Filter::judge`].
    pub fn with_conditions(&self, verdict: Verdict, facts: &Facts, now: u64) -> Verdict {
        if !verdict.kept || verdict.rule.is_name() {
            return verdict;
        }
        match self.rules.conditions.failure(facts, now) {
            Some(failure) => Verdict { kept: false, rule: Rule::Condition(failure) },
            None => verdict,
        }
    }

    /// Whether only the upstream's list says which models there are: neither `regexp` nor `simple`
    /// is given, or there is an `exclude` beside `regexp`. Then a name is kept in each spelling that
    /// is not excluded, and upstreams know many: `gpt:online` of OpenRouter, `llama` for
    /// `llama:latest` of Ollama.
    pub fn needs_list(&self) -> bool {
        match &self.keep {
            None => true,
            Some(keep) => !keep.patterns.is_empty() && !self.exclude.is_empty(),
        }
    }

    /// Whether models must meet conditions.
    pub fn has_conditions(&self) -> bool {
        !self.rules.conditions.is_empty()
    }

    /// Whether models are judged or sorted by what their list says about them.
    pub fn needs_facts(&self) -> bool {
        self.has_conditions() || self.rules.order.is_some_and(Order::needs_facts)
    }

    /// Whether the model goes to the head of the list if it is the first that does.
    pub fn is_default(&self, id: &str) -> bool {
        self.default.as_ref().is_some_and(|default| default.is_match(&self.id(id)))
    }

    /// Sorts kept models by `order`, and moves the first match of `default` to the front. Without
    /// `order` they are sorted by id if there is such a match, else they keep their order.
    pub fn order<'p, T>(&self, models: &mut [T], place: impl Fn(&T) -> Place<'p>) {
        let is_default = |model: &T| self.is_default(place(model).id);
        let has_default = models.iter().any(is_default);
        let order = match self.rules.order {
            Some(order) => order,
            None if has_default => Order::Id,
            None => return,
        };
        order.sort(models, &place);
        if let Some(first) = models.iter().position(is_default) {
            models[..=first].rotate_right(1);
        }
    }

    pub(super) fn id<'a>(&self, id: &'a str) -> Id<'a> {
        Id::new(id, self.rules.case_sensitive)
    }

    /// An id as names are compared: in lower case unless the rules are case-sensitive.
    pub fn folded(&self, id: &str) -> String {
        folded(id, self.rules.case_sensitive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| entry.to_string()).collect()
    }

    fn by_regexp(patterns: &[&str]) -> Rules {
        Rules { regexp: Some(list(patterns)), ..Rules::default() }
    }

    fn by_simple(names: &[&str]) -> Rules {
        Rules { simple: Some(list(names)), ..Rules::default() }
    }

    fn keeps(rules: &Rules, id: &str) -> bool {
        Filter::new(rules).unwrap().keeps(id)
    }

    fn refusal(pattern: &str) -> PatternError {
        Filter::new(&by_regexp(&[pattern])).unwrap_err()
    }

    fn order(filter: &Filter, ids: &[&'static str]) -> Vec<&'static str> {
        let facts = Facts::default();
        let mut models = ids.to_vec();
        let rule = Rule::NoneGiven;
        filter.order(&mut models, |id: &&'static str| Place { id, facts: &facts, rule: &rule });
        models
    }

    fn ordered(default: &str, ids: &[&'static str]) -> Vec<&'static str> {
        let rules = Rules { default: Some(default.into()), ..Rules::default() };
        order(&Filter::new(&rules).unwrap(), ids)
    }

    #[test]
    fn without_rules_everything_is_kept_and_with_empty_ones_nothing() {
        assert!(keeps(&Rules::default(), "anything"));
        assert!(!keeps(&by_regexp(&[]), "anything"));
        assert!(!keeps(&by_simple(&[]), "anything"));
    }

    #[test]
    fn a_pattern_must_match_the_whole_id() {
        let rules = by_regexp(&["gpt-4|o1"]);
        assert!(keeps(&rules, "gpt-4"));
        assert!(keeps(&rules, "o1"));
        assert!(!keeps(&rules, "gpt-4o"));
        assert!(!keeps(&rules, "openai/o1"));
        assert!(!keeps(&rules, "o1\n"));
        assert!(!keeps(&by_regexp(&["(?m)^a$"]), "a\nb"));
    }

    #[test]
    fn a_shorter_alternative_in_front_does_not_spoil_a_whole_match() {
        assert!(keeps(&by_regexp(&["gpt|gpt-4"]), "gpt-4"));
    }

    #[test]
    fn a_pattern_that_would_break_out_of_the_wrapper_is_refused() {
        let message = |pattern: &str| refusal(pattern).message;
        assert!(message("a)(b").starts_with("unopened group: "));
        assert!(message("a)|(?:.*").starts_with("unopened group: "));
        assert!(message("(a").starts_with("unclosed group: "));
    }

    #[test]
    fn case_is_folded_unless_told_otherwise() {
        for rules in [by_regexp(&["gpt-.*B"]), by_simple(&["GPT-4b"])] {
            assert!(keeps(&rules, "Gpt-4B"));
            let rules = Rules { case_sensitive: true, ..rules };
            assert!(!keeps(&rules, "Gpt-4B"));
        }
        assert!(keeps(&by_simple(&["ÉCOLE"]), "école"));
    }

    #[test]
    fn a_pattern_may_distinguish_case_in_a_part() {
        let rules = by_regexp(&["(?-i)GPT-.*", "(?-i:Qwen)/.*", "(?s-i)Z"]);
        for (id, is_kept) in [
            ("GPT-4", true),
            ("gpt-4", false),
            ("Qwen/ABC", true),
            ("qwen/abc", false),
            ("Z", true),
            ("z", false),
        ] {
            assert_eq!(keeps(&rules, id), is_kept, "{id}");
        }
    }

    #[test]
    fn a_name_is_no_pattern() {
        assert!(!keeps(&by_simple(&["gpt.4"]), "gpt-4"));
        assert!(keeps(&by_simple(&["a(b"]), "a(b"));
    }

    #[test]
    fn an_empty_entry_matches_only_the_empty_id() {
        for rules in [by_regexp(&[""]), by_simple(&[""])] {
            assert!(keeps(&rules, ""));
            assert!(!keeps(&rules, "a"));
        }
    }

    #[test]
    fn exclusion_wins_over_every_other_rule() {
        let rules = Rules {
            regexp: Some(list(&[".*"])),
            simple: Some(list(&["a-preview"])),
            exclude_regexp: list(&[".*-PREVIEW"]),
            exclude_simple: list(&["B"]),
            ..Rules::default()
        };
        assert!(keeps(&rules, "a"));
        assert!(!keeps(&rules, "a-preview"));
        assert!(!keeps(&rules, "b"));
        let only_exclude = Rules { exclude_simple: list(&["b"]), ..Rules::default() };
        assert!(keeps(&only_exclude, "a"));
        assert!(!keeps(&only_exclude, "b"));
    }

    #[test]
    fn a_verdict_names_the_rule_as_it_was_typed() {
        let filter = Filter::new(&Rules {
            regexp: Some(list(&["x", r"gpt-\d.*", ".*llama.*"])),
            simple: Some(list(&["o1", "O3", "o3"])),
            exclude_regexp: list(&[".*:free"]),
            exclude_simple: list(&["llama-2"]),
            ..Rules::default()
        })
        .unwrap();
        let verdict = |id| {
            let verdict = filter.verdict(id);
            (verdict.kept, verdict.rule.to_string())
        };
        assert_eq!(verdict("gpt-4o"), (true, r#"regexp[1] "gpt-\d.*""#.into()));
        assert_eq!(verdict("o3"), (true, r#"simple "O3""#.into()));
        assert_eq!(verdict("llama:free"), (false, r#"exclude.regexp[0] ".*:free""#.into()));
        assert_eq!(verdict("llama-2"), (false, r#"exclude.simple "llama-2""#.into()));
        assert_eq!(verdict("qwen:free"), (false, "no rule matched".into()));
        let all = Filter::new(&Rules::default()).unwrap();
        assert_eq!(all.verdict("x").rule.to_string(), "no rules given");
    }

    #[test]
    fn look_around_and_backreferences_are_refused_with_a_way_out() {
        for pattern in ["(?!x).*", "(?=x).*", ".*(?<!x)", ".*(?<=x)", r"(a)\1"] {
            let message = refusal(pattern).message;
            assert!(message.contains("look-around") && message.contains("not supported"));
            assert!(message.contains("`exclude`"), "{message}");
        }
        assert!(refusal(r"(a)\1").message.starts_with("backreferences are not supported"));
    }

    #[test]
    fn pythons_end_of_text_is_refused_with_a_hint() {
        let message = refusal(r"gpt.*\Z").message;
        assert!(message.contains(r"leave \Z out"), "{message}");
        assert!(!refusal(r"gpt\y").message.contains(r"\Z"));
    }

    #[test]
    fn a_refusal_is_one_line_in_lower_case_and_names_the_key() {
        let hostile = ["a\n(b", "[z-a]", "*", r"\pX", "a{99999999}", "(?:a{1000}){1000}", "(?q)"];
        for pattern in hostile {
            let error = refusal(pattern);
            assert_eq!(error.key, "regexp[0]");
            assert_eq!(error.pattern, pattern);
            assert!(error.message.starts_with(|c: char| c.is_lowercase()), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        let rules = Rules { exclude_regexp: list(&["ok", "("]), ..Rules::default() };
        let error = Filter::new(&rules).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"exclude.regexp[1] "(": unclosed group: close it with ), or write \( for the character itself"#
        );
        let rules = Rules { default: Some("(".into()), ..Rules::default() };
        assert_eq!(Filter::new(&rules).unwrap_err().key, "default");
    }

    #[test]
    fn what_python_users_have_in_their_files_compiles() {
        assert!(keeps(&by_regexp(&["(?P<vendor>[a-z]+)/gpt"]), "openai/gpt"));
        let sensitive = Rules {
            case_sensitive: true,
            ..by_regexp(&["(?i)GPT", r"a\-b", "(?x) foo # comment"])
        };
        assert!(keeps(&sensitive, "gpt"));
        assert!(keeps(&sensitive, "a-b"));
        assert!(keeps(&sensitive, "foo"));
        assert!(!keeps(&sensitive, "foo\n"));
    }

    #[test]
    fn the_default_sorts_the_models_and_goes_to_the_front() {
        assert_eq!(ordered("M.*", &["z", "m2", "a", "m1"]), ["m1", "a", "m2", "z"]);
        assert_eq!(ordered("z", &["z", "a"]), ["z", "a"]);
    }

    #[test]
    fn a_default_that_is_not_there_leaves_the_order_alone() {
        assert_eq!(ordered("m", &["z", "m2", "a"]), ["z", "m2", "a"]);
        assert_eq!(ordered(".*", &[]), [""; 0]);
        assert_eq!(order(&Filter::new(&Rules::default()).unwrap(), &["z", "a"]), ["z", "a"]);
    }
}
