//! One remote API: its address, what it may see of a client, and how to ask it.
//!
//! The only room that names ureq. An [`Upstream`] takes a request whose header fields
//! are already those of a proxy, decides about credentials, sends it once, and hands
//! back the head and a reader of the body. Limits: HTTP/1.1, no redirects followed; no
//! request sent twice but `GET` and `HEAD` over a connection that had been closed.

mod answer;
mod transport;

use std::io::{self, Read};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{self, HeaderName, HeaderValue, Method};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, SendBody, Timeout};

use crate::config::{self, Authorization, BaseUrl};
use crate::elastic;
use crate::error::{Code, Error, cut};
use crate::headers::Headers;
use crate::secret::Secret;
use crate::sys::sockets::is_shortage;
use crate::wanted::Wanted;
use transport::{Addresses, Call, Room};

pub use answer::Answer;

/// One direction's buffer of a connection. A header field longer than this is refused.
const BUFFER: usize = 64 * 1024;

/// One remote API.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    prefix: String,
    base_url: String,
    agent: Agent,
    authorization: Authorization,
    api_key: Option<Secret>,
    headers: Vec<(String, Secret)>,
    connect_timeout: Duration,
    total_timeout: Duration,
    idle_timeout: Duration,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// `<base_url><rest>`.
    Below(&'a str),
    /// `<base_url without a trailing /v1><path>`, where no configured secret is sent.
    Beside(&'a str),
}

/// A request's body on its way to the upstream.
pub enum Upload<'a> {
    /// No body.
    None,
    /// A body that is there.
    Whole(&'a [u8]),
    /// A body of this many bytes, to be read.
    Known(u64, &'a mut dyn Read),
    /// A body that ends when its reader does.
    Chunked(&'a mut dyn Read),
}

/// A request to an upstream, with the fields of the client that may pass a proxy.
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// Where it goes.
    pub place: Place<'a>,
    /// Header fields, without those that frame the body.
    pub headers: Headers,
    /// The body.
    pub upload: Upload<'a>,
}

impl Upstream {
    /// An upstream as configured. `sample` is where the built-in sample answers.
    ///
    /// # Errors
    /// Where the proxy or the certificates cannot be used; the text names the setting.
    pub fn new(
        config: &config::Upstream,
        sample: Option<SocketAddr>,
    ) -> Result<Upstream, ureq::Error> {
        let base_url = match (&config.base_url, sample) {
            (BaseUrl::Remote(url), _) => url.clone(),
            (BaseUrl::Sample, address) => {
                let address = address.expect("main starts the sample where it is configured");
                format!("http://{address}/v1")
            }
        };
        let connect_timeout = config.connection_timeout.unwrap_or(config.total_timeout);
        let proxy = config.proxy.as_ref().map(|url| ureq::Proxy::new(url.expose())).transpose()?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent("")
            .accept("")
            .accept_encoding("")
            .allow_non_standard_methods(true)
            .proxy(proxy)
            .tls_config(tls(config.ca_file.as_deref()))
            .max_idle_connections(0) // the transport keeps them
            .input_buffer_size(BUFFER + elastic::LEAST) // more than a head may have, to be told why
            .output_buffer_size(BUFFER)
            .timeout_resolve(Some(connect_timeout))
            .timeout_connect(Some(connect_timeout))
            .timeout_recv_response(Some(config.total_timeout))
            .build();
        let connector = transport::connector(config.idle_timeout, config.proxy.is_some());
        Ok(Upstream {
            name: config.name.clone(),
            prefix: config.prefix.clone(),
            base_url,
            agent: Agent::with_parts(agent, connector, Addresses::default()),
            authorization: config.authorization,
            api_key: config.api_key.clone(),
            headers: config.headers.clone(),
            connect_timeout,
            total_timeout: config.total_timeout,
            idle_timeout: config.idle_timeout,
        })
    }

    /// What the log and messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands in front of its model ids; empty, or with its slash.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether clients bring its credentials.
    pub fn passes_credentials(&self) -> bool {
        let passes = [Authorization::Passthrough, Authorization::Keyring];
        passes.contains(&self.authorization) && self.api_key.is_none()
    }

    /// The address below which it answers.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Sends a request and waits for the head of the response, for as long as the client
    /// is there and `total_timeout` lasts.
    ///
    /// # Errors
    /// 400 for a target or field that cannot be sent, 499, 502 and 504.
    pub fn send(
        &self,
        mut request: Request<'_>,
        client: Arc<dyn Wanted>,
    ) -> Result<Answer<'_>, Error> {
        self.decide_credentials(&mut request.headers, request.place);
        self.run(request, Some(client), None)
    }

    /// Asks for something on nobody's behalf, with these fields as they are, credentials
    /// included; the whole answer has this long.
    ///
    /// # Errors
    /// 400 for a target or field that cannot be sent, 502 and 504.
    pub fn fetch(&self, request: Request<'_>, within: Duration) -> Result<Answer<'_>, Error> {
        self.run(request, None, Some(within))
    }

    fn run(
        &self,
        request: Request<'_>,
        client: Option<Arc<dyn Wanted>>,
        within: Option<Duration>,
    ) -> Result<Answer<'_>, Error> {
        let Request { method, place, headers, upload } = request;
        let is_there = matches!(upload, Upload::None | Upload::Whole(_));
        let mut whole: &[u8];
        let (length, body): (_, Option<&mut dyn Read>) = match upload {
            // A method that may have a body says that it has none (RFC 9110, 8.6).
            Upload::None if matches!(method, "POST" | "PUT" | "PATCH") => (Some(0), None),
            Upload::None => (None, None),
            Upload::Whole([]) | Upload::Known(0, _) => (Some(0), None),
            Upload::Whole(bytes) => {
                whole = bytes;
                (Some(bytes.len() as u64), Some(&mut whole))
            }
            Upload::Known(length, reader) => (Some(length), Some(reader)),
            Upload::Chunked(reader) => (None, Some(reader)),
        };
        let (uri, uri_length) = uri(&self.url(place))?;
        let room = room(uri_length, &headers, length, body.is_some());
        let room = Room { holds: is_there, ..room };
        let call = Call::new(client, room);
        let request = head(method, uri, &headers, length)?;
        let response = match body {
            None => {
                let ask = || self.ask(request.clone().map(|()| SendBody::none()), &call, within);
                let response = ask();
                let stale = response.as_ref().is_err_and(transport::is_break) && !call.connected();
                // An upstream may close a connection just when it is used again. Only what
                // changes nothing is asked once more.
                if stale && matches!(method, "GET" | "HEAD") {
                    call.renew();
                    ask()
                } else {
                    response
                }
            }
            Some(reader) => {
                let mut upload = UploadReader { reader, left: length, call: &call };
                let body = SendBody::from_reader(&mut upload);
                self.ask(request.map(|()| body), &call, within)
            }
        };
        match response {
            Ok(response) => Answer::new(response, call, self),
            Err(error) => Err(self.failure(&error, &call, within)),
        }
    }

    fn ask(
        &self,
        mut request: http::Request<SendBody<'_>>,
        call: &Rc<Call>,
        within: Option<Duration>,
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        if let Some(within) = within {
            let configured = self.agent.configure_request(request);
            request = configured.timeout_global(Some(within)).build();
        }
        call.during(|| self.agent.run(request))
    }

    fn url(&self, place: Place<'_>) -> String {
        match place {
            Place::Below(rest) => [&self.base_url, rest].concat(),
            Place::Beside(path) => {
                let host = self.base_url.strip_suffix("/v1").unwrap_or(&self.base_url);
                [host, path].concat()
            }
        }
    }

    /// Leaves of a client's credentials what this upstream may see, and adds its own.
    pub fn decide_credentials(&self, headers: &mut Headers, place: Place<'_>) {
        let own_part = match self.authorization {
            Authorization::Keyring => keyring_part(headers, &self.name),
            Authorization::Passthrough | Authorization::None => None,
        };
        if self.authorization != Authorization::Passthrough || self.api_key.is_some() {
            headers.strip_credentials();
        }
        if matches!(place, Place::Beside(_)) {
            return;
        }
        if let Some(secret) = own_part {
            headers.push("Authorization", format!("Bearer {}", secret.expose()));
        }
        if let Some(key) = &self.api_key {
            headers.push("Authorization", format!("Bearer {}", key.expose()));
        }
        for (name, _) in &self.headers {
            headers.remove(name);
        }
        for (name, value) in &self.headers {
            headers.push(name.as_str(), value.expose());
        }
    }

    /// What a failure means, in the order in which things can fail.
    fn failure(&self, error: &ureq::Error, call: &Call, within: Option<Duration>) -> Error {
        if call.client_left() {
            return Error::client_left();
        }
        let upstream =
            |code, what: String| Error::upstream(code, format!("upstream {:?}: {what}", self.name));
        let url = &self.base_url;
        match transport::is_timeout(error) {
            Some(Timeout::Connect | Timeout::Resolve) => {
                let waited = self.connect_timeout.as_secs_f64();
                let what = format!("no connection to {url} within {waited} s");
                return upstream(Code::UpstreamTimeout, what);
            }
            Some(Timeout::RecvResponse | Timeout::Global) => {
                let waited = within.unwrap_or(self.total_timeout).as_secs_f64();
                let what = format!("no response from {url} within {waited} s");
                return upstream(Code::UpstreamTimeout, what);
            }
            Some(_) => {
                let waited = self.idle_timeout.as_secs_f64();
                let what = format!("no progress with {url} for {waited} s");
                return upstream(Code::UpstreamTimeout, what);
            }
            None => {}
        }
        let cause = cause(error);
        if matches!(error, ureq::Error::Io(error) if is_shortage(error)) {
            let what = format!("no connection can be opened: {cause}");
            return Error::proxy(Code::Overloaded, what);
        }
        let out_of_reach = call.connecting() || matches!(error, ureq::Error::HostNotFound);
        if out_of_reach {
            let what = format!("no connection to {url}: {cause}");
            upstream(Code::UpstreamUnreachable, what)
        } else {
            let what = format!("no valid response from {url}: {cause}");
            upstream(Code::UpstreamInvalidResponse, what)
        }
    }
}

/// Reads a body for as long as the upstream wants it. After that, what is still owed is
/// made up and never sent: ureq asks for the answer only once the body has ended.
struct UploadReader<'a> {
    reader: &'a mut dyn Read,
    /// What is left of a body of known length.
    left: Option<u64>,
    call: &'a Call,
}

