//! Keys that sign tokens, and those that only check signatures.
//!
//! All is done by `ring` but ES512, whose curve it does not have.

use std::fmt;

use p521::ecdsa::signature::{Signer as _, Verifier as _};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, UnparsedPublicKey};
use ring::{hmac, rsa};

use super::key_file::{self, PrivateKey, PublicKey};

/// How tokens are signed. Source: RFC 7518, section 3.1, and RFC 8037.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignMethod {
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
    /// RSA, PKCS #1 v1.5, with SHA-256.
    RS256,
    /// RSA, PKCS #1 v1.5, with SHA-384.
    RS384,
    /// RSA, PKCS #1 v1.5, with SHA-512.
    RS512,
    /// RSA, PSS, with SHA-256.
    PS256,
    /// RSA, PSS, with SHA-384.
    PS384,
    /// RSA, PSS, with SHA-512.
    PS512,
    /// ECDSA over P-256 with SHA-256.
    ES256,
    /// ECDSA over P-384 with SHA-384.
    ES384,
    /// ECDSA over P-521 with SHA-512.
    ES512,
    /// Ed25519.
    EdDSA,
}

impl SignMethod {
    /// Every one.
    pub const ALL: [SignMethod; 13] = [
        SignMethod::HS256,
        SignMethod::HS384,
        SignMethod::HS512,
        SignMethod::RS256,
        SignMethod::RS384,
        SignMethod::RS512,
        SignMethod::PS256,
        SignMethod::PS384,
        SignMethod::PS512,
        SignMethod::ES256,
        SignMethod::ES384,
        SignMethod::ES512,
        SignMethod::EdDSA,
    ];

    /// The method of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<SignMethod> {
        SignMethod::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Its name in tokens and flags.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SignMethod::HS256 => "HS256",
            SignMethod::HS384 => "HS384",
            SignMethod::HS512 => "HS512",
            SignMethod::RS256 => "RS256",
            SignMethod::RS384 => "RS384",
            SignMethod::RS512 => "RS512",
            SignMethod::PS256 => "PS256",
            SignMethod::PS384 => "PS384",
            SignMethod::PS512 => "PS512",
            SignMethod::ES256 => "ES256",
            SignMethod::ES384 => "ES384",
            SignMethod::ES512 => "ES512",
            SignMethod::EdDSA => "EdDSA",
        }
    }

    fn family(self) -> Family {
        use signature as by;
        match self {
            SignMethod::HS256 => Family::Hmac(hmac::HMAC_SHA256),
            SignMethod::HS384 => Family::Hmac(hmac::HMAC_SHA384),
            SignMethod::HS512 => Family::Hmac(hmac::HMAC_SHA512),
            SignMethod::RS256 => Family::Rsa(&by::RSA_PKCS1_SHA256, &by::RSA_PKCS1_2048_8192_SHA256),
            SignMethod::RS384 => Family::Rsa(&by::RSA_PKCS1_SHA384, &by::RSA_PKCS1_2048_8192_SHA384),
            SignMethod::RS512 => Family::Rsa(&by::RSA_PKCS1_SHA512, &by::RSA_PKCS1_2048_8192_SHA512),
            SignMethod::PS256 => Family::Rsa(&by::RSA_PSS_SHA256, &by::RSA_PSS_2048_8192_SHA256),
            SignMethod::PS384 => Family::Rsa(&by::RSA_PSS_SHA384, &by::RSA_PSS_2048_8192_SHA384),
            SignMethod::PS512 => Family::Rsa(&by::RSA_PSS_SHA512, &by::RSA_PSS_2048_8192_SHA512),
            SignMethod::ES256 => {
                Family::Ecdsa(key_file::P256, &by::ECDSA_P256_SHA256_FIXED_SIGNING, &by::ECDSA_P256_SHA256_FIXED)
            }
            SignMethod::ES384 => {
                Family::Ecdsa(key_file::P384, &by::ECDSA_P384_SHA384_FIXED_SIGNING, &by::ECDSA_P384_SHA384_FIXED)
            }
            SignMethod::ES512 => Family::P521,
            SignMethod::EdDSA => Family::Ed25519,
        }
    }
}

