//! Signed tokens.
//!
//! A token names its user and the revision of auth as of which it was made. Nobody remembers it: whoever has the key can
//! check it, after a restart too. Any change of users or roles makes it old.
//!
//! ```text
//! {"alg":"ES256","typ":"JWT"} . {"exp":1767225600,"revision":7,"username":"alice"} . signature
//! ```
//!
//! Source: etcd, `server/auth/jwt.go`, and what `golang-jwt` v5 makes of claims; RFC 7519.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Serialize;
use serde_json::{Map, Value};

use super::key::{Key, KeyError, SignMethod};
use crate::auth::Error;
use crate::model::Caller;

/// Without padding, and as lenient about the last bits as Go.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// What `--auth-token=jwt,...` says, with the files read.
#[derive(Clone)]
pub struct JwtOptions {
    /// How tokens are signed.
    pub method: SignMethod,
    /// How long a token is good.
    pub ttl: Duration,
    /// The content of `priv-key`.
    pub private_key: Option<Vec<u8>>,
    /// The content of `pub-key`.
    pub public_key: Option<Vec<u8>>,
}

/// Makes and checks signed tokens.
#[derive(Debug)]
pub struct Jwt {
    key: Key,
    ttl: Duration,
}

/// Why a token is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It has not three parts.
    #[error("token contains an invalid number of segments")]
    Malformed,
    /// A part cannot be read.
    #[error("its {part} cannot be read")]
    Unreadable {
        /// Which.
        part: &'static str,
    },
    /// It says that it was signed in another way.
    #[error("invalid signing method")]
    Method,
    /// Whoever signed it had another key.
    #[error("signature is invalid")]
    Signature,
    /// Its time is over.
    #[error("token is expired")]
    Expired,
    /// Its time is still to come.
    #[error("token is not valid yet")]
    NotYet,
    /// It does not say who, as of when, or until when in the right way.
    #[error("its claim {claim} is missing or of another kind")]
    Claim {
        /// Which.
        claim: &'static str,
    },
}

#[derive(Serialize)]
struct Header {
    alg: &'static str,
    typ: &'static str,
}

#[derive(Serialize)]
struct Claims<'a> {
    exp: u64,
    revision: u64,
    username: &'a str,
}

impl Jwt {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`KeyError`]: what is missing or cannot be used.
    pub fn new(options: &JwtOptions) -> Result<Jwt, KeyError> {
        fn given(key: &Option<Vec<u8>>) -> Option<&[u8]> {
            key.as_deref().filter(|key| !key.is_empty())
        }
        let key = Key::read(options.method, given(&options.private_key), given(&options.public_key))?;
        Ok(Jwt { key, ttl: options.ttl })
    }

    /// Makes a token. `now` counts from 1970.
    ///
    /// # Errors
    /// [`Error::VerifyOnly`] without a private key.
    pub fn issue(&self, user: &str, revision: u64, now: Duration) -> Result<String, Error> {
        let claims = Claims { exp: now.saturating_add(self.ttl).as_secs(), revision, username: user };
        self.sign(json(&claims).as_bytes()).ok_or(Error::VerifyOnly)
    }

    /// A token of any claims; `None` without a private key.
    pub(super) fn sign(&self, claims: &[u8]) -> Option<String> {
        let header = Header { alg: self.key.method.name(), typ: "JWT" };
        let mut token = format!("{}.{}", BASE64.encode(json(&header)), BASE64.encode(claims));
        let signature = self.key.sign(token.as_bytes())?;
        token.push('.');
        BASE64.encode_string(signature, &mut token);
        Some(token)
    }

    /// Tells whose token it is, and as of which revision. `now` counts from 1970.
    ///
    /// # Errors
    /// [`TokenError`]: why it is not one of ours, or not any more.
    pub fn verify(&self, token: &str, now: Duration) -> Result<Caller, TokenError> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let signed = &token[..header.len() + 1 + claims.len()];
        if read(header, "header")?.get("alg").and_then(Value::as_str) != Some(self.key.method.name()) {
            return Err(TokenError::Method);
        }
        let signature = BASE64.decode(signature).map_err(|_| TokenError::Unreadable { part: "signature" })?;
        if !self.key.verify(signed.as_bytes(), &signature) {
            return Err(TokenError::Signature);
        }
        let claims = read(claims, "claims")?;
        let now = now.as_secs_f64();
        if date(&claims, "exp")?.is_some_and(|end| now >= end) {
            return Err(TokenError::Expired);
        }
        if date(&claims, "nbf")?.is_some_and(|start| now < start) {
            return Err(TokenError::NotYet);
        }
        let user = claims.get("username").and_then(Value::as_str).ok_or(TokenError::Claim { claim: "username" })?;
        let revision = claims.get("revision").and_then(Value::as_f64).ok_or(TokenError::Claim { claim: "revision" })?;
        // `as`: whoever has the key may say anything, and gets the nearest number that there is.
        let revision = revision as u64;
        Ok(Caller { user: user.to_owned(), revision })
    }
}

fn json(part: &impl Serialize) -> String {
    serde_json::to_string(part).expect("texts and numbers have a JSON form")
}

fn read(part: &str, name: &'static str) -> Result<Map<String, Value>, TokenError> {
    let json = BASE64.decode(part).map_err(|_| TokenError::Unreadable { part: name })?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Unreadable { part: name })
}

/// A moment in seconds since 1970, if the claim is there. Zero is none.
fn date(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<f64>, TokenError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let seconds = value.as_f64().ok_or(TokenError::Claim { claim })?;
    Ok(Some(seconds.trunc()).filter(|_| seconds != 0.0))
}

#[cfg(test)]
mod tests;
