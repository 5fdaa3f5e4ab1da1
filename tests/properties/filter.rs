//! Filters and their order, against a matcher that tries every path through a pattern.
//!
//! Patterns are generated as trees and formatted as text for the filter; the judge walks the tree.
//! It computes the set of all positions where a node can end, so that greediness and the order of
//! alternatives, which do not matter for a whole match, do not exist in it.

use std::collections::BTreeSet;

use model_filter::facts::Facts;
use model_filter::filter::{Filter, Place, Rule, Rules};
use proptest::prelude::*;

use crate::cases;

/// A pattern as a tree.
#[derive(Debug, Clone)]
enum Node {
    Char(char),
    /// `.`: anything but a line end.
    Any,
    /// `\d`, `\w`, `\s`, or in upper case their complements.
    Perl(char),
    /// `[…]` or `[^…]`: single characters and ranges.
    Class(bool, Vec<(char, char)>),
    /// `^`
    Start,
    /// `$`
    End,
    All(Vec<Node>),
    One(Vec<Node>),
    /// The node, the least and the greatest count, and whether it is lazy.
    Repeated(Box<Node>, usize, Option<usize>, bool),
    /// `(…)`, named or not.
    Group(bool, Box<Node>),
    /// `(?i:…)`
    Caseless(Box<Node>),
}

/// A small alphabet, so that patterns match now and then. Some characters have two upper or two
/// lower case forms.
const ALPHABET: &[char] = &[
    'a', 'b', 'k', 's', 'A', 'B', 'K', 'S', 'é', 'É', 'σ', 'ς', 'Σ', '\u{212a}', 'ſ', '1', '7',
    '.', '-', '/', ':', ' ', '#', '\n', '(', '[', '\\', '*', '^', '$', '_',
];

fn letter() -> impl Strategy<Value = char> {
    prop_oneof![3 => prop::sample::select(&ALPHABET[..8]), 1 => prop::sample::select(ALPHABET)]
}

fn id() -> impl Strategy<Value = String> {
    prop::collection::vec(letter(), 0..6).prop_map(String::from_iter)
}

fn node() -> impl Strategy<Value = Node> {
    let range = prop_oneof![
        letter().prop_map(|c| (c, c)),
        prop::sample::select(vec![('a', 'f'), ('A', 'K'), ('0', '9'), (' ', '/'), ('a', 'z')]),
    ];
    let leaf = prop_oneof![
        8 => letter().prop_map(Node::Char),
        3 => Just(Node::Any),
        1 => prop::sample::select(vec!['d', 'w', 's', 'D', 'W', 'S']).prop_map(Node::Perl),
        2 => (any::<bool>(), prop::collection::vec(range, 1..4))
            .prop_map(|(negated, ranges)| Node::Class(negated, ranges)),
        1 => prop_oneof![Just(Node::Start), Just(Node::End)],
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        let counts = prop_oneof![
            3 => Just((0, None)),
            2 => Just((1, None)),
            2 => Just((0, Some(1))),
            1 => (0..3_usize, 0..3_usize).prop_map(|(least, more)| (least, Some(least + more))),
            1 => (0..3_usize).prop_map(|least| (least, None)),
        ];
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 0..4).prop_map(Node::All),
            2 => prop::collection::vec(inner.clone(), 1..4).prop_map(Node::One),
            3 => (inner.clone(), counts, any::<bool>())
                .prop_map(|(node, (least, most), lazy)| {
                    Node::Repeated(Box::new(node), least, most, lazy)
                }),
            1 => (any::<bool>(), inner.clone())
                .prop_map(|(named, node)| Node::Group(named, Box::new(node))),
            1 => inner.prop_map(|node| Node::Caseless(Box::new(node))),
        ]
    })
}

