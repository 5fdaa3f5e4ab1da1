//! TCP to an upstream that keeps an eye on the client.
//!
//! ureq waits for an upstream until a deadline; the client of an exchange may leave long
//! before. So the socket here is waited for in slices, and between them the exchange is
//! asked whether it is still wanted. Two more things that ureq does not tell are told
//! here: a connection that breaks is never taken for the end of a body, and an upstream
//! that answers without reading the whole request (413) is heard. Limits: a look-up of a name
//! that nobody waits for goes on to its end; `ureq::unversioned` is not covered by semver,
//! hence the pinned version.

mod buffers;
mod idle;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, NextTimeout,
    RustlsConnector, Transport,
};
use ureq::{Error, Timeout};

use self::buffers::ElasticBuffers;
use self::idle::Reuse;
use crate::cache::{Cache, Size};
use crate::elastic;
use crate::server::Client;
use crate::server::memory;
use crate::server::sockets::{self, Pending, pending};

/// How long the socket is waited for before the exchange is asked again.
const SLICE: Duration = Duration::from_millis(500);

/// How much of a request is sent before the first look whether it is answered already,
/// in bytes.
const UNANSWERED: usize = 64 * 1024;

/// How much of a request is held until there is more of it, in bytes: what fits into few
/// segments.
const HELD: usize = 16 * 1024;

/// How many slices an upstream may take nothing of a request, under TLS and with bytes to
/// read: those may be more than an answer, which cannot be told before they are decrypted.
const STUBBORN: u32 = 4;

/// How long a resolved name is believed. ureq looks it up for every request, also where
/// it has a connection.
const ADDRESS_TTL: Duration = Duration::from_secs(10);

/// How many addresses of a name are tried: as many as ureq has room for.
const MOST_ADDRESSES: usize = 16;

/// What the transport and the exchange whose thread it works on tell each other.
#[derive(Debug)]
pub(super) struct Call {
    client: Option<Arc<Client>>,
    room: Room,
    /// How many connections are being made: behind an HTTP proxy there is one within the other.
    connecting: Cell<u32>,
    connected: Cell<bool>,
    client_left: Cell<bool>,
    upload_refused: Cell<bool>,
    /// Whether only a new connection will do.
    renewed: Cell<bool>,
    /// Whether a read is only for what has arrived already.
    at_once: Cell<bool>,
    /// When it was last asked whether the client is still there.
    asked: Cell<Instant>,
    /// The socket of the connection that is being made.
    socket: RefCell<Option<Arc<TcpStream>>>,
}

/// What a request needs of the buffers, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// For its head, and as much of its body as is sent at once.
    pub(super) output: usize,
    /// For a body that is put into chunks.
    pub(super) scratch: usize,
    /// Whether all of it is there: then its head waits for its body.
    pub(super) holds: bool,
}

thread_local! {
    /// The call that this thread works on. ureq has no way to hand a value through to a
    /// transport that it took from its pool.
    static CALL: RefCell<Option<Rc<Call>>> = const { RefCell::new(None) };
}

impl Call {
    pub(super) fn new(client: Option<Arc<Client>>, room: Room) -> Rc<Call> {
        Rc::new(Call {
            client,
            room,
            connecting: Cell::new(0),
            connected: Cell::new(false),
            client_left: Cell::new(false),
            upload_refused: Cell::new(false),
            renewed: Cell::new(false),
            at_once: Cell::new(false),
            asked: Cell::new(Instant::now()),
            socket: RefCell::default(),
        })
    }

