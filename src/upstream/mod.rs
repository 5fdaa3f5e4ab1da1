//! One remote API: its address, its credentials, and how requests are sent to it.
//!
//! Only this module names ureq. An [`Upstream`] takes a request whose hop-by-hop fields are
//! removed, decides which credentials it gets, sends it, and returns the head of the response
//! and a reader of its body. Limits: HTTP/1.1; redirects are not followed; only `GET` and
//! `HEAD` are sent twice, if a kept connection turns out to be closed.

mod answer;
mod endpoint;
mod forward;
mod remote;
mod request;
mod transport;

pub use self::answer::Answer;
pub use self::remote::Upstream;
pub use self::request::{Place, Request, Upload};
pub use self::transport::Switched;
