//! The listener, and the only code that names tiny_http.
//!
//! [`bind`] takes a port, [`Listener::serve`] hands each request that arrives to a service as an
//! [`Exchange`]. The other files work around what tiny_http 0.12 does not do, or does wrong.
//!
//! | file | concern |
//! |---|---|
//! | `listener` | the listening socket: bound or inherited, served, closed |
//! | `watch` | deadlines and limits of all connections, on one thread |
//! | `accept` | tiny_http's servers on the socket, one after another |
//! | `arrivals` | wakes the watch for the first connection |
//! | `workers` | the threads that take requests |
//! | `connections` | all connections, and how they are found |
//! | `exchange` | one request: its body, and the head of its response |
//! | `response` | the response behind its head |
//! | `switched` | a connection behind a 101 |
//! | `cutter` | the thread that cuts broken streams a moment after their last event |
//! | `leak` | dropping unread requests, and leaking those that cannot be dropped |
//! | `connection` | the one record of a client connection; [`crate::progress`] judges it |

mod accept;
mod arrivals;
mod connection;
mod connections;
mod cutter;
mod exchange;
mod leak;
mod listener;
mod response;
mod switched;
mod watch;
mod workers;

pub use connection::OnLeak;
pub use exchange::{Body, Exchange};
pub use listener::{Listener, Server, bind, inherit};
pub use response::Response;
pub use switched::Switched;
pub use workers::Service;
