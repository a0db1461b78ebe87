//! What a certificate says of who shows it.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// What we look at in a certificate.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Presented {
    /// The last common name; empty if there is none.
    pub(super) common_name: String,
    pub(super) ip_addresses: Vec<IpAddr>,
    pub(super) dns_names: Vec<String>,
    /// Most significant byte first, without zeros before.
    pub(super) serial: Vec<u8>,
    /// The first and the last second in which it is valid, since 1970.
    pub(super) valid: (i64, i64),
    /// Whether it may be shown by whoever is connected to.
    pub(super) is_for_servers: bool,
}

impl Presented {
    /// Reads a certificate in DER.
    pub(super) fn read(der: &[u8]) -> io::Result<Presented> {
        let odd = |error: &dyn std::fmt::Display| io::Error::other(format!("the certificate cannot be read: {error}"));
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| odd(&error))?;
        let mut presented = Presented {
            common_name: common_name(&certificate),
            serial: significant(certificate.raw_serial()).to_vec(),
            valid: (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp()),
            is_for_servers: is_for_servers(&certificate),
            ..Presented::default()
        };
        let names = certificate.subject_alternative_name().map_err(|error| odd(&error))?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => presented.dns_names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => presented.ip_addresses.extend(ip_address(bytes)),
                _ => {}
            }
        }
        Ok(presented)
    }

    /// What keeps others from believing it at `now`, since 1970.
    pub(super) fn oddities(&self, now: Duration) -> Vec<String> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let date = |second| ASN1Time::from_timestamp(second).map(|time| time.to_string()).unwrap_or_default();
        let (first, last) = self.valid;
        let mut odd = Vec::new();
        if now < first {
            odd.push(format!("it is not valid before {}", date(first)));
        }
        if now > last {
            odd.push(format!("it has expired at {}", date(last)));
        }
        if !self.is_for_servers {
            odd.push("its extended key usage is not that of a server (serverAuth)".to_owned());
        }
        odd
    }
}

/// A certificate that does not say what it is for is for everything.
fn is_for_servers(certificate: &X509Certificate<'_>) -> bool {
    match certificate.extended_key_usage() {
        Ok(Some(usage)) => usage.value.server_auth || usage.value.any,
        Ok(None) | Err(_) => true,
    }
}

/// The bytes of a number without the zeros before it.
pub(super) fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}

fn common_name(certificate: &X509Certificate<'_>) -> String {
    let names = certificate.subject().iter_common_name();
    names.last().and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned()
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()),
        _ => None,
    }
}
