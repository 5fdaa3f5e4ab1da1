//! Whether the client of an exchange is still there.
//!
//! This is all that the code that asks upstreams knows of a client connection: it checks
//! between two waits, and stops when no client is left to read the response.

/// Something that a client waits for, for as long as its connection is open.
pub trait Wanted: Send + Sync {
    /// Whether the client is still connected. Costs one system call.
    fn is_wanted(&self) -> bool;
}
