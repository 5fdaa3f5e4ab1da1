//! Generated configurations and exchanges. Deterministic: the number of a world makes all of it.
//!
//! Every secret is `secret-<world>-<kind>-<owner>-<random>`, so that any of them, whole or in part,
//! is found by its beginning wherever it should turn up.

use crate::fake::{LAST_CHUNK, chunk};

/// The fields that may carry a client's credential to an upstream.
pub const CREDENTIALS: [&str; 12] = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "cf-aig-authorization",
    "ocp-apim-subscription-key",
    "x-auth-token",
    "helicone-auth",
    "x-amz-security-token",
    "x-portkey-virtual-key",
    "proxy-authorization",
];

/// Parameters of a query that may carry one, as a client may write them.
const QUERY_KEYS: [&str; 7] =
    ["key", "api_key", "api-key", "apikey", "access_token", "token", "%6Bey"];

/// Splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Passthrough,
    Nothing,
    Keyring,
    ApiKey,
}

#[derive(Debug)]
pub struct Upstream {
    pub name: &'static str,
    pub prefix: String,
    pub base: &'static str,
    pub rule: Rule,
    pub api_key: String,
    pub headers: Vec<(&'static str, String)>,
    /// A port on which no process listens.
    pub dead: bool,
    pub settings: String,
}

pub struct World {
    pub number: usize,
    pub random: Random,
    pub upstreams: Vec<Upstream>,
    pub client_keys: Vec<String>,
    /// An alias and its target.
    pub alias: Option<(&'static str, String)>,
    wallets: Vec<Wallet>,
}

/// The credentials of one client: a value for each, and a keyring.
#[derive(Clone)]
struct Wallet {
    values: Vec<String>,
    keyring: String,
}

/// The destination of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    None,
    /// To all upstreams that have a list.
    Catalog,
    /// To one upstream, for its list.
    ListOf(usize),
    One(usize),
}

#[derive(Debug)]
pub struct Exchange {
    pub id: String,
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The parameters of the query, and whether each carries a credential.
    pub query: Vec<(String, bool)>,
    pub to: To,
    /// Whether it goes below the upstream's `base_url`.
    pub below: bool,
    /// Its client waits for the response before it sends more.
    pub last: bool,
}

impl World {
    pub fn new(number: usize) -> World {
        let mut world = World {
            number,
            random: Random(number as u64 * 7919 + 17),
            upstreams: Vec::new(),
            client_keys: Vec::new(),
            alias: None,
            wallets: Vec::new(),
        };
        if world.random.percent(25) {
            let key = |owner| world.random.secret_of(number, "clientkey", owner);
            world.client_keys = ["first", "second"].map(key).to_vec();
        }
        let count = 1 + world.random.below(3);
        for index in 0..count {
            let upstream = world.upstream(index);
            world.upstreams.push(upstream);
        }
        if count > 1 && world.random.percent(20) {
            world.upstreams[count - 1].dead = true;
        }
        if world.random.percent(50) {
            let prefix = world.upstreams[world.random.below(count)].prefix.clone();
            let target = format!("{prefix}{}", world.random.of(&["m1", "m/2", "hidden"]));
            world.alias = Some((world.random.of(&["fast", "up/fast"]), target));
        }
        world.wallets = (0..2).map(|_| world.wallet()).collect();
        world
    }

    fn secret(&mut self, kind: &str, owner: &str) -> String {
        self.random.secret_of(self.number, kind, owner)
    }

