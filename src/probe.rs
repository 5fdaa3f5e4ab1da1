//! A minimal HTTP client that asks the running proxy for its health, for `model-filter health` and
//! for the watchdog.
//!
//! Limits: reads at most 8 KiB of a response and does not parse its body.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How much of a response is read, in bytes.
const LIMIT: u64 = 8 * 1024;

/// The address by which this machine connects to a listener: a listener on all addresses is
/// reached by loopback.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Requests a path below `/-/` and expects 200. `within` bounds the connect and each read.
///
/// # Errors
/// The address and why there was no 200.
pub fn ask(address: SocketAddr, path: &str, within: Duration) -> Result<(), String> {
    match answer(address, path, within)? {
        (200, _) => Ok(()),
        (status, body) => Err(format!("{address}: status {status}: {}", body.trim())),
    }
}

/// Requests a path and returns the status and the body of the response.
///
/// # Errors
/// The address and why there was no response.
pub fn answer(address: SocketAddr, path: &str, within: Duration) -> Result<(u16, String), String> {
    let answer = exchange(address, path, within).map_err(|error| format!("{address}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1).and_then(|status| status.parse().ok()) {
        Some(status) => Ok((status, body.to_owned())),
        None => Err(format!("{address}: the response is not HTTP")),
    }
}

fn exchange(address: SocketAddr, path: &str, within: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, within)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LIMIT).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
