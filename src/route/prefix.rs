//! The parts in front of the path of a target: the host of the absolute form, and the name of an
//! upstream.

use std::borrow::Cow;

use super::segments::{split, without_root};

/// The target in origin form: of a target in absolute form (RFC 9112 §3.2.2), what follows the host.
/// The host decides nothing here.
pub fn origin_form(target: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = target.split_once("://") else { return Cow::Borrowed(target) };
    let is_http = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match &rest[end..] {
        _ if !is_http || end == 0 => Cow::Borrowed(target),
        path if path.starts_with('/') => Cow::Borrowed(path),
        query => Cow::Owned(format!("/{query}")),
    }
}

/// The upstream whose name begins a path, as its index in `names`, and the target behind that name:
/// `/<name>/v1/…`, and the paths of native APIs, `/<name>/v1beta/…` and `/<name>/api/…`. The name
/// `v1` has no path of its own.
pub fn by_name<'t, 'n>(
    target: &'t str,
    root_path: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<(usize, &'t str)> {
    let path = target.split('?').next().unwrap_or_default();
    let mut segments = split(path)?;
    segments.retain(|segment| !segment.name().is_empty());
    let root = split(root_path).unwrap_or_default();
    let (_, segments) = without_root(path, &segments, &root);
    let [first, second, ..] = segments else { return None };
    let is_api = ["v1", "v1beta", "api"].iter().any(|name| second.is(name));
    if !is_api || first.is("v1") || first.is("-") || !path[first.end..].starts_with('/') {
        return None;
    }
    let index = names.into_iter().position(|name| first.text == name)?;
    Some((index, &target[first.end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_in_absolute_form_means_its_path() {
        for (target, path) in [
            ("http://host/v1/models?a", "/v1/models?a"),
            ("HTTPS://me:x@host:1//v1", "//v1"),
            ("http://host", "/"),
            ("http://host?a", "/?a"),
            ("/http://x", "/http://x"),
            ("*", "*"),
            ("http:///x", "http:///x"),
            ("ftp://host/x", "ftp://host/x"),
        ] {
            assert_eq!(origin_form(target), path);
        }
    }

    #[test]
    fn a_name_in_front_chooses_its_upstream() {
        let named = |target| by_name(target, "/llm", ["up", "UP", "api", "v1"]);
        assert_eq!(named("/up/v1/files?a"), Some((0, "/v1/files?a")));
        assert_eq!(named("//UP//v1"), Some((1, "//v1")));
        assert_eq!(named("/llm/u%70/v1/models"), Some((0, "/v1/models")));
        assert_eq!(named("/up/api/tags"), Some((0, "/api/tags")));
        assert_eq!(named("/api/v1/x"), Some((2, "/v1/x")));
        for target in
            ["/up", "/up/", "/up/x", "/Up/v1", "/v1/v1/x", "/up%2Fv1/x", "/v1/up", "/x/v1"]
        {
            assert_eq!(named(target), None, "{target}");
        }
    }
}
