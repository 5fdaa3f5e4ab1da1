//! The dates of a certificate (RFC 5280 §4.1.2.5), which rustls checks only for what an authority has
//! signed. Pure.

use std::time::Duration;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

/// The time in which a certificate is valid, in seconds since 1970.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Validity {
    not_before: u64,
    not_after: u64,
}

// The tags of DER that occur up to the dates.
const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

impl Validity {
    /// The dates of a certificate; none if it cannot be read.
    pub(super) fn of(certificate: &[u8]) -> Option<Validity> {
        let (certificate, _) = element(certificate, SEQUENCE)?;
        let (mut fields, _) = element(certificate, SEQUENCE)?;
        if let Some((_, rest)) = element(fields, VERSION) {
            fields = rest;
        }
        // The serial number, the algorithm and the issuer.
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            (_, fields) = element(fields, tag)?;
        }
        let (dates, _) = element(fields, SEQUENCE)?;
        let (not_before, rest) = time(dates)?;
        let (not_after, _) = time(rest)?;
        Some(Validity { not_before, not_after })
    }

    /// Checks that a certificate is valid at this time.
    ///
    /// # Errors
    /// It is not valid yet, or no more.
    pub(super) fn check(&self, now: UnixTime) -> Result<(), CertificateError> {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let (not_before, not_after) = (at(self.not_before), at(self.not_after));
        if now < not_before {
            return Err(CertificateError::NotValidYetContext { time: now, not_before });
        }
        if now > not_after {
            return Err(CertificateError::ExpiredContext { time: now, not_after });
        }
        Ok(())
    }
}

/// The content of the first element, if it has this tag, and what follows it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = input else { return None };
    if *first != tag {
        return None;
    }
    // Lengths from 128 on are in the bytes that follow, as many as the low bits say.
    let (length, rest) = match *length {
        short @ ..=0x7f => (usize::from(short), rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let bytes = Some(bytes).filter(|bytes| matches!(bytes.len(), 1..=4))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    rest.split_at_checked(length)
}

/// The first element as a time, and what follows it.
fn time(input: &[u8]) -> Option<(u64, &[u8])> {
    let (text, rest, years) = match element(input, UTC_TIME) {
        Some((text, rest)) => (text, rest, 2),
        None => element(input, GENERALIZED_TIME).map(|(text, rest)| (text, rest, 4))?,
    };
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if text.len() != years + 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |at: usize| text[at..at + 2].parse::<i64>().ok();
    let year = match (years, text[..years].parse::<i64>().ok()?) {
        (2, year @ 50..) => 1900 + year,
        (2, year) => 2000 + year,
        (_, year) => year,
    };
    let (month, day) = (number(years)?, number(years + 2)?);
    let (hour, minute, second) = (number(years + 4)?, number(years + 6)?, number(years + 8)?);
    let seconds = ((days(year, month, day)? * 24 + hour) * 60 + minute) * 60 + second;
    Some((u64::try_from(seconds).unwrap_or(0), rest))
}

/// The days from 1970-01-01 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) {
        return None;
    }
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    Some(365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn a_time_is_read_in_both_forms() {
        for (tag, text, seconds) in [
            (UTC_TIME, "700101000000Z", 0),
            (UTC_TIME, "000229235959Z", 951_868_799),
            (UTC_TIME, "491231000000Z", 2_524_521_600),
            (GENERALIZED_TIME, "20500101000000Z", 2_524_608_000),
            (GENERALIZED_TIME, "99991231235959Z", 253_402_300_799),
            (UTC_TIME, "500101000000Z", 0),
        ] {
            let der = [&[tag, text.len() as u8][..], text.as_bytes(), b"rest"].concat();
            assert_eq!(time(&der), Some((seconds, &b"rest"[..])), "{text}");
        }
        for text in ["7001010000Z", "700101000000", "70010100000+Z", "701301000000Z"] {
            let der = [&[UTC_TIME, text.len() as u8][..], text.as_bytes()].concat();
            assert_eq!(time(&der), None, "{text}");
        }
    }

    #[test]
    fn the_dates_of_a_certificate_are_found() {
        let pem = include_bytes!("../../../tests/data/tls/ca.pem");
        let der = CertificateDer::from_pem_slice(pem).unwrap();
        let Validity { not_before, not_after } = Validity::of(&der).unwrap();
        assert!(not_before < not_after, "{not_before} {not_after}");
        for length in 0..der.len().min(200) {
            assert_eq!(Validity::of(&der[..length]), None);
        }
    }
}
