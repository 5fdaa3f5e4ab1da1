//! A second, simple implementation of the rules of routing and credentials, for tests to compare with: which upstream a
//! generated exchange goes to, and what that upstream may see.

use crate::generated::{CREDENTIALS, Exchange, Rule, To, World};

impl World {
    /// The destination of a request for this model.
    pub fn place_of(&self, model: Option<&str>) -> To {
        let model = match &self.alias {
            Some((alias, target)) if model == Some(*alias) => Some(target.as_str()),
            _ => model,
        };
        let mut longest: Option<usize> = None;
        for (index, upstream) in self.upstreams.iter().enumerate() {
            let longer =
                longest.is_none_or(|l| self.upstreams[l].prefix.len() < upstream.prefix.len());
            if model.unwrap_or("").starts_with(&upstream.prefix) && longer {
                longest = Some(index);
            }
        }
        match (longest, self.upstreams.len()) {
            (Some(index), _) => To::One(index),
            (None, 1) => To::One(0),
            (None, _) => To::None,
        }
    }

    /// The fields that this upstream must see of an exchange, with their names in lower case: its
    /// own and what it is allowed of the client's, and nothing else.
    pub fn shown(&self, exchange: &Exchange, index: usize) -> Vec<(String, String)> {
        self.shown_at(exchange, index, self.is_below(exchange, index))
    }

    /// Whether an exchange goes below the `base_url` of an upstream.
    pub fn is_below(&self, exchange: &Exchange, index: usize) -> bool {
        exchange.below || !self.upstreams[index].base.ends_with("/v1")
    }

    /// The same for a request below the upstream's `base_url`, or beside it.
    pub fn shown_at(
        &self,
        exchange: &Exchange,
        index: usize,
        below: bool,
    ) -> Vec<(String, String)> {
        let upstream = &self.upstreams[index];
        let listed: Vec<String> = exchange.all("connection").flat_map(words).collect();
        let by_browser = exchange.headers.iter().any(|(name, _)| is_of_browser(name));
        let passes = |name: &str| {
            CREDENTIALS.contains(&name)
                && name != "proxy-authorization"
                && !(by_browser && name == "cookie")
                && !listed.iter().any(|listed| listed == name)
        };
        let fields = exchange.headers.iter().map(|(n, v)| (n.to_lowercase(), v.clone()));
        let mut sent: Vec<(String, String)> = fields.filter(|(name, _)| passes(name)).collect();
        match upstream.rule {
            Rule::Passthrough => {}
            Rule::Keyring if below => sent = own_part(&sent, upstream.name).unwrap(),
            Rule::ApiKey if below => {
                sent = vec![("authorization".into(), format!("Bearer {}", upstream.api_key))];
            }
            Rule::Nothing | Rule::Keyring | Rule::ApiKey => sent.clear(),
        }
        if below {
            for (name, _) in &upstream.headers {
                sent.retain(|(sent, _)| *sent != name.to_lowercase());
            }
            sent.extend(upstream.headers.iter().map(|(n, v)| (n.to_lowercase(), v.clone())));
        }
        sent.sort();
        sent
    }
}

impl World {
    /// The target's query as this upstream must see it.
    pub fn query_for(&self, exchange: &Exchange, index: usize) -> Option<String> {
        let passes = self.upstreams[index].rule == Rule::Passthrough;
        let parameters = exchange.query.iter().filter(|(_, is_key)| passes || !is_key);
        let left: Vec<&str> = parameters.map(|(text, _)| text.as_str()).collect();
        (!left.is_empty()).then(|| left.join("&"))
    }

    /// Whether an upstream that may be asked takes its part from a token that is no keyring.
    pub fn refuses_keyring(&self, exchange: &Exchange) -> bool {
        let listed: Vec<String> = exchange.all("connection").flat_map(words).collect();
        let fields = exchange.headers.iter().map(|(n, v)| (n.to_lowercase(), v.clone()));
        let sent: Vec<_> = fields.filter(|(name, _)| !listed.contains(name)).collect();
        let asked = |index: usize| match exchange.to {
            To::None => false,
            To::Catalog => true,
            To::One(only) | To::ListOf(only) => only == index,
        };
        self.upstreams.iter().enumerate().any(|(index, upstream)| {
            upstream.rule == Rule::Keyring
                && asked(index)
                && own_part(&sent, upstream.name).is_none()
        })
    }
}

fn is_of_browser(name: &str) -> bool {
    let name = name.to_lowercase();
    name == "origin" || name.starts_with("sec-fetch-")
}

/// One upstream's part of a keyring; none if the token is not a whole keyring.
fn own_part(sent: &[(String, String)], name: &str) -> Option<Vec<(String, String)>> {
    let bearer = |(name, value): &(String, String)| {
        let scheme = value.get(..7)?.eq_ignore_ascii_case("bearer ");
        (name == "authorization" && scheme).then(|| value[7..].to_string())
    };
    let keys = ["x-api-key", "api-key", "x-goog-api-key"];
    let key = keys.iter().find_map(|key| sent.iter().find(|(name, _)| name == key));
    let key = key.map(|(_, value)| value.clone());
    let Some(token) = sent.iter().find_map(bearer).or(key) else { return Some(Vec::new()) };
    let parts = token.replace([',', ';'], " ");
    let mut own = Vec::new();
    for part in parts.split_whitespace() {
        // No generated secret holds an equals sign.
        let [owner, secret] = *part.split('=').collect::<Vec<_>>() else { return None };
        if owner == name {
            own.push(("authorization".into(), format!("Bearer {secret}")));
        }
    }
    Some(own)
}

fn words(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(|word| word.trim().to_lowercase())
}
