//! Prices in exact decimal arithmetic.

use std::fmt;

use serde::{Serialize, Serializer};

/// The decimal places of a price per million tokens.
const PLACES: u32 = 18;

/// How much smaller a price per token is: six decimal places.
const TOKENS: u32 = 6;

/// US dollars per million tokens, never negative.
///
/// Limits: 18 decimal places, the last of which is rounded; at most 38 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(u128);

impl Price {
    /// What costs nothing.
    pub const FREE: Price = Price(0);

    /// Reads a decimal number of US dollars per million tokens, such as `2.5` or `15e-2`. None if
    /// it is negative or not a number.
    pub fn per_million(text: &str) -> Option<Price> {
        scaled(text, PLACES).map(Price)
    }

    /// Reads a decimal number of US dollars per token, such as `0.0000025`.
    pub fn per_token(text: &str) -> Option<Price> {
        scaled(text, PLACES + TOKENS).map(Price)
    }

    /// The sum of two prices.
    #[must_use]
    pub fn plus(self, other: Price) -> Price {
        Price(self.0.saturating_add(other.0))
    }
}

/// A decimal number times a power of ten, rounded half up.
fn scaled(text: &str, places: u32) -> Option<u128> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (is_negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = || whole.chars().chain(fraction.chars());
    if digits().count() == 0 || !digits().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let mut value: u128 = 0;
    for digit in digits() {
        value = value.checked_mul(10)?.checked_add(u128::from(digit.to_digit(10)?))?;
    }
    if value == 0 {
        return Some(0);
    }
    if is_negative {
        return None;
    }
    let fraction = i32::try_from(fraction.len()).ok()?;
    let power = exponent.checked_sub(fraction)?.checked_add(i32::try_from(places).ok()?)?;
    let factor = 10_u128.checked_pow(power.unsigned_abs());
    match factor {
        Some(factor) if power >= 0 => value.checked_mul(factor),
        Some(factor) => Some(value / factor + u128::from(value % factor >= factor / 2)),
        None => (power < 0).then_some(0),
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10_u128.pow(PLACES);
        let (whole, fraction) = (self.0 / one, self.0 % one);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let fraction = format!("{fraction:0width$}", width = PLACES as usize);
        write!(f, "{whole}.{}", fraction.trim_end_matches('0'))
    }
}

impl Serialize for Price {
    /// As a number, which the page formats.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.to_string().parse().unwrap_or(f64::MAX))
    }
}
