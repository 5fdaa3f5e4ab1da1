//! The page where a filter is made, as it is embedded in the program.
//!
//! Limits: it loads nothing but itself, and the browser is told to insist on that.

use crate::headers::Headers;
use crate::reply::Reply;

/// What the page may do: run its own script and talk to us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files, by what stands behind `/-/`.
const FILES: [(&str, &str, &str); 3] = [
    ("", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("page/page.js")),
];

/// One of the page's files; none where there is no such file.
pub(super) fn file(name: &str) -> Option<Reply> {
    let (_, content_type, text) = FILES.iter().find(|(file, ..)| *file == name)?;
    let headers = Headers::new()
        .with("Content-Type", *content_type)
        .with("Content-Security-Policy", POLICY)
        .with("X-Content-Type-Options", "nosniff")
        .with("Referrer-Policy", "no-referrer")
        .with("Cross-Origin-Resource-Policy", "same-origin")
        .with("Cache-Control", "no-cache");
    Some(Reply { status: 200, headers, body: text.as_bytes().to_vec() })
}
