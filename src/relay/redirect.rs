//! A `Location` that points at the upstream itself, as an address of ours. Pure.
//!
//! A client that followed it as it came would leave this program: the list would not be filtered, and
//! the configured key would be missing. Limits: only what a path of ours can reach is translated.

use crate::headers::Headers;
use crate::offer::Offer;

/// The address under which a client sees an upstream.
pub(super) struct Address<'a> {
    /// `server.root_path`: empty, or from a slash on.
    pub(super) root_path: &'a str,
    /// The name in the path, if the request was for `/<name>/v1/…`.
    pub(super) name: Option<&'a str>,
    /// Whether `/v1/…` leads to this upstream, without prefixes.
    pub(super) is_direct: bool,
}

impl<'a> Address<'a> {
    /// The address of one of the upstreams: if `/v1/…` does not lead there, by its name.
    pub(super) fn of(self, offer: &'a Offer) -> Address<'a> {
        let has_path = !self.is_direct && offer.is_named;
        let name = self.name.or_else(|| has_path.then(|| offer.upstream.name()));
        Address { name, ..self }
    }
}

/// Rewrites a `Location` at the upstream's origin. `request` are the header fields of the client.
pub(super) fn rewrite(
    headers: &mut Headers,
    base_url: &str,
    address: &Address<'_>,
    request: &Headers,
) {
    let Some(location) = headers.get_str("location") else { return };
    if let Some(ours) = translated(location, base_url, address, &origin(request)) {
        headers.remove("location");
        headers.push("Location", ours);
    }
}

/// Scheme and host of a client's request; empty without a host.
fn origin(request: &Headers) -> String {
    let scheme = match request.get_str("x-forwarded-proto") {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    };
    request.get_str("host").map_or_else(String::new, |host| format!("{scheme}://{host}"))
}

fn translated(
    location: &str,
    base_url: &str,
    address: &Address<'_>,
    our_origin: &str,
) -> Option<String> {
    let (base_origin, base_path) = split(base_url)?;
    let scheme = base_url.split("://").next()?;
    let with_scheme = location.starts_with("//").then(|| format!("{scheme}:{location}"));
    let is_relative = location.starts_with('/') && with_scheme.is_none();
    let path = if is_relative {
        location
    } else {
        let (origin, path) = split(with_scheme.as_deref().unwrap_or(location))?;
        if origin != base_origin {
            return None;
        }
        &location[location.len() - path.len()..]
    };
    let end = path.find(['?', '#']).unwrap_or(path.len());
    if path[..end].split('/').any(|segment| matches!(segment, "." | "..")) {
        return None;
    }
    let Address { root_path, name, is_direct } = address;
    let below = |base: &str| path.strip_prefix(base).filter(|rest| ends_segment(rest));
    let name = match name {
        Some(name) => format!("/{name}"),
        None if *is_direct => String::new(),
        None => return None,
    };
    let parent = base_path.strip_suffix("/v1").unwrap_or(base_path);
    let ours = match below(base_path) {
        // Our `/v1/v1` means `/v1`.
        Some(rest) if !starts_with(rest, "/v1") => format!("{name}/v1{rest}"),
        _ => {
            let rest = below(parent).filter(|_| name.is_empty())?;
            let is_reached = rest.starts_with('/') && !rest.starts_with("//");
            if !is_reached || starts_with(rest, "/v1") || starts_with(rest, "/-") {
                return None;
            }
            rest.to_owned()
        }
    };
    let origin = if is_relative { "" } else { our_origin };
    Some([origin, root_path, &ours].concat())
}

/// Whether a path begins with this segment.
fn starts_with(path: &str, segment: &str) -> bool {
    path.strip_prefix(segment).is_some_and(ends_segment)
}

fn ends_segment(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['/', '?', '#'])
}

/// The origin of a URL, without the default port of its scheme, and what follows it.
fn split(url: &str) -> Option<(String, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let own_port = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let authority = authority.to_ascii_lowercase();
    let host = authority.strip_suffix(own_port).unwrap_or(&authority);
    Some((format!("{scheme}://{host}"), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(base_url: &str, name: Option<&str>, location: &str) -> Option<String> {
        let address = Address { root_path: "/llm", name, is_direct: name.is_none() };
        translated(location, base_url, &address, "http://us:1")
    }

    #[test]
    fn a_location_at_the_upstream_becomes_ours() {
        for (base_url, location, ours) in [
            ("http://a/v1", "http://a/v1/x?y=/../#z", "http://us:1/llm/v1/x?y=/../#z"),
            ("http://a:80/v1", "HTTP://A/v1", "http://us:1/llm/v1"),
            ("https://a/api/v1", "//a:443/api/v1/x", "http://us:1/llm/v1/x"),
            ("https://a/api/v1", "https://a/api/health", "http://us:1/llm/health"),
            ("http://a/api/v1", "/api/v1/x", "/llm/v1/x"),
            ("http://a", "http://a/x", "http://us:1/llm/v1/x"),
            ("http://a/openai", "/openai/x/", "/llm/v1/x/"),
        ] {
            assert_eq!(moved(base_url, None, location).as_deref(), Some(ours), "{location}");
        }
        let named = moved("http://a/v1", Some("up"), "http://a/v1/x");
        assert_eq!(named.as_deref(), Some("http://us:1/llm/up/v1/x"));
    }

    #[test]
    fn any_other_location_stays() {
        for location in [
            "http://b/v1/x",
            "https://a/v1/x",
            "http://a:8/v1/x",
            "http://me@a/v1/x",
            "http://a.b/v1/x",
            "//b/v1/x",
            "x",
            "?x",
            "",
            "http://a/api/v1/../x",
            "http://a/other",
            "http://a/api/-/x",
            "http://a/api//b",
            "mailto:a",
        ] {
            assert_eq!(moved("http://a/api/v1", None, location), None, "{location}");
        }
        assert_eq!(moved("http://a/v1", Some("up"), "http://a/health"), None);
        assert_eq!(moved("http://a", None, "http://a/v1/x"), None);
    }
}
