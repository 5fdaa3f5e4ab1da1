//! Memory that is given back to the system sooner than the C library and the kernel would.
//!
//! A connection takes threads, and threads take memory that they need for moments only:
//! pieces of freed memory, and stacks as deep as the deepest call. Limits: what is said to
//! glibc is nothing to other C libraries.
#![allow(unsafe_code)]

/// A thread's stack, in bytes. The address space of a 32-bit Raspberry Pi does not hold the
/// default of 2 MiB for every connection and every request.
const STACK: usize = 512 * 1024;

/// Gives all threads a stack of [`STACK`], tiny_http's included.
/// To be called before there is a second thread.
pub fn limit_stacks() {
    // SAFETY: there is no other thread that could read the environment meanwhile.
    unsafe { std::env::set_var("RUST_MIN_STACK", STACK.to_string()) }
}

/// Makes glibc keep less of what is freed: it would hold on to an arena for each of many
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

/// Gives freed memory back to the system, which glibc else keeps for each thread that was.
pub fn return_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Frames of the calls that give the stack back, in bytes, with room to spare.
const OWN_FRAMES: usize = 1024;

/// Gives back what lies below the part of this thread's stack that is in use. A thread that
/// waits may do so for minutes, and the deep calls are behind it.
pub fn release_stack() {
    let mark = 0_u8;
    let Some(lowest) = lowest_of_stack() else { return };
    // A page that is given back in part would be given back whole.
    let page = page_size();
    let end = (&raw const mark as usize).saturating_sub(OWN_FRAMES) / page * page;
    if end > lowest {
        // SAFETY: these pages are this thread's stack, below all frames in use and those of
        // the call itself. Nobody reads them before they are written again.
        unsafe {
            libc::madvise(lowest as *mut libc::c_void, end - lowest, libc::MADV_DONTNEED);
        }
    }
}

fn page_size() -> usize {
    // SAFETY: a plain question.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).map_or(64 * 1024, |size| size.max(1))
}

/// Where this thread's stack ends; it grows downwards.
fn lowest_of_stack() -> Option<usize> {
    let mut lowest = std::ptr::null_mut();
    let mut size = 0;
    // SAFETY: the attributes are filled in by the first call and let go of by the last, and
    // all pointers are to values that live as long.
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
