//! Finds the upstream that a path or the page names.

use std::sync::Arc;

use crate::error::{Code, Error};
use crate::offer::Offer;
use crate::text::cut;

/// An upstream by its name.
///
/// # Errors
/// 404 if there is none.
pub(super) fn find<'o>(offers: &'o [Arc<Offer>], name: &str) -> Result<&'o Arc<Offer>, Error> {
    let offer = offers.iter().find(|offer| offer.upstream.name() == name);
    offer.ok_or_else(|| {
        Error::client(Code::NotFound, format!("there is no upstream {:?}", cut(name)))
    })
}
