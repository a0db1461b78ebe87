//! What can be wrong with files that flags name, looked at before anything is touched.
//!
//! The files are read again later: for every connection, or when they are needed. So all of this only spares an operator a
//! member that has begun and cannot go on.

use std::path::PathBuf;

use super::{Error, tls, tokens};
use crate::config::{Certificate, Config, TlsConfig, TokenConfig, Url};
use crate::env::unix_time;
use crate::net::{Tls, TlsError, TlsOptions};

/// Checks certificates, keys and authorities, and the keys of tokens.
///
/// # Errors
/// [`Error::ClientTls`], [`Error::PeerTls`], [`Error::CertificateEnded`], [`Error::Tokens`].
pub(super) fn check(config: &Config) -> Result<(), Error> {
    check_tls(&config.client_tls, &config.listen_client_urls, "cert-file", Error::ClientTls)?;
    check_tls(&config.peer_tls, &config.listen_peer_urls, "peer-cert-file", Error::PeerTls)?;
    if let TokenConfig::Jwt(files) = &config.auth.token {
        tokens::jwt(files)?;
    }
    Ok(())
}

fn check_tls(said: &TlsConfig, urls: &[Url], flag: &'static str, error: fn(TlsError) -> Error) -> Result<(), Error> {
    // A certificate that is to be made stands in the data folder, which may be somebody else's.
    let Certificate::Files(pair) = &said.certificate else { return Ok(()) };
    let options: TlsOptions = tls::options(said, urls, PathBuf::new()).unwrap_or_default();
    if let Some(since) = options.ended(unix_time()).map_err(error)? {
        return Err(Error::CertificateEnded { flag, path: pair.cert_file.clone(), since });
    }
    Tls::new(options).map(drop).map_err(error)
}