    /// Does some work of this call: the transport knows it by the thread.
    pub(super) fn during<T>(self: &Rc<Self>, work: impl FnOnce() -> T) -> T {
        struct Restore(Option<Rc<Call>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CALL.set(self.0.take());
            }
        }
        let _restore = Restore(CALL.replace(Some(Rc::clone(self))));
        self.connecting.set(0);
        work()
    }

    /// The same, where reads are only for what has arrived: else they time out at once.
    pub(super) fn without_waiting<T>(self: &Rc<Self>, work: impl FnOnce() -> T) -> T {
        self.at_once.set(true);
        let done = self.during(work);
        self.at_once.set(false);
        done
    }

    /// Whether a failure came while the connection was being made.
    pub(super) fn connecting(&self) -> bool {
        self.connecting.get() > 0
    }

    fn begin_connecting(&self) {
        self.connecting.set(self.connecting.get() + 1);
    }

    fn end_connecting(&self) {
        self.connecting.set(self.connecting.get().saturating_sub(1));
    }

    /// Whether a connection was made for this call, and none taken from the pool.
    pub(super) fn connected(&self) -> bool {
        self.connected.get()
    }

    /// Asks for a new connection: one that was open already has broken.
    pub(super) fn renew(&self) {
        self.renewed.set(true);
    }

    /// Whether the transport gave up because the client had left.
    pub(super) fn client_left(&self) -> bool {
        self.client_left.get()
    }

    /// Whether the upstream no longer reads the request: nothing more of it is sent.
    pub(super) fn upload_refused(&self) -> bool {
        self.upload_refused.get()
    }
}

/// Whether the request that is being sent needs a new connection.
fn is_renewed() -> bool {
    let mut renewed = false;
    on_call(|call| renewed = call.renewed.get());
    renewed
}

/// What the request that is being sent needs of the buffers.
fn room() -> Room {
    let mut room = Room { output: elastic::LEAST, scratch: 0, holds: true };
    on_call(|call| room = call.room);
    room
}

fn on_call(tell: impl FnOnce(&Call)) {
    CALL.with_borrow(|call| call.as_deref().map(tell));
}

/// Asks, where that was not done for a slice, whether the exchange is still wanted: an
/// upstream may drip for ever.
fn still_wanted_now_and_then() -> Result<(), Error> {
    let mut is_due = false;
    on_call(|call| is_due = call.asked.get().elapsed() >= SLICE);
    if is_due { still_wanted() } else { Ok(()) }
}

fn still_wanted() -> Result<(), Error> {
    let mut left = false;
    on_call(|call| {
        call.asked.set(Instant::now());
        left = call.client.as_ref().is_some_and(|client| client.left());
        call.client_left.set(left);
    });
    if left { Err(io::Error::other("the client left").into()) } else { Ok(()) }
}

/// The chain of connectors: an HTTP proxy where one is set, TCP, TLS, and the truth; before
/// all of them, what is open already.
pub(super) fn connector(idle_timeout: Duration, has_proxy: bool) -> impl Connector {
    let chain =
        ().chain(Beginning)
            .chain(ConnectProxyConnector::default())
            .chain(Tcp { idle_timeout, has_proxy })
            .chain(RustlsConnector::default())
            .chain(Truth { has_proxy });
    Reuse::new(chain, has_proxy)
}

/// Opens nothing: it tells that a connection is being made, until [`Truth`] tells that it has
/// been, with all that belongs to it. An HTTP proxy has been asked by then, and TLS is spoken.
#[derive(Debug)]
struct Beginning;

impl<In: Transport> Connector<In> for Beginning {
    type Out = In;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        on_call(Call::begin_connecting);
        Ok(chained)
    }
}

/// Opens TCP connections.
#[derive(Debug)]
struct Tcp {
    idle_timeout: Duration,
    has_proxy: bool,
}

impl<In: Transport> Connector<In> for Tcp {
    type Out = Either<In, TcpTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(tunnel) = chained {
            return Ok(Some(Either::A(tunnel)));
        }
        let stream = connect(details)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SLICE))?;
        stream.set_write_timeout(Some(SLICE))?;
        let stream = Arc::new(stream);
        on_call(|call| *call.socket.borrow_mut() = Some(Arc::clone(&stream)));
        Ok(Some(Either::B(TcpTransport {
            stream,
            buffers: ElasticBuffers::new(),
            sending: false,
            idle_timeout: self.idle_timeout,
            plain: !details.needs_tls() && !self.has_proxy,
            deaf: false,
            unseen: false,
        })))
    }
}

