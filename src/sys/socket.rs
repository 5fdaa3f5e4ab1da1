//! Options, counters and endings of TCP sockets.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

pub fn set_backlog(listener: &TcpListener, connections: i32) -> io::Result<()> {
    // SAFETY: a plain system call on a descriptor that `listener` owns.
    check(unsafe { libc::listen(listener.as_raw_fd(), connections) })
}

/// Has the kernel probe a silent connection after `idle` seconds, and then every `interval` seconds.
pub fn set_keep_alive(socket: &TcpStream, idle: i32, interval: i32) -> io::Result<()> {
    set(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    set(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, idle)?;
    set(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, interval)
}

/// Has the kernel break a connection with `ETIMEDOUT` if its peer acknowledges neither data nor probes
/// for so many seconds (tcp(7), `TCP_USER_TIMEOUT`).
pub fn set_path_timeout(socket: &TcpStream, seconds: i32) -> io::Result<()> {
    set(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, seconds * 1000)?;
    // Probes begin at half of the time, so that a healthy connection needs few.
    set_keep_alive(socket, (seconds / 2).max(1), (seconds / 6).max(1))
}

pub fn set_receive_buffer(socket: &TcpStream, bytes: i32) -> io::Result<()> {
    set(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, bytes)
}

pub fn is_listening(socket: &impl AsRawFd) -> bool {
    let mut listening: libc::c_int = 0;
    get(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ACCEPTCONN, &mut listening) && listening == 1
}

/// Has the kernel send SIGIO to this process, or no more, for each connection that arrives.
pub fn signal_arrivals(listener: &TcpListener, signals: bool) -> io::Result<()> {
    let (fd, mut signals) = (listener.as_raw_fd(), libc::c_int::from(signals));
    // SAFETY: a plain system call on a descriptor that `listener` owns.
    check(unsafe { libc::fcntl(fd, libc::F_SETOWN, std::process::id()) })?;
    // SAFETY: FIOASYNC reads one int.
    check(unsafe { libc::ioctl(fd, libc::FIOASYNC, &raw mut signals) })
}

/// Breaks a connection with a RST.
pub fn reset(socket: &TcpStream) {
    // SAFETY: a `sockaddr` is made of integers, for which zero is a value.
    let mut unspecified: libc::sockaddr = unsafe { std::mem::zeroed() };
    unspecified.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
    let length = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: address and length describe a valid `sockaddr`. A connect to AF_UNSPEC dissolves
    // a TCP connection.
    if unsafe { libc::connect(socket.as_raw_fd(), &raw const unspecified, length) } != 0 {
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// The result that a read from a socket would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    Nothing,
    Bytes,
    /// The peer closed, or the connection broke.
    Closed,
}

/// Asks in one system call what a read would find, and takes nothing.
pub fn pending(socket: &TcpStream) -> Pending {
    let mut byte = 0_u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the buffer is one byte, and one byte is asked for.
    let read = unsafe { libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, flags) };
    match read {
        1 => Pending::Bytes,
        -1 if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => Pending::Nothing,
        _ => Pending::Closed,
    }
}

/// How many bytes have arrived and are unread.
pub fn unread(socket: &TcpStream) -> u64 {
    let mut unread: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut unread) };
    if result == 0 { u64::try_from(unread).unwrap_or(0) } else { 0 }
}

/// The fields in use of the kernel's `struct tcp_info`. The libc crate has only its beginning.
#[derive(Debug, Clone, Copy)]
pub struct TcpInfo {
    /// One of the numbers of `tcp_states.h`.
    pub state: u8,
    /// How long ago the peer last sent something.
    pub silence: Duration,
    /// Bytes that the peer has sent so far.
    pub received: u64,
}

pub fn tcp_info(socket: &TcpStream) -> Option<TcpInfo> {
    // The fields lie where `linux/tcp.h` has had them since Linux 4.1.
    const LAST_DATA_RECEIVED: usize = 52;
    const BYTES_RECEIVED: usize = 128;
    let mut info = [0_u8; 136];
    if !get(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, &mut info) {
        return None;
    }
    let silence = u32::from_ne_bytes(*info[LAST_DATA_RECEIVED..].first_chunk()?);
    Some(TcpInfo {
        state: info[0],
        silence: Duration::from_millis(silence.into()),
        received: u64::from_ne_bytes(*info[BYTES_RECEIVED..].first_chunk()?),
    })
}

/// Reads an option that is made of integers; false if the kernel has less of it.
fn get<T: Copy>(fd: RawFd, level: i32, name: i32, value: &mut T) -> bool {
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: pointer and length describe `value`, and any bytes are a value of integers.
    let result =
        unsafe { libc::getsockopt(fd, level, name, (value as *mut T).cast(), &raw mut length) };
    result == 0 && length as usize == size_of::<T>()
}

fn set(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    set_any(fd, level, name, &value)
}

fn set_any<T>(fd: RawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: pointer and length describe `value`.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const *value).cast(), length) })
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// Has the kernel drop everything that arrives at a socket, so that it acknowledges nothing.
    fn make_deaf(socket: &TcpStream) {
        // RET 0: an empty packet is left.
        let mut program = [libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0 }];
        let filter = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
        set_any(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter).unwrap();
    }

    #[test]
    fn a_path_that_died_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for sends in [true, false] {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (peer, _) = listener.accept().unwrap();
            set_path_timeout(&client, 1).unwrap();
            make_deaf(&peer);
            if sends {
                client.write_all(b"unheard").unwrap();
            }
            let error = client.read(&mut [0]).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT), "{error:?}");
        }
    }
}