/// Formats the tree as a pattern; with `spaced` for `(?x)`, which ignores spaces and comments.
fn written(node: &Node, spaced: bool, names: &mut usize) -> String {
    let gap = if spaced { " " } else { "" };
    match node {
        Node::Char(c) => escaped(*c),
        Node::Any => ".".into(),
        Node::Perl(c) => format!("\\{c}"),
        Node::Class(negated, ranges) => {
            let mut text = String::from(if *negated { "[^" } else { "[" });
            for (from, to) in ranges {
                text += &escaped(*from);
                if from != to {
                    text += &format!("-{}", escaped(*to));
                }
            }
            text + "]"
        }
        Node::Start => "^".into(),
        Node::End => "$".into(),
        Node::All(nodes) => {
            let pieces: Vec<String> = nodes
                .iter()
                .map(|node| match node {
                    Node::One(_) => format!("(?:{})", written(node, spaced, names)),
                    node => written(node, spaced, names),
                })
                .collect();
            pieces.join(gap)
        }
        Node::One(nodes) => {
            let ways: Vec<String> = nodes.iter().map(|node| written(node, spaced, names)).collect();
            ways.join("|")
        }
        Node::Repeated(node, least, most, lazy) => {
            let inner = written(node, spaced, names);
            let inner = match **node {
                Node::Char(_) | Node::Any | Node::Perl(_) | Node::Class(..) => inner,
                _ => format!("(?:{inner})"),
            };
            let count = match (least, most) {
                (0, None) => "*".into(),
                (1, None) => "+".into(),
                (0, Some(1)) => "?".into(),
                (least, None) => format!("{{{least},}}"),
                (least, Some(most)) if least == most => format!("{{{least}}}"),
                (least, Some(most)) => format!("{{{least},{most}}}"),
            };
            format!("{inner}{gap}{count}{}", if *lazy { "?" } else { "" })
        }
        Node::Group(named, node) => {
            *names += 1;
            let name = if *named { format!("?P<g{names}>") } else { String::new() };
            format!("({name}{})", written(node, spaced, names))
        }
        Node::Caseless(node) => format!("(?i:{})", written(node, spaced, names)),
    }
}

fn escaped(c: char) -> String {
    match c {
        '\n' => r"\n".into(),
        c if c.is_ascii_punctuation() || c == ' ' => format!("\\{c}"),
        c => c.into(),
    }
}

/// A pattern: its tree, its text, and whether `(?i)` applies to all of it.
#[derive(Debug, Clone)]
struct Pattern {
    tree: Node,
    typed: String,
    caseless: bool,
}

fn pattern() -> impl Strategy<Value = Pattern> {
    (node(), 0..8_u8).prop_map(|(tree, style)| {
        let plain = written(&tree, false, &mut 0);
        let spaced = written(&tree, true, &mut 0);
        let (typed, caseless) = match style {
            0 => (format!("(?i){plain}"), true),
            1 => (format!("(?x) {spaced} # a comment ( [ \\"), false),
            2 => (format!("(?ix)\n{spaced} # )\n # a comment"), true),
            _ => (plain, false),
        };
        Pattern { tree, typed, caseless }
    })
}

/// The representative of all characters that are equal without case (simple case folding).
fn folded(c: char) -> char {
    match c {
        '\u{212a}' => 'k',
        'ſ' => 's',
        'Σ' | 'ς' => 'σ',
        c => c.to_lowercase().next().unwrap(),
    }
}

/// All characters that equal this one without case.
fn variants(c: char) -> Vec<char> {
    let mut variants: Vec<char> =
        ALPHABET.iter().copied().chain('a'..='z').chain('A'..='Z').collect();
    variants.retain(|&variant| folded(variant) == folded(c));
    variants.push(c);
    variants
}

fn is_one_of(c: char, ranges: &[(char, char)], caseless: bool) -> bool {
    let spellings = if caseless { variants(c) } else { vec![c] };
    spellings.into_iter().any(|c| ranges.iter().any(|&(from, to)| from <= c && c <= to))
}

