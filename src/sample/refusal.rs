//! An error of the sample, in the shape of the API.

use serde::Serialize;

use super::shapes::json;
use crate::error::Error;
use crate::reply::Reply;
use crate::text::cut;

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) param: Option<&'static str>,
    pub(super) code: Option<&'static str>,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn bad_request(param: Option<&'static str>, message: impl Into<String>) -> Refusal {
        Refusal { status: 400, param, code: None, message: message.into() }
    }

    pub(super) fn model_not_found(model: &str) -> Refusal {
        let model = cut(model);
        Refusal {
            status: 404,
            param: None,
            code: Some("model_not_found"),
            message: format!("The model '{model}' does not exist or you do not have access to it."),
        }
    }

    /// The response, without `x-model-filter-error`: to the proxy it is an upstream's error.
    pub(super) fn reply(&self) -> Reply {
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

#[cfg(test)]
mod tests {
    use super::*;

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