/// How the keys of a method are read, and what they do.
enum Family {
    Hmac(hmac::Algorithm),
    Rsa(&'static dyn signature::RsaEncoding, &'static dyn signature::VerificationAlgorithm),
    Ecdsa(key_file::Curve, &'static signature::EcdsaSigningAlgorithm, &'static signature::EcdsaVerificationAlgorithm),
    P521,
    Ed25519,
}

/// Keys that cannot be used. The texts are etcd's where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither key was given, or not the one that is needed.
    #[error("auth: missing key data")]
    Missing,
    /// They are not of one pair.
    #[error("auth: public and private keys don't match")]
    Mismatch,
    /// A key is none, or none that the method can use.
    #[error("{which} cannot be used for {}: {why}", method.name())]
    Unusable {
        /// `priv-key` or `pub-key`.
        which: &'static str,
        /// For what.
        method: SignMethod,
        /// Why not.
        why: String,
    },
}

/// A key of one method.
pub(super) struct Key {
    pub(super) method: SignMethod,
    /// `None`: it only checks signatures.
    signer: Option<Signer>,
    verifier: Verifier,
}

enum Signer {
    Hmac(hmac::Key),
    Rsa(Box<RsaKeyPair>, &'static dyn signature::RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    P521(Box<p521::ecdsa::SigningKey>),
    Ed25519(Ed25519KeyPair),
}

enum Verifier {
    Hmac(hmac::Key),
    Public(UnparsedPublicKey<Vec<u8>>),
    P521(Box<p521::ecdsa::VerifyingKey>),
}

impl Key {
    /// Reads the keys of a method: what is in the files, PEM but for HMAC, whose secret is the private one as it is.
    pub(super) fn read(method: SignMethod, private: Option<&[u8]>, public: Option<&[u8]>) -> Result<Key, KeyError> {
        let family = method.family();
        if let Family::Hmac(algorithm) = family {
            let key = hmac::Key::new(algorithm, private.ok_or(KeyError::Missing)?);
            return Ok(Key { method, signer: Some(Signer::Hmac(key.clone())), verifier: Verifier::Hmac(key) });
        }
        let unusable = |which| move |why| KeyError::Unusable { which, method, why };
        let private = private.map(PrivateKey::read).transpose().map_err(unusable("priv-key"))?;
        let public = public.map(PublicKey::read).transpose().map_err(unusable("pub-key"))?;
        let signer = private.map(|key| signer(&family, key)).transpose().map_err(unusable("priv-key"))?;
        let given = public.map(|key| public_bytes(&family, key)).transpose().map_err(unusable("pub-key"))?;
        let bytes = match (signer.as_ref().and_then(Signer::public), given) {
            (Some(own), Some(given)) if own != given => return Err(KeyError::Mismatch),
            (Some(own), _) => own,
            (None, Some(given)) => given,
            (None, None) => return Err(KeyError::Missing),
        };
        let verifier = verifier(&family, bytes).map_err(unusable("pub-key"))?;
        Ok(Key { method, signer, verifier })
    }

    /// Signs; `None` if it can only check.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self.signer.as_ref()? {
            Signer::Hmac(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
            Signer::Rsa(pair, encoding) => {
                let mut signed = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message, &mut signed).ok()?;
                Some(signed)
            }
            Signer::Ecdsa(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            Signer::P521(key) => {
                let signature: p521::ecdsa::Signature = key.try_sign(message).ok()?;
                Some(signature.to_bytes().to_vec())
            }
            Signer::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }

    /// Whether a signature is right.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.verifier {
            Verifier::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Verifier::Public(key) => key.verify(message, signature).is_ok(),
            Verifier::P521(key) => p521::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }
}

