//! The kernel's view of client connections, which tiny_http does not show.
//!
//! tiny_http hands out requests, never sockets: there is no way to close a connection
//! and none to see that the client left. The socket is therefore looked up among the
//! process's own file descriptors, by its peer and local port, and duplicated; what is
//! done to the duplicate happens to the connection. Limits: Linux 4.1 or newer
//! (`TCP_INFO`); a look-up costs a system call for each open descriptor, so it is done
//! only once something needs it. Unsafe code is here and in [`super::memory`] alone.
#![allow(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// Connections that may wait for `accept`; the 128 of the standard library are lost in one burst.
const BACKLOG: i32 = 1024;

/// How long a client may refuse to take what is sent to it before it counts as gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(300);

/// How often a connection is looked up whose descriptor goes away meanwhile. There is more
/// than one for each connection.
const ATTEMPTS: usize = 8;

/// What the kernel may hold of what a client sent, in bytes. It would go up to 6 MB for each
/// connection, all of which tiny_http reads into a line that does not end.
const RECEIVE_BUFFER: i32 = 64 * 1024;

/// Binds a listening socket whose accepted sockets inherit what every client's needs:
/// `TCP_NODELAY` (a token is not held back), keep-alive probes and a bounded send.
/// Never a receive timeout: `accept` obeys it, and tiny_http takes that for the end.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpStream::from(OwnedFd::from(TcpListener::bind(address)?));
    for_clients(&socket)?;
    // SAFETY: a plain system call on a descriptor that `socket` owns.
    check(unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) })?;
    Ok(TcpListener::from(OwnedFd::from(socket)))
}

/// Sets what accepted sockets inherit.
fn for_clients(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    let fd = socket.as_raw_fd();
    set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 60)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 20)?;
    set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER)
}

/// One client's connection, beside tiny_http's own handles to it.
#[derive(Debug)]
pub struct ClientSocket(TcpStream);

impl ClientSocket {
    /// Looks the connection up; none where it is closed already.
    ///
    /// # Errors
    /// Where it is there, and the process may not open another descriptor, or there are two.
    pub fn find(peer: SocketAddr, local_port: u16) -> io::Result<Option<ClientSocket>> {
        // A connection of which nobody has read is not that of a request: the port was used again.
        let was_read = |fd: &RawFd| tcp_info(*fd).is_some_and(|info| info.received > unread(*fd));
        let search = || of_peer(peer, local_port).find(was_read);
        let local = |fd| address(fd, libc::getsockname).ok().flatten();
        let mut locals = of_peer(peer, local_port).filter_map(local);
        let first = locals.next();
        if locals.any(|other| Some(other) != first) {
            // Where we listen on several addresses. Which of them is meant, tiny_http does not
            // tell, and what is for one must not be written to the other.
            return Err(io::Error::other("two connections come from the same address and port"));
        }
        for _ in 0..ATTEMPTS {
            let found = search().or_else(|| {
                // It may be hidden behind a gap: that must not look as if the client had left.
                open_descriptors();
                search()
            });
            let Some(fd) = found else { return Ok(None) };
            // None: another thread's duplicate, which was let go of at this moment.
            if let Some(socket) = ClientSocket::hold(fd, peer)? {
                return Ok(Some(socket));
            }
        }
        Ok(None)
    }

    /// The connection that was seen; none where that descriptor of it is closed already. It is
    /// not looked for: where many have been closed meanwhile, that would take longer than a
    /// busy machine lets us work at a time, and the next look shows what is still there.
    ///
    /// # Errors
    /// As [`ClientSocket::find`].
    pub fn of(seen: &Sighting) -> io::Result<Option<ClientSocket>> {
        ClientSocket::hold(seen.descriptor, seen.peer)
    }

