//! Reads an entry's facts as its dialect says.

use std::borrow::Cow;
use std::cell::RefCell;

use super::date;
use super::dialects::{DIALECTS, Dialect, Is, KINDS, Mark, PRODUCTS, Per, Says};
use super::entry::{Entry, Facts};
use super::price::Price;
use super::said::{Said, Set, canonical};
use super::scan;

impl Facts {
    /// Reads the facts from a model's JSON object. All are unknown if it cannot be parsed.
    pub fn read(object: &str) -> Facts {
        let mut facts = Facts::default();
        if let Some(entry) = Object::read(object) {
            let dialect = DIALECTS.iter().find(|dialect| dialect.fits(&entry));
            facts.take(&entry, dialect.map_or(&[], |dialect| dialect.says));
        }
        facts.add_products();
        facts.drop_foreign_prices();
        facts
    }

    /// Images, speech and the like are not charged by the token: a price of zero says so, not that
    /// they are free.
    fn drop_foreign_prices(&mut self) {
        let by_token = ["chat", "completion", "embedding", "rerank", "moderation"];
        let is_foreign = self.kind.is_some_and(|kind| !by_token.contains(&kind));
        if is_foreign && self.input_price.max(self.output_price) == Some(Price::FREE) {
            (self.input_price, self.output_price) = (None, None);
        }
    }

    fn take(&mut self, entry: &Object<'_>, says: &[Says]) {
        for field in says {
            match *field {
                Says::Context(path) => fill(&mut self.context, || entry.count(path)),
                Says::OutputLimit(path) => fill(&mut self.output_limit, || entry.count(path)),
                Says::Created(path) => fill(&mut self.created, || date::seconds(entry.get(path)?)),
                Says::Owner(path) => fill(&mut self.owner, || entry.text(path)),
                Says::Name(path) => fill(&mut self.name, || entry.text(path)),
                Says::Kind(path) => fill(&mut self.kind, || kind(&entry.words(path)?)),
                Says::KindIf(path, kind) => {
                    fill(&mut self.kind, || (entry.flag(path) == Some(true)).then_some(kind));
                }
                Says::Price(per, is, input, output) => {
                    fill(&mut self.input_price, || entry.price(input, is, per));
                    fill(&mut self.output_price, || entry.price(output, is, per));
                }
                Says::All(set, path) => self.take_words(entry, set, path, None),
                Says::Among(set, path, known) => self.take_words(entry, set, path, Some(known)),
                Says::Flag(set, word, path) => {
                    if let Some(has) = entry.flag(path) {
                        self.said_mut(set).note(Cow::Borrowed(word), has);
                    }
                }
                Says::Implies(path, word, set, implied)
                | Says::Decides(path, word, set, implied) => {
                    let Some(words) = entry.words(path) else { continue };
                    let has = words.iter().any(|said| said == word);
                    if has || matches!(field, Says::Decides(..)) {
                        self.said_mut(set).note(Cow::Borrowed(implied), has);
                    }
                }
                Says::Providers(path, says) => self.take_providers(entry, path, says),
            }
        }
    }