/// Keys stay out of logs.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let can_sign = self.signer.is_some();
        f.debug_struct("Key").field("method", &self.method).field("can_sign", &can_sign).finish_non_exhaustive()
    }
}

impl Signer {
    fn public(&self) -> Option<Vec<u8>> {
        match self {
            Signer::Hmac(_) => None,
            Signer::Rsa(pair, _) => Some(pair.public_key().as_ref().to_vec()),
            Signer::Ecdsa(pair) => Some(pair.public_key().as_ref().to_vec()),
            Signer::P521(key) => Some(key.verifying_key().to_sec1_point(false).as_bytes().to_vec()),
            Signer::Ed25519(pair) => Some(pair.public_key().as_ref().to_vec()),
        }
    }
}

fn signer(family: &Family, key: PrivateKey) -> Result<Signer, String> {
    let rejected = |why: ring::error::KeyRejected| why.to_string();
    match (family, key) {
        (Family::Rsa(encoding, _), PrivateKey::Pkcs1(der)) => {
            Ok(Signer::Rsa(Box::new(rsa::KeyPair::from_der(&der).map_err(rejected)?), *encoding))
        }
        (Family::Rsa(encoding, _), PrivateKey::Pkcs8(der)) => {
            Ok(Signer::Rsa(Box::new(rsa::KeyPair::from_pkcs8(&der).map_err(rejected)?), *encoding))
        }
        (Family::Ecdsa(curve, algorithm, _), key) => {
            let der = key.into_pkcs8(*curve).ok_or("it is of another kind")?;
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, &der, &SystemRandom::new());
            Ok(Signer::Ecdsa(pair.map_err(rejected)?))
        }
        (Family::P521, key) => {
            let der = key.into_pkcs8(key_file::P521).ok_or("it is of another kind")?;
            let secret = <p521::SecretKey as p521::pkcs8::DecodePrivateKey>::from_pkcs8_der(&der);
            Ok(Signer::P521(Box::new(secret.map_err(|why| why.to_string())?.into())))
        }
        (Family::Ed25519, PrivateKey::Pkcs8(der)) => {
            Ok(Signer::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(rejected)?))
        }
        (Family::Hmac(_) | Family::Rsa(..) | Family::Ed25519, _) => Err("it is of another kind".to_owned()),
    }
}

/// The public key in the form that signers have it in.
fn public_bytes(family: &Family, key: PublicKey) -> Result<Vec<u8>, String> {
    match (family, key) {
        (Family::Rsa(..), PublicKey::Rsa(bytes)) | (Family::Ed25519, PublicKey::Ed25519(bytes)) => Ok(bytes),
        (Family::Ecdsa(curve, ..), PublicKey::Ec(of, bytes)) if of == curve.name => Ok(bytes),
        (Family::P521, PublicKey::Ec(of, bytes)) if of == key_file::P521.name => Ok(bytes),
        (Family::Hmac(_) | Family::Rsa(..) | Family::Ecdsa(..) | Family::P521 | Family::Ed25519, _) => {
            Err("it is of another kind".to_owned())
        }
    }
}

fn verifier(family: &Family, bytes: Vec<u8>) -> Result<Verifier, String> {
    match family {
        Family::Hmac(algorithm) => Ok(Verifier::Hmac(hmac::Key::new(*algorithm, &bytes))),
        Family::Rsa(_, algorithm) => Ok(Verifier::Public(UnparsedPublicKey::new(*algorithm, bytes))),
        Family::Ecdsa(_, _, algorithm) => Ok(Verifier::Public(UnparsedPublicKey::new(*algorithm, bytes))),
        Family::Ed25519 => Ok(Verifier::Public(UnparsedPublicKey::new(&signature::ED25519, bytes))),
        Family::P521 => {
            let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(&bytes).map_err(|why| why.to_string())?;
            Ok(Verifier::P521(Box::new(key)))
        }
    }
}
