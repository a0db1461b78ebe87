//! A certificate that a server makes for itself: it hides what is said from those who only listen, and proves nothing.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use x509_parser::time::ASN1Time;

use super::files::failed;
use super::{CertificateFiles, TlsError};
use crate::env::unix_time;

/// The folders are the owner's alone.
const DIR_MODE: u32 = 0o700;
const CERT_FILE: &str = "cert.pem";
const KEY_FILE: &str = "key.pem";
const YEAR_SECONDS: i64 = 365 * 24 * 60 * 60;

/// Where and for whom a certificate is made. One that is there already is used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfSigned {
    /// The folder of the certificate and its key.
    pub dir: PathBuf,
    /// The hosts that it is for: names or addresses, without ports.
    pub hosts: Vec<String>,
    /// How long it is valid, in years; at least one.
    pub validity_years: u32,
}

impl SelfSigned {
    /// Makes the files unless they are there.
    pub(super) fn files(&self) -> Result<CertificateFiles, TlsError> {
        let files = CertificateFiles { cert: self.dir.join(CERT_FILE), key: self.dir.join(KEY_FILE) };
        if files.cert.exists() && files.key.exists() {
            return Ok(files);
        }
        let key = KeyPair::generate()?;
        let certificate = self.parameters()?.self_signed(&key)?;
        let made = DirBuilder::new().recursive(true).mode(DIR_MODE).create(&self.dir);
        made.map_err(|error| failed(&self.dir, error))?;
        // The certificate comes last: files that are both there are whole.
        write(&files.key, &key.serialize_pem()).map_err(|error| failed(&files.key, error))?;
        write(&files.cert, &certificate.pem()).map_err(|error| failed(&files.cert, error))?;
        tracing::info!(path = %files.cert.display(), "created cert file");
        tracing::info!(path = %files.key.display(), "created key file");
        Ok(files)
    }

    fn parameters(&self) -> Result<CertificateParams, TlsError> {
        let mut parameters = CertificateParams::new(self.hosts.clone())?;
        parameters.distinguished_name = DistinguishedName::new();
        // Source: etcd, `SelfCert`.
        parameters.distinguished_name.push(DnType::OrganizationName, "etcd");
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        // A moment beyond the calendar leaves the end as far away as it is by default.
        let now = i64::try_from(unix_time().as_secs()).unwrap_or(i64::MAX);
        let end = now.saturating_add(i64::from(self.validity_years.max(1)) * YEAR_SECONDS);
        if let (Ok(now), Ok(end)) = (ASN1Time::from_timestamp(now), ASN1Time::from_timestamp(end)) {
            (parameters.not_before, parameters.not_after) = (now.to_datetime(), end.to_datetime());
        }
        Ok(parameters)
    }
}

/// Writes a file that only its owner may read; it is there whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("pem.tmp");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}
