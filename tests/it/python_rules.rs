use crate::fake::{Fake, models};
use crate::proxy::Proxy;

/// xorshift64*: the same cases on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }

    /// Seldom empty.
    fn list<T>(&mut self, most: usize, mut item: impl FnMut(&mut Dice) -> T) -> Vec<T> {
        let count = if self.roll(8) == 0 { 0 } else { 1 + self.roll(most) };
        (0..count).map(|_| item(self)).collect()
    }
}

/// A piece of a pattern, small enough that what it matches can be written by hand.
#[derive(Debug)]
enum Piece {
    Text(&'static str),
    /// `.*`
    Anything,
    /// `.`
    AnyOne,
    /// `[a-m]`
    Range(char, char),
    /// `(a|b)`
    Either(&'static str, &'static str),
    /// `(a)?`
    Maybe(&'static str),
}

const MAKERS: &[&str] = &["meta", "openai", "Mistral", "foo", "bar", "a"];
const NAMES: &[&str] = &["llama-3", "LLaMA", "gpt-4", "gpt-4o", "gpt-4.1", "mixtral", "b"];
const ENDS: &[&str] = &["", ":free", "-mini", ".v2", "-8B"];
const TEXTS: &[&str] = &["llama", "GPT-4", "/", "mi", "meta/", "o", ".", "-"];

fn model(dice: &mut Dice) -> String {
    match dice.roll(4) {
        0 => dice.pick(NAMES).to_string(),
        _ => format!("{}/{}{}", dice.pick(MAKERS), dice.pick(NAMES), dice.pick(ENDS)),
    }
}

fn pattern(dice: &mut Dice) -> Vec<Piece> {
    let mut pieces = Vec::new();
    if dice.roll(2) == 0 {
        pieces.push(Piece::Anything);
    }
    for _ in 0..=dice.roll(3) {
        pieces.push(match dice.roll(8) {
            0..=2 => Piece::Text(dice.pick(TEXTS)),
            3 => Piece::AnyOne,
            4 => Piece::Range('a', 'm'),
            5 => Piece::Range('A', 'M'),
            6 => Piece::Either(dice.pick(MAKERS), dice.pick(TEXTS)),
            _ => Piece::Maybe(dice.pick(TEXTS)),
        });
    }
    if dice.roll(5) > 0 {
        pieces.push(Piece::Anything);
    }
    pieces
}

fn regexp(pieces: &[Piece]) -> String {
    let escaped = |text: &str| text.replace('.', "\\.");
    let regexp = |piece: &Piece| match piece {
        Piece::Text(text) => escaped(text),
        Piece::Anything => ".*".to_string(),
        Piece::AnyOne => ".".to_string(),
        Piece::Range(first, last) => format!("[{first}-{last}]"),
        Piece::Either(left, right) => format!("({}|{})", escaped(left), escaped(right)),
        Piece::Maybe(text) => format!("({})?", escaped(text)),
    };
    pieces.iter().map(regexp).collect()
}

/// Whether the pieces match the whole of `id`; where case does not count, both are in lower case.
fn matches(pieces: &[Piece], id: &str, case: &dyn Fn(&str) -> String) -> bool {
    let Some((first, others)) = pieces.split_first() else { return id.is_empty() };
    let after =
        |text: &str| id.strip_prefix(&case(text)).is_some_and(|rest| matches(others, rest, case));
    let mut chars = id.chars();
    match first {
        Piece::Text(text) => after(text),
        Piece::Anything => (0..=id.len()).any(|at| matches(others, &id[at..], case)),
        Piece::AnyOne => chars.next().is_some() && matches(others, chars.as_str(), case),
        Piece::Range(low, high) => {
            let bound = |end: &char| case(&end.to_string()).chars().next().unwrap();
            let within = chars.next().is_some_and(|c| (bound(low)..=bound(high)).contains(&c));
            within && matches(others, chars.as_str(), case)
        }
        Piece::Either(left, right) => after(left) || after(right),
        Piece::Maybe(text) => after(text) || after(""),
    }
}

/// One generated configuration.
#[derive(Debug)]
struct Filter {
    case_sensitive: bool,
    simple: Option<Vec<String>>,
    regexp: Option<Vec<Vec<Piece>>>,
}

impl Filter {
    /// For a list of these ids, so that `simple` names some of them, in whatever case.
    fn generated(dice: &mut Dice, ids: &[String]) -> Filter {
        let simple = |dice: &mut Dice| match (ids[dice.roll(ids.len())].clone(), dice.roll(3)) {
            (_, 0) => model(dice),
            (id, 1) => id.to_uppercase(),
            (id, _) => id,
        };
        Filter {
            case_sensitive: dice.roll(3) == 0,
            simple: (dice.roll(2) == 0).then(|| dice.list(4, simple)),
            regexp: (dice.roll(4) > 0).then(|| dice.list(3, pattern)),
        }
    }

    fn settings(&self) -> String {
        let list = |items: Vec<String>| {
            let quoted: Vec<String> = items.iter().map(|item| format!("'{item}'")).collect();
            format!("[{}]\n", quoted.join(", "))
        };
        let mut settings = format!("case_sensitive: {}\n", self.case_sensitive);
        if let Some(ids) = &self.simple {
            settings += &format!("simple: {}", list(ids.clone()));
        }
        if let Some(patterns) = &self.regexp {
            settings += &format!("regexp: {}", list(patterns.iter().map(|p| regexp(p)).collect()));
        }
        settings
    }

    /// The rules of the Python program, transcribed from its source.
    fn keeps(&self, id: &str) -> bool {
        let case: &dyn Fn(&str) -> String = match self.case_sensitive {
            true => &|text| text.to_string(),
            false => &|text| text.to_lowercase(),
        };
        let id = case(id);
        match (&self.simple, &self.regexp) {
            (None, None) => true,
            (simple, regexp) => {
                simple.iter().flatten().any(|simple| case(simple) == id)
                    || regexp.iter().flatten().any(|pieces| matches(pieces, &id, case))
            }
        }
    }
}

#[test]
fn sixty_generated_filters_keep_what_the_python_program_keeps() {
    let mut dice = Dice(2024);
    let (mut kept_all, mut kept_none, mut kept_some) = (0, 0, 0);
    for case in 0..60 {
        let ids: Vec<String> = (0..40).map(|_| model(&mut dice)).collect();
        let filter = Filter::generated(&mut dice, &ids);
        let expected: Vec<&String> = ids.iter().filter(|id| filter.keeps(id)).collect();
        match expected.len() {
            0 => kept_none += 1,
            40 => kept_all += 1,
            _ => kept_some += 1,
        }
        let fake = Fake::listing(&models(&ids));
        let listed = Proxy::before(&fake, &filter.settings()).get("/v1/models").ids();
        assert_eq!(listed.iter().collect::<Vec<_>>(), expected, "case {case}: {filter:#?}");
    }
    // Else the cases would say little.
    assert!(kept_some >= 30 && kept_all > 0 && kept_none > 0, "{kept_some} {kept_all} {kept_none}");
}

#[test]
fn the_python_programs_own_configuration_runs_unchanged() {
    let fake = Fake::listing(&models(&["x/LLaMA-2", "Some_Other_Model", "llama", "gpt"]));
    let settings = "cache_ttl: 900\nconnection_timeout: 10\ntotal_timeout: 300
case_sensitive: false\nregexp:\n  - \".*llama.*\"\nsimple:\n  - \"some_other_model\"";
    for proxy in [Proxy::before(&fake, settings), Proxy::with_prefix(&fake, settings)] {
        let ids = proxy.get("/v1/models").ids();
        let plain: Vec<&str> = ids.iter().map(|id| id.strip_prefix("my/").unwrap_or(id)).collect();
        assert_eq!(plain, ["x/LLaMA-2", "Some_Other_Model", "llama"]);
    }
}
