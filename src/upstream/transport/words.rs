//! Errors of TLS in words: what is wrong with a certificate, and what to do.

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// The object identifiers of algorithms, as DER has them, and their names. Those of keys on curves are
/// followed by the curve, so curves come first.
const ALGORITHMS: [(&[u8], &str); 16] = [
    (b"\x2b\x81\x04\x00\x23", "P-521"),
    (b"\x2b\x81\x04\x00\x22", "P-384"),
    (b"\x2b\x81\x04\x00\x0a", "secp256k1"),
    (b"\x2a\x86\x48\xce\x3d\x03\x01\x07", "P-256"),
    (b"\x2a\x86\x48\xce\x3d\x04\x01", "ECDSA with SHA-1"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", "ECDSA with SHA-256"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", "ECDSA with SHA-384"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", "ECDSA with SHA-512"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", "RSA with SHA-1"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", "RSA with MD5"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", "RSA-PSS"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", "RSA with SHA-256"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", "RSA"),
    (b"\x2b\x65\x70", "Ed25519"),
    (b"\x2b\x65\x71", "Ed448"),
    (b"\x2a\x86\x48\xce\x3d\x02\x01", "an elliptic curve"),
];

/// An error of TLS with this host.
pub(super) fn in_words(error: &Error, host: &str) -> String {
    match error {
        Error::InvalidCertificate(error) => format!("the certificate {}", fault(error, host)),
        Error::AlertReceived(AlertDescription::HandshakeFailure) => {
            "the upstream ended the TLS handshake (handshake_failure): it may support none of our \
             algorithms, or only a certificate with one that we do not support, such as P-521"
                .to_owned()
        }
        Error::AlertReceived(alert) => format!("the upstream ended TLS with the alert {alert:?}"),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the upstream does not speak TLS: does its address begin with http://?".to_owned()
        }
        other => format!("TLS failed: {other}"),
    }
}

/// What is wrong with a certificate, behind "the certificate".
fn fault(error: &CertificateError, host: &str) -> String {
    use CertificateError::{
        ApplicationVerificationFailure, BadEncoding, BadSignature, Expired, ExpiredContext,
        InvalidPurpose, InvalidPurposeContext, NotValidForName, NotValidForNameContext,
        NotValidYet, NotValidYetContext, Other, Revoked, UnknownIssuer,
        UnsupportedSignatureAlgorithmContext, UnsupportedSignatureAlgorithmForPublicKeyContext,
    };
    match error {
        ExpiredContext { not_after, .. } => format!("expired on {}", date(*not_after)),
        Expired => "has expired".to_owned(),
        NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}: is this machine's clock right?", date(*not_before))
        }
        NotValidYet => "is not valid yet: is this machine's clock right?".to_owned(),
        NotValidForNameContext { presented, .. } if presented.is_empty() => {
            format!("names no host (subjectAltName), so it is not for {host}")
        }
        NotValidForNameContext { presented, .. } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            format!("is for {}, not for {host}", names.join(", "))
        }
        NotValidForName => format!("is not for {host}"),
        UnknownIssuer => "is signed by an unknown authority: put it into tls.ca_file".to_owned(),
        // Without an entry in `tls.ca_file` it is a server's own, made by `openssl req -x509`.
        Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "is one of an unknown authority: put it into tls.ca_file".to_owned()
        }
        UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } => {
            format!("is signed with {}, which is not supported", algorithm(signature_algorithm_id))
        }
        UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            public_key_algorithm_id,
        } => {
            let (signature, key) =
                (algorithm(signature_algorithm_id), algorithm(public_key_algorithm_id));
            format!("is signed with {signature} by a key on {key}, which is not supported")
        }
        InvalidPurpose | InvalidPurposeContext { .. } => "is not for servers".to_owned(),
        BadSignature => "has a signature that is not its authority's".to_owned(),
        Revoked => "was revoked".to_owned(),
        BadEncoding | ApplicationVerificationFailure => "cannot be read".to_owned(),
        other => format!("is not valid: {other}"),
    }
}

/// A name out of `DnsName("name")` or `IpAddress(address)`.
fn bare(name: &str) -> &str {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(name).trim_matches('"')
}

fn algorithm(id: &[u8]) -> &'static str {
    let is_in_it = |oid: &[u8]| id.windows(oid.len()).any(|window| window == oid);
    let known = ALGORITHMS.iter().find(|(oid, _)| is_in_it(oid));
    known.map_or("an unknown algorithm", |(_, name)| name)
}

/// A date, in UTC.
fn date(time: UnixTime) -> String {
    // Years that begin in March have their leap day at the end.
    let days = time.as_secs() / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + next)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_date_is_that_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_868_799, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (2_524_607_999, "2049-12-31"),
        ] {
            assert_eq!(date(UnixTime::since_unix_epoch(Duration::from_secs(seconds))), expected);
        }
    }

    #[test]
    fn names_and_algorithms_are_readable() {
        assert_eq!(bare("DnsName(\"a.example\")"), "a.example");
        assert_eq!(bare("IpAddress(127.0.0.1)"), "127.0.0.1");
        assert_eq!(
            algorithm(b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23"),
            "P-521"
        );
        assert_eq!(algorithm(b"\x06\x01\x00"), "an unknown algorithm");
    }
}
