//! Operations on descriptors that tiny_http owns.
//!
//! tiny_http hands out requests and never sockets. It may close a descriptor at any moment, and
//! the kernel then gives its number to another file: a call on the number fails, or its caller
//! checks afterwards what it got.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::fs::MetadataExt;

/// A socket by its number, for one call: dropping it does not close the number. Calls fail with
/// `EBADF` for a number that is not open, and with another error for a file of another kind.
pub fn socket(fd: RawFd) -> ManuallyDrop<TcpStream> {
    // SAFETY: it is never closed through this value. Callers only ask and shut down.
    ManuallyDrop::new(unsafe { TcpStream::from_raw_fd(fd) })
}

/// Duplicates a descriptor.
///
/// # Errors
/// `EBADF` for a number that is not open; out of file descriptors.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the borrow ends with the call, which fails for a number that is not open.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}

/// The file that a descriptor refers to: its device and its number on it.
///
/// # Errors
/// `EBADF` for a number that is not open.
pub fn identity(fd: RawFd) -> io::Result<(u64, u64)> {
    // SAFETY: as in `socket`.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) }).metadata()?;
    Ok((file.st_dev(), file.st_ino()))
}

/// Replaces the file behind a descriptor that another thread uses and will close.
///
/// # Errors
/// Out of file descriptors.
pub fn replace(fd: RawFd, other: &impl AsFd) -> io::Result<()> {
    // SAFETY: both descriptors are open. The owner of `fd` closes the number once, with the file
    // that it then stands for.
    match unsafe { libc::dup2(other.as_fd().as_raw_fd(), fd) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
