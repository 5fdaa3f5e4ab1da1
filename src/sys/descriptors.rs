//! Operations on descriptors that tiny_http owns.
//!
//! tiny_http hands out requests and never sockets. It may close a descriptor at any moment,
//! and the kernel then gives its number to another file: a call on it fails then, or its
//! caller checks afterwards what it got.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::linux::fs::MetadataExt;

/// Which of the two addresses of a connection.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    /// Our own.
    Local,
    /// The client's.
    Peer,
}

/// One of the addresses of a TCP socket.
///
/// # Errors
/// `EBADF` for a number that is not open; another error for what is not a socket of this kind,
/// or has no peer any more.
pub fn address(fd: RawFd, side: Side) -> io::Result<SocketAddr> {
    let call = match side {
        Side::Local => libc::getsockname,
        Side::Peer => libc::getpeername,
    };
    // SAFETY: a `sockaddr_in6` is made of integers, for which zero is a value.
    let mut name: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    let pointer = &raw mut name;
    // SAFETY: pointer and length describe `name`; the kernel writes no more than that.
    if unsafe { call(fd, pointer.cast(), &raw mut length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    match i32::from(name.sin6_family) {
        libc::AF_INET => {
            // SAFETY: the kernel says that this is an IPv4 address, which is the shorter one.
            let name = unsafe { *pointer.cast::<libc::sockaddr_in>() };
            Ok((name.sin_addr.s_addr.to_ne_bytes(), u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            let (ip, port) = (name.sin6_addr.s6_addr.into(), u16::from_be(name.sin6_port));
            Ok(SocketAddrV6::new(ip, port, name.sin6_flowinfo, name.sin6_scope_id).into())
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Duplicates a descriptor. Nobody else's descriptor is ever taken over or closed by this.
///
/// # Errors
/// `EBADF` for a number that is not open; out of file descriptors.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the borrow ends with the call, which fails for a number that is not open.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}

/// A file, whatever its descriptor: a device and a number on it.
pub type Identity = (u64, u64);

/// What a descriptor refers to.
///
/// # Errors
/// As [`duplicate`].
pub fn identity(fd: RawFd) -> io::Result<Identity> {
    let file = File::from(duplicate(fd)?).metadata()?;
    Ok((file.st_dev(), file.st_ino()))
}

/// Cuts a connection for which no descriptor is left to duplicate it.
pub fn cut(fd: RawFd) {
    // SAFETY: a plain system call, which fails for a number that is not open.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Puts another file in the place of a descriptor that another thread uses and will close.
///
/// # Errors
/// Out of file descriptors.
pub fn replace(fd: RawFd, other: &impl AsFd) -> io::Result<()> {
    // SAFETY: both descriptors are open. The owner of the one that this closes goes on to close
    // its number once, with the file that it then stands for.
    match unsafe { libc::dup2(other.as_fd().as_raw_fd(), fd) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
