//! Tokens that are rightly signed and say anything, for whoever feeds them to a decoder: the fuzz targets in `fuzz/`.

use super::Jwt;

/// A token of these claims, which need not be any; `None` if `jwt` cannot sign.
#[must_use]
pub fn signed(jwt: &Jwt, claims: &[u8]) -> Option<String> {
    jwt.sign(claims)
}
