//! TLS as flags say it, for members and for clients: which files, and what is asked of the other side.
//!
//! Nothing is opened here. Files may change while the member runs, and are read for every connection.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::url::Url;

/// What was said: each value as it was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TlsSettings {
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
}

/// How others are talked to over TLS. Means nothing for URLs of the schemes `http` and `unix`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// What this member shows to those who connect.
    pub certificate: Certificate,
    /// What it shows on connections that it opens; `None` means the same. Means nothing for clients.
    pub client_certificate: Option<KeyPair>,
    /// The authorities that certificates of others are checked against; `None` means those of the system.
    pub trusted_ca_file: Option<PathBuf>,
    /// Others have to show a certificate when they connect, and clients are known by it. With `trusted_ca_file` they have to
    /// show one in any case.
    pub client_cert_auth: bool,
    /// Common names of which a certificate that others show must have one; empty allows any. Not together with
    /// `allowed_hostnames`; for clients the configuration file alone can say it.
    pub allowed_common_names: Vec<String>,
    /// Host names of which a certificate that others show must be valid for one; empty allows any.
    pub allowed_hostnames: Vec<String>,
    /// Revoked certificates, as DER.
    pub crl_file: Option<PathBuf>,
    /// Do not compare the address of whoever connects with the names in the certificate. For clients that is never done.
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

/// Checks what was said of TLS between members, for one that listens at `listened`.
///
/// # Errors
/// The first of etcd's checks that fails. Source: etcd, `client/pkg/transport/listener.go`.
pub(super) fn validate_peer(settings: TlsSettings, years: u64, listened: &[Url]) -> Result<TlsConfig, Error> {
    let config = validate(settings, years)?;
    match (&config.certificate, listened.iter().find(|url| url.is_secure())) {
        (Certificate::Absent, Some(url)) => Err(Error::NoCertificate { address: address(url) }),
        _ => Ok(config),
    }
}

/// Checks what was said of TLS for clients of a member that listens at `listened`, and at `metrics` for whoever reads
/// those. If none of that needs TLS, what was said means nothing, right or wrong.
///
/// # Errors
/// The first of etcd's checks that fails. Source: etcd, `configureClientListeners`, and `client/pkg/transport/listener.go`.
pub(super) fn validate_client(
    settings: TlsSettings,
    years: u64,
    listened: &[Url],
    metrics: &[Url],
) -> Result<TlsConfig, Error> {
    let secure = listened.iter().find(|url| url.is_secure());
    if secure.is_none() && !metrics.iter().any(Url::is_secure) {
        return Ok(TlsConfig::default());
    }
    let config = validate(settings, years)?;
    if config.certificate == Certificate::Absent {
        return Err(
            secure.map_or(Error::NoMetricsCertificate, |url| Error::NoClientCertificate { url: url.to_string() })
        );
    }
    Ok(config)
}

