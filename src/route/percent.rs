//! Percent-decoding (RFC 3986 §2.1).

/// How often a path may be percent-encoded on top of itself.
pub(super) const LAYERS: usize = 3;

/// Percent-decodes. Invalid escapes stay, and bytes that are not UTF-8 become U+FFFD.
pub fn decode(raw: &str) -> String {
    if !raw.contains('%') {
        return raw.to_owned();
    }
    let mut rest = raw.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((byte, len)) = first_byte(rest) {
        bytes.push(byte);
        rest = &rest[len..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encodes an id for a path or for a value in a query. Its slashes stay.
pub fn encode(id: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@!$'()*,".contains(&byte);
    let mut encoded = String::with_capacity(id.len());
    for byte in id.bytes() {
        match is_plain(byte) {
            true => encoded.push(char::from(byte)),
            false => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

/// The first byte of a percent-encoded text, decoded, and the number of bytes that encode it.
pub(super) fn first_byte(raw: &[u8]) -> Option<(u8, usize)> {
    let hex = |digit: u8| char::from(digit).to_digit(16);
    if let [b'%', high, low, ..] = *raw {
        if let (Some(high), Some(low)) = (hex(high), hex(low)) {
            return Some(((high * 16 + low) as u8, 3));
        }
    }
    raw.first().map(|&byte| (byte, 1))
}
