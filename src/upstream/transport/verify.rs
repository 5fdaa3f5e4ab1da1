//! Which certificates are trusted: by the public authorities, or by those in `tls.ca_file`.
//!
//! A certificate in `tls.ca_file` is trusted as an authority. It is also trusted as the upstream's own if
//! it is presented byte for byte, even if it says `CA:TRUE`, as that of `openssl req -x509` does: then
//! its names and dates are checked, and nothing else. Limits: the algorithms are those of ring, so no
//! P-521 and no Ed448.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::validity::Validity;

/// Sessions with an upstream that can be resumed. A connection is kept, so few are needed.
const SESSIONS: usize = 8;

/// The TLS of an upstream that trusts these certificates, or the public authorities.
///
/// # Errors
/// None of the certificates can be used; in words.
pub fn client_config(ca_file: Option<&[u8]>) -> Result<Arc<ClientConfig>, String> {
    let (roots, own) = match ca_file {
        None => (public_roots(), Vec::new()),
        Some(pem) => {
            let own: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(own.iter().cloned());
            (Arc::new(roots), own)
        }
    };
    let provider = Arc::new(ring::default_provider());
    let authorities = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let authorities = authorities.build().map_err(|error| format!("tls.ca_file: {error}"))?;
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?.dangerous();
    let verifier = Arc::new(Verifier { authorities, own });
    let mut config = builder.with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

fn public_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let all = || Arc::new(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
    Arc::clone(ROOTS.get_or_init(all))
}

#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    /// The certificates of `tls.ca_file`.
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.own.iter().any(|own| own == end_entity) {
            let authorities = &self.authorities;
            return authorities.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            );
        }
        let validity = Validity::of(end_entity).ok_or(CertificateError::BadEncoding)?;
        validity.check(now)?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
