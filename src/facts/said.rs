//! What an entry says about a set of words: what a model accepts, produces or supports.

use std::borrow::Cow;

/// The sets of words that lists describe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Set {
    /// The modalities that a model accepts.
    Input,
    /// The modalities that it produces.
    Output,
    /// Parameters and abilities.
    Supports,
}

/// Words for the same modality; the first one stands for all.
const MODALITIES: [&[&str]; 5] = [
    &["image", "images", "vision", "image_url"],
    &["audio", "speech", "input_audio"],
    &["video", "videos"],
    &["file", "files", "pdf", "document"],
    &["embeddings", "embedding"],
];

/// Words for the same ability; the first one stands for all.
const ABILITIES: [&[&str]; 6] = [
    &[
        "tools",
        "function_calling",
        "tool_use",
        "tool_calling",
        "tool_calls",
        "function_call",
        "trained_for_tool_use",
    ],
    &["reasoning", "thinking"],
    &["structured_outputs", "structured_output", "json_schema", "response_schema"],
    &["parallel_tool_calls", "parallel_function_calling"],
    &["web_search", "web_search_options"],
    &["json_mode", "json_object"],
];

/// Words that are common in lists and stand for themselves, sorted. They need no memory of their
/// own.
const COMMON: [&str; 28] = [
    "audio",
    "embeddings",
    "file",
    "frequency_penalty",
    "image",
    "include_reasoning",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "min_p",
    "presence_penalty",
    "reasoning",
    "reasoning_effort",
    "repetition_penalty",
    "response_format",
    "seed",
    "stop",
    "structured_outputs",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_a",
    "top_k",
    "top_logprobs",
    "top_p",
    "video",
];

/// The word that stands for all words with the same meaning. Case, `-` and a leading `supports_`
/// make no difference.
pub fn canonical(set: Set, word: &str) -> Cow<'static, str> {
    if let Ok(at) = COMMON.binary_search(&word) {
        return Cow::Borrowed(COMMON[at]);
    }
    let word = word.to_lowercase().replace(['-', ' '], "_");
    let word = word.strip_prefix("supports_").unwrap_or(&word);
    let synonyms: &[&[&str]] = match set {
        Set::Input | Set::Output => &MODALITIES,
        Set::Supports => &ABILITIES,
    };
    match synonyms.iter().find(|synonyms| synonyms.contains(&word)) {
        Some(synonyms) => Cow::Borrowed(synonyms[0]),
        None => Cow::Owned(word.to_owned()),
    }
}

/// Room for the words of a usual list.
const USUAL: usize = 16;

/// The words of a set that a model is said to have, and not to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    yes: Vec<Cow<'static, str>>,
    no: Vec<Cow<'static, str>>,
    /// Whether a word that is not in `yes` is missing.
    is_complete: bool,
}

impl Said {
    /// Whether the model has a word, given as [`canonical`] writes it; none if it is not said.
    pub fn has(&self, word: &str) -> Option<bool> {
        if self.yes.iter().any(|said| said == word) {
            return Some(true);
        }
        (self.is_complete || self.no.iter().any(|said| said == word)).then_some(false)
    }

    /// The words that the model has, in the order of the list.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.yes.iter().map(AsRef::as_ref)
    }

    /// Whether nothing is said.
    pub fn is_unknown(&self) -> bool {
        !self.is_complete && self.yes.is_empty() && self.no.is_empty()
    }

    /// Notes that the words that were given are all there are.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
    }

    /// Adds words that the model has, if nothing was said before.
    pub(super) fn fill(&mut self, words: impl Iterator<Item = Cow<'static, str>>) {
        if self.yes.is_empty() {
            self.yes.reserve(USUAL);
            self.yes.extend(words);
        }
    }

    /// Notes whether the model has a word. That it has one outweighs that it does not: one of
    /// several providers is enough.
    pub(super) fn note(&mut self, word: Cow<'static, str>, has: bool) {
        let list = if has { &mut self.yes } else { &mut self.no };
        if !list.contains(&word) {
            list.push(word);
        }
    }
}
