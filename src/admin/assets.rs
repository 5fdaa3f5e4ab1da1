//! The files of the page, embedded in the program.
//!
//! Limits: the page loads nothing else, and its Content-Security-Policy enforces that.

use crate::reply::Reply;

/// The page may run its own script and call this program.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files: name below `/-/`, media type and text.
const FILES: [(&str, &str, &str); 4] = [
    ("", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
    ("aliases.js", "text/javascript; charset=utf-8", include_str!("page/aliases.js")),
];

/// A file by its name below `/-/`.
pub(super) fn file(name: &str) -> Option<Reply> {
    let (_, content_type, text) = FILES.iter().find(|(file, ..)| *file == name)?;
    Some(Reply::file(content_type, POLICY, text))
}
