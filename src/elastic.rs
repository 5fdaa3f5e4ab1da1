//! Sizes of buffers that adapt to their traffic: small for idle streams, so that a thousand of them
//! take little memory, and larger while reads fill the buffer.

/// The smallest buffer, in bytes: enough for an event or a short response.
pub const LEAST: usize = 1024;

/// The largest buffer, in bytes. Larger ones save few system calls.
pub const MOST: usize = 64 * 1024;

/// The size of a buffer for a body of `length` bytes.
pub fn size_for(length: u64) -> usize {
    usize::try_from(length).unwrap_or(MOST).clamp(LEAST, MOST)
}

/// The size of the next buffer, after a read filled `used` of `size` bytes.
pub fn next_size(size: usize, used: usize) -> usize {
    match used {
        _ if used >= size => (size * 2).min(MOST),
        _ if used <= size / 4 => (size / 2).max(LEAST),
        _ => size,
    }
}