fn validate(settings: TlsSettings, years: u64) -> Result<TlsConfig, Error> {
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
        None if settings.auto_tls && years == 0 => return Err(Error::NeverValid),
        None if settings.auto_tls => Certificate::SelfSigned { years },
        None => Certificate::Absent,
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
        Certificate::SelfSigned { .. } => TlsConfig {
            certificate,
            skip_client_san_verification: settings.skip_client_san_verification,
            ..TlsConfig::default()
        },
        Certificate::Absent | Certificate::Files(_) => TlsConfig {
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

/// What was said of TLS between members and has no effect, because `listened` has a URL without it. Source: etcd,
/// `configurePeerListeners`.
pub(super) fn peer_advice(settings: &TlsSettings, listened: &[Url]) -> Vec<String> {
    advice(settings, listened, "HTTP", "--peer-client-cert-auth")
}

/// The same for clients. Source: etcd, `resolveUrl`.
pub(super) fn client_advice(settings: &TlsSettings, listened: &[Url]) -> Vec<String> {
    advice(settings, listened, "http or unix", "--client-cert-auth")
}

fn advice(settings: &TlsSettings, listened: &[Url], scheme: &str, auth_flag: &str) -> Vec<String> {
    let mut advice = Vec::new();
    for url in listened.iter().filter(|url| !url.is_secure()) {
        if settings.cert_file.is_some() || settings.key_file.is_some() {
            advice.push(format!(
                "scheme is {scheme} while key and cert files are present; ignoring key and cert files: {url}"
            ));
        }
        if settings.client_cert_auth {
            advice.push(format!(
                "scheme is {scheme} while {auth_flag} is enabled; ignoring client cert auth for this URL: {url}"
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

    fn read(arguments: &[&[&str]]) -> Result<TlsConfig, Error> {
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
        assert_eq!(read(&[&["--peer-cert-file="]]), Ok(TlsConfig::default()));
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
        let expected = TlsConfig {
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
        let made = |years| TlsConfig { certificate: Certificate::SelfSigned { years }, ..TlsConfig::default() };
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

    fn read_for_clients(arguments: &[&[&str]]) -> Result<TlsConfig, Error> {
        let listen = ["--listen-client-urls=https://127.0.0.1:2379", "--advertise-client-urls=https://127.0.0.1:2379"];
        let arguments = [&listen[..], &arguments.concat()].concat();
        match Invocation::from_args(arguments.iter().map(std::ffi::OsString::from))? {
            Invocation::Serve(config) => Ok(config.client_tls),
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn everything_that_is_said_for_clients_arrives() {
        let said = &[
            "--cert-file=c.pem",
            "--key-file=k.pem",
            "--client-cert-file=cc.pem",
            "--client-key-file=ck.pem",
            "--trusted-ca-file=ca.pem",
            "--client-cert-auth",
            "--client-cert-allowed-hostname=a.example",
            "--client-crl-file=crl.der",
        ];
        let expected = TlsConfig {
            certificate: Certificate::Files(pair("c.pem", "k.pem")),
            client_certificate: Some(pair("cc.pem", "ck.pem")),
            trusted_ca_file: Some("ca.pem".into()),
            client_cert_auth: true,
            allowed_common_names: Vec::new(),
            allowed_hostnames: vec!["a.example".into()],
            crl_file: Some("crl.der".into()),
            skip_client_san_verification: false,
        };
        assert_eq!(read_for_clients(&[said]), Ok(expected));
        let auto = read_for_clients(&[&["--auto-tls", "--self-signed-cert-validity=2", "--client-cert-auth"]]).unwrap();
        let made = TlsConfig { certificate: Certificate::SelfSigned { years: 2 }, ..TlsConfig::default() };
        assert_eq!(auto, made);
    }

    /// Expected texts are those that etcd 3.7.1 logged for the same flags.
    #[test]
    fn what_does_not_fit_for_clients_is_refused_in_the_words_of_etcd() {
        for (arguments, text) in [
            (
                &[][..],
                "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:2379 with \
                 HTTPS scheme",
            ),
            (&["--cert-file=c.pem"], "KeyFile and CertFile must both be present[key: , cert: c.pem]"),
            (
                &["--cert-file=c.pem", "--key-file=k.pem", "--client-cert-file=c.pem"],
                "ClientKeyFile and ClientCertFile must both be present or both absent: key: , cert: c.pem]",
            ),
            (
                &["--auto-tls", "--self-signed-cert-validity=0"],
                "selfSignedCertValidity is invalid,it should be greater than 0",
            ),
        ] {
            let error = read_for_clients(&[arguments]).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.is_usage()), (text, false), "{arguments:?}");
        }
        // Nobody could use it, so nobody is asked.
        assert!(Invocation::from_args(["--cert-file=c.pem"].map(std::ffi::OsString::from)).is_ok());
    }

    #[test]
    fn each_list_of_urls_may_ask_for_a_certificate() {
        let read = |arguments: &[&str]| Invocation::from_args(arguments.iter().map(std::ffi::OsString::from));
        let http = "--listen-client-http-urls=https://127.0.0.1:2381";
        let metrics = "--listen-metrics-urls=http://127.0.0.1:2382,https://127.0.0.1:2383";
        let text = "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:2381 with \
                    HTTPS scheme";
        assert_eq!(read(&[http, metrics]).unwrap_err().to_string(), text);
        let text = "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url";
        assert_eq!(read(&[metrics]).unwrap_err().to_string(), text);
        assert!(read(&[http, metrics, "--auto-tls"]).is_ok());
    }

    #[test]
    fn what_has_no_effect_for_clients_is_advised_against() {
        let arguments = ["--cert-file=c", "--key-file=k", "--client-cert-auth", "--name=a", "--data-dir=a"];
        let Ok(Invocation::Serve(config)) = Invocation::from_args(arguments.map(std::ffi::OsString::from)) else {
            panic!("they are fine");
        };
        assert_eq!(
            config.advice,
            [
                "scheme is http or unix while key and cert files are present; ignoring key and cert files: \
                 http://localhost:2379",
                "scheme is http or unix while --client-cert-auth is enabled; ignoring client cert auth for this URL: \
                 http://localhost:2379",
            ]
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
