//! An upstream: sends requests with the credentials that it may see.

use std::borrow::Cow;
use std::io::Read;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ureq::{Agent, SendBody, http};

use super::answer::Answer;
use super::endpoint::Endpoint;
use super::forward::Forward;
use super::request::{Place, Request, Upload, UploadReader, head, room, uri};
use super::transport::{Addresses, Call, client_config, connector, is_break};
use crate::config::{self, Authorization};
use crate::elastic;
use crate::error::{Code, Error};
use crate::headers::{Headers, strip_query_credentials};
use crate::secret::Secret;
use crate::wanted::Wanted;

/// The largest buffer for one direction of a connection, in bytes. A response with a longer
/// header field is refused.
const BUFFER: usize = 64 * 1024;

/// One remote API.
#[derive(Debug)]
pub struct Upstream {
    endpoint: Endpoint,
    prefix: String,
    agent: Agent,
    /// The HTTP proxy that is asked in absolute form.
    forward: Option<Forward>,
    authorization: Authorization,
    api_key: Option<Secret>,
    headers: Vec<(String, Secret)>,
}

impl Upstream {
    /// An upstream as configured, at this address.
    ///
    /// # Errors
    /// If the proxy or none of the certificates of `tls.ca_file` can be used; the text names it.
    pub fn new(config: &config::Upstream, base_url: String) -> Result<Upstream, String> {
        let connect_timeout = config.connection_timeout.unwrap_or(config.total_timeout);
        let proxy = config.proxy.as_ref().map(|url| ureq::Proxy::new(url.expose())).transpose();
        let proxy = proxy.map_err(|error| error.to_string())?;
        // Proxies such as Squid refuse CONNECT to other ports than 443.
        let (proxy, forward) = match proxy {
            Some(proxy) if base_url.starts_with("http:") => (None, Some(Forward::new(&proxy))),
            proxy => (proxy, None),
        };
        let has_tunnel = proxy.is_some();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent("")
            .accept("")
            .accept_encoding("")
            .allow_non_standard_methods(true)
            .proxy(proxy)
            .max_idle_connections(0) // the transport keeps them
            .input_buffer_size(BUFFER + elastic::LEAST) // more than a head may have, to see that it is too long
            .output_buffer_size(BUFFER)
            .timeout_resolve(Some(connect_timeout))
            .timeout_connect(Some(connect_timeout))
            .timeout_recv_response(Some(config.total_timeout))
            .build();
        let tls = client_config(config.ca_file.as_deref())?;
        let connector = connector(config.idle_timeout, has_tunnel, forward.is_some(), tls);
        let addresses = Addresses::new(forward.as_ref().map(|forward| forward.address.clone()));
        Ok(Upstream {
            endpoint: Endpoint {
                name: config.name.clone(),
                base_url,
                connect_timeout,
                total_timeout: config.total_timeout,
                idle_timeout: config.idle_timeout,
            },
            prefix: config.prefix.clone(),
            agent: Agent::with_parts(agent, connector, addresses),
            forward,
            authorization: config.authorization,
            api_key: config.api_key.clone(),
            headers: config.headers.clone(),
        })
    }

    /// The name in the log and in messages.
    pub fn name(&self) -> &str {
        &self.endpoint.name
    }

    /// The text before its model ids: empty, or with a slash at its end.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether clients bring its credentials.
    pub fn passes_credentials(&self) -> bool {
        self.sees_credentials() || self.authorization == Authorization::Keyring
    }

    /// The address of the API.
    pub fn base_url(&self) -> &str {
        &self.endpoint.base_url
    }

    /// Scheme and authority of the address.
    pub fn origin(&self) -> &str {
        let url = self.base_url();
        let authority = url.find("://").map_or(0, |at| at + 3);
        let end = url[authority..].find('/').map_or(url.len(), |at| authority + at);
        &url[..end]
    }

