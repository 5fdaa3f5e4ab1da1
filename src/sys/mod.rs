//! System calls that the standard library does not have. The only unsafe code is here.
//!
//! Limits: Linux 4.1 or newer.

pub(crate) mod memory;
pub(crate) mod sockets;
