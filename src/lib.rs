//! lib
pub mod error;
pub mod headers;
pub mod reply;
pub mod server;