    /// Sends a request and waits for the head of the response, for as long as the client
    /// is there and at most for `total_timeout`.
    ///
    /// # Errors
    /// 400 for a target or field that cannot be sent; 401 for a keyring that cannot be read; 499,
    /// 502, 503 and 504.
    pub fn send(
        &self,
        mut request: Request<'_>,
        client: Arc<dyn Wanted>,
    ) -> Result<Answer<'_>, Error> {
        self.decide_credentials(&mut request.headers, request.place)?;
        let is_with_our_key = self.is_below_base_url(request.place);
        let mut answer = self.run(request, Some(client), None)?;
        if is_with_our_key {
            self.keep_session(&mut answer);
        }
        Ok(answer)
    }

    /// Sends a request of our own, whose header fields already hold the credentials. The whole
    /// response must arrive within this time.
    ///
    /// # Errors
    /// 400 for a target or field that cannot be sent; 502, 503 and 504.
    pub fn fetch(&self, request: Request<'_>, within: Duration) -> Result<Answer<'_>, Error> {
        let mut answer = self.run(request, None, Some(within))?;
        self.keep_session(&mut answer);
        Ok(answer)
    }

    /// Removes the cookies of a response to a request with our key: they are a session of the key's
    /// owner, who is not the client.
    fn keep_session(&self, answer: &mut Answer<'_>) {
        if self.has_secrets() {
            answer.headers.remove("set-cookie");
            answer.headers.remove("set-cookie2");
        }
    }

    fn run(
        &self,
        request: Request<'_>,
        client: Option<Arc<dyn Wanted>>,
        within: Option<Duration>,
    ) -> Result<Answer<'_>, Error> {
        let Request { method, place, mut headers, upload, protocol } = request;
        if let Some(protocol) = protocol {
            headers.push("Connection", "Upgrade");
            headers.push("Upgrade", protocol);
        }
        if let Some(credentials) = self.forward.as_ref().and_then(|to| to.credentials.as_ref()) {
            headers.push("Proxy-Authorization", credentials.expose());
        }
        let is_whole = matches!(upload, Upload::None | Upload::Whole(_));
        let mut whole: &[u8];
        let (length, body): (_, Option<&mut dyn Read>) = match upload {
            // RFC 9110 §8.6: a method that usually has a body gets a Content-Length of 0.
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
        let room = room(uri_length, &headers, length, body.is_some(), is_whole);
        let call = Call::new(client, room, protocol.is_some());
        let request = head(method, uri, &headers, length)?;
        let response = match body {
            None => {
                let ask = || self.ask(request.clone().map(|()| SendBody::none()), &call, within);
                let response = ask();
                let is_stale = response.as_ref().is_err_and(is_break) && !call.has_connected();
                // An upstream may close a kept connection at the moment it is used again. Only
                // methods that change nothing are sent a second time.
                if is_stale && matches!(method, "GET" | "HEAD") {
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
            Ok(response) => Answer::new(response, call, &self.endpoint),
            Err(error) => Err(self.endpoint.failure(&error, &call, within)),
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

    /// Whether the URL of a request lies at or below the base URL, however the client's path looks.
    fn is_below_base_url(&self, place: Place<'_>) -> bool {
        let Place::Beside(path) = place else { return true };
        let base_url = self.base_url();
        let Some(parent) = base_url.strip_suffix("/v1") else { return true };
        let rest = path.strip_prefix(&base_url[parent.len()..]);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    }

    fn url(&self, place: Place<'_>) -> String {
        let base_url = self.base_url();
        let (beginning, target) = match place {
            Place::Below(rest) => (base_url, rest),
            Place::Beside(path) => (base_url.strip_suffix("/v1").unwrap_or(base_url), path),
            Place::Origin(path) => (self.origin(), path),
        };
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, self.query_for(Some(query))),
            None => (target, None),
        };
        match query {
            Some(query) => [beginning, path, "?", &query].concat(),
            None => [beginning, path].concat(),
        }
    }

    /// Whether the client's credentials reach this upstream unchanged.
    fn sees_credentials(&self) -> bool {
        self.authorization == Authorization::Passthrough && self.api_key.is_none()
    }

    /// Whether secrets are configured for it.
    fn has_secrets(&self) -> bool {
        self.api_key.is_some() || !self.headers.is_empty()
    }

    /// The client's query without the credentials that this upstream must not see; none if
    /// nothing is left of it.
    pub fn query_for<'q>(&self, query: Option<&'q str>) -> Option<Cow<'q, str>> {
        let query = query?;
        if self.sees_credentials() {
            return Some(Cow::Borrowed(query));
        }
        let left = strip_query_credentials(query);
        (query.is_empty() || !left.is_empty()).then_some(left)
    }

    /// Removes the client's credentials that this upstream must not see, and adds the
    /// configured ones.
    ///
    /// # Errors
    /// 401 for a keyring that cannot be read: no upstream gets a part of it.
    pub fn decide_credentials(&self, headers: &mut Headers, place: Place<'_>) -> Result<(), Error> {
        let own_part = match self.authorization {
            Authorization::Keyring => keyring_part(headers, self.name())?,
            Authorization::Passthrough | Authorization::None => None,
        };
        if !self.sees_credentials() {
            headers.strip_credentials();
        }
        if !self.is_below_base_url(place) {
            return Ok(());
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
        Ok(())
    }
}

/// One upstream's part of a client's token: `name=secret` pairs, separated by `,`, `;` or blanks.
/// A secret holds `=` at its end only. Otherwise the token may be one secret, or two pairs with a
/// separator that is not known here, and a part of it would be somebody else's.
fn keyring_part(headers: &Headers, name: &str) -> Result<Option<Secret>, Error> {
    let Some(token) = headers.tokens().next() else { return Ok(None) };
    let (mut names, mut own) = (Vec::new(), None);
    for part in token.split([',', ';', ' ', '\t']).filter(|part| !part.is_empty()) {
        let pair = part.split_once('=').filter(|(name, secret)| {
            let bare = secret.trim_end_matches('=');
            !name.is_empty() && !bare.is_empty() && !bare.contains('=') && !names.contains(name)
        });
        let Some((part, secret)) = pair else {
            let what = "the API key must be name=secret pairs, separated by commas; \
                        this one is not, so no upstream gets a part of it";
            return Err(Error::client(Code::InvalidApiKey, what));
        };
        names.push(part);
        if part == name {
            own = Some(Secret::new(secret));
        }
    }
    Ok(own)
}
