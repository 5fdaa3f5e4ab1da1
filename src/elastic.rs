//! How large a buffer should be for what passes through it: small where little does, so
//! that a thousand streams at rest take little memory, and larger where reads fill it.

/// The smallest buffer, in bytes: an event or a short answer fits.
pub const LEAST: usize = 1024;

/// The largest buffer, in bytes: beyond that the system calls saved are few.
pub const MOST: usize = 64 * 1024;

/// The size of a buffer for a body of known length.
pub fn size_for(length: u64) -> usize {
    usize::try_from(length).unwrap_or(MOST).clamp(LEAST, MOST)
}

/// The size of the next buffer after one of `size` bytes, of which a read used `used`.
pub fn next_size(size: usize, used: usize) -> usize {
    match used {
        _ if used >= size => (size * 2).min(MOST),
        _ if used <= size / 4 => (size / 2).max(LEAST),
        _ => size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_while_it_is_filled_and_shrinks_while_it_is_not() {
        let mut size = LEAST;
        for _ in 0..10 {
            size = next_size(size, size);
        }
        assert_eq!(size, MOST);
        assert_eq!(next_size(size, size / 2), MOST, "half full is of the right size");
        for _ in 0..10 {
            size = next_size(size, 100);
        }
        assert_eq!(size, LEAST);
    }
}
