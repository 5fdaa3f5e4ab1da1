//! System calls that the standard library does not offer. The only unsafe code is here.
//!
//! Limits: Linux 4.1 or newer.
#![allow(unsafe_code)]

pub(crate) mod descriptors;
pub(crate) mod epoll;
pub(crate) mod memory;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod socket;
pub(crate) mod terminal;
