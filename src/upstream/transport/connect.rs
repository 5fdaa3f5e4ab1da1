//! Establishing a TCP connection, for as long as the client is there.
//!
//! The addresses are tried in their order. If one does not respond soon, the next is tried
//! beside it (RFC 8305), since in many networks IPv6 packets are silently dropped. Limits: an
//! attempt goes on for at most as long again after its last caller has left.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::unversioned::transport::NextTimeout;

use super::call::check_client_now_and_then;
use super::timing::{SLICE, deadline};

/// How long an address is tried before the next one is tried as well.
const HEAD_START: Duration = Duration::from_millis(250);

/// The shortest timeout of [`TcpStream::connect_timeout`]: 0 is an error.
const MILLISECOND: Duration = Duration::from_millis(1);

/// Connects to one of these addresses.
pub(super) fn connect(addresses: &[SocketAddr], timeout: &NextTimeout) -> Result<TcpStream, Error> {
    let deadline = deadline(timeout);
    if addresses.len() == 1 || addresses.iter().all(|address| address.ip().is_loopback()) {
        if let Some(result) = try_each(addresses, deadline) {
            return result;
        }
    }
    let (sender, results) = channel();
    // Attempts go on for as long as this exists.
    let waiting = Arc::new(());
    let mut untried = addresses.iter();
    let mut running = 0;
    let mut next_start = Instant::now();
    let mut failure = Error::ConnectionFailed;
    loop {
        if left(deadline).is_zero() {
            return Err(Error::Timeout(timeout.reason));
        }
        if running == 0 || next_start <= Instant::now() {
            next_start = Instant::now() + HEAD_START;
            match untried.next() {
                Some(address) => match start(*address, sender.clone(), Arc::downgrade(&waiting)) {
                    Ok(()) => running += 1,
                    Err(error) => {
                        failure = error.into();
                        continue;
                    }
                },
                None if running == 0 => return Err(failure),
                None => {}
            }
        }
        let slice = next_start.saturating_duration_since(Instant::now());
        match results.recv_timeout(left(deadline).min(slice)) {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                failure = error.into();
                running -= 1;
            }
            Err(_) => check_client_now_and_then()?,
        }
    }
}

/// Tries the addresses in turn on this thread, which usually succeeds and needs no memory; none
/// if one does not respond soon.
fn try_each(
    addresses: &[SocketAddr],
    deadline: Option<Instant>,
) -> Option<Result<TcpStream, Error>> {
    let mut failure = Error::ConnectionFailed;
    for address in addresses {
        match TcpStream::connect_timeout(address, left(deadline).clamp(MILLISECOND, SLICE)) {
            Ok(stream) => return Some(Ok(stream)),
            Err(error) if is_timeout(&error) => return None,
            Err(error) => failure = error.into(),
        }
    }
    Some(Err(failure))
}

/// How long it is until a deadline.
fn left(deadline: Option<Instant>) -> Duration {
    deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()))
}

/// Connects to an address on a thread of its own.
fn start(
    address: SocketAddr,
    results: Sender<io::Result<TcpStream>>,
    waiting: Weak<()>,
) -> io::Result<()> {
    let attempt = move || {
        // The kernel repeats a SYN after 1, 3, 7… s, and so does this.
        let mut patience = Duration::from_secs(1);
        let result = loop {
            match TcpStream::connect_timeout(&address, patience) {
                Err(error) if is_timeout(&error) && waiting.strong_count() > 0 => patience *= 2,
                result => break result,
            }
        };
        let _ = results.send(result);
    };
    thread::Builder::new().name("connect".into()).spawn(attempt).map(|_| ())
}

/// Whether [`TcpStream::connect_timeout`] ended because of its own timeout, not the kernel's.
fn is_timeout(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none()
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
        let started = Instant::now();
        assert_eq!(connected(&[silent, silent, good], TIMEOUT).unwrap(), good);
        assert!(started.elapsed() < TIMEOUT / 4, "{:?}", started.elapsed());
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
