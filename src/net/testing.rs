//! Certificates for tests.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};

use super::CertificateFiles;

/// What a certificate is to say.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub common_name: &'a str,
    pub serial: u64,
    /// Names and addresses that it is for.
    pub hosts: &'a [&'a str],
    pub usage: Usage,
    /// It is valid from the beginning of the first to that of the second.
    pub years: (i32, i32),
}

/// Who may show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    Both,
    Server,
    Client,
}

impl<'a> Wanted<'a> {
    /// One that is good for everything.
    pub fn new(common_name: &'a str, serial: u64, hosts: &'a [&'a str]) -> Wanted<'a> {
        Wanted { common_name, serial, hosts, usage: Usage::Both, years: (2020, 2100) }
    }
}

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut parameters = parameters(name, &[]);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(parameters, key), pem }
    }

    /// Writes the authority's own certificate.
    pub fn write(&self, dir: &Path) -> PathBuf {
        let path = dir.join("ca.pem");
        fs::write(&path, &self.pem).unwrap();
        path
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes a certificate of `common_name` for `hosts`, and its key; replaces those that are there.
    pub fn issue(&self, dir: &Path, file: &str, common_name: &str, serial: u64, hosts: &[&str]) -> CertificateFiles {
        self.issue_wanted(dir, file, Wanted::new(common_name, serial, hosts))
    }

    /// The same for a certificate that has ended.
    pub fn issue_ended(&self, dir: &Path, file: &str, hosts: &[&str]) -> CertificateFiles {
        self.issue_wanted(dir, file, Wanted { years: (2019, 2020), ..Wanted::new("ended", 1, hosts) })
    }

    /// The same for a certificate that says all of `wanted`.
    pub fn issue_wanted(&self, dir: &Path, file: &str, wanted: Wanted<'_>) -> CertificateFiles {
        let mut parameters = parameters(wanted.common_name, wanted.hosts);
        parameters.serial_number = Some(SerialNumber::from(wanted.serial));
        let (for_server, for_client) = (ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth);
        parameters.extended_key_usages = match wanted.usage {
            Usage::Both => vec![for_server, for_client],
            Usage::Server => vec![for_server],
            Usage::Client => vec![for_client],
        };
        let (first, last) = wanted.years;
        (parameters.not_before, parameters.not_after) = (date_time_ymd(first, 1, 1), date_time_ymd(last, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let files = CertificateFiles { cert: dir.join(format!("{file}.pem")), key: dir.join(format!("{file}.key")) };
        fs::write(&files.cert, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    /// Writes a list of revoked certificates.
    pub fn revoke(&self, path: &Path, serials: &[u64]) {
        let revoked = |&serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let parameters = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        fs::write(path, parameters.signed_by(&self.issuer).unwrap().der()).unwrap();
    }
}

fn parameters(common_name: &str, hosts: &[&str]) -> CertificateParams {
    let mut parameters = CertificateParams::new(hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>()).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters
}