fn connect(details: &ConnectionDetails<'_>) -> Result<TcpStream, Error> {
    let deadline = deadline(&details.timeout);
    let mut failure = Error::ConnectionFailed;
    let mut addresses = details.addrs.iter().collect::<Vec<_>>().into_iter();
    while let Some(address) = addresses.next() {
        let until = match deadline {
            None => None,
            Some(deadline) => {
                let now = Instant::now();
                let left = deadline.saturating_duration_since(now);
                if left.is_zero() {
                    return Err(Error::Timeout(details.timeout.reason));
                }
                // An address that does not answer shall leave time for those behind it.
                Some(if addresses.len() == 0 { deadline } else { now + left / 2 })
            }
        };
        failure = match connect_until(*address, until)? {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Error::Timeout(details.timeout.reason)
            }
            Err(error) => error.into(),
        };
    }
    Err(failure)
}

/// Opens a connection to one address, for as long as the exchange is wanted.
fn connect_until(
    address: SocketAddr,
    until: Option<Instant>,
) -> Result<io::Result<TcpStream>, Error> {
    let stream = match sockets::begin_to_connect(address) {
        Ok(stream) => stream,
        Err(error) => return Ok(Err(error)),
    };
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match sockets::is_connected(&stream, left.map_or(SLICE, |left| left.min(SLICE))) {
            Ok(true) => return Ok(Ok(stream)),
            Ok(false) if left.is_some_and(|left| left.is_zero()) => {
                return Ok(Err(io::ErrorKind::TimedOut.into()));
            }
            Ok(false) => still_wanted()?,
            Err(error) => return Ok(Err(error)),
        }
    }
}

fn deadline(timeout: &NextTimeout) -> Option<Instant> {
    if timeout.after.is_not_happening() { None } else { Instant::now().checked_add(*timeout.after) }
}

/// One connection to an upstream.
#[derive(Debug)]
struct TcpTransport {
    stream: Arc<TcpStream>,
    buffers: ElasticBuffers,
    /// Whether some of a request was given to us since the upstream was last waited for.
    sending: bool,
    idle_timeout: Duration,
    /// Whether what is read is the upstream's answer, and not TLS.
    plain: bool,
    /// The upstream no longer reads: what is written is dropped, so that ureq goes on to
    /// read the answer that says why.
    deaf: bool,
    /// That answer was read while the request was being sent, and ureq does not know of it.
    unseen: bool,
}

impl TcpTransport {
    /// After a slice without progress: is anybody still waiting, and for how long?
    fn go_on(&self, since: Instant, timeout: &NextTimeout) -> Result<(), Error> {
        still_wanted()?;
        let (limit, reason) = match timeout.after.is_not_happening() {
            true => (self.idle_timeout, Timeout::PerRead),
            false => (*timeout.after, timeout.reason),
        };
        if since.elapsed() >= limit { Err(Error::Timeout(reason)) } else { Ok(()) }
    }

    /// Sends what was held of the request, and this much of the output behind it.
    fn send(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let mut sent = 0;
        let mut since = Instant::now();
        let mut slices = 0;
        while sent < self.buffers.to_send(amount).len() && !self.deaf {
            match (&*self.stream).write(&self.buffers.to_send(amount)[sent..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => {
                    sent += written;
                    since = Instant::now();
                    slices = 0;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        slices += 1;
                        let patience = if self.plain { 1 } else { STUBBORN };
                        if slices >= patience && self.is_answered() {
                            self.stop_sending();
                        } else {
                            self.go_on(since, &timeout)?;
                        }
                    }
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                        self.stop_sending();
                    }
                    _ => return Err(error.into()),
                },
            }
        }
        self.buffers.sent();
        Ok(())
    }

    /// Whether the upstream answers a request of which it takes no more.
    fn is_answered(&mut self) -> bool {
        if pending(&self.stream) != Pending::Bytes {
            return false;
        }
        if !self.plain {
            return true;
        }
        if let Ok(read) = (&*self.stream).read(self.buffers.input_append_buf()) {
            self.buffers.input_appended(read);
            self.unseen = true;
        }
        has_final_answer(&mut self.buffers)
    }

    fn stop_sending(&mut self) {
        self.deaf = true;
        on_call(|call| call.upload_refused.set(true));
    }
}

