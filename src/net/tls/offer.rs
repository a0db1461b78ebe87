//! What is offered and taken in handshakes: versions and cipher suites.

use rustls::crypto::CryptoProvider;
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};

/// Versions of TLS, and cipher suites. By default everything that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Version 1.2.
    pub tls12: bool,
    /// Version 1.3.
    pub tls13: bool,
    /// The suites of version 1.2, by their numbers in IANA's list; empty means all. Those of 1.3 are always there.
    pub cipher_suites: Vec<u16>,
}

impl Default for Offer {
    fn default() -> Offer {
        Offer { tls12: true, tls13: true, cipher_suites: Vec::new() }
    }
}

impl Offer {
    /// Keys and algorithms, with these suites alone.
    pub(super) fn provider(&self) -> CryptoProvider {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.signature_verification_algorithms = super::p521::algorithms();
        provider.cipher_suites.retain(|suite| match suite {
            SupportedCipherSuite::Tls13(_) => true,
            SupportedCipherSuite::Tls12(_) => {
                self.cipher_suites.is_empty() || self.cipher_suites.contains(&suite.suite().into())
            }
        });
        provider
    }

    /// The newest first.
    pub(super) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let newest = self.tls13.then_some(&version::TLS13);
        newest.into_iter().chain(self.tls12.then_some(&version::TLS12)).collect()
    }
}