    fn upstream(&mut self, index: usize) -> Upstream {
        let name = ["up", "up2", "UP"][index];
        let mut settings = String::new();
        let own_prefix = self.random.percent(40);
        let prefix = match (index, own_prefix) {
            (_, false) => format!("{name}/"),
            (0, true) => String::new(),
            (1, true) => "up/deep/".to_string(),
            (_, true) => "x/".to_string(),
        };
        if own_prefix {
            settings += &format!("    prefix: \"{prefix}\"\n");
        }
        let keyed = !self.client_keys.is_empty();
        // No upstream may see a client's whole keyring: the two settings exclude each other.
        let has = |rule| self.upstreams.iter().any(|upstream| upstream.rule == rule);
        let (passing, ringed) = (has(Rule::Passthrough), has(Rule::Keyring));
        let rule = match self.random.below(4) {
            0 if !keyed && !ringed => Rule::Passthrough,
            1 if !keyed && !passing => Rule::Keyring,
            2 => Rule::Nothing,
            _ => Rule::ApiKey,
        };
        let api_key = self.secret("apikey", name);
        settings += &match rule {
            Rule::Passthrough => "    authorization: passthrough\n".to_string(),
            Rule::Keyring => "    authorization: keyring\n".to_string(),
            Rule::Nothing => "    authorization: none\n".to_string(),
            Rule::ApiKey => format!("    api_key: {api_key}\n"),
        };
        let mut headers = Vec::new();
        for header in ["X-Up-Token", "X-API-key", "COOKIE"] {
            if self.random.percent(20) {
                headers.push((header, self.secret("header", name)));
            }
        }
        if !headers.is_empty() {
            settings += "    headers:\n";
            settings.extend(headers.iter().map(|(name, value)| format!("      {name}: {value}\n")));
        }
        settings += self.random.of(&[
            "",
            "    cache_ttl: 60\n",
            "    cache_ttl: 0.05\n    cache_stale: 60\n",
        ]);
        settings +=
            self.random.of(&["", "    hidden: reject\n    exclude: {regexp: ['.*hidden']}\n"]);
        let base = self.random.of(&["/v1", "/v1", "/api/v1", "/up", ""]);
        Upstream { name, prefix, base, rule, api_key, headers, dead: false, settings }
    }

    fn wallet(&mut self) -> Wallet {
        let values = CREDENTIALS.map(|name| self.secret("client", &name.replace('-', "")));
        let separator = self.random.of(&[",", ",", ";", " ", ", ", "|"]);
        let part = |name: &str| format!("{name}={}", self.secret("keyring", name));
        let keyring = ["up2", "other", "UP", "up"].map(part).join(separator);
        Wallet { values: values.to_vec(), keyring }
    }

    /// The configuration, with the upstreams at these addresses.
    pub fn yaml(&self, urls: &[String]) -> String {
        let mut yaml = "model_filter:\n".to_string();
        for (upstream, url) in self.upstreams.iter().zip(urls) {
            let base = if upstream.dead { "http://127.0.0.1:1" } else { url };
            yaml += &format!("  {}:\n    base_url: {base}{}\n", upstream.name, upstream.base);
            yaml += &upstream.settings;
        }
        if let Some((alias, target)) = &self.alias {
            yaml += &format!("aliases: {{{alias}: '{target}'}}\n");
        }
        if !self.client_keys.is_empty() {
            yaml += &format!("server:\n  client_keys: [{}]\n", self.client_keys.join(", "));
        }
        yaml
    }

    pub fn exchange(&mut self, number: usize) -> Exchange {
        let id = format!("w{}-x{number}", self.number);
        let mut exchange = Exchange {
            id: id.clone(),
            method: "GET",
            target: String::new(),
            headers: vec![("X-Exchange".into(), id)],
            body: Vec::new(),
            query: Vec::new(),
            to: To::None,
            below: true,
            last: false,
        };
        let prefixes: Vec<String> = self.upstreams.iter().map(|up| up.prefix.clone()).collect();
        let known = prefixes[self.random.below(prefixes.len())].clone();
        let prefix = if self.random.percent(75) { known } else { "unknown/".to_string() };
        let model = format!("{prefix}{}", self.random.of(&["m1", "m/2", "up/m3", "hidden"]));
        let model = match &self.alias {
            Some((alias, _)) if self.random.percent(25) => (*alias).to_owned(),
            _ => model,
        };
        match self.random.below(115) {
            100.. => self.by_name(&mut exchange),
            0..=44 => self.post(&mut exchange, &model),
            45..=54 => {
                exchange.target = self
                    .random
                    .of(&["/v1/files", "/v1", "//v1//x?a=1", "/V1/y", "/files", "/v1/v1/z"])
                    .into();
                exchange.method = self.random.of(&["GET", "HEAD", "DELETE", "OPTIONS"]);
                exchange.to = self.place_of(None);
            }
            55..=64 => {
                exchange.target = self.random.of(&["/health", "/v1x/y?z", "/", "/api/v2/x"]).into();
                exchange.below = false;
                if self.random.percent(50) {
                    exchange.to = self.place_of(None);
                } else {
                    let target = exchange.target.clone();
                    self.post(&mut exchange, &model);
                    exchange.target = target;
                }
            }
            65..=72 => {
                let id =
                    if self.random.percent(50) { model.replace('/', "%2F") } else { model.clone() };
                exchange.target = format!("/v1/models/{id}");
                exchange.method = self.random.of(&["GET", "GET", "HEAD", "DELETE"]);
                exchange.to = self.place_of(Some(&model));
            }
            73..=89 => {
                let targets =
                    ["/v1/models", "/v1/models", "/models", "/v1/models?q", "/v1/%6dodels/"];
                exchange.target = self.random.of(&targets).into();
                exchange.to = To::Catalog;
            }
            90..=92 => {
                exchange.target = "/v1/chat/completions".into();
                exchange.method = "OPTIONS";
                exchange.add("Origin", "http://localhost:3000");
                exchange.add("Access-Control-Request-Method", "POST");
            }
            93..=95 => {
                exchange.target = "/v1/models".into();
                exchange.add("Origin", self.random.of(&["https://evil.example", "null"]));
            }
            _ => {
                exchange.target =
                    self.random.of(&["/v1/../x", "/v1/%2e%2e/y", "/-/x", "/v1/a#b"]).into();
                exchange.last = true;
            }
        }
        let behaviour =
            self.random.of(&["", "", "", "", "redirect", "fail", "cut", "short", "events"]);
        exchange.add("X-Behave", behaviour);
        exchange.last |= matches!(behaviour, "cut" | "short" | "events");
        self.credentials(&mut exchange);
        exchange
    }

