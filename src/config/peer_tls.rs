//! TLS between members, as flags say it: which files, and what is asked of the other side.
//!
//! Nothing is opened here. Files may change while the member runs, and are read for every connection.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::url::Url;

/// What was said: each value as it was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PeerTlsSettings {
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) client_cert_file: Option<PathBuf>,
    pub(super) client_key_file: Option<PathBuf>,
    pub(super) trusted_ca_file: Option<PathBuf>,
    pub(super) client_cert_auth: bool,
    pub(super) allowed_common_names: Vec<String>,
    pub(super) allowed_hostnames: Vec<String>,
    pub(super) crl_file: Option<PathBuf>,
    pub(super) skip_client_san_verification: bool,
    pub(super) auto_tls: bool,
    pub(super) self_signed_years: u64,
}

/// How members talk over TLS. Means nothing for URLs of the schemes `http` and `unix`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerTlsConfig {
    /// What this member shows.
    pub certificate: Certificate,
    /// What it shows on connections that it opens; `None` means the same.
    pub client_certificate: Option<KeyPair>,
    /// The authorities that certificates of others are checked against; `None` means those of the system.
    pub trusted_ca_file: Option<PathBuf>,
    /// Others have to show a certificate when they connect. Always so with `trusted_ca_file`.
    pub client_cert_auth: bool,
    /// Common names of which a certificate that others show must have one; empty allows any. Not together with
    /// `allowed_hostnames`.
    pub allowed_common_names: Vec<String>,
    /// Host names of which a certificate that others show must be valid for one; empty allows any.
    pub allowed_hostnames: Vec<String>,
    /// Revoked certificates, as DER.
    pub crl_file: Option<PathBuf>,
    /// Do not compare the address of whoever connects with the names in the certificate.
    pub skip_client_san_verification: bool,
}

/// Where a member's certificate comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Certificate {
    /// There is none.
    #[default]
    Absent,
    /// From these files.
    Files(KeyPair),
    /// The member makes and signs it, below its data folder; members with such certificates do not check each other.
    SelfSigned {
        /// How long it is valid; at least 1.
        years: u64,
    },
}

/// A certificate and its private key, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The certificate, and those that lead to its authority.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// Checks what was said of TLS, for members that listen at `listened`.
///
/// # Errors
/// The first of etcd's checks that fails. Source: etcd, `client/pkg/transport/listener.go`.
pub(super) fn validate(settings: PeerTlsSettings, listened: &[Url]) -> Result<PeerTlsConfig, Error> {
    let pair = |cert: &Option<PathBuf>, key: &Option<PathBuf>| {
        let (cert_file, key_file) = (cert.clone()?, key.clone()?);
        Some(KeyPair { cert_file, key_file })
    };
    let is_given = settings.cert_file.is_some() || settings.key_file.is_some();
    let certificate = match pair(&settings.cert_file, &settings.key_file) {
        Some(pair) => Certificate::Files(pair),
        None if is_given => {
            return Err(Error::HalfKeyPair { key: text(&settings.key_file), cert: text(&settings.cert_file) });
        }
        None if settings.auto_tls && settings.self_signed_years == 0 => return Err(Error::NeverValid),
        None if settings.auto_tls => Certificate::SelfSigned { years: settings.self_signed_years },
        None => {
            if let Some(url) = listened.iter().find(|url| url.is_secure()) {
                return Err(Error::NoCertificate { address: address(url) });
            }
            Certificate::Absent
        }
    };
    let client_certificate = pair(&settings.client_cert_file, &settings.client_key_file);
    // Without a certificate etcd does not look at the rest.
    if let Certificate::Files(_) = certificate {
        if client_certificate.is_none() && (settings.client_cert_file.is_some() || settings.client_key_file.is_some()) {
            let (key, cert) = (text(&settings.client_key_file), text(&settings.client_cert_file));
            return Err(Error::HalfClientKeyPair { key, cert });
        }
        if !settings.allowed_common_names.is_empty() && !settings.allowed_hostnames.is_empty() {
            return Err(Error::TwoKindsOfNames {
                common_names: settings.allowed_common_names,
                hostnames: settings.allowed_hostnames,
            });
        }
    }
    Ok(match certificate {
        // etcd replaces everything that was said with its own certificate, and so demands nothing of others.
        Certificate::SelfSigned { .. } => PeerTlsConfig {
            certificate,
            skip_client_san_verification: settings.skip_client_san_verification,
            ..PeerTlsConfig::default()
        },
        Certificate::Absent | Certificate::Files(_) => PeerTlsConfig {
            certificate,
            client_certificate,
            trusted_ca_file: settings.trusted_ca_file,
            client_cert_auth: settings.client_cert_auth,
            allowed_common_names: settings.allowed_common_names,
            allowed_hostnames: settings.allowed_hostnames,
            crl_file: settings.crl_file,
            skip_client_san_verification: settings.skip_client_san_verification,
        },
    })
}

/// What was said of TLS and has no effect, because `listened` has a URL without it. Source: etcd,
/// `configurePeerListeners`.
pub(super) fn advice(settings: &PeerTlsSettings, listened: &[Url]) -> Vec<String> {
    let mut advice = Vec::new();
    for url in listened.iter().filter(|url| !url.is_secure()) {
        if settings.cert_file.is_some() || settings.key_file.is_some() {
            advice.push(format!(
                "scheme is HTTP while key and cert files are present; ignoring key and cert files: {url}"
            ));
        }
        if settings.client_cert_auth {
            advice.push(format!(
                "scheme is HTTP while --peer-client-cert-auth is enabled; ignoring client cert auth for this URL: {url}"
            ));
        }
    }
    advice
}

