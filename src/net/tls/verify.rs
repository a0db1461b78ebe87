//! Whom to believe: what is asked of a certificate beyond that a trusted authority has signed it.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::TlsOptions;
use super::presented::Presented;

/// Remembers the certificate that was shown: by who connects also if it was refused, for operators want to know whose; by
/// who is connected to only if it is good.
#[derive(Debug, Default)]
pub(super) struct Witness(OnceLock<CertificateDer<'static>>);

impl Witness {
    pub(super) fn seen(&self) -> Option<&CertificateDer<'static>> {
        self.0.get()
    }
}

/// Checks those who connect.
#[derive(Debug)]
pub(super) struct CheckedClient {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) options: TlsOptions,
    pub(super) witness: Arc<Witness>,
}

impl ClientCertVerifier for CheckedClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // A second one in one handshake does not come up.
        let _ = self.witness.0.set(end_entity.clone().into_owned());
        let verified = self.verifier.verify_client_cert(end_entity, intermediates, now)?;
        check_allowed(&self.options, end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Checks those who are connected to.
#[derive(Debug)]
pub(super) struct CheckedServer {
    pub(super) verifier: Arc<WebPkiServerVerifier>,
    pub(super) options: TlsOptions,
    pub(super) witness: Arc<Witness>,
}

impl ServerCertVerifier for CheckedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        check_allowed(&self.options, end_entity)?;
        // As above.
        let _ = self.witness.0.set(end_entity.clone().into_owned());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Believes everybody who has the key of the certificate shown: for members that sign their own, and for who was told to
/// verify nothing.
#[derive(Debug)]
pub(super) struct AnyServer {
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Checks the common name, or the hosts that the certificate is valid for.
fn check_allowed(options: &TlsOptions, certificate: &CertificateDer<'_>) -> Result<(), Error> {
    let is_allowed = if !options.allowed_cn.is_empty() {
        let presented = Presented::read(certificate).map_err(|error| Error::General(error.to_string()))?;
        options.allowed_cn.contains(&presented.common_name)
    } else if !options.allowed_hostname.is_empty() {
        let certificate = ParsedCertificate::try_from(certificate)?;
        options.allowed_hostname.iter().any(|host| {
            ServerName::try_from(host.as_str()).is_ok_and(|host| verify_server_name(&certificate, &host).is_ok())
        })
    } else {
        true
    };
    // In etcd's words.
    if is_allowed { Ok(()) } else { Err(Error::General("client certificate authentication failed".into())) }
}