impl Transport for TcpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        // The head comes first; its body is at once behind it, or the answer is waited for.
        let is_first = !std::mem::replace(&mut self.sending, true);
        if is_first && amount <= HELD && room().holds {
            self.buffers.hold(amount);
            return Ok(());
        }
        self.send(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let mut at_once = false;
        on_call(|call| at_once = call.at_once.get());
        // A look in the middle of a request leaves what is to be sent as it is.
        if !at_once {
            self.send(0, timeout)?;
            self.sending = false;
            self.buffers.rest();
        }
        if std::mem::take(&mut self.unseen) && !self.buffers.input().is_empty() {
            return Ok(true);
        }
        if at_once && pending(&self.stream) == Pending::Nothing {
            return Err(Error::Timeout(timeout.reason));
        }
        let since = Instant::now();
        let mut is_settled = false;
        loop {
            match (&*self.stream).read(self.buffers.input_append_buf()) {
                Ok(read) => {
                    still_wanted_now_and_then()?;
                    self.buffers.input_appended(read);
                    return Ok(read > 0);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        self.go_on(since, &timeout)?;
                        // There may be a thousand such streams, for minutes.
                        if !std::mem::replace(&mut is_settled, true) {
                            self.buffers.settle();
                            memory::release_stack();
                        }
                    }
                    _ => return Err(error.into()),
                },
            }
        }
    }

    fn is_open(&mut self) -> bool {
        // ureq looks at what it can read itself: under TLS there may be more here.
        let is_clean = !self.buffers.holds() && self.buffers.input().is_empty();
        is_clean && !self.deaf && pending(&self.stream) == Pending::Nothing
    }
}

/// Passes everything on, but for two things. Errors that ureq would take for the end of a
/// body that ends with its connection are made plain: a reset, and TLS that stops without
/// saying so. And an upstream that answers while the request is still being sent is heard:
/// once it closes, the kernel throws away what was not read.
#[derive(Debug)]
struct Truth {
    has_proxy: bool,
}

impl<In: Transport> Connector<In> for Truth {
    type Out = TruthfulTransport<In>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let mut socket = None;
        // What comes from a proxy itself may be TLS that it passes on.
        let is_to_proxy = self.has_proxy && details.config.proxy().is_none();
        on_call(|call| {
            call.end_connecting();
            call.connected.set(true);
            if !is_to_proxy {
                socket = call.socket.take();
            }
        });
        Ok(chained.map(|inner| TruthfulTransport {
            inner,
            socket,
            unanswered: 0,
            deaf: false,
            unseen: false,
        }))
    }
}

#[derive(Debug)]
struct TruthfulTransport<T> {
    inner: T,
    /// None on the way to an HTTP proxy.
    socket: Option<Arc<TcpStream>>,
    /// Bytes that were sent since the upstream last said something.
    unanswered: usize,
    /// The request was answered before all of it was sent: nothing more is.
    deaf: bool,
    /// The answer has begun, and ureq has not looked at it yet.
    unseen: bool,
}

impl<T: Transport> TruthfulTransport<T> {
    /// Whether the upstream has begun to answer. Under TLS, what has arrived may be for TLS
    /// alone, and is taken in by this.
    fn is_answered(&mut self, timeout: NextTimeout) -> bool {
        let Some(socket) = self.socket.clone() else { return false };
        let mut reads = true;
        while reads && pending(&socket) == Pending::Bytes {
            reads = matches!(self.read_arrived(timeout), Ok(true));
            if has_final_answer(self.inner.buffers()) {
                return true;
            }
        }
        false
    }

    fn read_arrived(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        on_call(|call| call.at_once.set(true));
        let read = self.inner.await_input(timeout);
        on_call(|call| call.at_once.set(false));
        read
    }
}

