//! The files of the page, embedded in the program.
//!
//! Limits: the page loads nothing else, and its Content-Security-Policy enforces that.

use crate::reply::Reply;

/// The page may run its own script and call this program.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A script by its name.
macro_rules! script {
    ($name:literal) => {
        ($name, "text/javascript; charset=utf-8", include_str!(concat!("page/", $name)))
    };
}

/// The files: name below `/-/`, media type and text.
const FILES: [(&str, &str, &str); 10] = [
    ("", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    script!("page.js"),
    script!("draft.js"),
    script!("exchanges.js"),
    script!("finder.js"),
    script!("form.js"),
    script!("menu.js"),
    script!("table.js"),
    script!("text.js"),
];

/// A file by its name below `/-/`.
pub(super) fn file(name: &str) -> Option<Reply> {
    let (_, content_type, text) = FILES.iter().find(|(file, ..)| *file == name)?;
    Some(Reply::file(content_type, POLICY, text))
}
