//! A model of a list with its facts.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::price::Price;
use super::said::{Said, Set};

/// What is known about a model. `None` is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The price of input.
    pub input_price: Option<Price>,
    /// The price of output.
    pub output_price: Option<Price>,
    /// The context window, in tokens.
    pub context: Option<u64>,
    /// The longest output, in tokens.
    pub output_limit: Option<u64>,
    /// The modalities that it accepts.
    pub input: Said,
    /// The modalities that it produces.
    pub output: Said,
    /// Parameters and abilities.
    pub supports: Said,
    /// `chat`, `completion`, `embedding`, `image`, `video`, `speech`, `transcription`, `rerank` or
    /// `moderation`.
    pub kind: Option<&'static str>,
    /// When it was published, in seconds since 1970.
    pub created: Option<u64>,
    /// The organization that offers it.
    pub owner: Option<String>,
    /// The name that users see.
    pub name: Option<String>,
}

impl Facts {
    /// What is said about one of the sets of words.
    pub fn said(&self, set: Set) -> &Said {
        match set {
            Set::Input => &self.input,
            Set::Output => &self.output,
            Set::Supports => &self.supports,
        }
    }
}

/// A model, with the facts that help to choose it. The page reads it in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id, without our prefix.
    pub id: String,
    /// What its list says about it.
    pub facts: Facts,
}

impl Entry {
    /// The memory that it takes, in bytes, about.
    pub fn size(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<Entry>() + self.id.len() + text(&self.facts.owner) + text(&self.facts.name)
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let facts = &self.facts;
        let words = |said: &Said| said.words().map(str::to_owned).collect::<Vec<_>>();
        let mut fields = serializer.serialize_struct("Entry", 12)?;
        fields.serialize_field("id", &self.id)?;
        fields.serialize_field("name", &facts.name)?;
        fields.serialize_field("owner", &facts.owner)?;
        fields.serialize_field("kind", &facts.kind)?;
        fields.serialize_field("created", &facts.created)?;
        fields.serialize_field("context", &facts.context)?;
        fields.serialize_field("output_limit", &facts.output_limit)?;
        fields.serialize_field("input", &facts.input_price)?;
        fields.serialize_field("output", &facts.output_price)?;
        fields.serialize_field("accepts", &words(&facts.input))?;
        fields.serialize_field("produces", &words(&facts.output))?;
        fields.serialize_field("supports", &words(&facts.supports))?;
        fields.end()
    }
}
