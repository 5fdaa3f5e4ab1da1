//! No credential reaches the wrong upstream or client: thousands of generated exchanges, with upstreams that record
//! every byte. The permitted readers come from a second implementation of the rules (`oracle`), and again, in few words,
//! by [`allowed`].

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::client::{Client, End, Response};
use crate::fake::{json, response};
use crate::generated::{CREDENTIALS, Exchange, Rule, To, Upstream, World};
use crate::proxy::Proxy;
use crate::recorder::{Recorder, Seen};
use crate::wait::eventually;

const WORLDS: usize = 48;
const EXCHANGES: usize = 75;

/// How often what was seen: a proof about nothing proves nothing.
type Tally = Mutex<HashMap<String, usize>>;

fn count(tally: &Tally, what: impl Into<String>) {
    *tally.lock().unwrap().entry(what.into()).or_default() += 1;
}

#[test]
fn no_upstream_sees_what_is_not_meant_for_it_and_each_sees_its_own() {
    let (tally, next) = (Tally::default(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(number) =
                    Some(next.fetch_add(1, Ordering::SeqCst)).filter(|n| *n < WORLDS)
                {
                    run(number, &tally);
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    for (what, least) in [
        ("answered", 3000),
        ("pipelined", 300),
        ("sent on: apikey", 300),
        ("sent on: header", 100),
        ("sent on: keyring", 50),
        ("sent on: client", 100),
        ("own part of a keyring", 50),
        ("beside", 50),
        ("below by its URL", 50),
        ("by name", 100),
        ("list by name", 20),
        ("redirected", 20),
        ("answer cut", 20),
        ("list of Passthrough", 30),
        ("list of Keyring", 30),
        ("list of ApiKey", 30),
        ("status 401", 20),
        ("status 403", 20),
        ("status 404", 20),
        ("status 502", 20),
        ("missing", 10),
        ("keyring refused", 50),
        ("query", 200),
        ("query passed on", 10),
        ("cookie dropped", 10),
        ("alias", 100),
    ] {
        let seen = tally.get(what).copied().unwrap_or_default();
        assert!(seen >= least, "{what}: only {seen} times; {tally:#?}");
    }
    // Without a cache each list that is shown is asked for.
    let (shown, asked) =
        (tally["list shown and not judged by"], tally["list asked for to be shown"]);
    assert!(shown > asked, "no list came from the cache: {tally:#?}");
}

fn run(number: usize, tally: &Tally) {
    let mut world = World::new(number);
    let urls: Arc<OnceLock<Vec<String>>> = Arc::default();
    let recorders: Vec<Recorder> = (0..world.upstreams.len())
        .map(|index| recorder(world.upstreams[index].name, index, Arc::clone(&urls)))
        .collect();
    urls.set(recorders.iter().map(|recorder| recorder.url("")).collect()).unwrap();
    let yaml = world.yaml(urls.get().unwrap());
    let proxy = Proxy::start_with(&yaml, &[], &[("LLM_MF_LOG", "debug")]);

    let mut exchanges: Vec<Exchange> = (0..EXCHANGES).map(|n| world.exchange(n)).collect();
    if let Some((alias, _)) = &world.alias {
        let names_it = |exchange: &&Exchange| {
            String::from_utf8_lossy(&exchange.body).contains(&format!("{alias:?}"))
                || exchange.target.replace("%2F", "/").ends_with(&format!("/models/{alias}"))
        };
        exchanges.iter().filter(names_it).for_each(|_| count(tally, "alias"));
    }
    let (mut sent, mut answers) = (Vec::new(), 0);
    let mut client = Client::of(&proxy);
    while !exchanges.is_empty() {
        let most = 1 + world.random.below(2) * world.random.below(5);
        let end = exchanges.iter().position(|e| e.last).map_or(exchanges.len(), |last| last + 1);
        let batch: Vec<Exchange> = exchanges.drain(..most.min(end)).collect();
        for exchange in &batch {
            let fields = exchange.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
            let fields: Vec<_> = fields.collect();
            client.send(exchange.method, &exchange.target, &fields, &exchange.body);
        }
        if batch.len() > 1 {
            count(tally, "pipelined");
        }
        // Requests behind the first of a batch may be dropped, and are sent again.
        let (mut open, mut dropped) = (true, Vec::new());
        for exchange in batch {
            let Some(answer) = open.then(|| client.answer_or_close()).flatten() else {
                open = false;
                dropped.push(exchange);
                continue;
            };
            judge_answer(&world, &exchange, &answer, tally);
            answers += 1;
            open = answer.end == End::Complete && answer.header("connection") != Some("close");
            sent.push(exchange);
        }
        exchanges.splice(0..0, dropped);
        if !open || world.random.percent(10) {
            client = Client::of(&proxy);
        }
    }
    drop(client);
    let lines = || proxy.log().iter().filter(|line| line.contains(" method=")).count();
    eventually("every exchange has its line in the log", || lines() >= answers);
    for line in proxy.log() {
        assert_eq!(secrets_in(line.as_bytes()), Vec::<String>::new(), "{line}");
    }
    drop(proxy);
    let by_id: HashMap<&str, &Exchange> = sent.iter().map(|e| (e.id.as_str(), e)).collect();
    for (index, recorder) in recorders.iter().enumerate() {
        judge_upstream(&world, index, recorder, &by_id, &yaml, tally);
    }
}

fn recorder(name: &'static str, index: usize, urls: Arc<OnceLock<Vec<String>>>) -> Recorder {
    let lists = AtomicUsize::new(0);
    Recorder::answering(move |seen| {
        let path = seen.target.split('?').next().unwrap().trim_end_matches('/');
        let answer = if path.ends_with("/models") && seen.method == "GET" {
            match lists.fetch_add(1, Ordering::SeqCst) % 8 {
                4 => json(503, r#"{"error":"no list"}"#),
                6 => Vec::new(),
                _ => {
                    let keys = secrets_in(seen.target.as_bytes());
                    let id = format!("seen-{name}-{}", digest(&fields(seen), &keys));
                    json(200, &format!(r#"{{"data":[{{"id":"{id}"}},{{"id":"m1"}}]}}"#))
                }
            }
        } else {
            let urls = urls.get().unwrap();
            let elsewhere = format!("{}{path}", urls[(index + 1) % urls.len()]);
            let cut = "Content-Length: 99\r\nConnection: close\r\n\r\ndata: {}\n\n";
            match seen.all("x-behave").first().copied() {
                Some("redirect") => {
                    response(&format!("307 Elsewhere\nLocation: {elsewhere}"), "{}")
                }
                Some("fail") => json(500, r#"{"error":"as asked"}"#),
                Some("cut") => Vec::new(),
                Some("short") => format!("HTTP/1.1 200 OK\r\n{cut}").into_bytes(),
                Some("events") => {
                    let kind = "Content-Type: text/event-stream\r\nX-Long: 1\r\n";
                    format!("HTTP/1.1 200 OK\r\n{kind}{}", cut.replace("99", "999999")).into_bytes()
                }
                _ => json(200, r#"{"id":"m1"}"#),
            }
        };
        match answer.windows(4).position(|end| end == b"\r\n\r\n") {
            Some(end) if seen.method == "HEAD" => answer[..end + 4].to_vec(),
            _ => answer,
        }
    })
}

/// The fields of a request that the oracle speaks about.
fn fields(seen: &Seen) -> Vec<(String, String)> {
    let fields = seen.headers.iter().map(|(n, v)| (n.to_lowercase(), v.clone()));
    let is_secret = |name: &str| CREDENTIALS.contains(&name) || name == "x-up-token";
    let mut fields: Vec<_> = fields.filter(|(name, _)| is_secret(name)).collect();
    fields.sort();
    fields
}

/// A name for a list that identifies its credentials without showing them. FNV-1a.
fn digest(fields: &[(String, String)], keys_in_query: &[String]) -> String {
    let text: String = fields.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let text = text + &keys_in_query.concat();
    let fold = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, fold))
}

fn judge_answer(world: &World, exchange: &Exchange, answer: &Response, tally: &Tally) {
    let id = &exchange.id;
    for (name, value) in &answer.headers {
        assert_eq!(secrets_in(format!("{name}: {value}").as_bytes()), Vec::<String>::new(), "{id}");
    }
    assert_eq!(secrets_in(&answer.body), Vec::<String>::new(), "{id}");
    count(tally, "answered");
    count(tally, format!("status {}", answer.status));
    if answer.end == End::Cut {
        count(tally, "answer cut");
    }
    if answer.status == 307 {
        count(tally, "redirected");
    }
    if answer.header("x-model-filter-missing").is_some() {
        count(tally, "missing");
    }
    if world.refuses_keyring(exchange) {
        // Hidden models and foreign pages are refused before.
        assert!((400..500).contains(&answer.status), "{exchange:?}: {answer:?}");
        if answer.status == 401 {
            count(tally, "keyring refused");
        }
        return;
    }
    match exchange.to {
        To::None => {
            let refused = (400..500).contains(&answer.status) || answer.status == 204;
            assert!(refused, "{exchange:?}: {answer:?}");
        }
        To::Catalog | To::ListOf(_) if answer.status == 200 => {
            judge_list(world, exchange, answer, tally)
        }
        To::Catalog | To::ListOf(_) | To::One(_) => {}
    }
}

/// The id in a list identifies the credentials that it was fetched with: those of this client's request.
fn judge_list(world: &World, exchange: &Exchange, answer: &Response, tally: &Tally) {
    let ids = answer.ids();
    for (index, upstream) in world.upstreams.iter().enumerate() {
        let prefix = match exchange.to {
            To::ListOf(only) if only == index => "",
            To::ListOf(_) => continue,
            _ => upstream.prefix.as_str(),
        };
        let beginning = format!("{prefix}seen-{}-", upstream.name);
        let query = world.query_for(exchange, index).unwrap_or_default();
        let expected = digest(&world.shown(exchange, index), &secrets_in(query.as_bytes()));
        for seen in ids.iter().filter_map(|id| id.strip_prefix(&beginning)) {
            assert_eq!(
                seen,
                expected,
                "the list of somebody else: {exchange:?} from {upstream:?}, not with {:?}",
                world.shown(exchange, index)
            );
            count(tally, format!("list of {:?}", upstream.rule));
            if !upstream.settings.contains("hidden: reject") {
                count(tally, "list shown and not judged by");
            }
            if exchange.to == To::ListOf(index) {
                count(tally, "list by name");
            }
        }
    }
}

fn judge_upstream(
    world: &World,
    index: usize,
    recorder: &Recorder,
    exchanges: &HashMap<&str, &Exchange>,
    yaml: &str,
    tally: &Tally,
) {
    let upstream = &world.upstreams[index];
    let mut known: HashSet<String> = HashSet::new();
    for exchange in exchanges.values() {
        let is_asked = [To::One(index), To::Catalog, To::ListOf(index)].contains(&exchange.to);
        if is_asked && !world.refuses_keyring(exchange) {
            let query = world.query_for(exchange, index).unwrap_or_default();
            known.extend(secrets_in(query.as_bytes()));
            let mut shown = world.shown(exchange, index);
            if upstream.settings.contains("hidden: reject") {
                // The model is judged by the list, whatever the path of the request.
                shown.extend(world.shown_at(exchange, index, true));
            }
            known.extend(shown.iter().flat_map(|(_, value)| secrets_in(value.as_bytes())));
        }
    }
    known.extend(upstream.headers.iter().map(|(_, value)| value.clone()));
    known.insert(upstream.api_key.clone());
    for bytes in recorder.bytes() {
        for secret in secrets_in(&bytes) {
            assert!(
                known.contains(&secret) && allowed(&secret, upstream),
                "{secret} at {upstream:?}"
            );
            count(tally, format!("sent on: {}", kind(&secret).0));
        }
    }
    for seen in recorder.requests() {
        let beside = upstream.base.ends_with("/v1") && !is_below(&seen.target, upstream.base);
        let fields = fields(&seen);
        for (_, value) in fields.iter().filter(|_| beside) {
            let own = |secret: &String| matches!(kind(secret).0, "apikey" | "header");
            assert!(
                !secrets_in(value.as_bytes()).iter().any(own),
                "a key beside base_url: {seen:?}\n{yaml}"
            );
        }
        let Some(id) = seen.all("x-exchange").first().copied() else {
            if !upstream.settings.contains("hidden: reject") {
                count(tally, "list asked for to be shown");
            }
            continue;
        };
        let exchange = exchanges[id];
        assert_eq!(exchange.to, To::One(index), "{exchange:?} at {upstream:?}");
        assert!(!world.refuses_keyring(exchange), "{exchange:?} at {upstream:?}");
        if !exchange.query.is_empty() {
            let query = seen.target.split_once('?').map(|(_, query)| query.to_owned());
            assert_eq!(query, world.query_for(exchange, index), "{exchange:?} at {upstream:?}");
            count(tally, "query");
        }
        assert_eq!(fields, world.shown(exchange, index), "{exchange:?} at {upstream:?}\n{yaml}");
        if seen.target.contains("secret-") {
            count(tally, "query passed on");
        }
        let has_cookie = exchange.all("cookie").next().is_some();
        if has_cookie && upstream.rule == Rule::Passthrough && seen.all("cookie").is_empty() {
            count(tally, "cookie dropped");
        }
        if upstream.rule == Rule::Keyring && !fields.is_empty() {
            count(tally, "own part of a keyring");
        }
        if !world.is_below(exchange, index) {
            count(tally, "beside");
        } else if !exchange.below {
            count(tally, "below by its URL");
        }
        if exchange.target.starts_with(&format!("/{}/", upstream.name)) {
            count(tally, "by name");
        }
    }
}

fn is_below(target: &str, base: &str) -> bool {
    let rest = target.strip_prefix(base);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

/// The rules in few words, by what a secret is and whose.
fn allowed(secret: &str, upstream: &Upstream) -> bool {
    let (kind, owner) = kind(secret);
    match kind {
        "apikey" | "header" => owner == upstream.name,
        "keyring" if upstream.rule == Rule::Keyring => owner == upstream.name,
        "keyring" | "client" => upstream.rule == Rule::Passthrough,
        _ => false,
    }
}

/// A secret, and its owner.
fn kind(secret: &str) -> (&str, &str) {
    let mut parts = secret.split('-').skip(2);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// Everything that begins like a secret, however it goes on.
fn secrets_in(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for at in 0..bytes.len().saturating_sub(6) {
        if bytes[at..at + 7].eq_ignore_ascii_case(b"secret-") {
            let rest = bytes[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'-');
            found.push(rest.map(|byte| char::from(*byte)).collect());
        }
    }
    found
}
