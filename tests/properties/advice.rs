//! Rules that match nothing: found by counting, and suggestions that hold.

use model_filter::filter::{Filter, Idle, Rules, Suggestion, nearest_id};
use proptest::prelude::*;
use regex::Regex;

use crate::cases;

const PREFIX: &str = "up/";

fn id() -> impl Strategy<Value = String> {
    "[a-bA]{1,2}(/[a-b.1-2]{1,3})?(:free)?"
}

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-b]{1,3}",
        "[a-b]{1,2}/\\*",
        "(up/)?[a-b.]{1,2}(\\.\\*)?",
        "[a-b]\\+[1-2]?",
        "[a-b]{1,2},[a-b]{1,2}",
        "[ab](\\||/)[ab12]{1,2}\\?",
        "[A-B]{1,2}.{0,2}",
    ]
}

/// How many ids a pattern matches whole.
fn count(pattern: &str, ids: &[String], case_sensitive: bool) -> usize {
    let case = if case_sensitive { "" } else { "(?i)" };
    let regex = Regex::new(&format!("{case}^(?:{pattern})$")).unwrap();
    ids.iter().filter(|id| regex.is_match(id)).count()
}

fn spelled(id: &str, case_sensitive: bool) -> String {
    if case_sensitive { id.to_owned() } else { id.to_lowercase() }
}

/// The edit distance by recursion.
fn distance(a: &[char], b: &[char]) -> usize {
    match (a, b) {
        ([], rest) | (rest, []) => rest.len(),
        ([x, a @ ..], [y, b @ ..]) if x == y => distance(a, b),
        ([x, rest_a @ ..], [y, rest_b @ ..]) => {
            let mut least =
                distance(rest_a, b).min(distance(a, rest_b)).min(distance(rest_a, rest_b));
            if let ([x2, far_a @ ..], [y2, far_b @ ..]) = (rest_a, rest_b) {
                if x == y2 && y == x2 {
                    least = least.min(distance(far_a, far_b));
                }
            }
            least + 1
        }
    }
}

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn what_matches_nothing_is_found_and_every_suggestion_holds(
        ids in prop::collection::vec(id(), 0..8),
        patterns in prop::collection::vec(pattern(), 0..4),
        names in prop::collection::vec(prop_oneof![id(), pattern()], 0..3),
        case_sensitive in any::<bool>(),
    ) {
        let compiles = |pattern: &String| Regex::new(pattern).is_ok();
        let patterns: Vec<String> = patterns.into_iter().filter(compiles).collect();
        let rules = Rules {
            case_sensitive,
            regexp: Some(patterns.clone()),
            exclude_simple: names.clone(),
            ..Rules::default()
        };
        let filter = Filter::new(&rules).unwrap();
        let listed: Vec<&str> = ids.iter().map(String::as_str).collect();

        let mut expected = Vec::new();
        let mut counts = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            counts.push(count(pattern, &ids, case_sensitive));
            if counts[index] == 0 && !ids.is_empty() {
                expected.push(Idle { list: "regexp", index });
            }
        }
        for (index, name) in names.iter().enumerate() {
            let equals = |id: &String| spelled(id, case_sensitive) == spelled(name, case_sensitive);
            if !ids.iter().any(equals) && !ids.is_empty() {
                expected.push(Idle { list: "exclude.simple", index });
            }
        }
        let idle = filter.idle(&listed);
        prop_assert_eq!(&idle, &expected);
        let all = filter.counts(&listed);
        prop_assert_eq!(all.iter().find(|(list, _)| *list == "regexp").unwrap().1.clone(), counts);

        for idle in idle {
            let finding = filter.finding(idle, &listed, PREFIX);
            let line = finding.to_string();
            prop_assert!(!line.contains('\n'), "{}", line);
            match finding.suggestion {
                Suggestion::Pattern { pattern, count: promised, .. } => {
                    prop_assert!(promised > 0);
                    prop_assert_eq!(count(&pattern, &ids, case_sensitive), promised, "{}", line);
                    // The filter agrees.
                    let rules = Rules { case_sensitive, regexp: Some(vec![pattern]), ..Rules::default() };
                    let filter = Filter::new(&rules).unwrap();
                    prop_assert_eq!(ids.iter().filter(|id| filter.keeps(id)).count(), promised);
                }
                Suggestion::Id { id, .. } => prop_assert!(ids.contains(&id), "{}", line),
                Suggestion::Nothing(_) => {}
            }
        }
    }

    #[test]
    fn the_nearest_id_is_the_nearest(
        name in "[ab]{4,8}",
        ids in prop::collection::vec("[ab]{3,9}", 1..6),
    ) {
        let listed: Vec<&str> = ids.iter().map(String::as_str).collect();
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let far = |id: &&str| distance(&chars(&name), &chars(id));
        let least = listed.iter().map(far).min().unwrap();
        if let Some(near) = nearest_id(&name, &listed) {
            let most = (name.len() / 4).max(1);
            if least <= most {
                prop_assert_eq!(far(&near), least, "{}", near);
                prop_assert_eq!(Some(&near), listed.iter().find(|id| far(id) == least));
            } else {
                prop_assert!(near.contains(&name));
            }
        } else {
            prop_assert!(least > (name.len() / 4).max(1));
        }
    }
}

