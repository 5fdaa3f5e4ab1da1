//! Whether a file may be written, without touching it.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Checks that a file may be written, or a folder changed.
///
/// # Errors
/// As access(2): the process may not, the file system is read-only, or there is no such file.
pub fn may_write(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the pointer is to a string that ends with a zero byte, and outlives the call.
    match unsafe { libc::access(path.as_ptr(), libc::W_OK) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
