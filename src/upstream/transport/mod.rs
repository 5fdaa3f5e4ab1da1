//! Connections to an upstream that notice when the client leaves.
//!
//! ureq waits for an upstream until a deadline, though the client may leave long before. So a
//! socket is waited for in slices, and between two of them the client is checked. Two more
//! faults of ureq are corrected: a connection that breaks is never taken for the end of a body,
//! and a response that comes before the whole request is sent (413) is read. Limits: looking up
//! a name goes on after its last caller has left; `ureq::unversioned` is not covered by
//! semver, hence the pinned version.

mod buffers;
mod call;
mod chain;
mod connect;
mod early;
mod idle;
mod names;
mod switched;
mod tcp;
mod timing;
mod tls;
mod truth;
mod validity;
mod verify;
mod words;

pub(super) use self::call::{Call, Room};
pub(super) use self::chain::connector;
pub(super) use self::names::Addresses;
pub use self::switched::Switched;
pub(super) use self::tcp::{PATH_TIMEOUT, is_path_timeout};
pub(super) use self::timing::timeout_of;
pub(super) use self::truth::is_break;
pub(super) use self::verify::client_config;
