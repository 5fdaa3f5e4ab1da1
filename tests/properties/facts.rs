//! The facts of a list of each dialect; prices and dates against naive arithmetic.

use std::fmt::Write as _;
use std::fs;

use model_filter::facts::{DIALECTS, Facts, Price, Said, Set, canonical};
use model_filter::json;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cases;

/// The facts of an entry on one line; `-` for an unknown one.
fn line(facts: &Facts) -> String {
    let mut line = String::new();
    let mut add = |name: &str, value: Option<String>| {
        let _ = write!(line, " {name}={}", value.unwrap_or("-".into()));
    };
    add("in", facts.input_price.map(|price| price.to_string()));
    add("out", facts.output_price.map(|price| price.to_string()));
    add("context", facts.context.map(|count| count.to_string()));
    add("limit", facts.output_limit.map(|count| count.to_string()));
    add("kind", facts.kind.map(str::to_owned));
    add("created", facts.created.map(|seconds| seconds.to_string()));
    add("owner", facts.owner.clone());
    add("name", facts.name.clone());
    let words = |said: &Said| said.words().collect::<Vec<_>>().join("+");
    for (name, said) in
        [("accepts", &facts.input), ("produces", &facts.output), ("supports", &facts.supports)]
    {
        add(name, (!said.is_unknown()).then(|| words(said)));
    }
    line.trim_start().to_owned()
}

/// The facts of each model of a list in `tests/data/lists`.
fn facts(name: &str, array: &str) -> Vec<Facts> {
    let path = format!("tests/data/lists/{name}.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let array = match array {
        "" => text.trim(),
        key => json::member(&text, key).unwrap().value.unwrap().get(),
    };
    let items: Vec<&RawValue> = serde_json::from_str(array).unwrap();
    items.iter().map(|item| Facts::read(item.get())).collect()
}

/// The text between values may be anything that JSON allows there.
#[test]
fn facts_do_not_depend_on_spelling() {
    for entry in fs::read_dir("tests/data/lists").unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let list: Value = serde_json::from_str(&text).unwrap();
        let arrays = [&list, &list["data"], &list["models"]];
        for model in arrays.into_iter().filter_map(Value::as_array).flatten() {
            let pretty = serde_json::to_string_pretty(model).unwrap();
            let blank = pretty.replace('\n', "\r\n\t").replace(',', " , ");
            let expected = Facts::read(&model.to_string());
            assert_eq!(Facts::read(&pretty), expected);
            // The commas within texts have changed, too.
            assert_eq!(Facts::read(&blank).context, expected.context);
        }
    }
}

