//! Looks up the addresses of a name, on a thread of its own, and caches them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::call::{begin_connecting, check_client, end_connecting};
use super::timing::{SLICE, deadline};
use crate::cache::{Asker, BackOff, Cache, Cached, Terms};

/// How long addresses are cached. ureq looks a name up for every request, even if it reuses a
/// connection.
const ADDRESS_TTL: Duration = Duration::from_secs(10);

/// A failure is not kept, and nothing is looked up in the background.
const TERMS: Terms = Terms {
    time_to_live: ADDRESS_TTL,
    stale: Duration::ZERO,
    refreshes_ahead: false,
    back_off: BackOff { first: Duration::ZERO, most: Duration::ZERO, memory: Duration::ZERO },
    keeps_failures: false,
};

/// The most addresses of a name that are tried: ureq has room for no more.
const MOST_ADDRESSES: usize = 16;

/// A resolver with a cache.
#[derive(Debug)]
pub struct Addresses {
    cache: Arc<Cache<String, Vec<SocketAddr>, String>>,
    /// The `host:port` of an HTTP proxy, which is looked up in place of the upstream's.
    proxy: Option<String>,
}

impl Cached for Vec<SocketAddr> {
    fn size(&self) -> usize {
        size_of_val(self.as_slice())
    }
}

impl Cached for String {
    fn size(&self) -> usize {
        self.len()
    }
}

impl Addresses {
    /// A resolver; `proxy` is the `host:port` to connect to in place of the upstream's.
    pub fn new(proxy: Option<String>) -> Addresses {
        Addresses { cache: Arc::new(Cache::new(TERMS)), proxy }
    }

    /// Looks up `host:port` for as long as the client is there.
    fn look_up(&self, host: String, timeout: &NextTimeout) -> Result<Vec<SocketAddr>, Error> {
        let deadline = deadline(timeout);
        let name = host.clone();
        let asked = self.cache.ask(&host, Asker::Client, move |_| match name.to_socket_addrs() {
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
                None => check_client()?,
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
        begin_connecting(&timeout);
        let parts = uri.scheme().zip(uri.authority());
        let host = parts.and_then(|(scheme, rest)| DefaultResolver::host_and_port(scheme, rest));
        let host = self.proxy.clone().or(host).ok_or(Error::HostNotFound)?;
        let addresses = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => self.look_up(host, &timeout)?,
        };
        if addresses.is_empty() {
            return Err(Error::HostNotFound);
        }
        end_connecting();
        let mut resolved = self.empty();
        addresses.into_iter().take(MOST_ADDRESSES).for_each(|address| resolved.push(address));
        Ok(resolved)
    }
}