    /// Duplicates a descriptor, if it is that of a connection to this client.
    fn hold(fd: RawFd, peer: SocketAddr) -> io::Result<Option<ClientSocket>> {
        // SAFETY: the descriptor was open a moment ago; if it is closed by now, `dup`
        // fails, and if its number was given to another file, the check below says so.
        match unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned() {
            Ok(duplicate) => {
                let same = address(duplicate.as_raw_fd(), libc::getpeername) == Ok(Some(peer));
                Ok(same.then(|| ClientSocket(TcpStream::from(duplicate))))
            }
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the client closed its side, or the connection broke. `TCP_INFO` and not
    /// `POLLRDHUP`: tiny_http's own read shutdown would set that too.
    pub fn left(&self) -> bool {
        tcp_info(self.0.as_raw_fd()).is_none_or(|info| info.state != TCP_ESTABLISHED)
    }

    /// Whether the connection is no more, in either direction: another may come from its port.
    pub fn has_ended(&self) -> bool {
        address(self.0.as_raw_fd(), libc::getpeername).is_err()
    }

    /// Ends the connection after what was sent: a cut, where the framing promised more.
    pub fn cut(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }

    /// Ends the client's side only: whoever reads from it finds the end.
    pub fn stop_reading(&self) {
        let _ = self.0.shutdown(Shutdown::Read);
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

    /// Sends what can be sent without waiting; says whether that was all.
    pub fn send_now(&self, bytes: &[u8]) -> bool {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: pointer and length describe `bytes`.
        let sent =
            unsafe { libc::send(self.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
        usize::try_from(sent) == Ok(bytes.len())
    }

    /// What tells this connection from all others.
    pub fn identity(&self) -> Option<Identity> {
        identity(self.0.as_raw_fd())
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

/// A client's connection as the kernel sees it at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Sighting {
    /// The client's address.
    pub peer: SocketAddr,
    /// One of the descriptors of this connection.
    pub descriptor: RawFd,
    /// Bytes that the client has sent so far.
    pub received: u64,
    /// How many of them nobody has read yet.
    pub unread: u64,
    /// How long ago the last of them arrived.
    pub silence: Duration,
    /// Whether the client closed its side, or the connection broke.
    pub left: bool,
    /// Whether there is another one from the same address and port, to another address of ours.
    pub is_doubled: bool,
}

impl Sighting {
    /// Whether more has come since, or the connection has ended.
    pub fn has_changed(&self) -> bool {
        tcp_info(self.descriptor).is_none_or(|info| info.received != self.received)
    }
}

/// Looks at all connections to a local port.
pub fn connections(local_port: u16) -> Vec<Sighting> {
    // tiny_http has two descriptors for each, and we may have a third.
    let mut seen: HashMap<SocketAddr, (SocketAddr, Option<Sighting>)> = HashMap::new();
    for (fd, local, peer) in descriptors(local_port) {
        let (first, sighting) = seen.entry(peer).or_insert_with(|| (local, sight(fd, peer)));
        if let Some(sighting) = sighting.as_mut().filter(|_| *first != local) {
            sighting.is_doubled = true;
        }
    }
    seen.into_values().filter_map(|(_, sighting)| sighting).collect()
}

fn sight(fd: RawFd, peer: SocketAddr) -> Option<Sighting> {
    let TcpInfo { state, silence, received } = tcp_info(fd)?;
    let (unread, left) = (unread(fd), state != TCP_ESTABLISHED);
    Some(Sighting { peer, descriptor: fd, received, unread, silence, left, is_doubled: false })
}

/// Cuts a connection without a descriptor of our own, for when none can be had, or it cannot be
/// told from another: then both.
pub fn cut(peer: SocketAddr, local_port: u16) {
    for fd in of_peer(peer, local_port) {
        // SAFETY: a plain system call; on a descriptor that was closed meanwhile it fails.
        unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
    }
}

/// Whether a descriptor is a socket that listens on this port.
pub fn listens(fd: RawFd, local_port: u16) -> bool {
    let mut listening: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: pointer and length describe `listening`.
    let result = unsafe {
        let value = (&raw mut listening).cast();
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN, value, &raw mut length)
    };
    let local = address(fd, libc::getsockname);
    let local = local.ok().flatten();
    result == 0 && listening == 1 && local.is_some_and(|local| local.port() == local_port)
}

/// Ends listening at once: the port is free for another process, and a thread in `accept`
/// gets an error.
pub fn stop_listening(listener: &TcpListener) {
    // SAFETY: a plain system call on a descriptor that `listener` owns.
    unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
}

/// Raises the number of files that the process may open to what it is allowed at most, and
/// tells that number.
pub fn raise_file_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a valid `rlimit`, which the kernel fills or reads.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return 1024;
        }
        let soft = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0 {
            limit.rlim_cur = soft;
        }
    }
    // On 32-bit systems this is a smaller type.
    #[allow(clippy::unnecessary_cast)]
    let limit = limit.rlim_cur as u64;
    limit
}

/// The time of the clock that systemd counts by, in microseconds.
pub fn monotonic_micros() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a valid `timespec`, which the kernel fills.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    // On 32-bit systems these are smaller types.
    #[allow(clippy::unnecessary_cast)]
    let micros = time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000;
    micros
}

/// Takes the listening socket that the service manager passed on.
///
/// # Errors
/// Where there is none.
pub fn inherited() -> io::Result<TcpListener> {
    /// `SD_LISTEN_FDS_START`.
    const FIRST: RawFd = 3;
    let is_listening = address(FIRST, libc::getsockname)
        .is_ok_and(|local| local.is_some_and(|local| listens(FIRST, local.port())));
    if !is_listening {
        let what = "the service manager passed no listening TCP socket on";
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    // SAFETY: the variables that were checked say that descriptor 3 is ours to take, and
    // this is called once.
    let socket = unsafe { OwnedFd::from_raw_fd(FIRST) };
    let socket = TcpStream::from(socket);
    // systemd's sockets do not wait, and `accept` must.
    socket.set_nonblocking(false)?;
    for_clients(&socket)?;
    let fd = socket.as_raw_fd();
    // SAFETY: a plain system call on a descriptor that `socket` owns.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    Ok(TcpListener::from(OwnedFd::from(socket)))
}

/// Puts another file in the place of a listening socket that somebody else will go on
/// using: a thread that accepts from it is refused from its next call on.
pub fn replace(listening: RawFd) -> io::Result<()> {
    let other = std::os::unix::net::UnixDatagram::unbound()?;
    // SAFETY: both are open descriptors; the one that is closed by this belongs to tiny_http,
    // which goes on to close the number once, with the file that it then stands for.
    check(unsafe { libc::dup2(other.as_raw_fd(), listening) }.min(0))
}

/// Up to where descriptors are looked for.
static HIGHEST: AtomicI32 = AtomicI32::new(0);

/// How many free numbers in a row are taken for the end.
const GAP: RawFd = 64;

/// The descriptors of connections to a local port, each with our address and the client's.
///
/// Listing `/proc/self/fd` takes several times as long, and this is asked many times a
/// second. The kernel gives the lowest free number, so that a new descriptor is either
/// below those that were open when [`open_descriptors`] was last asked, or right behind
/// others.
fn descriptors(local_port: u16) -> impl Iterator<Item = (RawFd, SocketAddr, SocketAddr)> {
    let (mut fd, mut limit) = (-1, HIGHEST.load(Ordering::Relaxed));
    std::iter::from_fn(move || {
        while fd < limit + GAP {
            fd += 1;
            let local = match address(fd, libc::getsockname) {
                Ok(local) => local,
                Err(libc::EBADF) => continue,
                Err(_) => None,
            };
            if fd > limit {
                limit = fd;
                HIGHEST.fetch_max(fd, Ordering::Relaxed);
            }
            if let Some(local) = local.filter(|local| local.port() == local_port) {
                if let Ok(Some(peer)) = address(fd, libc::getpeername) {
                    return Some((fd, local, peer));
                }
            }
        }
        None
    })
}

/// The descriptors of connections from one address and port.
fn of_peer(peer: SocketAddr, local_port: u16) -> impl Iterator<Item = RawFd> {
    descriptors(local_port).filter(move |(.., other)| *other == peer).map(|(fd, ..)| fd)
}

/// All of the process's descriptors, for certain.
pub fn open_descriptors() -> Vec<RawFd> {
    let listed = std::fs::read_dir("/proc/self/fd").map(|entries| {
        let number =
            |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
        entries.filter_map(number).collect::<Vec<RawFd>>()
    });
    match listed {
        Ok(descriptors) => {
            HIGHEST.store(descriptors.iter().copied().max().unwrap_or(0), Ordering::Relaxed);
            descriptors
        }
        // None is left to list them with.
        Err(_) => (0..HIGHEST.load(Ordering::Relaxed) + GAP).collect(),
    }
}

/// How many descriptors there are of connections to a local port that broke before it could be
/// told whose they were.
pub fn nameless(local_port: u16) -> usize {
    let is_nameless = |fd: &&RawFd| {
        let local = address(**fd, libc::getsockname).ok().flatten();
        local.is_some_and(|local| local.port() == local_port)
            && address(**fd, libc::getpeername) == Err(libc::ENOTCONN)
            && !listens(**fd, local_port)
    };
    open_descriptors().iter().filter(is_nameless).count()
}

/// What a descriptor refers to: a device and a number on it.
pub type Identity = (u64, u64);

/// What all of the process's descriptors refer to.
pub fn open_identities() -> HashSet<Identity> {
    open_descriptors().iter().filter_map(|fd| identity(*fd)).collect()
}

/// What a descriptor refers to, whatever state it is in.
fn identity(fd: RawFd) -> Option<Identity> {
    // SAFETY: `stat` is made of integers, for which zero is a value.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a valid `stat`, which the kernel fills.
    let result = unsafe { libc::fstat(fd, &raw mut stat) };
    // On 32-bit systems these are smaller types.
    #[allow(clippy::unnecessary_cast)]
    let identity = (stat.st_dev as u64, stat.st_ino as u64);
    (result == 0).then_some(identity)
}

/// `TCP_ESTABLISHED` of the kernel's `tcp_states.h`; the libc crate does not have it.
const TCP_ESTABLISHED: u8 = 1;

/// What is read of the kernel's `struct tcp_info`, of which the libc crate has the beginning only.
struct TcpInfo {
    state: u8,
    silence: Duration,
    received: u64,
}

fn tcp_info(fd: RawFd) -> Option<TcpInfo> {
    // The fields lie where `linux/tcp.h` has had them since Linux 4.1.
    const LAST_DATA_RECEIVED: usize = 52;
    const BYTES_RECEIVED: usize = 128;
    let mut info = [0_u8; 136];
    let mut length = info.len() as libc::socklen_t;
    let buffer = info.as_mut_ptr().cast();
    // SAFETY: buffer and length describe `info`; the kernel writes no more than that.
    let result =
        unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, buffer, &raw mut length) };
    if result != 0 || (length as usize) < info.len() {
        return None;
    }
    let four = info[LAST_DATA_RECEIVED..].first_chunk().copied()?;
    let eight = info[BYTES_RECEIVED..].first_chunk().copied()?;
    Some(TcpInfo {
        state: info[0],
        silence: Duration::from_millis(u32::from_ne_bytes(four).into()),
        received: u64::from_ne_bytes(eight),
    })
}

fn unread(fd: RawFd) -> u64 {
    let mut unread: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int.
    let result = unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut unread) };
    if result == 0 { u64::try_from(unread).unwrap_or(0) } else { 0 }
}

type NameCall =
    unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

/// One of a socket's addresses; none where it is of another family, else the error's number.
fn address(fd: RawFd, call: NameCall) -> Result<Option<SocketAddr>, i32> {
    // SAFETY: `sockaddr_storage` is made of integers, for which zero is a value.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let storage_pointer = &raw mut storage;
    // SAFETY: pointer and length describe `storage`; on anything but a socket it fails.
    if unsafe { call(fd, storage_pointer.cast(), &raw mut length) } != 0 {
        return Err(io::Error::last_os_error().raw_os_error().unwrap_or_default());
    }
    Ok(match i32::from(storage.ss_family) {
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
    })
}

fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: pointer and length describe `value`.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) })
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
