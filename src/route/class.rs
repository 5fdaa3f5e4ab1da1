//! What kinds of request there are, for counting: a few names, of which none is a client's.

use super::target::Route;

/// What kind of request it is, in a few words: for counting.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The list of models.
    Models,
    /// One model.
    Model,
    /// One of the API's paths that everybody knows, named from behind `/v1/`.
    Known(&'static str),
    /// Any other path that is relayed.
    Other,
    /// Below `/-/`.
    Own,
    /// It was refused before anybody looked.
    #[default]
    None,
}

impl Class {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Models => "models",
            Class::Model => "model",
            Class::Known(path) => path,
            Class::Other => "other",
            Class::Own => "own",
            Class::None => "none",
        }
    }
}

/// The paths of the API that are counted by themselves.
const KNOWN: [&str; 11] = [
    "chat/completions",
    "completions",
    "embeddings",
    "responses",
    "messages",
    "audio",
    "images",
    "files",
    "batches",
    "moderations",
    "rerank",
];

impl Route<'_> {
    /// What kind of request it is.
    pub fn class(&self) -> Class {
        match self {
            Route::Catalog { .. } => Class::Models,
            Route::Model { .. } => Class::Model,
            Route::Own { .. } => Class::Own,
            Route::Beside { .. } => Class::Other,
            Route::Below { rest } => {
                let path = rest.split('?').next().unwrap_or_default().trim_start_matches('/');
                let is = |known: &&&str| {
                    let behind = path.strip_prefix(**known);
                    behind.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                };
                KNOWN.iter().find(is).map_or(Class::Other, |known| Class::Known(known))
            }
        }
    }
}
