//! Keys and signatures of the curve P-521, which the TLS library does not have: etcd makes its own certificates with it, and
//! operators have some.
//!
//! Source: RFC 8446, section 4.2.3 (`ecdsa_secp521r1_sha512`), RFC 5758.

use std::fmt;
use std::sync::{Arc, LazyLock};

use p521::ecdsa::signature::{Signer as _, Verifier as _};
use p521::ecdsa::{DerSignature, SigningKey, VerifyingKey};
use p521::pkcs8::{DecodePrivateKey, EncodePublicKey};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, PrivateKeyDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer,
    alg_id,
};
use rustls::sign::{self, Signer};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};

const SCHEME: SignatureScheme = SignatureScheme::ECDSA_NISTP521_SHA512;

/// A private key.
#[derive(Clone)]
struct Key(Arc<SigningKey>);

impl fmt::Debug for Key {
    /// Nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key of P-521")
    }
}

/// Reads a private key of this curve; `None` if it is another one.
pub(super) fn read(key: &PrivateKeyDer<'_>) -> Option<Arc<dyn sign::SigningKey>> {
    let secret = match key {
        PrivateKeyDer::Pkcs8(der) => p521::SecretKey::from_pkcs8_der(der.secret_pkcs8_der()).ok()?,
        PrivateKeyDer::Sec1(der) => p521::SecretKey::from_sec1_der(der.secret_sec1_der()).ok()?,
        _ => return None,
    };
    Some(Arc::new(Key(Arc::new(secret.into()))))
}

impl sign::SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SCHEME).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        let der = p521::PublicKey::from(self.0.verifying_key()).to_public_key_der().ok()?;
        Some(SubjectPublicKeyInfoDer::from(der.as_bytes().to_vec()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature: p521::ecdsa::Signature =
            self.0.try_sign(message).map_err(|_| Error::General("signing failed".into()))?;
        Ok(signature.to_der().as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SCHEME
    }
}

/// Checks signatures of others.
#[derive(Debug)]
struct Verification;

impl SignatureVerificationAlgorithm for Verification {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = DerSignature::try_from(signature).map_err(|_| InvalidSignature)?;
        key.verify(message, &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P521
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA512
    }
}

/// The library's algorithms and this one, which comes last. They live as long as the program.
static ALGORITHMS: LazyLock<WebPkiSupportedAlgorithms> = LazyLock::new(|| {
    let known = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let all = [known.all, &[&Verification as &dyn SignatureVerificationAlgorithm]].concat();
    let mine: &[&dyn SignatureVerificationAlgorithm] = &[&Verification];
    let mapping = [known.mapping, &[(SCHEME, mine)]].concat();
    WebPkiSupportedAlgorithms { all: all.leak(), mapping: mapping.leak() }
});

/// How signatures of others are checked, this curve's too.
pub(super) fn algorithms() -> WebPkiSupportedAlgorithms {
    *ALGORITHMS
}
