//! A content type in the first line and any bytes after it: the name is found or the body refused,
//! and in the body with another name nothing else changed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model_filter::model_field::{BodyKind, Names, find};
use model_filter_fuzz::check;

fuzz_target!(|input: &[u8]| {
    let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return };
    let (content_type, body) = (&input[..end], &input[end + 1..]);
    let Ok(content_type) = std::str::from_utf8(content_type) else { return };
    // No header field holds these.
    if content_type.chars().any(|c| c.is_control() && c != '\t') {
        return;
    }
    let Ok(kind @ BodyKind::Multipart { .. }) = BodyKind::of(Some(content_type)) else { return };
    if let Ok(Names { model: Some(field), .. }) = find(&kind, body) {
        check(&kind, body, &field);
    }
});