    /// A request to one upstream by its name in the path.
    fn by_name(&mut self, exchange: &mut Exchange) {
        let index = self.random.below(self.upstreams.len());
        let name = self.upstreams[index].name;
        exchange.to = To::One(index);
        match self.random.below(4) {
            0 => {
                exchange.target = format!("/{name}/v1/models");
                exchange.to = To::ListOf(index);
            }
            1 => exchange.target = format!("/{name}/v1/files/f1"),
            2 => {
                // Beside the base URL.
                exchange.target = format!("/{name}/api/tags");
                exchange.below = false;
            }
            _ => {
                self.post(exchange, "m1");
                let rest = exchange.target.trim_start_matches("/v1");
                exchange.target = format!("/{name}/v1{rest}");
                exchange.to = To::One(index);
            }
        }
    }

    fn post(&mut self, exchange: &mut Exchange, model: &str) {
        exchange.method = "POST";
        exchange.target = self
            .random
            .of(&["/v1/chat/completions", "/chat/completions", "/v1/audio/x?x=%2F"])
            .into();
        let models = if self.random.percent(30) {
            format!(r#""models":["{model}", "{model}"], "#)
        } else {
            String::new()
        };
        let json = format!(r#"{{"n":{{"model":"up2/no"}}, {models}"model" : "{model}"}}"#);
        exchange.to = self.place_of(Some(model));
        match self.random.below(6) {
            0 => {
                exchange.add("Content-Type", "multipart/form-data; boundary=B");
                let part = |name, content| {
                    format!(
                        "--B\r\nContent-Disposition: form-data; name={name}\r\n\r\n{content}\r\n"
                    )
                };
                let parts = [part("\"file\"; filename=\"a\"", "bytes"), part("\"model\"", model)];
                exchange.body = format!("{}--B--\r\n", parts.concat()).into_bytes();
            }
            1 => {
                exchange.add("Content-Type", "text/plain");
                exchange.body = format!("{model:?}").into_bytes();
                exchange.to = self.place_of(None);
            }
            2 => {
                exchange.add("Transfer-Encoding", "chunked");
                let (first, second) = json.split_at(9);
                exchange.body = [chunk(first), chunk(second), LAST_CHUNK.into()].concat();
            }
            3 => {
                exchange.add("Content-Type", "application/json");
                exchange.body = br#"{"input":"no model"}"#.to_vec();
                exchange.to = self.place_of(None);
            }
            _ => {
                exchange.add("Content-Type", "application/json");
                exchange.body = json.into_bytes();
            }
        }
    }

    /// Puts keys into the query, between other parameters.
    fn add_query(&mut self, exchange: &mut Exchange) {
        for _ in 0..1 + self.random.below(3) {
            exchange.query.push(if self.random.percent(60) {
                let name = self.random.of(&QUERY_KEYS);
                (format!("{name}={}", self.secret("client", "query")), true)
            } else {
                (self.random.of(&["page_token=x", "a=%2F", "limit=3"]).to_string(), false)
            });
        }
        let all: Vec<&str> = exchange.query.iter().map(|(text, _)| text.as_str()).collect();
        exchange.target += &format!("?{}", all.join("&"));
    }

    /// Adds what a client may show, in odd spellings.
    fn credentials(&mut self, exchange: &mut Exchange) {
        let keyed = !self.client_keys.is_empty();
        let wallet = match self.random.below(10) {
            0 => Wallet { values: vec![String::new(); CREDENTIALS.len()], keyring: String::new() },
            1..=3 => self.wallet(),
            other => self.wallets[other % 2].clone(),
        };
        let bare = wallet.keyring.is_empty();
        let names: [&[&str]; CREDENTIALS.len()] = [
            &["Authorization", "aUTHORIZATION", "authorization"],
            &["x-api-key", "X-API-KEY"],
            &["api-key", "Api-Key"],
            &["x-goog-api-key", "X-Goog-Api-Key"],
            &["Cookie", "cOOKIE"],
            &["cf-aig-authorization"],
            &["Ocp-Apim-Subscription-Key"],
            &["X-Auth-Token", "x-AUTH-token"],
            &["Helicone-Auth"],
            &["X-Amz-Security-Token"],
            &["x-portkey-virtual-key"],
            &["Proxy-Authorization", "proxy-AUTHORIZATION"],
        ];
        for (spellings, value) in names.iter().zip(&wallet.values) {
            let (is_authorization, is_x) =
                (spellings[0] == "Authorization", spellings[0] == "x-api-key");
            let chance = if spellings[0] == "Cookie" || is_x || is_authorization { 45 } else { 20 };
            if bare || !self.random.percent(chance) || (keyed && (is_authorization || is_x)) {
                continue;
            }
            let is_key = ["x-api-key", "api-key", "x-goog-api-key"].contains(&spellings[0]);
            let keyring = self.random.percent(if is_x { 50 } else { 80 });
            let keyring = keyring && (is_authorization || is_key);
            let value = if keyring { &wallet.keyring } else { value };
            let form = if is_authorization {
                self.random.of(&["Bearer ", "bearer ", "Basic ", ""])
            } else {
                ""
            };
            exchange.add(self.random.of(spellings), &format!("{form}{value}"));
            if is_authorization && self.random.percent(25) {
                exchange
                    .add("AUTHORIZATION", &format!("Bearer {}", self.secret("client", "second")));
            }
        }
        if keyed {
            let key = match self.random.below(10) {
                0 => None,
                1 => Some(self.secret("client", "wrong")),
                _ => Some(self.client_keys[self.random.below(2)].clone()),
            };
            exchange.to = match &key {
                Some(key) if self.client_keys.contains(key) => exchange.to,
                _ => To::None,
            };
            match key {
                Some(key) if self.random.percent(50) => {
                    exchange.add("aUTHORIZATION", &format!("Bearer {key}"))
                }
                Some(key) => {
                    let field = self.random.of(&["X-Api-KEY", "api-key", "X-Goog-Api-Key"]);
                    exchange.add(field, &key)
                }
                None => {}
            }
        }
        if self.random.percent(15) {
            exchange.add(self.random.of(&["Sec-Fetch-Site", "sec-fetch-mode"]), "none");
        }
        if !bare && exchange.may_have_query() && self.random.percent(40) {
            self.add_query(exchange);
        }
        if self.random.percent(20) {
            let lists =
                ["Authorization", "x-api-key , COOKIE", "close", "keep-alive, authorization"];
            let list = self.random.of(&lists);
            exchange.add("Connection", list);
            exchange.last |= list == "close";
        }
    }
}

impl Random {
    fn secret_of(&mut self, world: usize, kind: &str, owner: &str) -> String {
        format!("secret-w{world}-{kind}-{owner}-{:016x}", self.next())
    }
}

impl Exchange {
    fn may_have_query(&self) -> bool {
        !self.target.contains(['?', '#']) && self.method != "OPTIONS"
    }

    fn add(&mut self, name: &str, value: &str) {
        self.headers.push((name.into(), value.into()));
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        crate::fake::values(&self.headers, name).into_iter()
    }
}
