//! Asking the running proxy how it is: for `model-filter health`, and for the watchdog.
//!
//! Limits: what comes back is read for a few kilobytes only, and told as it is.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The longest answer that is read, in bytes.
const LIMIT: u64 = 8 * 1024;

/// The address by which this machine reaches what listens on another one: on all
/// addresses is on loopback too.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Asks for a path of the proxy's own; each step of it has this long.
///
/// # Errors
/// Why there was no 200, in words.
pub fn ask(address: SocketAddr, path: &str, within: Duration) -> Result<(), String> {
    match answer(address, path, within)? {
        (200, _) => Ok(()),
        (status, body) => Err(format!("{address}: status {status}: {}", body.trim())),
    }
}

/// The status and the body that a path is answered with, whatever they are.
///
/// # Errors
/// Why there was no answer, in words.
pub fn answer(address: SocketAddr, path: &str, within: Duration) -> Result<(u16, String), String> {
    let answer = exchange(address, path, within).map_err(|error| format!("{address}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1).and_then(|status| status.parse().ok()) {
        Some(status) => Ok((status, body.to_owned())),
        None => Err(format!("{address}: the answer is not HTTP")),
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
