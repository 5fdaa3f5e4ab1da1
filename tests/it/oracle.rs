//! A second, simple implementation of the rules of routing and credentials, for tests to compare with: which upstream a
//! generated exchange goes to, and what that upstream may see.

use crate::generated::{CREDENTIALS, Exchange, Rule, To, World};

impl World {
    /// Where a request for this model goes.
    pub fn place_of(&self, model: Option<&str>) -> To {
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
            (None, _) => To::Nobody,
        }
    }

    /// The fields that this upstream must see of an exchange, with their names in lower case: its
    /// own and what it is allowed of the client's, and nothing else.
    pub fn shown(&self, exchange: &Exchange, index: usize) -> Vec<(String, String)> {
        self.shown_at(exchange, index, exchange.below)
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
        let passes = |name: &str| {
            CREDENTIALS[..5].contains(&name) && !listed.iter().any(|listed| listed == name)
        };
        let fields = exchange.headers.iter().map(|(n, v)| (n.to_lowercase(), v.clone()));
        let mut sent: Vec<(String, String)> = fields.filter(|(name, _)| passes(name)).collect();
        match upstream.rule {
            Rule::Passthrough => {}
            Rule::Keyring if below => sent = own_part(&sent, upstream.name),
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

fn own_part(sent: &[(String, String)], name: &str) -> Vec<(String, String)> {
    let bearer = |(name, value): &(String, String)| {
        let scheme = value.get(..7)?.eq_ignore_ascii_case("bearer ");
        (name == "authorization" && scheme).then(|| value[7..].to_string())
    };
    let key = sent.iter().find(|(name, _)| name == "x-api-key").map(|(_, value)| value.clone());
    let Some(token) = sent.iter().find_map(bearer).or(key) else { return Vec::new() };
    let own = token.split(',').find_map(|part| part.trim().strip_prefix(&format!("{name}=")));
    own.map(|own| ("authorization".into(), format!("Bearer {own}"))).into_iter().collect()
}

fn words(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(|word| word.trim().to_lowercase())
}
