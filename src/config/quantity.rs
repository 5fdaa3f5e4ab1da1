//! Numbers with units, as people write them: `15m`, `64k`, `64MiB`.
//!
//! Numbers are those of Python (`1_000`, `1e3`). Limits: octal (`0777`) and sexagesimal (`1:30`)
//! numbers are refused, since they are easily misread.

use std::time::Duration;

/// Units of durations, in seconds.
const TIMES: [(&str, f64); 6] =
    [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0), ("w", 604_800.0)];

/// A duration: seconds, or numbers with units, as in `1h30m`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let seconds = match decimal(text) {
        Some(number) => number.parse().ok()?,
        None => with_units(text)?,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// The seconds of `1h30m`, with each unit at most once, the largest first.
fn with_units(text: &str) -> Option<f64> {
    let (mut rest, mut seconds, mut last) = (text, 0.0, f64::INFINITY);
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| c.is_ascii_alphabetic())?);
        let after = after.trim_start();
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        let (_, unit) = TIMES.iter().find(|(known, _)| *known == name)?;
        if *unit >= last {
            return None;
        }
        (last, rest) = (*unit, after.trim_start());
        seconds += plain(number)? * unit;
    }
    Some(seconds)
}

/// A count: `k` is 1,000 and `M` 1,000,000; a fraction is allowed if the result is whole.
pub(super) fn count(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, factor) = match text.char_indices().next_back()? {
        (end, 'k' | 'K') => (&text[..end], 1000.0),
        (end, 'm' | 'M') => (&text[..end], 1_000_000.0),
        _ => return decimal(text)?.parse().ok(),
    };
    // Rounded to hide the error of the multiplication, as in 1.001k.
    let count = (plain(number)? * factor * 1e6).round() / 1e6;
    // All whole numbers below this one are exact.
    (count.fract() == 0.0 && count < 9e15).then_some(count as u64)
}

/// A number of bytes, with or without a unit.
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000 * 1000,
        "gb" => 1000 * 1000 * 1000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    decimal(number)?.parse::<u64>().ok()?.checked_mul(factor)
}

/// A number without sign and exponent, before a unit.
fn plain(text: &str) -> Option<f64> {
    let text = decimal(text)?;
    let digits = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if digits { text.parse().ok() } else { None }
}

/// A number as Python writes it, ready for Rust's parser.
fn decimal(text: &str) -> Option<String> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let octal = bytes.len() > 1 && bytes[0] == b'0' && bytes[1].is_ascii_digit();
    let letters = |c: char| c.is_ascii_digit() || "+-.eE_".contains(c);
    let ends = text.starts_with('_') || text.ends_with('_');
    (!octal && !ends && text.chars().all(letters)).then(|| text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_have_units() {
        for (text, seconds) in [
            ("30", 30.0),
            ("1.5", 1.5),
            ("1e3", 1000.0),
            ("9_00", 900.0),
            ("30s", 30.0),
            ("15m", 900.0),
            ("24h", 86_400.0),
            ("7d", 604_800.0),
            ("2w", 1_209_600.0),
            ("1.5h", 5400.0),
            (" 90 s ", 90.0),
            ("500ms", 0.5),
            ("1h30m", 5400.0),
            ("1h 30m", 5400.0),
            (".5m", 30.0),
        ] {
            assert_eq!(duration(text).map(|time| time.as_secs_f64()), Some(seconds), "{text}");
        }
        for text in [
            "",
            "m",
            "15M",
            "15 minutes",
            "-1s",
            "1e3s",
            "1m1h",
            "1m1m",
            "0777",
            "1:30",
            "nan",
            "inf",
            "1h30",
            "s30",
            "é",
            "5é",
            "1e300",
            "010s",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn counts_may_be_in_thousands_and_millions() {
        for (text, number) in [
            ("64", 64),
            ("64k", 64_000),
            ("64K", 64_000),
            ("1M", 1_000_000),
            ("1.5k", 1500),
            ("1.001k", 1001),
            ("1_000", 1000),
            ("0", 0),
        ] {
            assert_eq!(count(text), Some(number), "{text}");
        }
        for text in ["", "k", "-1", "-1k", "1.5", "0.0001k", "64ki", "1G", "é", "1e30", "1e3k"] {
            assert_eq!(count(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("1", 1), ("64MiB", 64 << 20), ("10 MB", 10_000_000), ("1GiB", 1 << 30)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["-1", "1.5", "64M", "99999999999999999999 GiB", "lots", ""] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
