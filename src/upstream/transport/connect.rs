//! Opening a connection, for as long as the exchange is wanted.
//!
//! The addresses are tried in their order, and where one does not answer at once the next is
//! tried beside it (RFC 8305): one that swallows what is sent to it, as IPv6 does in many a
//! network, shall cost little.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::unversioned::transport::NextTimeout;

use super::call::check_client_now_and_then;
use super::timing::{SLICE, deadline};
use crate::sys::sockets;

/// How long an address is tried before the next one is, too.
const HEAD_START: Duration = Duration::from_millis(250);

/// Opens a connection to one of these addresses.
pub(super) fn connect(addresses: &[SocketAddr], timeout: &NextTimeout) -> Result<TcpStream, Error> {
    let deadline = deadline(timeout);
    let mut addresses = addresses.iter();
    let mut begun = Vec::new();
    let mut failure = Error::ConnectionFailed;
    loop {
        let Some(address) = addresses.next() else {
            // Nothing more can be begun.
            return match first_connected(&mut begun, deadline, &mut failure)? {
                Some(stream) => Ok(stream),
                None if begun.is_empty() => Err(failure),
                None => Err(Error::Timeout(timeout.reason)),
            };
        };
        match sockets::begin_to_connect(*address) {
            Ok(stream) => begun.push(stream),
            Err(error) => failure = error.into(),
        }
        let next = Instant::now() + HEAD_START;
        let until = deadline.map_or(next, |deadline| deadline.min(next));
        if let Some(stream) = first_connected(&mut begun, Some(until), &mut failure)? {
            return Ok(stream);
        }
    }
}

/// The first of these connections to come about; none where all have failed, or that time has
/// come.
fn first_connected(
    begun: &mut Vec<TcpStream>,
    until: Option<Instant>,
    failure: &mut Error,
) -> Result<Option<TcpStream>, Error> {
    while !begun.is_empty() {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match sockets::first_connected(begun, left.map_or(SLICE, |left| left.min(SLICE))) {
            Ok(Some(stream)) => return Ok(Some(stream)),
            Ok(None) if left.is_some_and(|left| left.is_zero()) => return Ok(None),
            Ok(None) => check_client_now_and_then()?,
            Err(error) => *failure = error.into(),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::net::TcpListener;
    use ureq::Timeout;

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn connected(addresses: &[SocketAddr], within: Duration) -> Result<SocketAddr, Error> {
        let reason = Timeout::Connect;
        let timeout = NextTimeout { after: within.into(), reason, ..Default::default() };
        Ok(connect(addresses, &timeout)?.peer_addr()?)
    }

    /// A socket whose queue is full: what asks for a connection is dropped.
    fn silent() -> (Socket, SocketAddr, Vec<TcpStream>) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queue: Vec<TcpStream> = std::iter::from_fn(connect).take(16).collect();
        assert!(queue.len() < 16, "the queue has no end");
        (socket, address, queue)
    }

    #[test]
    fn an_address_that_does_not_answer_costs_little_time() {
        let (_socket, silent, _queue) = silent();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let begun = Instant::now();
        assert_eq!(connected(&[silent, silent, good], TIMEOUT).unwrap(), good);
        assert!(begun.elapsed() < TIMEOUT / 4, "{:?}", begun.elapsed());
    }

    #[test]
    fn where_no_address_answers_it_is_a_timeout_and_where_all_refuse_a_refusal() {
        let (_socket, silent, _queue) = silent();
        let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let within = Duration::from_millis(10);
        let timeout = |error| matches!(error, Error::Timeout(Timeout::Connect));
        assert!(connected(&[silent], within).is_err_and(timeout));
        assert!(connected(&[refusing, silent], within).is_err_and(timeout));
        let refused = connected(&[refusing, refusing], TIMEOUT).unwrap_err();
        assert!(refused.to_string().contains("refused"), "{refused}");
        assert!(connected(&[], TIMEOUT).is_err());
    }
}
