//! The segments of a path, as the most lenient server would read them.

use super::percent::{LAYERS, first_byte};

/// A segment of a path, between slashes or backslashes, raw or encoded; not empty.
pub(super) struct Segment {
    /// Its place in the raw path.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Its decoded text.
    pub(super) text: String,
    /// Whether an encoded `?` or `#` is before it, which some servers read as the end of the path.
    pub(super) is_behind_query: bool,
}

impl Segment {
    pub(super) fn name(&self) -> &str {
        name(&self.text)
    }

    pub(super) fn is(&self, word: &str) -> bool {
        self.name().eq_ignore_ascii_case(word)
    }

    /// Whether a server may take it for this word: what follows the word may be ignored, such as an
    /// extension.
    pub(super) fn may_be(&self, word: &str) -> bool {
        let goes_on = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        let (name, len) = (self.name(), word.len());
        name.get(..len).is_some_and(|start| start.eq_ignore_ascii_case(word))
            && !name[len..].starts_with(goes_on)
    }

    /// Whether a server may resolve it as `.` or `..`.
    pub(super) fn is_dotted(&self) -> bool {
        matches!(self.name(), "." | "..")
    }
}

/// The segments of a path. `None` if it is percent-encoded too many times.
pub(super) fn split(path: &str) -> Option<Vec<Segment>> {
    let mut bytes = path.as_bytes().to_vec();
    // The position in the raw path of each byte, and of the end.
    let mut starts: Vec<usize> = (0..=bytes.len()).collect();
    let mut layers = 0;
    while decode_in_place(&mut bytes, &mut starts) {
        layers += 1;
        if layers > LAYERS {
            return None;
        }
    }
    let mut segments = Vec::new();
    let (mut start, mut is_behind_query) = (0, false);
    for text in bytes.split(|byte| matches!(byte, b'/' | b'\\')) {
        let end = start + text.len();
        if !text.is_empty() {
            let text = String::from_utf8_lossy(text).into_owned();
            let ends_path = text.contains(['?', '#']);
            segments.push(Segment {
                start: starts[start],
                end: starts[end],
                text,
                is_behind_query,
            });
            is_behind_query |= ends_path;
        }
        start = end + 1;
    }
    Some(segments)
}

/// The start of the path behind the root path, and the segments from there.
pub(super) fn without_root<'s>(
    path: &str,
    segments: &'s [Segment],
    root: &[Segment],
) -> (usize, &'s [Segment]) {
    let Some(last) = root.len().checked_sub(1).and_then(|last| segments.get(last)) else {
        return (0, segments);
    };
    let is_there = segments.iter().zip(root).all(|(segment, root)| segment.text == root.text)
        && ends_a_raw_segment(&path[last.end..]);
    if is_there { (last.end, &segments[root.len()..]) } else { (0, segments) }
}

/// Whether the rest of a path may follow an upstream's URL. An encoded slash may not: behind
/// `http://host` it would become part of the host name.
pub(super) fn ends_a_raw_segment(following: &str) -> bool {
    following.is_empty() || following.starts_with('/')
}

/// Percent-decodes once. Returns whether anything changed.
fn decode_in_place(bytes: &mut Vec<u8>, starts: &mut Vec<usize>) -> bool {
    let (mut read, mut written) = (0, 0);
    while let Some((byte, len)) = first_byte(&bytes[read..]) {
        (bytes[written], starts[written]) = (byte, starts[read]);
        written += 1;
        read += len;
    }
    starts[written] = starts[read];
    bytes.truncate(written);
    starts.truncate(written + 1);
    written < read
}

/// A segment of a path without parameters (RFC 3986 §3.3), and without an encoded query, an encoded
/// fragment and blanks, which some servers ignore.
pub(super) fn name(segment: &str) -> &str {
    segment.split([';', '?', '#']).next().unwrap_or_default().trim()
}
