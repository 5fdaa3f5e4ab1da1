//! The kinds of paths, by their segments: a list of models, an endpoint without `/v1`, a path of
//! llama.cpp.

use super::segments::Segment;

/// Whether a method reads: the paths of models are then filtered.
pub fn is_read(method: &str) -> bool {
    method.eq_ignore_ascii_case("GET") || method.eq_ignore_ascii_case("HEAD")
}

/// Whether an upstream may answer a path with its list. Many mount their API below several paths,
/// so anything may be before `v1`, or before the `openai` of Azure's and Gemini's APIs.
pub(super) fn is_list(segments: &[Segment]) -> bool {
    match segments {
        [.., root, last] => {
            ["v1", "openai"].iter().any(|name| root.may_be(name)) && last.may_be("models")
        }
        [only] => only.may_be("models"),
        [] => false,
    }
}

/// The lists of Ollama (installed and loaded models) and LM Studio.
const NATIVE: [&[&str]; 3] = [&["api", "tags"], &["api", "ps"], &["api", "v1", "models"]];

/// Whether a path is that of a list in a server's own shape. Anything may be before it, as before
/// the `v1` of [`is_list`]. Other versions have lists of their own: `v1beta` and `v1alpha` of Gemini,
/// `v0` of LM Studio.
pub(super) fn is_native(segments: &[Segment]) -> bool {
    if let [.., version, last] = segments {
        if last.may_be("models") && is_version(version) && !version.may_be("v1") {
            return true;
        }
    }
    NATIVE.iter().any(|words| {
        let start = segments.len().checked_sub(words.len());
        let tail = start.map(|start| &segments[start..]);
        tail.is_some_and(|tail| tail.iter().zip(*words).all(|(segment, word)| segment.may_be(word)))
    })
}

/// Whether a path is that of some other list below a `v1`, such as `/v1/embeddings/models`.
pub(super) fn is_other_list(segments: &[Segment]) -> bool {
    let last = segments.last();
    last.is_some_and(|last| last.may_be("models")) && segments.iter().any(|s| s.may_be("v1"))
}

/// Whether `models` at this place is the list of an API: at the front of the path, below its root, or
/// below `publishers/google` (Vertex AI).
pub(super) fn is_root(segments: &[Segment], at: usize) -> bool {
    let is = |back: usize, word: &str| at >= back && segments[at - back].is(word);
    at == 0 || is_version(&segments[at - 1]) || is(1, "openai") || is(2, "publishers")
}

/// Whether a segment is the version of an API: `v1`, `v1beta`, `v1alpha`, `v2`.
fn is_version(segment: &Segment) -> bool {
    let digits = segment.name().strip_prefix(['v', 'V']);
    digits.is_some_and(|digits| digits.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether a path is an endpoint of the API without the `/v1` that clients forget in their base URL.
/// `/completions` and `/embeddings` are not among them: llama.cpp has others of these names.
pub(super) fn is_bare_endpoint(segments: &[Segment]) -> bool {
    let is = |at: usize, word: &str| segments.get(at).is_some_and(|segment| segment.text == word);
    let has_more = segments.len() > 1;
    (is(0, "chat") && is(1, "completions"))
        || (has_more && ["audio", "images"].iter().any(|word| is(0, word)))
        || ["responses", "messages", "moderations", "files", "batches"].iter().any(|w| is(0, w))
}

/// Whether a path loads, unloads or watches models: llama.cpp's router has such paths beside `/v1`, and
/// LM Studio below `/api/v1`.
pub(super) fn is_of_router(method: &str, segments: &[Segment]) -> bool {
    let texts: Vec<&str> = segments.iter().map(|segment| segment.text.as_str()).collect();
    match texts[..] {
        ["models", "sse"] => is_read(method),
        ["models", "load" | "unload"] | ["api", "v1", "models", "load" | "unload" | "download"] => {
            !is_read(method)
        }
        _ => false,
    }
}
