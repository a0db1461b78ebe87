//! From what the flags say of TLS to what speaks it.

use std::path::PathBuf;

use super::Error;
use crate::config::{Certificate, Config, HandshakeConfig, KeyPair, TlsConfig, Url};
use crate::env::unix_time;
use crate::net::{Address, CertificateFiles, Offer, SelfSigned, Tls, TlsError, TlsOptions};
use crate::telemetry::json;

/// Where a member keeps the certificate that it made for clients, below its data folder. Source: etcd, `ClientSelfCert`.
const CLIENT_DIR: &str = "fixtures/client";
/// The same for other members. Source: etcd, `PeerSelfCert`.
const PEER_DIR: &str = "fixtures/peer";

/// The names of the flags for one kind of URL.
struct Names {
    whose: &'static str,
    cert: &'static str,
    key: &'static str,
    client_cert: &'static str,
    client_key: &'static str,
    authorities: &'static str,
    revoked: &'static str,
    self_signed: &'static str,
}

const FOR_CLIENTS: Names = Names {
    whose: "clients",
    cert: "--cert-file",
    key: "--key-file",
    client_cert: "--client-cert-file",
    client_key: "--client-key-file",
    authorities: "--trusted-ca-file",
    revoked: "--client-crl-file",
    self_signed: "--auto-tls",
};

const FOR_PEERS: Names = Names {
    whose: "other members",
    cert: "--peer-cert-file",
    key: "--peer-key-file",
    client_cert: "--peer-client-cert-file",
    client_key: "--peer-client-key-file",
    authorities: "--peer-trusted-ca-file",
    revoked: "--peer-crl-file",
    self_signed: "--peer-auto-tls",
};

/// How TLS is spoken with clients.
pub(super) struct ClientTls {
    pub(super) clients: Tls,
    /// With those who read metrics where there is nothing else: they have to come from where their certificate says.
    pub(super) metrics: Tls,
}

/// TLS for clients, if a URL asks for it. Makes the certificate if the member is to make one.
pub(super) fn for_clients(config: &Config) -> Result<Option<ClientTls>, Error> {
    let client_urls = [&config.listen_client_urls[..], &config.listen_client_http_urls].concat();
    if !client_urls.iter().chain(&config.listen_metrics_urls).any(Url::is_secure) {
        return Ok(None);
    }
    let dir = config.data_dir.join(CLIENT_DIR);
    let options = options(&config.client_tls, &config.handshake, &client_urls, dir).unwrap_or_default();
    let clients = open(options.clone(), &config.client_tls, &FOR_CLIENTS)?;
    let metrics = open(TlsOptions { checks_client_address: true, ..options }, &config.client_tls, &FOR_CLIENTS)?;
    tell(&clients, config, (&config.client_tls, &FOR_CLIENTS), "starting with client TLS");
    Ok(Some(ClientTls { clients, metrics }))
}

/// TLS between members, if flags say anything about it. Makes the certificate if the member is to make one.
pub(super) fn for_peers(config: &Config) -> Result<Option<Tls>, Error> {
    let dir = config.data_dir.join(PEER_DIR);
    let Some(options) = options(&config.peer_tls, &config.handshake, &config.listen_peer_urls, dir) else {
        return Ok(None);
    };
    let checks_client_address = !config.peer_tls.skip_client_san_verification;
    let tls = open(TlsOptions { checks_client_address, ..options }, &config.peer_tls, &FOR_PEERS)?;
    tell(&tls, config, (&config.peer_tls, &FOR_PEERS), "starting with peer TLS");
    Ok(Some(tls))
}

/// TLS with members that this one connects to and has no certificate for: theirs is checked, and none is shown.
pub(super) fn to_peers_without_certificate(config: &Config) -> Result<Tls, Error> {
    let trusted_ca_file = config.peer_tls.trusted_ca_file.clone();
    Tls::without_certificate(trusted_ca_file).map_err(|source| failed(source, &config.peer_tls, &FOR_PEERS))
}

