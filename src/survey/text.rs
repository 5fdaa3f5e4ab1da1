//! The models as lines for a terminal or a pipe.

use std::io::{self, Write};

use super::judged::{Judged, Models, Survey};
use crate::cli::Selection;
use crate::facts::Price;
use crate::sys::terminal;
use crate::text::{one_line, quoted, short_count};

/// The widest id that other columns are aligned to, in characters.
const WIDEST_ID: usize = 60;

/// The width of the columns of facts, and the least room for the rule behind them.
const FACTS: usize = 34;
const RULE: usize = 24;

/// How text is shown.
#[derive(Clone, Copy)]
pub struct Screen {
    has_colours: bool,
    /// The width in columns, if it is a terminal.
    width: Option<usize>,
}

impl Screen {
    /// A terminal, with or without colours.
    pub fn terminal(has_colours: bool) -> Screen {
        Screen { has_colours, width: terminal::width() }
    }

    /// A pipe or a file: no colours, and no columns but those that scripts know.
    pub fn pipe() -> Screen {
        Screen { has_colours: false, width: None }
    }
}

pub(super) fn write(
    surveys: &[Survey<'_>],
    selection: &Selection,
    screen: Screen,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (index, survey) in surveys.iter().enumerate() {
        write_one(survey, selection, screen, index > 0, out)?;
    }
    Ok(())
}

fn write_one(
    survey: &Survey<'_>,
    selection: &Selection,
    screen: Screen,
    is_further: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let paint = Paint(screen.has_colours);
    let name = paint.bold(survey.upstream);
    let models = match &survey.models {
        Err(why) => return writeln!(out, "{name}: {}", paint.red(why)),
        Ok(models) => models,
    };
    if is_further {
        writeln!(out)?;
    }
    write!(out, "{name}: {} of {} kept", models.kept(), models.total())?;
    match &selection.from {
        None => writeln!(out, ", in {:.2} s", survey.seconds)?,
        Some(_) => writeln!(out)?,
    }
    write_models(survey, models, selection, screen, out)?;
    for alias in survey.aliases.iter().filter(|alias| selection.takes_alias(alias)) {
        let (id, target) = (one_line(&alias.id), one_line(&alias.target));
        let state =
            if models.lists(alias) { "" } else { ", not listed: the upstream has no such model" };
        let what = paint.dim(&format!("alias of {target}{state}"));
        writeln!(out, "= {}  {what}", paint.green(&id))?;
    }
    for line in &models.advice {
        writeln!(out, "{} {}", paint.yellow("warning:"), one_line(line))?;
    }
    Ok(())
}

fn write_models(
    survey: &Survey<'_>,
    models: &Models,
    selection: &Selection,
    screen: Screen,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (paint, prefix) = (Paint(screen.has_colours), survey.prefix);
    let sorted = models.sorted(selection.sort);
    let shown: Vec<&Judged<'_>> = sorted.iter().filter(|model| selection.takes(model)).collect();
    if shown.is_empty() {
        return match &selection.word {
            Some(word) if !survey.aliases.iter().any(|alias| selection.takes_alias(alias)) => {
                writeln!(out, "no id holds {}", quoted(word))
            }
            _ => Ok(()),
        };
    }
    let longest = sorted.iter().map(|model| model.entry.id.chars().count()).max();
    let width = longest.unwrap_or_default().min(WIDEST_ID) + prefix.chars().count();
    let has_facts = screen.width.is_some_and(|columns| columns >= 2 + width + FACTS + RULE);
    if has_facts {
        let head = format!("  {:width$}  {}  RULE", "MODEL", HEAD);
        writeln!(out, "{}", paint.dim(&head))?;
    }
    for Judged { entry, verdict, is_first } in shown {
        let id = one_line(&format!("{prefix}{}", entry.id));
        let (sign, id) = match verdict.kept {
            true => ("+", paint.green(&format!("{id:width$}"))),
            false => ("-", format!("{id:width$}")),
        };
        let facts =
            if has_facts { format!("  {}", columns(entry, models.now)) } else { String::new() };
        let default = if *is_first { ", default" } else { "" };
        let rule = one_line(&format!("{}{default}", verdict.rule));
        writeln!(out, "{sign} {id}{facts}  {}", paint.dim(&rule))?;
    }
    Ok(())
}

/// The head of the columns of facts. Prices are in US dollars per million tokens.
const HEAD: &str = "   IN $/M   OUT $/M  CONTEXT  AGE";

/// The facts of a model in columns; blank if unknown.
fn columns(entry: &crate::facts::Entry, now: u64) -> String {
    let facts = &entry.facts;
    let price = |price: Option<Price>| match price {
        Some(Price::FREE) => "free".to_owned(),
        Some(price) => price.to_string(),
        None => String::new(),
    };
    let context = facts.context.map(short_count).unwrap_or_default();
    let age = facts.created.map(|created| age(now.saturating_sub(created))).unwrap_or_default();
    let (input, output) = (price(facts.input_price), price(facts.output_price));
    format!("{input:>9} {output:>9} {context:>8} {age:>4}")
}

/// A time since publication: days, months or years, rounded down.
fn age(seconds: u64) -> String {
    let days = seconds / 86_400;
    match days {
        0..60 => format!("{days}d"),
        60..730 => format!("{}mo", days * 12 / 365),
        _ => format!("{}y", days / 365),
    }
}

/// Whether to print colours.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    fn red(self, text: &str) -> String {
        self.with("31", text)
    }
}
