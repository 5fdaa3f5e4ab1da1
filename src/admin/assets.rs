//! The files of the page, embedded in the program.
//!
//! Limits: the page loads nothing else, and its Content-Security-Policy enforces that.

use crate::error::Error;
use crate::headers::Headers;
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
const FILES: [(&str, &str, &str); 11] = [
    ("", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    script!("page.js"),
    script!("aliases.js"),
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

/// What a browser on another machine is shown in place of the page.
pub(super) fn elsewhere(error: &Error, headers: &Headers) -> Reply {
    let host = headers.get_str("host").unwrap_or_default();
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).unwrap_or(80);
    let text = format!(
        "<!doctype html><html lang=en><meta name=viewport content=\"width=device-width\">\
         <title>model-filter</title><h1>This page is for the machine that model-filter runs on</h1>\
         <p>Forward its port, leave that running, and open <a href=\"http://127.0.0.1:{port}/-/\">\
         http://127.0.0.1:{port}/-/</a>:<pre>ssh -L {port}:127.0.0.1:{port} SERVER</pre>\
         <p>Or set <code>server.client_keys</code>: the page then asks for a key."
    );
    let mut reply = Reply::fresh(error.code.status(), "text/html; charset=utf-8", text);
    reply.headers.push("x-model-filter-error", error.code.as_str());
    reply
}
