//! The routes of the sample.

use std::io::{self, Read};
use std::net::SocketAddr;

use serde_json::Value;

use super::catalog::catalog;
use super::chat::Completion;
use super::embeddings;
use super::messages::{self, ModelMessage};
use super::refusal::Refusal;
use super::responses::ModelResponse;
use super::shapes::json;
use super::socket;
use crate::config::Limits;
use crate::error::{Code, Error};
use crate::framing::BodyLength;
use crate::reply::Reply;
use crate::route::decode;
use crate::server::{self, Exchange};

/// The one key that is refused, to show how a client handles a 401.
const WRONG_KEY: &str = "wrong";

/// The longest body that is read, in bytes. Parsed, it may take 60 times as much memory.
const MAX_BODY: u64 = 2 * 1024 * 1024;

/// Starts the sample upstream on a free loopback port, below `/v1`, until the process ends.
///
/// # Errors
/// If no port can be bound or no thread started.
pub fn start() -> io::Result<SocketAddr> {
    let listener = server::bind("127.0.0.1", 0)?;
    let address = listener.address();
    listener.serve(Limits::default(), Box::new(answer), Box::new(|_| {}))?;
    Ok(address)
}

enum Outcome {
    Whole(Reply),
    Stream(Completion),
    Response(ModelResponse),
    Message(ModelMessage),
    Socket,
}

fn answer(mut exchange: Box<Exchange>) {
    match dispatch(&mut exchange) {
        Ok(Outcome::Whole(reply)) => exchange.respond(&reply, &[]),
        Ok(Outcome::Stream(completion)) => completion.stream(exchange),
        Ok(Outcome::Response(response)) => response.stream(exchange),
        Ok(Outcome::Message(message)) => message.stream(exchange),
        Ok(Outcome::Socket) => socket::serve(exchange),
        Err(refusal) => exchange.respond(&refusal.reply(), &[]),
    };
}

fn dispatch(exchange: &mut Exchange) -> Result<Outcome, Refusal> {
    if let Some(error) = exchange.refusal() {
        return Err(error.clone().into());
    }
    check_key(exchange.headers().get_str("authorization"))?;
    let target = exchange.target().to_owned();
    let path = target.split('?').next().unwrap_or_default();
    if exchange.protocol().is_some() && path != "/v1/realtime" {
        // Codex uses HTTP at once.
        let message = format!("No WebSocket is at {path}: use HTTP.");
        return Err(Refusal { status: 426, param: None, code: None, message });
    }
    match path {
        "/v1/models" => {
            allow(exchange, path, &["GET", "HEAD"])?;
            Ok(Outcome::Whole(Reply::json(200, catalog().list())))
        }
        "/v1/chat/completions" => Completion::to_chat(&posted(exchange, path)?).map(either),
        "/v1/completions" => Completion::to_prompts(&posted(exchange, path)?).map(either),
        "/v1/responses" => {
            let body = posted(exchange, path)?;
            let response = ModelResponse::to(&body)?;
            Ok(match body["stream"] == true {
                true => Outcome::Response(response),
                false => Outcome::Whole(Reply::json(200, json(response.whole()))),
            })
        }
        "/v1/messages" => {
            let body = posted(exchange, path)?;
            let message = ModelMessage::to(&body)?;
            Ok(match body["stream"] == true {
                true => Outcome::Message(message),
                false => Outcome::Whole(Reply::json(200, json(message.whole()))),
            })
        }
        "/v1/messages/count_tokens" => {
            let count = messages::count(&posted(exchange, path)?)?;
            Ok(Outcome::Whole(Reply::json(200, json(&count))))
        }
        "/v1/realtime" if exchange.protocol() == Some("websocket") => Ok(Outcome::Socket),
        "/v1/embeddings" => {
            let body = embeddings::answer(&posted(exchange, path)?)?;
            Ok(Outcome::Whole(Reply::json(200, body)))
        }
        _ => {
            let Some(id) = path.strip_prefix("/v1/models/") else {
                let message = format!("Invalid URL ({} {path})", exchange.method());
                return Err(Refusal { status: 404, param: None, code: None, message });
            };
            allow(exchange, path, &["GET", "HEAD"])?;
            let id = decode(id);
            let model = catalog().model(&id).ok_or_else(|| Refusal::model_not_found(&id))?;
            Ok(Outcome::Whole(Reply::json(200, model)))
        }
    }
}

fn either(completion: Completion) -> Outcome {
    if completion.is_streamed() {
        Outcome::Stream(completion)
    } else {
        Outcome::Whole(Reply::json(200, completion.whole()))
    }
}

fn check_key(authorization: Option<&str>) -> Result<(), Refusal> {
    if authorization.and_then(|value| value.split_whitespace().nth(1)) != Some(WRONG_KEY) {
        return Ok(());
    }
    let message = format!(
        "Incorrect API key provided: {WRONG_KEY}. \
         The sample upstream of model-filter takes any other key, or none."
    );
    Err(Refusal { status: 401, param: None, code: Some("invalid_api_key"), message })
}

fn allow(exchange: &Exchange, path: &str, methods: &[&str]) -> Result<(), Refusal> {
    let method = exchange.method();
    if methods.contains(&method) {
        return Ok(());
    }
    let message = format!("Not allowed to {method} on {path}: use {}.", methods.join(" or "));
    Err(Refusal { status: 405, param: None, code: Some("method_not_supported"), message })
}

/// Reads the JSON body of a POST.
fn posted(exchange: &mut Exchange, path: &str) -> Result<Value, Refusal> {
    allow(exchange, path, &["POST"])?;
    let too_large = || {
        let message = format!("the body is longer than {MAX_BODY} bytes");
        Error::client(Code::RequestTooLarge, message)
    };
    if matches!(exchange.body_length(), BodyLength::Known(length) if length > MAX_BODY) {
        return Err(too_large().into());
    }
    let mut body = Vec::new();
    exchange.body().take(MAX_BODY + 1).read_to_end(&mut body).map_err(|error| {
        Refusal::bad_request(None, format!("The body could not be read: {error}."))
    })?;
    if body.len() as u64 > MAX_BODY {
        return Err(too_large().into());
    }
    serde_json::from_slice(&body).map_err(|error| {
        Refusal::bad_request(None, format!("The body could not be parsed as JSON: {error}."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_is_refused() {
        assert_eq!(check_key(Some("Bearer wrong")).unwrap_err().status, 401);
        assert!(check_key(Some("Bearer wrong-not")).is_ok());
        assert!(check_key(None).is_ok());
    }
}
