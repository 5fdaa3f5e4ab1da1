//! How many files the process may open, and the clocks that systemd and `/proc` count by.

/// Raises the limit of open files to the most that is allowed, and returns it.
pub fn raise_file_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
    // SAFETY: the pointers are to a valid `rlimit`, which the kernel fills or reads.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        let all = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const all) == 0 {
            limit = all;
        }
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// `CLOCK_MONOTONIC`, in microseconds.
pub fn monotonic_micros() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a valid `timespec`, which the kernel fills.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    // On 32-bit systems these are smaller types.
    #[allow(clippy::unnecessary_cast)]
    let micros = time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000;
    micros
}

/// The unit of times in `/proc`: clock ticks per second.
pub fn ticks_per_second() -> f64 {
    // SAFETY: sysconf only reads its argument.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    // 100 on every Linux that Rust supports.
    if ticks > 0 { ticks as f64 } else { 100.0 }
}

/// `CLOCK_BOOTTIME`, in seconds: it also counts while the machine is suspended.
pub fn seconds_since_boot() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a valid `timespec`, which the kernel fills.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
