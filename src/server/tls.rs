//! From what the flags say of TLS to what speaks it.

use std::path::PathBuf;

use crate::config::{Certificate, KeyPair, TlsConfig, Url};
use crate::net::{Address, CertificateFiles, SelfSigned, TlsOptions};

/// What the flags say for those who connect to `urls`; `None` if they name no certificate. They may name one and no URL that
/// needs it. A certificate that the member makes for itself stands in `self_signed_dir`.
pub(super) fn options(said: &TlsConfig, urls: &[Url], self_signed_dir: PathBuf) -> Option<TlsOptions> {
    let (certificate, self_signed) = match &said.certificate {
        Certificate::Absent => return None,
        Certificate::Files(pair) => (Some(files(pair)), None),
        Certificate::SelfSigned { years } => (None, Some(self_signed(urls, self_signed_dir, *years))),
    };
    Some(TlsOptions {
        certificate,
        self_signed,
        client_certificate: said.client_certificate.as_ref().map(files),
        trusted_ca_file: said.trusted_ca_file.clone(),
        client_cert_auth: said.client_cert_auth,
        allowed_cn: said.allowed_common_names.clone(),
        allowed_hostname: said.allowed_hostnames.clone(),
        crl_file: said.crl_file.clone(),
        checks_client_address: false,
    })
}

fn files(pair: &KeyPair) -> CertificateFiles {
    CertificateFiles { cert: pair.cert_file.clone(), key: pair.key_file.clone() }
}

/// A certificate for the hosts that this member listens at.
fn self_signed(urls: &[Url], dir: PathBuf, years: u64) -> SelfSigned {
    let host = |url: &Url| Address::parse(url.as_str()).ok().map(|address| address.server_name().to_owned());
    SelfSigned {
        dir,
        hosts: urls.iter().filter_map(host).collect(),
        // More is beyond any calendar.
        validity_years: u32::try_from(years).unwrap_or(u32::MAX),
    }
}
