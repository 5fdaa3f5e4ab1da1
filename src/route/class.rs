//! Kinds of requests, for metrics: a few fixed names, so that no label is a client's text.

use super::target::Route;

/// The kind of a request.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The list of models.
    Models,
    /// One model.
    Model,
    /// A well-known path of the API, without `/v1/`.
    Known(&'static str),
    /// Any other path that is relayed.
    Other,
    /// Below `/-/`.
    Own,
    /// The request was refused before it was routed.
    #[default]
    None,
}

impl Class {
    /// The label.
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

/// The paths that have a label of their own.
const KNOWN: [&str; 12] = [
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
    "realtime",
];

impl Route<'_> {
    /// The kind of the request.
    pub fn class(&self) -> Class {
        match self {
            Route::Catalog { .. } | Route::Native { .. } => Class::Models,
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