/// All positions where a match of this node that starts at `at` can end.
fn ends(node: &Node, id: &[char], at: usize, caseless: bool) -> BTreeSet<usize> {
    let one = |matches: &dyn Fn(char) -> bool| match id.get(at) {
        Some(&c) if matches(c) => BTreeSet::from([at + 1]),
        _ => BTreeSet::new(),
    };
    let here = |is_here: bool| if is_here { BTreeSet::from([at]) } else { BTreeSet::new() };
    match node {
        Node::Char(wanted) => one(&|c| is_one_of(c, &[(*wanted, *wanted)], caseless)),
        Node::Any => one(&|c| c != '\n'),
        Node::Perl(class) => one(&|c| {
            let is = match class.to_ascii_lowercase() {
                'd' => c.is_ascii_digit(),
                'w' => c.is_alphanumeric() || c == '_',
                _ => c.is_whitespace(),
            };
            is == class.is_ascii_lowercase()
        }),
        Node::Class(negated, ranges) => one(&|c| is_one_of(c, ranges, caseless) != *negated),
        Node::Start => here(at == 0),
        Node::End => here(at == id.len()),
        Node::All(nodes) => nodes.iter().fold(BTreeSet::from([at]), |starts, node| {
            starts.into_iter().flat_map(|at| ends(node, id, at, caseless)).collect()
        }),
        Node::One(nodes) => nodes.iter().flat_map(|node| ends(node, id, at, caseless)).collect(),
        Node::Repeated(node, least, most, _) => {
            let again = |starts: &BTreeSet<usize>| -> BTreeSet<usize> {
                starts.iter().flat_map(|&at| ends(node, id, at, caseless)).collect()
            };
            let mut reached = BTreeSet::from([at]);
            for _ in 0..*least {
                reached = again(&reached);
            }
            // More rounds than characters reach nothing new.
            for _ in 0..most.map_or(id.len() + 1, |most| most - least) {
                let further = again(&reached);
                reached.extend(further);
            }
            reached
        }
        Node::Group(_, node) => ends(node, id, at, caseless),
        Node::Caseless(node) => ends(node, id, at, true),
    }
}

fn matches(pattern: &Pattern, id: &str, case_sensitive: bool) -> bool {
    let id: Vec<char> = spelled(id, case_sensitive).chars().collect();
    let caseless = pattern.caseless || !case_sensitive;
    ends(&pattern.tree, &id, 0, caseless).contains(&id.len())
}

fn spelled(id: &str, case_sensitive: bool) -> String {
    if case_sensitive { id.to_owned() } else { id.to_lowercase() }
}

#[derive(Debug, Clone)]
struct Typed {
    case_sensitive: bool,
    regexp: Option<Vec<Pattern>>,
    simple: Option<Vec<String>>,
    exclude_regexp: Vec<Pattern>,
    exclude_simple: Vec<String>,
    default: Option<Pattern>,
}

fn typed() -> impl Strategy<Value = Typed> {
    let patterns = || prop::collection::vec(pattern(), 0..3);
    let names = || prop::collection::vec(id(), 0..4);
    (
        any::<bool>(),
        prop::option::of(patterns()),
        prop::option::of(names()),
        prop_oneof![Just(Vec::new()), patterns()],
        names(),
        prop::option::of(pattern()),
    )
        .prop_map(
            |(case_sensitive, regexp, simple, exclude_regexp, exclude_simple, default)| Typed {
                case_sensitive,
                regexp,
                simple,
                exclude_regexp,
                exclude_simple,
                default,
            },
        )
}

impl Typed {
    fn filter(&self) -> Filter {
        let texts = |patterns: &[Pattern]| patterns.iter().map(|p| p.typed.clone()).collect();
        Filter::new(&Rules {
            case_sensitive: self.case_sensitive,
            regexp: self.regexp.as_deref().map(texts),
            simple: self.simple.clone(),
            exclude_regexp: texts(&self.exclude_regexp),
            exclude_simple: self.exclude_simple.clone(),
            default: self.default.as_ref().map(|pattern| pattern.typed.clone()),
            ..Rules::default()
        })
        .unwrap()
    }

