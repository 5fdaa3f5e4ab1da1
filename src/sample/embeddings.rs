//! Embeddings: a unit vector made from a hash of the text.
//!
//! The same text always gets the same vector. Limits: similar texts do not get similar vectors.

use serde::Serialize;
use serde_json::Value;

use super::reading;
use super::refusal::Refusal;
use super::shapes::json;

/// The length of a vector, unless the request sets it.
const DIMENSIONS: u64 = 1536;

/// The most texts in one request, as in the API.
const MAX_INPUTS: usize = 2048;

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Embedding>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// The response to `POST /v1/embeddings`.
pub(super) fn answer(body: &Value) -> Result<Vec<u8>, Refusal> {
    let model = reading::model(body)?;
    let inputs = reading::texts(body, "input")?;
    if inputs.len() > MAX_INPUTS {
        let message = format!("'input' has {} texts; {MAX_INPUTS} is the most.", inputs.len());
        return Err(Refusal::bad_request(Some("input"), message));
    }
    let dimensions = reading::number(body, "dimensions", 1..=3072)?.unwrap_or(DIMENSIONS);
    // The official Python client requests base64 by default.
    let encoded: fn(Vec<f32>) -> Vector = match &body["encoding_format"] {
        Value::Null => Vector::Float,
        Value::String(format) if format == "float" => Vector::Float,
        Value::String(format) if format == "base64" => {
            |numbers| Vector::Base64(base64_of(&numbers))
        }
        other => {
            let message =
                format!("'encoding_format' must be \"float\" or \"base64\", not {other}.");
            return Err(Refusal::bad_request(Some("encoding_format"), message));
        }
    };
    let prompt_tokens = inputs.iter().map(|text| reading::tokens_in(text)).sum();
    let data = inputs.iter().enumerate().map(|(index, text)| Embedding {
        object: "embedding",
        index,
        embedding: encoded(vector(text, dimensions as usize)),
    });
    Ok(json(&List {
        object: "list",
        data: data.collect(),
        model,
        usage: Usage { prompt_tokens, total_tokens: prompt_tokens },
    }))
}

/// A vector of length 1: the text is hashed with FNV-1a, and splitmix64 draws the numbers.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut state = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut draw = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // Between -1 and 1, never exactly 0: a vector of zeroes has no direction.
        (((mixed >> 11) as f64 + 0.5) / (1_u64 << 52) as f64) - 1.0
    };
    let numbers: Vec<f64> = (0..dimensions).map(|_| draw()).collect();
    let length = numbers.iter().map(|number| number * number).sum::<f64>().sqrt();
    numbers.iter().map(|number| (number / length) as f32).collect()
}

/// The numbers as little-endian 32-bit floats, in base64 (RFC 4648 §4).
fn base64_of(numbers: &[f32]) -> String {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    base64(&bytes)
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let pairs =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (bytes, text) in pairs {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn a_vector_has_length_one_and_is_its_texts_own() {
        for dimensions in [1, 2, 1536] {
            let numbers = vector("a text", dimensions);
            let length: f32 = numbers.iter().map(|number| number * number).sum();
            assert!((length - 1.0).abs() < 1e-4, "{length}");
            assert_eq!(numbers.len(), dimensions);
        }
        assert_eq!(vector("a", 8), vector("a", 8));
        assert_ne!(vector("a", 8), vector("b", 8));
    }

    #[test]
    fn both_encodings_hold_the_same_numbers() {
        let asked = |format: &str| {
            let body = json!({"model": "openai/text-embedding-3-small", "input": "a",
                "dimensions": 2, "encoding_format": format});
            let answer: Value = serde_json::from_slice(&answer(&body).unwrap()).unwrap();
            answer["data"][0]["embedding"].clone()
        };
        let floats: Vec<f32> = serde_json::from_value(asked("float")).unwrap();
        assert_eq!(asked("base64"), json!(base64_of(&floats)));
    }
}
