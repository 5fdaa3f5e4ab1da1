//! Bodies, damage to them, and the result of a judge.

use std::fmt;
use std::ops::{Deref, Range};

use model_filter::model_field::{BodyKind, ModelField, find};
use proptest::prelude::*;
use proptest::sample::Index;

/// The result of a judge: the name and its range, `None` without a model, `Err` if refused.
pub(super) type Judgement = Result<Option<(String, Range<usize>)>, ()>;

pub(super) fn judged(kind: &BodyKind, body: &[u8]) -> Judgement {
    match find(kind, body) {
        Ok(names) => Ok(names.model.map(|field| (field.name, field.span))),
        Err(_) => Err(()),
    }
}

/// A body that is printed as text.
#[derive(Clone)]
pub(super) struct Body(pub(super) Vec<u8>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Replaces the name and checks that no other byte changed, but for the length of the part.
pub(super) fn replaced(field: &ModelField, body: &[u8], name: &str) -> Vec<u8> {
    let mut new = body.to_vec();
    field.replace(&mut new, name);
    let mut before = body[..field.span.start].to_vec();
    if let Some(length) = &field.length {
        assert_eq!(body[length.clone()], *field.span.len().to_string().as_bytes());
        before.splice(length.clone(), name.len().to_string().into_bytes());
    }
    assert!(new.starts_with(&before));
    assert!(new[before.len()..].ends_with(&body[field.span.end..]));
    new
}

/// Removes, inserts or replaces a few bytes.
pub(super) fn edited(edits: Vec<(Index, u8, u8)>, Body(mut body): Body) -> Body {
    for (at, kind, byte) in edits {
        let at = at.index(body.len() + 1);
        match kind % 3 {
            0 => body.insert(at, byte),
            1 if at < body.len() => body[at] = byte,
            _ if at < body.len() => {
                body.remove(at);
            }
            _ => {}
        }
    }
    Body(body)
}

pub(super) fn edits(of: &'static [u8]) -> impl Strategy<Value = Vec<(Index, u8, u8)>> {
    let byte = prop_oneof![4 => prop::sample::select(of), 1 => any::<u8>()];
    prop::collection::vec((any::<Index>(), any::<u8>(), byte), 1..4)
}
