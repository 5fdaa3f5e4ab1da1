//! Dates as lists write them: seconds since 1970, or RFC 3339.

/// The first second of the year 10000: larger numbers are milliseconds, or nonsense.
const END: u64 = 253_402_300_800;

/// Reads seconds or RFC 3339, given as JSON. The epoch itself is none: providers write it if
/// they do not know the date (Anthropic's API reference, "List Models").
pub(super) fn seconds(json: &str) -> Option<u64> {
    let seconds = match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(text) => rfc3339(text)?,
        None => json.split('.').next()?.parse().ok()?,
    };
    (0 < seconds && seconds < END).then_some(seconds)
}

/// A date and time of RFC 3339 §5.6 in seconds; none before 1970.
fn rfc3339(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let is = |at: usize, marks: &str| text.get(at..=at).is_some_and(|mark| marks.contains(mark));
    if !(is(4, "-") && is(7, "-") && is(10, "Tt ") && is(13, ":") && is(16, ":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let at = text.len() - rest.len();
            if rest.len() != 6 || !is(at, "+-") || !is(at + 3, ":") {
                return None;
            }
            let seconds = (number(at + 1, at + 3)? * 60 + number(at + 4, at + 6)?) * 60;
            if is(at, "-") { -seconds } else { seconds }
        }
    };
    let days = days_since_epoch(year, month, day);
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second - offset).ok()
}

/// Days since 1970-01-01 in the Gregorian calendar. Years begin in March, so that a leap day is
/// the last day of its year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}
