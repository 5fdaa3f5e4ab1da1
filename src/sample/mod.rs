//! The built-in sample upstream: what `base_url: "sample:"` stands for.
//!
//! It speaks the OpenAI API on a loopback port of its own, through the same server code
//! as the proxy, so that the program shows what it does without an account and offline.
//! No model is asked: answers say what they were asked. Limits: models, chat completions,
//! completions and embeddings only; every model does all of these; options that would
//! need a model (tools, temperature, formats) are accepted and ignored.

mod catalog;
mod chat;
mod embeddings;
mod reading;
mod shapes;
mod words;

use std::io::{self, Read};
use std::net::SocketAddr;

use serde::Serialize;
use serde_json::Value;

use crate::error::{Code, Error};
use crate::reply::Reply;
use crate::route::decode;
use crate::server::{self, BodyLength, Exchange, Limits};
use crate::text::cut;
use catalog::catalog;

/// The one key that is refused, so that a client's handling of 401 can be seen.
const WRONG_KEY: &str = "wrong";

/// The longest body that is read, in bytes. Parsed, it may take 60 times as much.
const MAX_BODY: u64 = 2 * 1024 * 1024;

/// Starts the sample upstream on a free loopback port. It answers, below `/v1`, until the
/// process ends.
///
/// # Errors
/// Where no port or no thread can be had.
pub fn start() -> io::Result<SocketAddr> {
    let listener = server::bind("127.0.0.1", 0)?;
    let address = listener.address();
    listener.serve(Limits::default(), Box::new(answer))?;
    Ok(address)
}

enum Answer {
    Whole(Reply),
    Stream(chat::Answer),
}

/// Why a request is not answered as asked, in the API's own terms.
#[derive(Debug)]
struct Refusal {
    status: u16,
    param: Option<&'static str>,
    code: Option<&'static str>,
    message: String,
}

impl Refusal {
    fn bad_request(param: Option<&'static str>, message: impl Into<String>) -> Refusal {
        Refusal { status: 400, param, code: None, message: message.into() }
    }

    fn model_not_found(model: &str) -> Refusal {
        let model = cut(model);
        Refusal {
            status: 404,
            param: None,
            code: Some("model_not_found"),
            message: format!("The model '{model}' does not exist or you do not have access to it."),
        }
    }

    /// Without `x-model-filter-error`: to the proxy this is an upstream's error.
    fn reply(&self) -> Reply {
        #[derive(Serialize)]
        struct Body<'a> {
            error: Fields<'a>,
        }
        #[derive(Serialize)]
        struct Fields<'a> {
            message: &'a str,
            r#type: &'a str,
            param: Option<&'a str>,
            code: Option<&'a str>,
        }
        let error = Fields {
            message: &self.message,
            r#type: "invalid_request_error",
            param: self.param,
            code: self.code,
        };
        Reply::json(self.status, json(&Body { error }))
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let code = Some(error.code.as_str());
        Refusal { status: error.code.status(), param: None, code, message: error.message }
    }
}

fn answer(mut exchange: Box<Exchange>) {
    match dispatch(&mut exchange) {
        Ok(Answer::Whole(reply)) => exchange.respond(&reply),
        Ok(Answer::Stream(answer)) => answer.stream(exchange),
        Err(refusal) => exchange.respond(&refusal.reply()),
    };
}

fn dispatch(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    if let Some(error) = exchange.refusal() {
        return Err(error.clone().into());
    }
    check_key(exchange.headers().get_str("authorization"))?;
    let target = exchange.target().to_owned();
    let path = target.split('?').next().unwrap_or_default();
    match path {
        "/v1/models" => {
            allow(exchange, path, &["GET", "HEAD"])?;
            Ok(Answer::Whole(Reply::json(200, catalog().list())))
        }
        "/v1/chat/completions" => chat::Answer::to_chat(&posted(exchange, path)?).map(either),
        "/v1/completions" => chat::Answer::to_prompts(&posted(exchange, path)?).map(either),
        "/v1/embeddings" => {
            let body = embeddings::answer(&posted(exchange, path)?)?;
            Ok(Answer::Whole(Reply::json(200, body)))
        }
        _ => {
            let Some(id) = path.strip_prefix("/v1/models/") else {
                let message = format!("Invalid URL ({} {path})", exchange.method());
                return Err(Refusal { status: 404, param: None, code: None, message });
            };
            allow(exchange, path, &["GET", "HEAD"])?;
            let id = decode(id);
            let model = catalog().model(&id).ok_or_else(|| Refusal::model_not_found(&id))?;
            Ok(Answer::Whole(Reply::json(200, model)))
        }
    }
}

fn either(answer: chat::Answer) -> Answer {
    if answer.is_streamed() {
        Answer::Stream(answer)
    } else {
        Answer::Whole(Reply::json(200, answer.whole()))
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

/// The JSON that was sent with a POST.
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

/// The text behind `%2F` and the like; what is not such an escape stays.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("these types have string keys only and do not fail")
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

    #[test]
    fn a_refusal_has_the_shape_of_the_api() {
        let reply = Refusal::model_not_found("x").reply();
        let body = String::from_utf8(reply.body).unwrap();
        assert_eq!(reply.status, 404);
        assert!(body.starts_with(r#"{"error":{"message":"The model 'x' does not exist"#), "{body}");
        assert!(body.ends_with(
            r#""type":"invalid_request_error","param":null,"code":"model_not_found"}}"#
        ));
    }
}
