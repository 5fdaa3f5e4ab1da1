//! Memory that is returned to the system sooner than the C library would.
//!
//! Each connection takes threads, and threads leave freed memory and deep stacks behind.
//! Limits: the allocator settings are glibc's; other C libraries ignore them.

/// A thread's stack, in bytes. The address space of a 32-bit Raspberry Pi does not hold the
/// default of 2 MiB for every connection and every request.
const STACK: usize = 512 * 1024;

/// Gives all threads a stack of [`STACK`], tiny_http's included.
/// Must be called before there is a second thread.
pub fn limit_stacks() {
    // SAFETY: there is no other thread that could read the environment meanwhile.
    unsafe { std::env::set_var("RUST_MIN_STACK", STACK.to_string()) }
}

/// Makes glibc keep less of what is freed: by default it keeps an arena for each of many
/// short-lived threads.
pub fn keep_little_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: these set numbers, and may be called at any time from any thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_TOP_PAD, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 * 1024);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
    }
}

pub fn return_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Returns the part of this thread's stack that is not in use. A thread that waits may do so
/// for minutes, and the deep calls are behind it.
pub fn release_stack() {
    // SAFETY: a plain question.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(65536);
    // A page that is released in part is released whole. 128 bytes are for the call itself.
    let end = below_this_frame().saturating_sub(128) / page * page;
    let Some(lowest) = lowest_of_stack().filter(|lowest| *lowest < end) else { return };
    // SAFETY: these pages are this thread's stack, below all frames in use and those of the call
    // itself. They are written before they are read again.
    unsafe { libc::madvise(lowest as *mut libc::c_void, end - lowest, libc::MADV_DONTNEED) };
}

/// An address below the caller's frame.
#[inline(never)]
fn below_this_frame() -> usize {
    let mark = 0_u8;
    &raw const mark as usize
}

/// The lowest address of this thread's stack, which grows downwards.
fn lowest_of_stack() -> Option<usize> {
    let (mut lowest, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the first call fills the attributes in and the last releases them, and all
    // pointers are to values that live as long.
    unsafe {
        let mut attributes = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) != 0 {
            return None;
        }
        let result =
            libc::pthread_attr_getstack(&raw const attributes, &raw mut lowest, &raw mut size);
        libc::pthread_attr_destroy(&raw mut attributes);
        (result == 0).then_some(lowest as usize)
    }
}
