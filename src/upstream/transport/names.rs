//! The addresses of a name: looked up on a thread of their own, and believed for a while.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::SLICE;
use super::call::{Call, on_call, still_wanted};
use super::deadline;
use crate::cache::{Cache, Size};

/// How long a resolved name is believed. ureq looks it up for every request, also where
/// it has a connection.
const ADDRESS_TTL: Duration = Duration::from_secs(10);

/// How many addresses of a name are tried: as many as ureq has room for.
const MOST_ADDRESSES: usize = 16;

/// Looks names up, and remembers them for a while.
#[derive(Debug)]
pub struct Addresses(Arc<Cache<String, Vec<SocketAddr>, String>>);

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
        on_call(|call| call.begin_connecting(&timeout));
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