    /// The list and index of the first entry that matches this id, names before patterns.
    fn entry(
        &self,
        id: &str,
        [patterns, names]: [&'static str; 2],
        typed: (&[Pattern], &[String]),
    ) -> Option<(&'static str, usize)> {
        let spelled = |name: &str| spelled(name, self.case_sensitive);
        for (index, name) in typed.1.iter().enumerate() {
            if spelled(name) == spelled(id) {
                return Some((names, index));
            }
        }
        for (index, pattern) in typed.0.iter().enumerate() {
            if matches(pattern, id, self.case_sensitive) {
                return Some((patterns, index));
            }
        }
        None
    }

    /// Whether the id is kept, and the list and index of the rule, if an entry decided.
    fn verdict(&self, id: &str) -> (bool, Option<(&'static str, usize)>) {
        let regexp = self.regexp.clone().unwrap_or_default();
        let simple = self.simple.clone().unwrap_or_default();
        let all = self.regexp.is_none() && self.simple.is_none();
        let kept_by = self.entry(id, ["regexp", "simple"], (&regexp, &simple));
        if !all && kept_by.is_none() {
            return (false, None);
        }
        let lists = ["exclude.regexp", "exclude.simple"];
        match self.entry(id, lists, (&self.exclude_regexp, &self.exclude_simple)) {
            Some(hidden_by) => (false, Some(hidden_by)),
            None => (true, kept_by),
        }
    }

    fn order(&self, ids: &[String]) -> Vec<String> {
        let mut ids = ids.to_vec();
        let Some(default) = &self.default else { return ids };
        if !ids.iter().any(|id| matches(default, id, self.case_sensitive)) {
            return ids;
        }
        // Insertion sort by code points.
        let mut sorted: Vec<String> = Vec::new();
        while let Some(id) = ids.pop() {
            let at = sorted.iter().take_while(|other| other.chars().lt(id.chars())).count();
            sorted.insert(at, id);
        }
        let first = sorted.iter().position(|id| matches(default, id, self.case_sensitive)).unwrap();
        let default = sorted.remove(first);
        sorted.insert(0, default);
        sorted
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn a_pattern_keeps_what_it_matches_from_the_first_to_the_last_character(
        pattern in pattern(),
        case_sensitive in any::<bool>(),
        ids in prop::collection::vec(id(), 8),
    ) {
        let rules = Rules {
            case_sensitive,
            regexp: Some(vec![pattern.typed.clone()]),
            ..Rules::default()
        };
        let filter = Filter::new(&rules).unwrap();
        for id in ids {
            prop_assert_eq!(filter.keeps(&id), matches(&pattern, &id, case_sensitive), "{:?}", id);
        }
    }

    #[test]
    fn every_rule_has_its_rank(typed in typed(), ids in prop::collection::vec(id(), 8)) {
        let filter = typed.filter();
        for id in ids {
            let verdict = filter.verdict(&id);
            let rule = match &verdict.rule {
                Rule::Entry { list, index, .. } => Some((*list, *index)),
                _ => None,
            };
            prop_assert_eq!((verdict.kept, rule), typed.verdict(&id), "{:?}", id);
            prop_assert_eq!(filter.keeps(&id), verdict.kept);
        }
    }

    #[test]
    fn names_are_the_same_in_any_case_unless_told_otherwise(
        name in id(),
        cases in any::<u8>(),
        case_sensitive in any::<bool>(),
    ) {
        // Only ASCII letters change here, because they have exactly two cases.
        let id: String = name.char_indices().map(|(at, c)| match cases >> (at % 8) & 1 {
            0 => c.to_ascii_lowercase(),
            _ => c.to_ascii_uppercase(),
        }).collect();
        let rules = Rules {
            case_sensitive,
            simple: Some(vec![name.clone()]),
            ..Rules::default()
        };
        prop_assert_eq!(
            Filter::new(&rules).unwrap().keeps(&id),
            if case_sensitive { id == name } else { id.eq_ignore_ascii_case(&name) }
        );
    }

    #[test]
    fn the_default_goes_to_the_front_of_sorted_models_or_nothing_moves(
        typed in typed(),
        ids in prop::collection::vec(id(), 0..8),
    ) {
        let (facts, rule) = (Facts::default(), Rule::NoneGiven);
        let mut models: Vec<usize> = (0..ids.len()).collect();
        typed.filter().order(&mut models, |&at| Place { id: &ids[at], facts: &facts, rule: &rule });
        let ordered: Vec<String> = models.iter().map(|&at| ids[at].clone()).collect();
        prop_assert_eq!(ordered, typed.order(&ids));
        // Each model is still there.
        models.sort_unstable();
        prop_assert_eq!(models, (0..ids.len()).collect::<Vec<_>>());
    }

    #[test]
    fn no_pattern_makes_it_panic_and_every_error_is_one_line(pattern in prop_oneof![
        ".{0,20}",
        "[-a-c()\\[\\]{}|*+?^$\\\\.0-9#:<>=!P\n]{0,16}",
    ]) {
        let regexp = Some(vec![pattern.clone()]);
        match Filter::new(&Rules { regexp, ..Rules::default() }) {
            Ok(filter) => {
                filter.keeps("a");
            }
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }
}