impl<T: Transport> Transport for TruthfulTransport<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if !self.deaf && self.unanswered >= UNANSWERED && self.is_answered(timeout) {
            self.deaf = true;
            self.unseen = true;
            on_call(|call| call.upload_refused.set(true));
        }
        if self.deaf {
            return Ok(());
        }
        self.unanswered += amount;
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.unanswered = 0;
        // What came while ureq was sending is not known to it as progress.
        if std::mem::take(&mut self.unseen) && !self.inner.buffers().input().is_empty() {
            return Ok(true);
        }
        self.inner.await_input(timeout).map_err(|error| match error {
            Error::Io(error) if ends_a_body(error.kind()) => io::Error::other(Broken(error)).into(),
            other => other,
        })
    }

    fn is_open(&mut self) -> bool {
        // What has arrived under TLS may be for TLS alone; anything else belongs to no request.
        let is_clean = !self.inner.is_tls() || {
            let read = self.read_arrived(NextTimeout::default());
            let nothing = read.is_err_and(|error| is_timeout(&error).is_some());
            nothing && self.inner.buffers().input().is_empty()
        };
        is_clean && !self.deaf && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// How the heads begin that announce nothing but that the answer is still to come.
const INFORMATIONAL: &[u8] = b"HTTP/1.1 1";

/// Whether what was read is the answer itself, or its beginning. What comes in front of it
/// (100, 102, 103) is dropped.
fn has_final_answer(buffers: &mut dyn Buffers) -> bool {
    loop {
        let input = buffers.input();
        if input.len() < INFORMATIONAL.len() {
            return !INFORMATIONAL.starts_with(input);
        }
        if !input.starts_with(INFORMATIONAL) {
            return true;
        }
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
            return false;
        };
        buffers.input_consume(end + 4);
    }
}

/// Whether an error says that the connection broke.
pub(super) fn is_break(error: &Error) -> bool {
    match error {
        Error::Io(error) => {
            let broken = error.get_ref().is_some_and(|inner| inner.is::<Broken>());
            broken || ends_a_body(error.kind())
        }
        _ => false,
    }
}

fn ends_a_body(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, UnexpectedEof | ConnectionAborted | ConnectionReset)
}

/// A connection that broke while it was read.
#[derive(Debug)]
struct Broken(io::Error);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Broken {}

/// Looks names up, and remembers them for a while.
#[derive(Debug)]
pub(super) struct Addresses(Arc<Cache<String, Vec<SocketAddr>, String>>);

impl Size for Vec<SocketAddr> {
    fn size(&self) -> usize {
        size_of_val(self.as_slice())
    }
}

impl Size for String {
    fn size(&self) -> usize {
        self.len()
    }
}

impl Default for Addresses {
    fn default() -> Addresses {
        Addresses(Arc::new(Cache::new(ADDRESS_TTL, Duration::ZERO, Duration::ZERO)))
    }
}

impl Addresses {
    /// Looks a host and its port up, for as long as the exchange is wanted.
    fn look_up(&self, host: String, timeout: &NextTimeout) -> Result<Vec<SocketAddr>, Error> {
        let deadline = deadline(timeout);
        let name = host.clone();
        let asked = self.0.ask(&host, move || match name.to_socket_addrs() {
            Ok(addresses) => Ok(addresses.collect()),
            Err(error) => Err(error.to_string()),
        });
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match asked.within(left.map_or(SLICE, |left| left.min(SLICE))) {
                Some((Ok(addresses), _)) => return Ok(addresses),
                Some((Err(what), _)) => return Err(io::Error::other(what).into()),
                None if left.is_some_and(|left| left.is_zero()) => {
                    return Err(Error::Timeout(timeout.reason));
                }
                None => still_wanted()?,
            }
        }
    }
}

impl Resolver for Addresses {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        on_call(Call::begin_connecting);
        let parts = uri.scheme().zip(uri.authority());
        let host = parts.and_then(|(scheme, rest)| DefaultResolver::host_and_port(scheme, rest));
        let host = host.ok_or(Error::HostNotFound)?;
        // An address needs no looking up.
        let addresses = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.look_up(host, &timeout)?,
        };
        if addresses.is_empty() {
            return Err(Error::HostNotFound);
        }
        on_call(Call::end_connecting);
        let mut resolved = self.empty();
        addresses.into_iter().take(MOST_ADDRESSES).for_each(|address| resolved.push(address));
        Ok(resolved)
    }
}

/// Whether an error of ureq's is that of a deadline, and not of something that broke.
pub(super) fn is_timeout(error: &Error) -> Option<Timeout> {
    match error {
        Error::Timeout(timeout) => Some(*timeout),
        _ => None,
    }
}
