//! TLS without authorities: a self-signed certificate whose key the signed card names, and a client that accepts
//! exactly that key.
//!
//! The pin is SHA-256 of the certificate's SubjectPublicKeyInfo (DER), as RFC 7469 defines it: names, validity
//! and issuer of the certificate mean nothing here.

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tender_base::{Code, Problem, Sha256};

/// A new TLS key (ECDSA P-256), PKCS #8 in PEM, to be kept with mode 0600.
///
/// # Errors
/// [`Code::Internal`] when the system gives no randomness.
pub fn generate_key() -> Result<String, Problem> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map(|key| key.serialize_pem())
        .map_err(|error| fault(&format!("no TLS key could be made: {error}")))
}

/// What a server presents: a certificate made afresh from a kept key.
#[derive(Clone)]
pub struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    key_sha256: Sha256,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("key_sha256", &self.key_sha256).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// From a key made by [`generate_key`].
    ///
    /// # Errors
    /// [`Code::Storage`] when the text is no key.
    pub fn from_key(pem: &str) -> Result<Self, Problem> {
        let key = KeyPair::from_pem(pem).map_err(|_| {
            Problem::new(
                Code::Storage,
                "the stored TLS key is not readable",
                "remove its file: a new key is made at the next start, and peers learn it from the signed card",
            )
        })?;
        let certificate = CertificateParams::new(vec!["tender".to_owned()])
            .and_then(|params| params.self_signed(&key))
            .map_err(|error| fault(&format!("no certificate could be made: {error}")))?;
        let certificate = certificate.der().clone();
        let key_sha256 = spki_sha256(&certificate).map_err(|error| fault(&error.to_string()))?;
        let secret = PrivateKeyDer::try_from(key.serialize_der()).map_err(fault)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_no_client_auth())
            .and_then(|builder| builder.with_single_cert(vec![certificate], secret))
            .map_err(|error| fault(&format!("TLS could not be set up: {error}")))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), key_sha256 })
    }

    /// The pin that belongs on the card.
    #[must_use]
    pub fn key_sha256(&self) -> Sha256 {
        self.key_sha256
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn fault(what: &str) -> Problem {
    Problem::new(Code::Internal, what, "report this as a bug")
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo, DER.
fn spki_sha256(certificate: &CertificateDer<'_>) -> Result<Sha256, Error> {
    Ok(Sha256::of(&ParsedCertificate::try_from(certificate)?.subject_public_key_info()))
}

/// Accepts the key of the first connection and no other. The first use fetches the signed card, which must name
/// that key; a client that finds another there is thrown away.
#[derive(Debug)]
pub(crate) struct Pin {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Sha256>>,
}

impl Pin {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { provider: provider(), seen: Mutex::default() })
    }

    /// The key of the connections so far; none before the first.
    pub(crate) fn seen(&self) -> Option<Sha256> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a client needs to connect under this pin.
    pub(crate) fn client_config(self: &Arc<Self>) -> Result<ClientConfig, Problem> {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| fault(&format!("TLS could not be set up: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(self.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = spki_sha256(end_entity)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen.get_or_insert(key) == key {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_belongs_to_the_key_not_to_the_certificate() {
        let pem = generate_key().unwrap();
        let first = ServerTls::from_key(&pem).unwrap().key_sha256();
        assert_eq!(ServerTls::from_key(&pem).unwrap().key_sha256(), first);
        assert_ne!(ServerTls::from_key(&generate_key().unwrap()).unwrap().key_sha256(), first);
        assert_eq!(ServerTls::from_key("nonsense").unwrap_err().code, Code::Storage);
    }
}
