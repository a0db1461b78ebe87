//! What a certificate says of who shows it.

use std::io;
use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// What we look at in a certificate.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Presented {
    /// The last common name; empty if there is none.
    pub(super) common_name: String,
    pub(super) ip_addresses: Vec<IpAddr>,
    pub(super) dns_names: Vec<String>,
    /// Most significant byte first, without zeros before.
    pub(super) serial: Vec<u8>,
}

impl Presented {
    /// Reads a certificate in DER.
    pub(super) fn read(der: &[u8]) -> io::Result<Presented> {
        let odd = |error: &dyn std::fmt::Display| io::Error::other(format!("the certificate cannot be read: {error}"));
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| odd(&error))?;
        let mut presented = Presented {
            common_name: common_name(&certificate),
            serial: significant(certificate.raw_serial()).to_vec(),
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
