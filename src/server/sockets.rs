//! The kernel's view of client connections, which tiny_http does not show.
//!
//! tiny_http hands out requests, never sockets: there is no way to close a connection
//! and none to see that the client left. The socket is therefore looked up among the
//! process's own file descriptors, by its peer and local port, and duplicated; what is
//! done to the duplicate happens to the connection. Limits: Linux only (`/proc`,
//! `TCP_INFO`); a look-up costs a system call for each open descriptor, so it is done
//! only once something needs it. The only unsafe code of the program is here.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

/// Connections that may wait for `accept`; the 128 of the standard library are lost in one burst.
const BACKLOG: i32 = 1024;

/// How long a client may refuse to take what is sent to it before it counts as gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(300);

/// Binds a listening socket whose accepted sockets inherit what every client's needs:
/// `TCP_NODELAY` (a token is not held back), keep-alive probes and a bounded send.
/// Never a receive timeout: `accept` obeys it, and tiny_http takes that for the end.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpStream::from(OwnedFd::from(TcpListener::bind(address)?));
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    let fd = socket.as_raw_fd();
    set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 60)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 20)?;
    // SAFETY: a plain system call on a descriptor that `socket` owns.
    check(unsafe { libc::listen(fd, BACKLOG) })?;
    Ok(TcpListener::from(OwnedFd::from(socket)))
}

/// One client's connection, beside tiny_http's own handles to it.
#[derive(Debug)]
pub struct ClientSocket(TcpStream);

impl ClientSocket {
    /// Looks the connection up; none where it is closed already.
    ///
    /// # Errors
    /// Where the process's descriptors cannot be listed (`/proc` is not there).
    pub fn find(peer: SocketAddr, local_port: u16) -> io::Result<Option<ClientSocket>> {
        for entry in std::fs::read_dir("/proc/self/fd")? {
            let Ok(Ok(fd)) = entry.map(|entry| entry.file_name().to_string_lossy().parse()) else {
                continue;
            };
            if !is_connection(fd, peer, local_port) {
                continue;
            }
            // SAFETY: the descriptor was open a moment ago; if it is closed by now, `dup`
            // fails, and if its number was given to another file, the check below says so.
            let duplicate = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned();
            let Ok(duplicate) = duplicate else { continue };
            if is_connection(duplicate.as_raw_fd(), peer, local_port) {
                return Ok(Some(ClientSocket(TcpStream::from(duplicate))));
            }
        }
        Ok(None)
    }

    /// Whether the client closed its side, or the connection broke. `TCP_INFO` and not
    /// `POLLRDHUP`: tiny_http's own read shutdown would set that too.
    pub fn left(&self) -> bool {
        tcp_state(self.0.as_raw_fd()) != Some(TCP_ESTABLISHED)
    }

    /// Ends the connection after what was sent: a cut, where the framing promised more.
    pub fn cut(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }

    /// Ends our side only, so that the client can still read what was sent to it.
    pub fn finish(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// Breaks the connection so that the client gets an error: the only way to show that
    /// a body which ends with the connection (HTTP/1.0) is not complete.
    pub fn reset(&self) {
        let unspecified = libc::sockaddr {
            sa_family: libc::AF_UNSPEC as libc::sa_family_t,
            // SAFETY: an array of plain bytes, for which zero is a value.
            ..unsafe { std::mem::zeroed() }
        };
        let length = size_of::<libc::sockaddr>() as libc::socklen_t;
        // SAFETY: address and length describe a valid `sockaddr`. On a TCP socket a
        // connect to AF_UNSPEC dissolves the connection with a RST.
        if unsafe { libc::connect(self.0.as_raw_fd(), &unspecified, length) } != 0 {
            self.cut();
        }
    }

    /// The socket, for reading and writing beside tiny_http.
    pub fn stream(&self) -> &TcpStream {
        &self.0
    }
}

/// What a socket would say to a read, without taking anything from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// Nothing has arrived.
    Nothing,
    /// There are bytes to read.
    Bytes,
    /// The other side closed, or the connection broke.
    Closed,
}

/// Asks in one system call what a read would find.
pub fn pending(stream: &TcpStream) -> Pending {
    let mut byte = 0_u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the buffer is one byte, and one byte is asked for.
    let read = unsafe { libc::recv(stream.as_raw_fd(), (&raw mut byte).cast(), 1, flags) };
    match read {
        1 => Pending::Bytes,
        -1 if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => Pending::Nothing,
        _ => Pending::Closed,
    }
}

/// `TCP_ESTABLISHED` of the kernel's `tcp_states.h`; the libc crate does not have it.
const TCP_ESTABLISHED: u8 = 1;

fn tcp_state(fd: RawFd) -> Option<u8> {
    // SAFETY: `tcp_info` is made of integers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: buffer and length describe `info`; the kernel writes no more than that.
    let result = unsafe {
        libc::getsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(info.tcpi_state)
}

fn is_connection(fd: RawFd, peer: SocketAddr, local_port: u16) -> bool {
    address(fd, libc::getpeername) == Some(peer)
        && address(fd, libc::getsockname).is_some_and(|local| local.port() == local_port)
}

type NameCall =
    unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

fn address(fd: RawFd, call: NameCall) -> Option<SocketAddr> {
    // SAFETY: `sockaddr_storage` is made of integers, for which zero is a value.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let storage_pointer = &raw mut storage;
    // SAFETY: pointer and length describe `storage`; on anything but a socket it fails.
    if unsafe { call(fd, storage_pointer.cast(), &raw mut length) } != 0 {
        return None;
    }
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the kernel says that this is an IPv4 address, and storage is large enough.
            let v4 = unsafe { *storage_pointer.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the kernel says that this is an IPv6 address, and storage is large enough.
            let v6 = unsafe { *storage_pointer.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            let (flow, scope) = (v6.sin6_flowinfo, v6.sin6_scope_id);
            Some(std::net::SocketAddrV6::new(ip, port, flow, scope).into())
        }
        _ => None,
    }
}

fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: pointer and length describe `value`.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) })
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
