//! Certificates and keys in files, as PEM.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// Where systems keep the authorities that they trust; the first that is there counts. Source: Go,
/// `crypto/x509/root_linux.go`.
const SYSTEM_AUTHORITIES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// The variable that names a file in their place. Source: Go, `crypto/x509/root_unix.go`.
const AUTHORITIES_VARIABLE: &str = "SSL_CERT_FILE";

/// A certificate and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and after it those of the authorities between it and a trusted one.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl CertificateFiles {
    pub(super) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        certificates(&self.cert)
    }

    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_file(&self.key).map_err(|error| unreadable(&self.key, error))
    }
}

/// The authorities in a file.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|error| failed(path, error))?;
    }
    Ok(store)
}

/// The authorities that this system trusts, or those that the environment names.
pub(super) fn authorities_of_system() -> Result<RootCertStore, TlsError> {
    let named = std::env::var_os(AUTHORITIES_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let of_system = || SYSTEM_AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists());
    let path = named.or_else(of_system).ok_or(TlsError::NoAuthorities)?;
    let mut store = RootCertStore::empty();
    // A system may have some that are of no use to us.
    let (added, _) = store.add_parsable_certificates(certificates(&path)?);
    if added > 0 { Ok(store) } else { Err(TlsError::NoAuthorities) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| unreadable(path, error))?;
    if found.is_empty() { Err(failed(path, "there is no certificate in it")) } else { Ok(found) }
}

/// What the system says needs no word before it.
fn unreadable(path: &Path, error: pem::Error) -> TlsError {
    match error {
        pem::Error::Io(error) => failed(path, error),
        error => failed(path, error),
    }
}

pub(super) fn failed(path: &Path, why: impl ToString) -> TlsError {
    TlsError::File { path: path.to_owned(), why: why.to_string() }
}
