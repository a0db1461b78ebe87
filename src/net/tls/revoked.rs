//! Revoked certificates: a list of serial numbers in a file.
//!
//! As in etcd only the serial number counts, whoever signed the list or the certificate.

use std::collections::BTreeSet;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::TlsError;
use super::files::failed;
use super::presented::{Presented, significant};

/// The serial numbers of a list in DER.
pub(super) fn read(path: &Path) -> Result<BTreeSet<Vec<u8>>, TlsError> {
    let bytes = std::fs::read(path).map_err(|error| failed(path, error))?;
    let (_, list) = CertificateRevocationList::from_der(&bytes).map_err(|error| failed(path, error))?;
    Ok(list.iter_revoked_certificates().map(|revoked| significant(revoked.raw_serial()).to_vec()).collect())
}

/// Checks that none of `certificates` is in the list.
pub(super) fn check(path: &Path, certificates: &[CertificateDer<'_>]) -> Result<(), TlsError> {
    let revoked = read(path)?;
    for certificate in certificates {
        let presented = Presented::read(certificate).map_err(|error| rustls::Error::General(error.to_string()))?;
        if revoked.contains(&presented.serial) {
            let serial: String = presented.serial.iter().map(|byte| format!("{byte:02x}")).collect();
            return Err(rustls::Error::General(format!("transport: certificate serial {serial} revoked")).into());
        }
    }
    Ok(())
}