const IDS: &[&str] = &[
    "openai/gpt-5",
    "openai/gpt-4o",
    "openai/gpt-4o-mini",
    "anthropic/claude-sonnet-4",
    "anthropic/claude-opus-4",
    "cohere/command-r+",
    "meta-llama/llama-3.3-70b-instruct:free",
];

/// The line about a rule of one of the lists.
fn line(list: &str, typed: &str, case_sensitive: bool) -> String {
    let typed = vec![typed.to_owned()];
    let mut rules = Rules { case_sensitive, ..Rules::default() };
    match list {
        "regexp" => rules.regexp = Some(typed),
        "simple" => rules.simple = Some(typed),
        "exclude.regexp" => rules.exclude_regexp = typed,
        "exclude.simple" => rules.exclude_simple = typed,
        _ => rules.default = typed.into_iter().next(),
    }
    let filter = Filter::new(&rules).unwrap();
    let idle = filter.idle(IDS);
    assert_eq!(idle.len(), 1, "{rules:?}");
    filter.finding(idle[0], IDS, PREFIX).to_string()
}

#[test]
fn twenty_wrong_rules_and_what_to_do() {
    let insensitive: &[(&str, &str, &str)] = &[
        ("regexp", "claude", r#"regexp[0] "claude" matches no model; ".*claude.*" would match 2"#),
        (
            "regexp",
            "anthropic/claude-*",
            r#"regexp[0] "anthropic/claude-*": "*" repeats the character before it; "anthropic/claude-.*" would match 2"#,
        ),
        (
            "regexp",
            "gpt-*",
            r#"regexp[0] "gpt-*": "*" repeats the character before it; ".*gpt-.*" would match 3"#,
        ),
        ("regexp", "openai/", r#"regexp[0] "openai/" matches no model; "openai/.*" would match 3"#),
        ("regexp", ":free", r#"regexp[0] ":free" matches no model; ".*:free" would match 1"#),
        (
            "regexp",
            "up/openai/.*",
            r#"regexp[0] "up/openai/.*": rules see ids without the prefix "up/"; "openai/.*" would match 3"#,
        ),
        (
            "regexp",
            "cohere/command-r+",
            r#"regexp[0] "cohere/command-r+": some of its characters have a meaning in patterns; "cohere/command-r\+" would match 1"#,
        ),
        (
            "regexp",
            "openai/gpt-5, openai/gpt-4o",
            r#"regexp[0] "openai/gpt-5, openai/gpt-4o": several entries in one; put each on a line of its own; "openai/gpt-5|openai/gpt-4o" would match 2"#,
        ),
        (
            "regexp",
            "claude|gpt",
            r#"regexp[0] "claude|gpt" matches no model; ".*(?:claude|gpt).*" would match 5"#,
        ),
        (
            "regexp",
            " openai/.* ",
            r#"regexp[0] " openai/.* " begins or ends with a blank; "openai/.*" would match 3"#,
        ),
        (
            "regexp",
            "openai/gpt-9",
            r#"regexp[0] "openai/gpt-9" matches no model; nearest "openai/gpt-5""#,
        ),
        (
            "regexp",
            "zzz[0-9]",
            r#"regexp[0] "zzz[0-9]" matches no model, and none is similar; `model-filter models` lists the ids"#,
        ),
        (
            "simple",
            "openai/gpt-9",
            r#"simple[0] "openai/gpt-9": no such model; nearest "openai/gpt-5""#,
        ),
        ("simple", "gpt-4o", r#"simple[0] "gpt-4o": no such model; nearest "openai/gpt-4o""#),
        (
            "simple",
            "openai/.*",
            r#"simple[0] "openai/.*": names are compared whole; put it under regexp; "openai/.*" would match 3"#,
        ),
        (
            "simple",
            "openai/*",
            r#"simple[0] "openai/*": names are compared whole; put it under regexp; "openai/.*" would match 3"#,
        ),
        (
            "simple",
            "up/openai/gpt-5",
            r#"simple[0] "up/openai/gpt-5": rules see ids without the prefix "up/"; nearest "openai/gpt-5""#,
        ),
        (
            "exclude.regexp",
            "free",
            r#"exclude.regexp[0] "free" matches no model; ".*free" would match 1"#,
        ),
        (
            "exclude.simple",
            "claude-opus-4",
            r#"exclude.simple[0] "claude-opus-4": no such model; nearest "anthropic/claude-opus-4""#,
        ),
        ("default", "gpt-5", r#"default "gpt-5" matches no model; ".*gpt-5" would match 1"#),
    ];
    for (list, typed, expected) in insensitive {
        assert_eq!(line(list, typed, false), *expected);
    }
    assert_eq!(
        line("regexp", "OpenAI/.*", true),
        r#"regexp[0] "OpenAI/.*": upper and lower case differ (case_sensitive); "(?i)OpenAI/.*" would match 3"#
    );
    assert_eq!(
        line("simple", "OpenAI/GPT-5", true),
        r#"simple[0] "OpenAI/GPT-5": upper and lower case differ (case_sensitive); nearest "openai/gpt-5""#
    );
}
