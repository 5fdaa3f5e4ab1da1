//! Logs that an upstream has no list, with the address that was asked and what to do.

use log::Level;

use super::outcome::Refusal;
use super::upstream::Offer;
use crate::error::Code;
use crate::logging::Value;

impl Offer {
    /// Logs why there is no list, unless fetches that fail are logged anyway: see
    /// [`Offer::new`].
    pub fn log_missing_at_start(&self, refusal: &Refusal) {
        if !self.is_covered {
            self.log_missing(refusal, Level::Warn);
        }
    }

    /// Logs why there is no list. Clients that bring the credentials may get one: then that is no
    /// warning.
    pub(super) fn log_missing(&self, refusal: &Refusal, level: Level) {
        let (name, url) = (Value(self.upstream.name()), self.list_url());
        let url = Value(&url);
        let passes_credentials = self.upstream.passes_credentials();
        match refusal {
            Refusal::Mirrored(reply) if refusal.asks_for_key() && passes_credentials => {
                let (what, status) = ("no list without a client's credentials", reply.status);
                let level = level.max(Level::Info);
                log::log!(level, "msg=\"{what}\" upstream={name} status={status} url={url}");
            }
            Refusal::Mirrored(reply) => {
                let (status, hint) = (reply.status, hint_for_status(reply.status));
                log::log!(level, "msg=\"no list\" upstream={name} status={status} url={url}{hint}");
            }
            Refusal::Failed(error) => {
                let (message, hint) = (error.in_full(), hint_for_error(error.code, &error.message));
                let error = Value(&message);
                log::log!(level, "msg=\"no list\" upstream={name} error={error} url={url}{hint}");
            }
        }
    }

    /// The address of the list, without a query, which may hold a secret.
    fn list_url(&self) -> String {
        let path = self.source.path.as_deref().unwrap_or("/models");
        let path = path.split('?').next().unwrap_or_default();
        match path.starts_with('/') {
            true => format!("{}{path}", self.upstream.base_url()),
            false => path.to_owned(),
        }
    }
}

fn hint_for_status(status: u16) -> &'static str {
    match status {
        401 | 403 => " hint=\"the upstream refuses the api_key\"",
        404 | 405 => {
            " hint=\"base_url must end where /models begins, most often in /v1; an upstream \
             without a list needs `models`\""
        }
        300..=399 => " hint=\"the upstream redirects: use the address of its Location\"",
        429 => " hint=\"too many requests: set cache_ttl\"",
        _ => "",
    }
}

fn hint_for_error(code: Code, message: &str) -> &'static str {
    match code {
        // rustls, of a server that responds in plain text.
        _ if message.contains("corrupt message") => {
            " hint=\"the upstream does not speak TLS: use http://\""
        }
        Code::UpstreamUnreachable => " hint=\"is the upstream running, and is base_url right?\"",
        Code::UpstreamInvalidResponse => " hint=\"is base_url that of an API, up to /v1?\"",
        Code::UpstreamTimeout => " hint=\"if the list takes longer, set list_timeout\"",
        _ => "",
    }
}