impl Read for UploadReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = match self.left {
            Some(left) => buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
            None => buffer.len(),
        };
        let read = match (self.call.upload_refused(), self.left) {
            (false, _) => self.reader.read(&mut buffer[..room])?,
            (true, Some(_)) => room,
            (true, None) => 0,
        };
        self.left = self.left.map(|left| left - read as u64);
        Ok(read)
    }
}

/// What the request line and framing take beside the URL and the fields, at most.
const FRAMING: usize = 256;

/// How large the buffers must be for a request.
fn room(uri: usize, headers: &Headers, length: Option<u64>, has_body: bool) -> Room {
    // The URI stands in the request line, and its host in a field.
    let fields: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let head = FRAMING + 2 * uri + fields;
    let body = match length {
        Some(length) => elastic::size_for(length),
        None if has_body => elastic::MOST,
        None => 0,
    };
    let is_chunked = has_body && length.is_none();
    let output = (head + body).max(elastic::LEAST);
    Room { output, scratch: if is_chunked { body } else { 0 }, holds: true }
}

/// A URI, and how long it is. What clients should have escaped, and many do not, is escaped.
fn uri(url: &str) -> Result<(http::Uri, usize), Error> {
    if let Ok(uri) = url.parse() {
        return Ok((uri, url.len()));
    }
    let is_allowed = |c: char| {
        !c.is_ascii() || c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c)
    };
    let escape = |c: char| if is_allowed(c) { c.into() } else { format!("%{:02X}", c as u32) };
    let escaped: String = url.chars().map(escape).collect();
    match escaped.parse() {
        Ok(uri) => Ok((uri, escaped.len())),
        Err(error) => Err(Error::bad_request(format!("the target cannot be sent on: {error}"))),
    }
}