#[test]
fn the_facts_of_every_dialect_are_read() {
    let table: &[(&str, &str, &[&str])] = &[
        (
            "openrouter",
            "data",
            &[
                "in=15 out=75 context=200000 limit=32000 kind=- created=1754411591 owner=- \
             name=Anthropic: Claude Opus 4.1 accepts=image+text+file produces=text \
             supports=include_reasoning+max_tokens+reasoning+tool_choice+tools",
                "in=- out=- context=2000000 limit=- kind=- created=1699401600 owner=- \
             name=Auto Router accepts=text produces=text supports=",
                "in=0 out=0 context=131072 limit=- kind=- created=1754411591 owner=- name=Free \
             accepts=text produces=text supports=tools",
            ],
        ),
        (
            "together",
            "",
            &[
                "in=0.88 out=0.88 context=131072 limit=- kind=chat created=1733466629 owner=Meta \
             name=Meta Llama 3.3 70B Instruct Turbo accepts=- produces=text supports=-",
                "in=- out=- context=- limit=- kind=image created=- owner=Black Forest Labs name=FLUX \
             accepts=- produces=image supports=-",
            ],
        ),
        (
            "groq",
            "data",
            &["in=- out=- context=131072 limit=32768 kind=- created=1733447754 owner=Meta name=- \
             accepts=- produces=- supports=-"],
        ),
        (
            "mistral",
            "data",
            &[
                "in=- out=- context=131072 limit=- kind=chat created=1754042468 owner=mistralai \
             name=mistral-medium-2505 accepts=image produces=text supports=tools",
                "in=- out=- context=8192 limit=- kind=- created=1754042468 owner=mistralai name=- \
             accepts= produces=- supports=",
            ],
        ),
        (
            "anthropic",
            "data",
            &[
                "in=- out=- context=200000 limit=128000 kind=- created=1770163200 owner=- \
             name=Claude Opus 4.6 accepts=image+file produces=- \
             supports=reasoning+structured_outputs+batch",
                "in=- out=- context=- limit=- kind=- created=- owner=- name=Claude X accepts=- \
             produces=- supports=-",
            ],
        ),
        (
            "gemini",
            "models",
            &[
                "in=- out=- context=1048576 limit=65536 kind=chat created=- owner=- \
             name=Gemini 2.5 Flash accepts=- produces=text supports=reasoning+generatecontent+\
             counttokens+createcachedcontent+batchgeneratecontent",
                "in=- out=- context=2048 limit=1 kind=embedding created=- owner=- \
             name=Gemini Embedding accepts=- produces=embeddings supports=embedcontent",
            ],
        ),
        (
            "cohere",
            "models",
            &[
                "in=- out=- context=288000 limit=- kind=chat created=- owner=- name=command-a-03-2025 \
             accepts= produces=text supports=json_mode+structured_outputs+safety_modes+\
             strict_tools+tools",
                "in=- out=- context=128000 limit=- kind=embedding created=- owner=- name=embed-v4.0 \
             accepts=- produces=embeddings supports=-",
            ],
        ),
        (
            "deepinfra",
            "data",
            &["in=0.08 out=0.3 context=327680 limit=16384 kind=chat created=- owner=deepinfra \
             name=- accepts=image produces=text supports=chat+vlm"],
        ),
        (
            "fireworks",
            "data",
            &[
                "in=- out=- context=262144 limit=- kind=chat created=1776455694 owner=fireworks \
             name=- accepts=image produces=text supports=tools",
                "in=- out=- context=40960 limit=- kind=embedding created=1755707090 owner=fireworks \
             name=- accepts= produces=embeddings supports=",
            ],
        ),
        (
            "github",
            "",
            &["in=- out=- context=1048576 limit=32768 kind=- created=- owner=OpenAI \
             name=OpenAI GPT-4.1 accepts=text+image+audio produces=text supports=streaming+tools"],
        ),
        (
            "huggingface",
            "data",
            &["in=0.5 out=1.9 context=204800 limit=- kind=- created=1759190374 owner=zai-org \
             name=- accepts=text produces=text supports=tools"],
        ),
        (
            "vllm",
            "data",
            &["in=- out=- context=40960 limit=- kind=- created=- owner=vllm name=- accepts=- \
             produces=- supports=-"],
        ),
        (
            "llamacpp",
            "data",
            &["in=- out=- context=32768 limit=- kind=- created=- owner=llamacpp name=- accepts=- \
             produces=- supports=-"],
        ),
        (
            "lmstudio",
            "data",
            &[
                "in=- out=- context=32768 limit=- kind=chat created=- owner=mlx-community name=- \
             accepts=image produces=text supports=tools",
                "in=- out=- context=2048 limit=- kind=embedding created=- owner=nomic-ai name=- \
             accepts= produces=embeddings supports=-",
            ],
        ),
        (
            "lmstudio_v1",
            "models",
            &["in=- out=- context=131072 limit=- kind=chat created=- owner=google \
             name=Gemma 3 27B accepts=image produces=text supports="],
        ),
        (
            "ollama",
            "models",
            &["in=- out=- context=- limit=- kind=- created=1759559643 owner=- name=gemma3:latest \
             accepts=- produces=- supports=-"],
        ),
        (
            "ollama_v1",
            "data",
            &["in=- out=- context=- limit=- kind=- created=1759559643 owner=library name=- \
             accepts=- produces=- supports=-"],
        ),
        (
            "litellm",
            "data",
            &["in=- out=- context=128000 limit=16384 kind=- created=- owner=openai name=- \
             accepts=- produces=- supports=-"],
        ),
        (
            "litellm_info",
            "data",
            &["in=2.5 out=10 context=128000 limit=16384 kind=chat created=- owner=openai name=- \
             accepts=image produces=text supports=tools+structured_outputs+temperature"],
        ),
        (
            "openai",
            "data",
            &["in=- out=- context=- limit=- kind=- created=1715367049 owner=system name=- \
             accepts=- produces=- supports=-"],
        ),
        (
            "unknown",
            "data",
            &["in=- out=- context=- limit=- kind=- created=- owner=- name=- accepts=- produces=- \
             supports=-"],
        ),
    ];
    for (name, array, expected) in table {
        let lines: Vec<String> = facts(name, array).iter().map(line).collect();
        assert_eq!(lines, *expected, "{name}");
    }
}

#[test]
fn every_dialect_has_a_source() {
    for dialect in DIALECTS {
        assert!(dialect.source.starts_with("https://"), "{}", dialect.name);
    }
}

#[test]
fn what_is_not_said_differs_from_what_is_missing() {
    let model = &facts("mistral", "data")[0];
    assert_eq!(model.supports.has("tools"), Some(true));
    assert_eq!(model.supports.has("fine_tuning"), Some(false));
    assert_eq!(model.supports.has("structured_outputs"), None);
    let model = &facts("openrouter", "data")[2];
    assert_eq!(model.supports.has("reasoning"), Some(false));
    assert_eq!(model.input.has("image"), Some(false));
    let model = &facts("huggingface", "data")[0];
    assert_eq!(model.supports.has("structured_outputs"), Some(false));
    let model = &facts("lmstudio", "data")[1];
    assert_eq!((model.input.has("image"), model.output.has("text")), (Some(false), Some(false)));
}

