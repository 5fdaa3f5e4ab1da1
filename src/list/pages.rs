//! The fields of a list that speak of its pages.
//!
//! | provider | more pages if | the next one |
//! |---|---|---|
//! | Anthropic | `has_more` | `after_id=<last_id>` |
//! | OpenAI's other lists | `has_more` | `after=<last_id>` |
//! | OpenRouter | `links.next` | at that URL |
//! | Gemini | `nextPageToken` | `pageToken=<nextPageToken>` |
//! | Cohere | `next_page_token` | `page_token=<next_page_token>` |

use std::ops::Range;

use super::model::{Model, escaped};
use crate::json::{self, Member};

/// The fields, in the order of [`Paging::read`].
pub(super) const FIELDS: [&str; 7] =
    ["has_more", "first_id", "last_id", "object", "links", "nextPageToken", "next_page_token"];

/// The address of the next page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// At the same URL with this parameter in its query.
    Parameter {
        /// Its name.
        name: &'static str,
        /// Its value, not percent-encoded.
        value: String,
    },
    /// At this URL, which may be relative.
    Link(String),
}

/// The fields of a list that concern its pages.
#[derive(Debug, Default)]
pub(super) struct Paging {
    pub(super) next: Option<Next>,
    /// How many pages were appended to the first one.
    pub(super) pages: usize,
    /// The values that say that there is more, with what says that there is not.
    more: Vec<(Range<usize>, &'static str)>,
    first_id: Option<Range<usize>>,
    last_id: Option<Range<usize>>,
}

impl Paging {
    pub(super) fn read(text: &str, fields: [Member<'_>; 7]) -> Result<Paging, String> {
        if let Some(at) = fields.iter().position(|field| field.repeated) {
            return Err(format!("has `{}` twice", FIELDS[at]));
        }
        let [has_more, first_id, last_id, object, links, gemini, cohere] =
            fields.map(|field| field.value.map(|value| value.get()));
        let span = |value: &str| json::span(value, text.as_bytes());
        let link = links.and_then(|links| json::member(links, "next").ok()?.value);
        let link = link.map(|link| link.get());
        let mut more = Vec::new();
        for (value, none) in
            [(has_more, "false"), (link, "null"), (gemini, "\"\""), (cohere, "\"\"")]
        {
            more.extend(value.map(|value| (span(value), none)));
        }
        let by_id = last_id.filter(|_| has_more == Some("true")).and_then(string);
        // Anthropic's lists have no `object`.
        let by_id = by_id.map(|value| Next::Parameter {
            name: if first_id.is_some() && object.is_none() { "after_id" } else { "after" },
            value,
        });
        let by_token = |token: Option<&str>, name| {
            token.and_then(string).map(|value| Next::Parameter { name, value })
        };
        let next = by_id
            .or_else(|| link.and_then(string).map(Next::Link))
            .or_else(|| by_token(gemini, "pageToken"))
            .or_else(|| by_token(cohere, "page_token"));
        let is_text = |id: &&str| id.starts_with('"');
        Ok(Paging {
            next,
            more,
            first_id: first_id.filter(is_text).map(span),
            last_id: last_id.filter(is_text).map(span),
            pages: 0,
        })
    }

    /// The changes once a list is whole: nothing more follows, and its first and last id are
    /// those of the models in it, behind the prefix. `alias`: the id of the first alias, if there is
    /// one.
    pub(super) fn changes(
        &self,
        prefix: &str,
        models: &[Model<'_>],
        alias: Option<&str>,
    ) -> Vec<(Range<usize>, String)> {
        if self.next.is_some() {
            return Vec::new();
        }
        let mut changes = Vec::new();
        if self.pages > 0 {
            changes.extend(self.more.iter().map(|(span, none)| (span.clone(), (*none).to_owned())));
        }
        let id = |model: &Model<'_>| format!("\"{prefix}{}\"", escaped(&model.id));
        let alias = || alias.map(|alias| format!("\"{}\"", escaped(alias)));
        let first = alias().or_else(|| models.first().map(id));
        let last = models.last().map(id).or_else(alias);
        for (span, id) in [(&self.first_id, first), (&self.last_id, last)] {
            let Some(span) = span else { continue };
            changes.push((span.clone(), id.unwrap_or_else(|| "null".to_owned())));
        }
        changes
    }
}

/// The text of a string that is not empty.
fn string(literal: &str) -> Option<String> {
    serde_json::from_str::<String>(literal).ok().filter(|text| !text.is_empty())
}
