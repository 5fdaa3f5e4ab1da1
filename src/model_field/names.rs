//! All models that a body names: its `model`, and those to try after it.

use std::borrow::Cow;

use super::field::ModelField;

/// The models that a body names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The model.
    pub model: Option<ModelField>,
    /// The models of OpenRouter's `models: […]`, which are tried in turn; in the order of the body.
    pub models: Vec<ModelField>,
}

impl From<Option<ModelField>> for Names {
    fn from(model: Option<ModelField>) -> Names {
        Names { model, models: Vec::new() }
    }
}

impl Names {
    /// The model that the request is for: `model`, else the first of `models`.
    pub fn first(&self) -> Option<&str> {
        self.all().next()
    }

    /// All names; `model` comes first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.model.iter().chain(&self.models).map(|field| field.name.as_str())
    }

    /// Replaces names in place; `rename` returns none for one that stays. `body` must be the one in
    /// which they were found.
    pub fn replace(
        &self,
        body: &mut Vec<u8>,
        rename: impl for<'n> Fn(&'n str) -> Option<Cow<'n, str>>,
    ) {
        let model = self.model.as_ref().and_then(|field| Some((field, rename(&field.name)?)));
        let replace_model = |body: &mut Vec<u8>| {
            if let Some((field, name)) = &model {
                field.replace(body, name);
            }
        };
        let place = |field: &ModelField| field.span.start;
        let models_are_behind = self.model.as_ref().map(place) < self.models.first().map(place);
        // The later ones first, so that the places of the others stay right.
        if !models_are_behind {
            replace_model(body);
        }
        self.replace_models(body, &rename);
        if models_are_behind {
            replace_model(body);
        }
    }

    /// Replaces the names in `models` at once: each replacement moves the rest of the body.
    fn replace_models(
        &self,
        body: &mut Vec<u8>,
        rename: impl for<'n> Fn(&'n str) -> Option<Cow<'n, str>>,
    ) {
        let renamed = self.models.iter();
        let renamed: Vec<_> =
            renamed.filter_map(|field| Some((field, rename(&field.name)?))).collect();
        let ([(first, _), ..], [.., (last, _)]) = (renamed.as_slice(), renamed.as_slice()) else {
            return;
        };
        let whole = first.span.start..last.span.end;
        let (mut written, mut copied) = (Vec::with_capacity(whole.len()), whole.start);
        for (field, name) in &renamed {
            written.extend_from_slice(&body[copied..field.span.start]);
            written.extend_from_slice(&field.written(name));
            copied = field.span.end;
        }
        body.splice(whole, written);
    }
}