/// Checks the files that flags name. A certificate that the member makes for itself is not looked at: it stands in the data
/// folder, which may be somebody else's.
pub(super) fn check(config: &Config) -> Result<(), Error> {
    let client_urls = [&config.listen_client_urls[..], &config.listen_client_http_urls].concat();
    for (said, urls, names) in
        [(&config.client_tls, &client_urls, &FOR_CLIENTS), (&config.peer_tls, &config.listen_peer_urls, &FOR_PEERS)]
    {
        let Certificate::Files(pair) = &said.certificate else { continue };
        let options = options(said, &config.handshake, urls, PathBuf::new()).unwrap_or_default();
        if let Some(since) = options.ended(unix_time()).map_err(|source| failed(source, said, names))? {
            return Err(Error::CertificateEnded { flag: names.cert, path: pair.cert_file.clone(), since });
        }
        open(options, said, names)?;
    }
    Ok(())
}

fn open(options: TlsOptions, said: &TlsConfig, names: &Names) -> Result<Tls, Error> {
    Tls::new(options).map_err(|source| failed(source, said, names))
}

fn failed(source: TlsError, said: &TlsConfig, names: &Names) -> Error {
    Error::Tls { whose: names.whose, flags: names.of_files(said, &source), source }
}

/// Says what is spoken, and what is odd about the certificate.
fn tell(tls: &Tls, config: &Config, (said, names): (&TlsConfig, &Names), message: &str) {
    tracing::info!(
        "tls-info" = tls.info(),
        "cipher-suites.json" = json(&config.handshake.cipher_suites_given),
        "{message}"
    );
    let flag = match &said.certificate {
        Certificate::SelfSigned { .. } => names.self_signed,
        Certificate::Files(_) | Certificate::Absent => names.cert,
    };
    for odd in tls.oddities() {
        tracing::warn!(
            flag,
            reason = odd,
            "others will refuse the certificate of this member; replace the file, which needs no restart"
        );
    }
}

impl Names {
    /// The flags that name the files at fault; all that may if none is known.
    fn of_files(&self, said: &TlsConfig, error: &TlsError) -> String {
        let client = said.client_certificate.as_ref();
        let own = match &said.certificate {
            Certificate::Files(pair) => Some(pair),
            Certificate::Absent | Certificate::SelfSigned { .. } => None,
        };
        let all = [
            (self.cert, own.map(|pair| &pair.cert_file)),
            (self.key, own.map(|pair| &pair.key_file)),
            (self.client_cert, client.map(|pair| &pair.cert_file)),
            (self.client_key, client.map(|pair| &pair.key_file)),
            (self.authorities, said.trusted_ca_file.as_ref()),
            (self.revoked, said.crl_file.as_ref()),
        ];
        let is_at_fault = |path: Option<&PathBuf>| path.is_some_and(|path| error.files().contains(&path.as_path()));
        let mut flags: Vec<&str> = all.iter().filter(|(_, path)| is_at_fault(*path)).map(|(flag, _)| *flag).collect();
        if flags.is_empty() {
            flags = vec![self.cert, self.key, self.authorities];
        }
        flags.join(" and ")
    }
}

/// What the flags say for those who connect to `urls`; `None` if they name no certificate. They may name one and no URL that
/// needs it. A certificate that the member makes for itself stands in `self_signed_dir`.
fn options(
    said: &TlsConfig,
    handshake: &HandshakeConfig,
    urls: &[Url],
    self_signed_dir: PathBuf,
) -> Option<TlsOptions> {
    let (certificate, self_signed) = match &said.certificate {
        Certificate::Absent => return None,
        Certificate::Files(pair) => (Some(files(pair)), None),
        Certificate::SelfSigned { years } => (None, Some(self_signed(urls, self_signed_dir, *years))),
    };
    let HandshakeConfig { tls12, tls13, cipher_suites, cipher_suites_given: _ } = handshake;
    Some(TlsOptions {
        certificate,
        self_signed,
        client_certificate: said.client_certificate.as_ref().map(files),
        trusted_ca_file: said.trusted_ca_file.clone(),
        client_cert_auth: said.client_cert_auth,
        server_name: None,
        allowed_cn: said.allowed_common_names.clone(),
        allowed_hostname: said.allowed_hostnames.clone(),
        crl_file: said.crl_file.clone(),
        checks_client_address: false,
        offer: Offer { tls12: *tls12, tls13: *tls13, cipher_suites: cipher_suites.clone() },
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