fn head(
    method: &str,
    uri: http::Uri,
    headers: &Headers,
    length: Option<u64>,
) -> Result<http::Request<()>, Error> {
    let mut request = http::Request::new(());
    request.headers_mut().reserve(headers.iter().count() + 1);
    *request.method_mut() = Method::from_bytes(method.as_bytes())
        .map_err(|_| Error::bad_request(format!("{:?} is not a method", cut(method))))?;
    *request.uri_mut() = uri;
    for (name, value) in headers.iter() {
        let bad =
            |_| Error::bad_request(format!("the header field {:?} cannot be sent on", cut(name)));
        let value = HeaderValue::from_bytes(value).map_err(|_| bad(()))?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad(()))?;
        request.headers_mut().append(name, value);
    }
    if let Some(length) = length {
        request.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
    }
    Ok(request)
}

/// One upstream's part of a client's token, which is `name=secret,name=secret`.
fn keyring_part(headers: &Headers, name: &str) -> Option<Secret> {
    let token = headers.tokens().next()?;
    let parts = token.split(',').filter_map(|part| part.trim().split_once('='));
    let mut own = parts.filter(|(part, secret)| *part == name && !secret.is_empty());
    own.next().map(|(_, secret)| Secret::new(secret))
}

/// The innermost reason, in lower case.
fn cause(error: &ureq::Error) -> String {
    let text = match error {
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !text[first.len_utf8()..].starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text,
    }
}

/// The certificates that are trusted: the public ones, or those of `tls.ca_file` alone.
fn tls(ca_file: Option<&[u8]>) -> TlsConfig {
    let roots = match ca_file {
        None => RootCerts::WebPki,
        Some(pem) => {
            let certificates = parse_pem(pem).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            RootCerts::from(certificates.collect::<Vec<Certificate<'static>>>())
        }
    };
    TlsConfig::builder().root_certs(roots).build()
}