    /// Takes a list of words, which names all of a set, or all of the words that are known to it.
    fn take_words(
        &mut self,
        entry: &Object<'_>,
        set: Set,
        path: &str,
        known: Option<&[&'static str]>,
    ) {
        let Some(json) = entry.get(path) else { return };
        let said = self.said_mut(set);
        match known {
            None => {
                let Some(items) = scan::items(json) else { return };
                let words = items.filter_map(scan::string);
                said.fill(words.map(|word| canonical(set, &word)));
                said.complete();
            }
            Some(known) => {
                let Some(words) = entry.words(path) else { return };
                words.iter().for_each(|word| said.note(canonical(set, word), true));
                known.iter().for_each(|word| said.note(Cow::Borrowed(word), false));
            }
        }
    }

    /// Takes the cheapest price, the largest context and any support of several providers.
    fn take_providers(&mut self, entry: &Object<'_>, path: &str, says: &[Says]) {
        for provider in entry.items(path).into_iter().flatten() {
            let Some(provider) = Object::read(provider) else { continue };
            let mut one = Facts::default();
            one.take(&provider, says);
            self.context = self.context.max(one.context);
            let sum = |facts: &Facts| Some(facts.input_price?.plus(facts.output_price?));
            let is_cheaper = match (sum(self), sum(&one)) {
                (Some(known), Some(other)) => other < known,
                (None, other) => other.is_some(),
                (Some(_), None) => false,
            };
            if is_cheaper {
                (self.input_price, self.output_price) = (one.input_price, one.output_price);
            }
            for word in ["tools", "structured_outputs"] {
                if let Some(has) = one.supports.has(word) {
                    self.supports.note(Cow::Borrowed(word), has);
                }
            }
        }
    }

    /// A model of a known kind produces what its kind does, unless the list says more.
    fn add_products(&mut self) {
        let product = PRODUCTS.iter().find(|(kind, ..)| self.kind == Some(kind));
        let Some((_, words, is_complete)) = product.filter(|_| self.output.is_unknown()) else {
            return;
        };
        words.iter().for_each(|word| self.output.note(Cow::Borrowed(word), true));
        if *is_complete {
            self.output.complete();
        }
    }

    fn said_mut(&mut self, set: Set) -> &mut Said {
        match set {
            Set::Input => &mut self.input,
            Set::Output => &mut self.output,
            Set::Supports => &mut self.supports,
        }
    }
}

impl Entry {
    /// Reads an entry from a model's JSON object.
    pub fn read(id: String, object: &str) -> Entry {
        Entry { id, facts: Facts::read(object) }
    }
}

impl Dialect {
    fn fits(&self, entry: &Object<'_>) -> bool {
        self.marks.iter().all(|mark| mark_holds(entry, mark))
    }
}

fn mark_holds(entry: &Object<'_>, (path, is): &Mark) -> bool {
    entry.get(path).is_some_and(|json| is.holds(json))
}

impl Is {
    fn holds(self, json: &str) -> bool {
        match self {
            Is::Text => json.starts_with('"'),
            Is::Number => json.starts_with(|c: char| c == '-' || c.is_ascii_digit()),
            Is::Flag => matches!(json, "true" | "false"),
            Is::List => json.starts_with('['),
            Is::Object => json.starts_with('{'),
            Is::Exactly(literal) => json == literal,
        }
    }
}

fn fill<T>(fact: &mut Option<T>, read: impl FnOnce() -> Option<T>) {
    if fact.is_none() {
        *fact = read();
    }
}

fn kind(words: &[Cow<'_, str>]) -> Option<&'static str> {
    let is_said = |(_, names): &&(&str, &[&str])| words.iter().any(|w| names.contains(&&**w));
    KINDS.iter().find(is_said).map(|(kind, _)| *kind)
}

/// An object of an entry. Objects within it are read when they are first asked for.
struct Object<'a> {
    members: Vec<(Cow<'a, str>, &'a str)>,
    inner: RefCell<Vec<(usize, Object<'a>)>>,
}

impl<'a> Object<'a> {
    fn read(text: &'a str) -> Option<Object<'a>> {
        Some(Object { members: scan::members(text)?, inner: RefCell::default() })
    }

    /// The JSON at a path. A member that comes twice is none: readers differ in which one counts.
    fn get(&self, path: &str) -> Option<&'a str> {
        let (head, rest) = match path.split_once('.') {
            Some((head, rest)) => (head, Some(rest)),
            None => (path, None),
        };
        let mut places = (0..self.members.len()).filter(|&at| self.members[at].0 == head);
        let at = places.next()?;
        if places.next().is_some() {
            return None;
        }
        let json = self.members[at].1;
        let Some(rest) = rest else { return Some(json) };
        if let Some((_, object)) = self.inner.borrow().iter().find(|(place, _)| *place == at) {
            return object.get(rest);
        }
        let object = Object::read(json)?;
        let found = object.get(rest);
        self.inner.borrow_mut().push((at, object));
        found
    }

    /// A whole number above zero; some lists write zero for an unknown one.
    fn count(&self, path: &str) -> Option<u64> {
        let json = self.get(path)?;
        let whole = json.strip_suffix(".0").unwrap_or(json);
        whole.parse().ok().filter(|count| *count > 0)
    }

    fn text(&self, path: &str) -> Option<String> {
        let text = scan::string(self.get(path)?)?;
        (!text.is_empty()).then(|| text.into_owned())
    }

    /// A flag, or the member `supported` of an object.
    fn flag(&self, path: &str) -> Option<bool> {
        match self.get(path)? {
            "true" => Some(true),
            "false" => Some(false),
            json if json.starts_with('{') => match Object::read(json)?.get("supported")? {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    fn price(&self, path: &str, is: Is, per: Per) -> Option<Price> {
        let json = self.get(path).filter(|json| is.holds(json))?;
        let number = json.trim_matches('"');
        match per {
            Per::Token => Price::per_token(number),
            Per::Million => Price::per_million(number),
        }
    }

    fn items(&self, path: &str) -> Option<impl Iterator<Item = &'a str>> {
        scan::items(self.get(path)?)
    }

    /// The texts of a list, or the only text.
    fn words(&self, path: &str) -> Option<Vec<Cow<'a, str>>> {
        let json = self.get(path)?;
        if json.starts_with('"') {
            return Some(vec![scan::string(json)?]);
        }
        Some(scan::items(json)?.filter_map(scan::string).collect())
    }
}
