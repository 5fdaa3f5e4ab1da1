//! The model of a body, against hand-written readers.
//!
//! JSON has two judges: one reads the grammar of RFC 8259 byte by byte, and so decides for every
//! document whether it is valid; the other compares the values that `serde_json` reads, if it can
//! represent them. Content types and multipart are judged by a strict grammar, written
//! as regular expressions. Replacements are compared byte for byte.

mod anything;
mod body;
mod content_type;
mod fallbacks;
mod form;
mod json;
mod json_judge;
mod multipart;
mod multipart_judge;
