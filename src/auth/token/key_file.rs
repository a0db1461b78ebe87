//! Keys in PEM, as OpenSSL and Go write them.

use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

/// A curve of ECDSA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Curve {
    /// Its object identifier.
    pub(super) name: &'static str,
    /// The same in DER, with tag and length.
    der: &'static [u8],
}

pub(super) const P256: Curve =
    Curve { name: "1.2.840.10045.3.1.7", der: &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07] };
pub(super) const P384: Curve = Curve { name: "1.3.132.0.34", der: &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22] };
pub(super) const P521: Curve = Curve { name: "1.3.132.0.35", der: &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23] };

const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";
/// [`EC`] in DER, with tag and length.
const EC_DER: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// A private key in DER.
pub(super) enum PrivateKey {
    Pkcs8(Vec<u8>),
    Pkcs1(Vec<u8>),
    Sec1(Vec<u8>),
}

impl PrivateKey {
    /// The first private key of a file.
    pub(super) fn read(file: &[u8]) -> Result<PrivateKey, String> {
        first(file, |label, der| match label {
            "PRIVATE KEY" => Some(Ok(PrivateKey::Pkcs8(der))),
            "RSA PRIVATE KEY" => Some(Ok(PrivateKey::Pkcs1(der))),
            "EC PRIVATE KEY" => Some(Ok(PrivateKey::Sec1(der))),
            _ => None,
        })
    }

    /// The key of a curve as PKCS #8; `None` for one of RSA.
    pub(super) fn into_pkcs8(self, curve: Curve) -> Option<Vec<u8>> {
        match self {
            PrivateKey::Pkcs8(der) => Some(der),
            PrivateKey::Sec1(der) => {
                let algorithm = element(0x30, &[EC_DER, curve.der].concat());
                let version = [0x02, 0x01, 0x00];
                Some(element(0x30, &[&version[..], &algorithm, &element(0x04, &der)].concat()))
            }
            PrivateKey::Pkcs1(_) => None,
        }
    }
}

/// A public key: the bits of it, as signatures need them.
pub(super) enum PublicKey {
    Rsa(Vec<u8>),
    /// With the object identifier of its curve.
    Ec(String, Vec<u8>),
    Ed25519(Vec<u8>),
}

impl PublicKey {
    /// The first public key of a file, or that of a certificate.
    pub(super) fn read(file: &[u8]) -> Result<PublicKey, String> {
        first(file, |label, der| match label {
            "PUBLIC KEY" => Some(match SubjectPublicKeyInfo::from_der(&der) {
                Ok((_, info)) => PublicKey::of_info(&info),
                Err(why) => Err(why.to_string()),
            }),
            "CERTIFICATE" => Some(match X509Certificate::from_der(&der) {
                Ok((_, certificate)) => PublicKey::of_info(certificate.public_key()),
                Err(why) => Err(why.to_string()),
            }),
            "RSA PUBLIC KEY" => Some(Ok(PublicKey::Rsa(der))),
            _ => None,
        })
    }

    fn of_info(info: &SubjectPublicKeyInfo<'_>) -> Result<PublicKey, String> {
        let bytes = info.subject_public_key.data.to_vec();
        match info.algorithm.algorithm.to_id_string().as_str() {
            RSA => Ok(PublicKey::Rsa(bytes)),
            ED25519 => Ok(PublicKey::Ed25519(bytes)),
            EC => {
                let curve = info.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
                Ok(PublicKey::Ec(curve.ok_or("its curve has no name")?.to_id_string(), bytes))
            }
            other => Err(format!("its kind is {other}")),
        }
    }
}

/// What `take` makes of the first part of a PEM file that it knows. Parts before it, such as the parameters of a curve, are
/// passed over.
fn first<T>(file: &[u8], take: impl Fn(&str, Vec<u8>) -> Option<Result<T, String>>) -> Result<T, String> {
    for part in Pem::iter_from_buffer(file) {
        let Pem { label, contents } = part.map_err(|why| why.to_string())?;
        if let Some(taken) = take(&label, contents) {
            return taken;
        }
    }
    Err("there is no such key in it".to_owned())
}

/// An element of DER. Keys are shorter than 64 KiB; a longer one would not be read again.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let head = match content.len() {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head, content].concat()
}
