//! The model of a form post (`application/x-www-form-urlencoded`).

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::json;
use super::names::Names;
use crate::error::Error;

/// A key that servers might read as `model`, in any case and percent-encoding: frameworks trim
/// blanks, split `model[0]`, and some split pairs at `;`.
static MODEL: LazyLock<Regex> = LazyLock::new(|| {
    let letters = [("m", "d"), ("o", "f"), ("d", "4"), ("e", "5"), ("l", "c")];
    let letters = letters.map(|(letter, low)| format!("(?:{letter}|%(?:u00)?[46]{low})"));
    let edge = r"(?:[\s+\[]|%20|%5b|%0[0-9a-f])*";
    let pattern = format!(r"(?i-u)(?:^|[&;]){edge}{}(?:[=&;%+\s\[\]]|$)", letters.concat());
    Regex::new(&pattern).expect("the pattern is constant")
});

/// Refuses a form that names a model: many servers read it, though no client of these APIs sends
/// one. A JSON object that is called a form, as by `curl -d`, is read as JSON.
pub(super) fn find(body: &[u8]) -> Result<Names, Error> {
    if MODEL.is_match(body) {
        let what = "the model of a form post cannot be judged; send JSON or multipart/form-data";
        return Err(Error::bad_request(what));
    }
    let text = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    if text.trim_ascii_start().starts_with(b"{") { json::find(body) } else { Ok(Names::default()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_that_names_a_model_is_refused() {
        let forms = [
            "model=m",
            "x=y&model=m",
            "x;MODEL",
            "%6dode%4C=m",
            "+model+=m",
            "%20model%00x=m",
            "model[]=m",
            "%5Bmodel%5d=m",
            "%u006dodel=m",
            r#"{"x":"&model=m&"}"#,
            "x=y\n&\nmodel=m",
        ];
        for form in forms {
            let error = find(form.as_bytes()).unwrap_err();
            assert!(error.message.contains("form post"), "{form}");
        }
        for form in ["models=m", "xmodel=m", "x=model", "x=a%26model=m", "x[model]=m"] {
            assert_eq!(find(form.as_bytes()), Ok(Names::default()), "{form}");
        }
    }

    #[test]
    fn json_that_is_called_a_form_is_json() {
        let body = "\u{feff} {\"model\":\"m\"}";
        assert_eq!(find(body.as_bytes()).unwrap().first(), Some("m"));
        assert!(find(b"{\"model\":\"m\"}&x=y").is_err());
    }
}