#[test]
fn words_have_synonyms() {
    for word in ["tools", "function_calling", "tool_use", "supports_tools", "Tool-Calling"] {
        assert_eq!(canonical(Set::Supports, word), "tools", "{word}");
    }
    assert_eq!(canonical(Set::Supports, "thinking"), "reasoning");
    assert_eq!(canonical(Set::Supports, "json_schema"), "structured_outputs");
    assert_eq!(canonical(Set::Supports, "vision"), "vision");
    assert_eq!(canonical(Set::Input, "vision"), "image");
    assert_eq!(canonical(Set::Input, "PDF"), "file");
}

#[test]
fn a_member_that_comes_twice_is_unknown() {
    let twice = r#"{"max_model_len":1,"max_model_len":2}"#;
    assert_eq!(Facts::read(twice), Facts::default());
}

/// The value of a decimal text times ten to `shift`, in digits: moves the point by hand.
fn moved(digits: &str, point: usize, shift: usize) -> String {
    let mut digits = digits.to_owned();
    while digits.len() < point + shift {
        digits.push('0');
    }
    let (whole, fraction) = digits.split_at(point + shift);
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

/// Days since 1970 by counting years and months.
fn naive_days(year: u64, month: usize, day: u64) -> u64 {
    let is_leap = |year: u64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let mut days = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum::<u64>();
    let lengths = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days += lengths[..month - 1].iter().sum::<u64>();
    days + day - 1
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn a_price_is_exact(digits in "[0-9]{1,14}", point in 0..14_usize, exponent in -3..4_i32) {
        let point = point.min(digits.len());
        let (whole, fraction) = digits.split_at(point);
        let whole = if whole.is_empty() { "0" } else { whole };
        let plain = if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") };
        let shown = |price: Option<Price>| price.unwrap().to_string();
        prop_assert_eq!(shown(Price::per_million(&plain)), moved(&digits, point, 0));
        prop_assert_eq!(shown(Price::per_token(&plain)), moved(&digits, point, 6));
        // Moving the point back by the exponent leaves the value.
        let scaled = format!("{plain}e{exponent}");
        let padded = format!("000{digits}000");
        let at = usize::try_from(i32::try_from(point).unwrap() + 3 + exponent).unwrap();
        prop_assert_eq!(shown(Price::per_million(&scaled)), moved(&padded, at, 0));
    }

    #[test]
    fn prices_are_ordered_as_numbers(a in 0..10_000_u32, b in 0..10_000_u32) {
        let price = |cents: u32| Price::per_million(&format!("{}.{:02}", cents / 100, cents % 100));
        prop_assert_eq!(price(a).cmp(&price(b)), a.cmp(&b));
    }

    #[test]
    fn what_is_no_price_is_none(text in "[-+0-9.eE x]{0,8}") {
        let number: Result<f64, _> = text.parse();
        let odd = text.starts_with('+') || text.ends_with('.') || text.starts_with('.')
            || text.starts_with("-.");
        // Larger numbers do not fit.
        let is_huge = number.as_ref().is_ok_and(|number| number.abs() >= 1e15);
        let good = number.is_ok_and(|number| number >= 0.0);
        if !odd && !is_huge {
            prop_assert_eq!(Price::per_million(&text).is_some(), good, "{}", text);
        }
    }

    #[test]
    fn a_date_is_counted_in_days(
        (year, month, day) in (1970..2100_u64, 1..13_usize, 1..29_u64),
        (hour, minute, second) in (0..24_u64, 0..60_u64, 1..60_u64),
        (offset, is_east) in (0..24_u64, any::<bool>()),
    ) {
        let time = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        let utc = naive_days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        let created = |zone: &str| {
            let entry = format!(r#"{{"type":"model","display_name":"x","created_at":"{time}{zone}"}}"#);
            Facts::read(&entry).created
        };
        prop_assert_eq!(created("Z"), Some(utc));
        prop_assert_eq!(created(".123456Z"), Some(utc));
        let sign = if is_east { '+' } else { '-' };
        let local = created(&format!("{sign}{offset:02}:00"));
        let expected = if is_east { utc.checked_sub(offset * 3600) } else { Some(utc + offset * 3600) };
        prop_assert_eq!(local, expected.filter(|seconds| *seconds > 0));
        prop_assert_eq!(created(""), None);
    }

    #[test]
    fn no_entry_makes_it_panic(entry in prop_oneof![
        ".{0,60}",
        "\\{(\"(pricing|providers|capabilities|type|created|metadata)\":(\\[|\\{|\"|-?[0-9]{1,40}|null|\\}|\\]|,){1,6}){1,3}\\}",
    ]) {
        let _ = Facts::read(&entry);
    }
}
