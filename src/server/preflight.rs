//! What can be wrong with files that flags name, looked at before anything is touched.
//!
//! The files are read again later: for every connection, or when they are needed. So all of this only spares an operator a
//! member that has begun and cannot go on.

use super::{Error, tls, tokens};
use crate::config::{Config, TokenConfig};

/// Checks certificates, keys and authorities, and the keys of tokens.
///
/// # Errors
/// [`Error::Tls`], [`Error::CertificateEnded`], [`Error::Tokens`].
pub(super) fn check(config: &Config) -> Result<(), Error> {
    tls::check(config)?;
    if let TokenConfig::Jwt(files) = &config.auth.token {
        tokens::jwt(files)?;
    }
    Ok(())
}