fn address(url: &Url) -> String {
    match (url.is_tcp(), url.host().contains(':')) {
        (true, true) => format!("[{}]:{}", url.host(), url.port()),
        (true, false) => format!("{}:{}", url.host(), url.port()),
        (false, _) => url.host().to_owned(),
    }
}

fn text(path: &Option<PathBuf>) -> String {
    path.as_deref().map(Path::display).map(|path| path.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::Invocation;
    use super::*;

    const SECURE: &[&str] =
        &["--listen-peer-urls=https://127.0.0.1:2380", "--peer-cert-file=c.pem", "--peer-key-file=k.pem"];

    fn read(arguments: &[&[&str]]) -> Result<PeerTlsConfig, Error> {
        match Invocation::from_args(arguments.concat().iter().map(std::ffi::OsString::from))? {
            Invocation::Serve(config) => Ok(config.peer_tls),
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    fn pair(cert_file: &str, key_file: &str) -> KeyPair {
        KeyPair { cert_file: cert_file.into(), key_file: key_file.into() }
    }

    #[test]
    fn nothing_said_is_no_tls() {
        assert_eq!(read(&[&["--peer-cert-file="]]), Ok(PeerTlsConfig::default()));
    }

    #[test]
    fn everything_that_is_said_arrives() {
        let said = &[
            "--peer-client-cert-file=cc.pem",
            "--peer-client-key-file=ck.pem",
            "--peer-trusted-ca-file=ca.pem",
            "--peer-client-cert-auth",
            "--peer-cert-allowed-cn=a,b",
            "--peer-crl-file=crl.der",
            "--peer-skip-client-san-verification",
        ];
        let expected = PeerTlsConfig {
            certificate: Certificate::Files(pair("c.pem", "k.pem")),
            client_certificate: Some(pair("cc.pem", "ck.pem")),
            trusted_ca_file: Some("ca.pem".into()),
            client_cert_auth: true,
            allowed_common_names: vec!["a".into(), "b".into()],
            allowed_hostnames: Vec::new(),
            crl_file: Some("crl.der".into()),
            skip_client_san_verification: true,
        };
        assert_eq!(read(&[SECURE, said]), Ok(expected));
        let hostnames = read(&[SECURE, &["--peer-cert-allowed-hostname=a.example"]]).unwrap().allowed_hostnames;
        assert_eq!(hostnames, ["a.example"]);
    }

    #[test]
    fn a_certificate_of_its_own_is_made_only_if_none_is_given() {
        let auto = &["--listen-peer-urls=https://127.0.0.1:2380", "--peer-auto-tls", "--peer-trusted-ca-file=ca.pem"];
        let made = |years| PeerTlsConfig { certificate: Certificate::SelfSigned { years }, ..PeerTlsConfig::default() };
        assert_eq!(read(&[auto]), Ok(made(1)));
        assert_eq!(read(&[auto, &["--self-signed-cert-validity=10"]]), Ok(made(10)));
        assert_eq!(read(&[auto, SECURE]).unwrap().certificate, Certificate::Files(pair("c.pem", "k.pem")));
    }

    /// Expected texts are those that etcd 3.7.1 logged for the same flags.
    #[test]
    fn what_does_not_fit_is_refused_in_the_words_of_etcd() {
        let listen = "--listen-peer-urls=https://127.0.0.1:2380";
        for (arguments, text) in [
            (&[&[listen][..]][..], "cannot listen on TLS for 127.0.0.1:2380: KeyFile and CertFile are not presented"),
            (
                &[&["--listen-peer-urls=https://[::1]:2380"]],
                "cannot listen on TLS for [::1]:2380: KeyFile and CertFile are not presented",
            ),
            (&[&[listen, "--peer-cert-file=/nope"]], "KeyFile and CertFile must both be present[key: , cert: /nope]"),
            (&[&["--peer-key-file=/k"]], "KeyFile and CertFile must both be present[key: /k, cert: ]"),
            (
                &[SECURE, &["--peer-client-cert-file=/c"]],
                "ClientKeyFile and ClientCertFile must both be present or both absent: key: , cert: /c]",
            ),
            (
                &[SECURE, &["--peer-cert-allowed-cn=a,b", "--peer-cert-allowed-hostname=c"]],
                "AllowedCNs and AllowedHostnames are mutually exclusive (cns=[\"a\" \"b\"], hostnames=[\"c\"])",
            ),
            (
                &[&["--peer-auto-tls", "--self-signed-cert-validity=0"]],
                "selfSignedCertValidity is invalid,it should be greater than 0",
            ),
        ] {
            let error = read(arguments).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.is_usage()), (text, false), "{arguments:?}");
        }
        assert!(
            read(&[&["--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=c", "--peer-client-key-file=k"]])
                .is_ok()
        );
    }

    #[test]
    fn what_has_no_effect_is_advised_against() {
        let arguments =
            ["--peer-cert-file=c", "--peer-key-file=k", "--peer-client-cert-auth", "--name=a", "--data-dir=a"];
        let Ok(Invocation::Serve(config)) = Invocation::from_args(arguments.map(std::ffi::OsString::from)) else {
            panic!("they are fine");
        };
        assert_eq!(
            config.advice,
            [
                "scheme is HTTP while key and cert files are present; ignoring key and cert files: http://localhost:2380",
                "scheme is HTTP while --peer-client-cert-auth is enabled; ignoring client cert auth for this URL: \
                 http://localhost:2380",
            ]
        );
    }
}
