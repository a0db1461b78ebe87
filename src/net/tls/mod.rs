//! TLS, with files that may be replaced at any time.
//!
//! Certificates, keys, authorities and the list of revoked certificates are read anew for **every handshake**: whoever
//! replaces a file needs no restart, and a file that cannot be read fails only the handshakes until it can. A handshake
//! costs more than reading four small files. Whoever replaces a certificate and its key does so one after the other; a
//! handshake that meets a pair of which one half is new reads again, for a moment.
//!
//! ```text
//!   accept:   hello ── files ── the certificate of the other side: by whom? allowed? ── revoked? from where? ── stream
//!   connect:  files ── the certificate of the other side: by whom? for this host? allowed? ── stream
//! ```
//!
//! Without authorities of its own a member trusts those of the system. Sessions are never resumed: each connection passes
//! all checks.
//!
//! Source: etcd, `client/pkg/transport/listener.go` and `listener_tls.go`.

mod files;
mod names;
mod offer;
mod p521;
mod presented;
mod revoked;
mod self_signed;
#[cfg(test)]
mod tests;
mod validity;
mod verify;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, ServerConfig};
use serde::Serialize;
use tokio::time::{sleep, timeout};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, client, server};

pub use self::files::CertificateFiles;
pub use self::offer::Offer;
use self::presented::Presented;
pub use self::self_signed::SelfSigned;
use self::verify::{AnyServer, CheckedClient, CheckedServer, Witness};
use super::{Protocol, Socket};
use crate::env::unix_time;

/// How long a handshake may take. Source: the handshake's deadline of etcd's listeners.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often files are read for a handshake that cannot be read, or do not fit together, until it fails: whoever replaces
/// several does so one after the other.
const READINGS_MAX: u32 = 6;
/// Between two readings.
const READING_PAUSE: Duration = Duration::from_millis(25);
/// What a listener speaks, what it likes best first.
const PROTOCOLS: [Protocol; 2] = [Protocol::Http2, Protocol::Http1];

/// What the flags of one kind of URL (those for clients, or those for members) say about TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// What this server shows to those who connect, and to those it connects to unless `client_certificate` is there.
    pub certificate: Option<CertificateFiles>,
    /// What it shows to those it connects to.
    pub client_certificate: Option<CertificateFiles>,
    /// Make and use a certificate of its own (`auto-tls`). Others are not verified then, for they do the same.
    pub self_signed: Option<SelfSigned>,
    /// Who may sign the certificates of others; those of the system if absent. Demands certificates of those who connect.
    pub trusted_ca_file: Option<PathBuf>,
    /// Demand certificates of those who connect.
    pub client_cert_auth: bool,
    /// What certificates of those that this server connects to must be valid for, and what it says whom it wants; the host
    /// that it connects to if absent.
    pub server_name: Option<String>,
    /// Certificates of others must have one of these common names; empty allows all.
    pub allowed_cn: Vec<String>,
    /// Certificates of others must be valid for one of these hosts; empty allows all. Not together with `allowed_cn`.
    pub allowed_hostname: Vec<String>,
    /// The revoked certificates, in DER.
    pub crl_file: Option<PathBuf>,
    /// Whether the certificate of those who connect must be valid for the address that they come from. Members check that,
    /// and listeners for metrics; listeners for clients do not.
    pub checks_client_address: bool,
    /// What is offered and taken in handshakes.
    pub offer: Offer,
}

/// TLS on one kind of URL. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tls(Arc<State>);

#[derive(Debug)]
struct State {
    options: TlsOptions,
    /// The given one or the self-signed one; who only connects may have none.
    certificate: Option<CertificateFiles>,
    /// Believe every server.
    skips_verification: bool,
    provider: Arc<CryptoProvider>,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is no certificate.
    #[error("a certificate and its key (cert-file, key-file) must both be given")]
    NoCertificate,
    /// Names and hosts are allowed.
    #[error("allowed-cn and allowed-hostname are mutually exclusive (cn={cn:?}, hostname={hostname:?})")]
    TwoRules {
        /// The allowed names.
        cn: Vec<String>,
        /// The allowed hosts.
        hostname: Vec<String>,
    },
    /// A file cannot be read.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No certificate of an authority of the system was found.
    #[error("this system has no trusted authorities: give some (trusted-ca-file)")]
    NoAuthorities,
    /// The self-signed certificate cannot be made.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
    /// A key that belongs to another certificate. The words are Go's.
    #[error("tls: private key does not match public key: {} is not the key of {}", files.key.display(), files.cert.display())]
    NoPair {
        /// Both.
        files: CertificateFiles,
    },
    /// What was read does not fit.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    /// The authorities are no authorities.
    #[error(transparent)]
    Authorities(#[from] rustls::server::VerifierBuilderError),
}

impl TlsError {
    /// Whether it may be over in a moment: files are being replaced, one after the other.
    fn may_pass(&self) -> bool {
        match self {
            TlsError::File { .. } | TlsError::NoPair { .. } => true,
            TlsError::NoCertificate
            | TlsError::TwoRules { .. }
            | TlsError::NoAuthorities
            | TlsError::SelfSigned(_)
            | TlsError::Rustls(_)
            | TlsError::Authorities(_) => false,
        }
    }

    /// The files that have to be looked at.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        match self {
            TlsError::File { path, .. } => vec![path],
            TlsError::NoPair { files } => vec![&files.cert, &files.key],
            TlsError::NoCertificate
            | TlsError::TwoRules { .. }
            | TlsError::NoAuthorities
            | TlsError::SelfSigned(_)
            | TlsError::Rustls(_)
            | TlsError::Authorities(_) => Vec::new(),
        }
    }
}

impl Tls {
    /// Checks that everything is there; makes a self-signed certificate if one is asked for. Blocks on the disk.
    ///
    /// # Errors
    /// [`TlsError`]: what would fail every handshake, so that a start fails instead.
    pub fn new(options: TlsOptions) -> Result<Tls, TlsError> {
        if !options.allowed_cn.is_empty() && !options.allowed_hostname.is_empty() {
            let (cn, hostname) = (options.allowed_cn, options.allowed_hostname);
            return Err(TlsError::TwoRules { cn, hostname });
        }
        let certificate = match (&options.certificate, &options.self_signed) {
            (Some(certificate), _) => certificate.clone(),
            (None, Some(self_signed)) => self_signed.files()?,
            (None, None) => return Err(TlsError::NoCertificate),
        };
        let provider = Arc::new(options.offer.provider());
        let state = State { options, certificate: Some(certificate), skips_verification: false, provider };
        state.server(&Arc::default())?;
        state.client(Protocol::Http2, &Arc::default())?;
        if let Some(path) = &state.options.crl_file {
            revoked::read(path)?;
        }
        Ok(Tls(Arc::new(state)))
    }

    /// For who only connects, and shows no certificate. Blocks on the disk if a file is named; what the system trusts is
    /// read when somebody is connected to.
    ///
    /// # Errors
    /// [`TlsError`]: what would fail every handshake, if it is in the file.
    pub fn without_certificate(trusted_ca_file: Option<PathBuf>) -> Result<Tls, TlsError> {
        let options = TlsOptions { trusted_ca_file, ..TlsOptions::default() };
        let provider = Arc::new(options.offer.provider());
        let state = State { options, certificate: None, skips_verification: false, provider };
        if state.options.trusted_ca_file.is_some() {
            state.client(Protocol::Http2, &Arc::default())?;
        }
        Ok(Tls(Arc::new(state)))
    }

    /// For who only connects, and **believes whoever answers**: anybody between the two can read and change what is said.
    /// For trials, if somebody asks for it by name. Blocks on the disk.
    ///
    /// # Errors
    /// [`TlsError`]: what would fail every handshake; also authorities that would not be asked.
    pub fn dangerously_without_verification(
        certificate: Option<CertificateFiles>,
        trusted_ca_file: Option<PathBuf>,
    ) -> Result<Tls, TlsError> {
        let options = TlsOptions { trusted_ca_file, ..TlsOptions::default() };
        let provider = Arc::new(options.offer.provider());
        let state = State { options, certificate, skips_verification: true, provider };
        if state.options.trusted_ca_file.is_some() {
            state.authorities()?;
        }
        state.client(Protocol::Http2, &Arc::default())?;
        Ok(Tls(Arc::new(state)))
    }

    /// The same, for those whose certificates are for `name`, whatever host they are reached at.
    #[must_use]
    pub fn expecting(&self, name: &str) -> Tls {
        let State { options, certificate, skips_verification, provider } = &*self.0;
        let server_name = Some(name.trim_end_matches('.').to_owned());
        let options = TlsOptions { server_name, ..options.clone() };
        let (certificate, provider) = (certificate.clone(), provider.clone());
        Tls(Arc::new(State { options, certificate, skips_verification: *skips_verification, provider }))
    }

    /// The options in etcd's words, for the log.
    #[must_use]
    pub fn info(&self) -> String {
        let (options, certificate) = (&self.0.options, self.0.certificate.as_ref());
        let path = |path: Option<&PathBuf>| path.map(|path| path.display().to_string()).unwrap_or_default();
        let client = options.client_certificate.as_ref();
        format!(
            "cert = {}, key = {}, client-cert={}, client-key={}, trusted-ca = {}, client-cert-auth = {}, crl-file = {}",
            path(certificate.map(|files| &files.cert)),
            path(certificate.map(|files| &files.key)),
            path(client.map(|files| &files.cert)),
            path(client.map(|files| &files.key)),
            path(options.trusted_ca_file.as_ref()),
            options.client_cert_auth,
            path(options.crl_file.as_ref()),
        )
    }

    /// What is odd about the certificate that is shown to those who connect, and keeps them away: it starts all the same, for
    /// the files may be replaced at any time. Blocks on the disk.
    #[must_use]
    pub fn oddities(&self) -> Vec<String> {
        let Some(files) = &self.0.certificate else { return Vec::new() };
        // One that cannot be read is an error elsewhere.
        let first = files.chain().ok().and_then(|chain| chain.into_iter().next());
        let presented = first.and_then(|certificate| Presented::read(&certificate).ok());
        let odd = presented.map(|presented| presented.oddities(unix_time())).unwrap_or_default();
        odd.into_iter().map(|odd| format!("{}: {odd}", files.cert.display())).collect()
    }

    /// Does the handshake with whoever has connected.
    ///
    /// # Errors
    /// [`Rejected`]: also after too long a time, or if a file cannot be read.
    pub async fn accept(&self, socket: Socket) -> Result<server::TlsStream<Socket>, Box<Rejected>> {
        let mut rejected = Box::new(Rejected::new(socket.remote()));
        let from = socket.remote_ip();
        match timeout(HANDSHAKE_TIMEOUT, self.handshake(socket, from, &mut rejected)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                rejected.is_eof = error.kind() == io::ErrorKind::UnexpectedEof;
                let error = error.to_string();
                // What we say ourselves is not unexpected, but the library has no other place for it.
                rejected.error = error.strip_prefix("unexpected error: ").unwrap_or(&error).to_owned();
            }
            Err(_) => rejected.error = format!("no handshake within {HANDSHAKE_TIMEOUT:?}"),
        }
        Err(rejected)
    }

    /// The common name of the certificate that the other side has shown, if certificates tell who it is.
    pub(super) fn common_name<T>(&self, stream: &server::TlsStream<T>) -> Option<Arc<str>> {
        if !self.0.options.client_cert_auth {
            return None;
        }
        // The handshake has read it before.
        let presented = Presented::read(stream.get_ref().1.peer_certificates()?.first()?).ok()?;
        Some(presented.common_name.into())
    }

    /// Does the handshake with the server that `socket` leads to, whose certificate must be valid for `server_name` (unless
    /// it is for another name by [`Tls::expecting`]), to speak `protocol` with it. Waits for as long as it takes.
    ///
    /// # Errors
    /// What is wrong with the files, the other side or the connection.
    pub async fn connect(
        &self,
        socket: Socket,
        server_name: &str,
        protocol: Protocol,
    ) -> io::Result<client::TlsStream<Socket>> {
        let config = self.in_background(move |state| state.client(protocol, &Arc::default())).await?;
        TlsConnector::from(Arc::new(config)).connect(self.server_name(server_name)?, socket).await
    }

    /// Looks at the certificate of the server that `socket` leads to, as [`Tls::connect`] does. That the server wants to see
    /// one, too, and this side shows none, is no fault of its own.
    ///
    /// # Errors
    /// What is wrong with the files, the other side or the connection.
    pub async fn verify(&self, socket: Socket, server_name: &str) -> io::Result<()> {
        let witness = Arc::new(Witness::default());
        let config = {
            let witness = witness.clone();
            self.in_background(move |state| state.client(Protocol::Http2, &witness)).await?
        };
        let connected = TlsConnector::from(Arc::new(config)).connect(self.server_name(server_name)?, socket).await;
        if witness.seen().is_some() { Ok(()) } else { connected.map(drop) }
    }

    /// What the certificate of a server at `host` must be valid for.
    fn server_name(&self, host: &str) -> io::Result<ServerName<'static>> {
        let name = self.0.options.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned()).map_err(io::Error::other)
    }

    /// Fills in what becomes known of the other side.
    async fn handshake(
        &self,
        socket: Socket,
        from: Option<IpAddr>,
        rejected: &mut Rejected,
    ) -> io::Result<server::TlsStream<Socket>> {
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket).await?;
        rejected.server_name = hello.client_hello().server_name().unwrap_or_default().to_owned();
        let witness = Arc::new(Witness::default());
        let config = {
            let witness = witness.clone();
            self.in_background(move |state| state.server(&witness)).await?
        };
        let stream = hello.into_stream(Arc::new(config)).await;
        if let Some(end_entity) = witness.seen() {
            let presented = Presented::read(end_entity)?;
            (rejected.ip_addresses, rejected.dns_names) = (presented.ip_addresses.clone(), presented.dns_names.clone());
            let stream = stream?;
            if let (true, Some(from)) = (self.0.options.checks_client_address, from) {
                presented.check_comes_from(from).await.map_err(io::Error::other)?;
            }
            self.check_revoked(stream.get_ref().1.peer_certificates().unwrap_or_default()).await?;
            return Ok(stream);
        }
        stream
    }

    async fn check_revoked(&self, certificates: &[rustls::pki_types::CertificateDer<'static>]) -> io::Result<()> {
        if self.0.options.crl_file.is_none() {
            return Ok(());
        }
        let certificates = certificates.to_vec();
        self.in_background(move |state| match &state.options.crl_file {
            Some(path) => revoked::check(path, &certificates),
            None => Ok(()),
        })
        .await
    }

    /// Reads files where that holds up nobody; reads them again if it may have met the moment in which they are replaced.
    async fn in_background<T: Send + 'static>(
        &self,
        read: impl Fn(&State) -> Result<T, TlsError> + Clone + Send + 'static,
    ) -> io::Result<T> {
        let mut readings = 1;
        loop {
            let (state, read) = (self.0.clone(), read.clone());
            match tokio::task::spawn_blocking(move || read(&state)).await.map_err(io::Error::other)? {
                Err(error) if error.may_pass() && readings < READINGS_MAX => readings += 1,
                outcome => return outcome.map_err(io::Error::other),
            }
            sleep(READING_PAUSE).await;
        }
    }
}

impl State {
    /// What those who connect are met with.
    fn server(&self, witness: &Arc<Witness>) -> Result<ServerConfig, TlsError> {
        let files = self.certificate.as_ref().ok_or(TlsError::NoCertificate)?;
        let own = self.own(files)?;
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&self.options.offer.versions())?;
        let builder = if self.options.trusted_ca_file.is_some() || self.options.client_cert_auth {
            let authorities = self.authorities()?;
            let verifier = WebPkiClientVerifier::builder_with_provider(authorities, self.provider.clone()).build()?;
            builder.with_client_cert_verifier(Arc::new(CheckedClient {
                verifier,
                options: self.options.clone(),
                witness: witness.clone(),
            }))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        config.alpn_protocols = PROTOCOLS.map(|protocol| alpn_id(protocol).to_vec()).to_vec();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// What this server meets others with. `witness` gets their certificate once it is found good.
    fn client(&self, protocol: Protocol, witness: &Arc<Witness>) -> Result<ClientConfig, TlsError> {
        let files = self.options.client_certificate.as_ref().or(self.certificate.as_ref());
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&self.options.offer.versions())?
            .dangerous();
        let builder = if self.skips_verification || self.is_self_signed() {
            builder.with_custom_certificate_verifier(Arc::new(AnyServer { provider: self.provider.clone() }))
        } else {
            let verifier =
                rustls::client::WebPkiServerVerifier::builder_with_provider(self.authorities()?, self.provider.clone())
                    .build()?;
            builder.with_custom_certificate_verifier(Arc::new(CheckedServer {
                verifier,
                options: self.options.clone(),
                witness: witness.clone(),
            }))
        };
        let mut config = match files {
            Some(files) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(self.own(files)?))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![alpn_id(protocol).to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn is_self_signed(&self) -> bool {
        self.options.certificate.is_none() && self.options.self_signed.is_some()
    }

    fn own(&self, files: &CertificateFiles) -> Result<CertifiedKey, TlsError> {
        let (chain, key) = (files.chain()?, files.private_key()?);
        let key = match p521::read(&key) {
            Some(key) => key,
            // Of a kind that we do not know.
            None => self.provider.key_provider.load_private_key(key).map_err(|why| files::failed(&files.key, why))?,
        };
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
            Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::NoPair { files: files.clone() }),
            Err(error) => Err(files::failed(&files.cert, error)),
        }
    }

    fn authorities(&self) -> Result<Arc<rustls::RootCertStore>, TlsError> {
        let store = match &self.options.trusted_ca_file {
            Some(path) => files::authorities(path)?,
            None => files::authorities_of_system()?,
        };
        Ok(Arc::new(store))
    }
}

/// What a protocol is called in handshakes. Source: RFC 7301, and IANA's list of ALPN protocol ids.
fn alpn_id(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Http2 => b"h2",
        Protocol::Http1 => b"http/1.1",
    }
}

/// Somebody who connected and was not let in.
#[derive(Debug)]
pub struct Rejected {
    /// Where from.
    pub remote: String,
    /// Whom it wanted; empty if it did not say.
    pub server_name: String,
    /// The addresses that its certificate is valid for.
    pub ip_addresses: Vec<IpAddr>,
    /// The names that its certificate is valid for.
    pub dns_names: Vec<String>,
    /// Why not.
    pub error: String,
    /// It said nothing, as probes of ports do.
    is_eof: bool,
}

impl Rejected {
    fn new(remote: String) -> Rejected {
        let (server_name, error) = Default::default();
        Rejected { remote, server_name, ip_addresses: Vec::new(), dns_names: Vec::new(), error, is_eof: false }
    }

    /// Says so in the log: as a warning, unless the other side has just gone.
    pub fn log(&self, message: &str) {
        if self.is_eof {
            tracing::debug!(
                "remote-addr" = self.remote,
                "server-name" = self.server_name,
                error = self.error,
                "{message}"
            );
        } else {
            tracing::warn!(
                "remote-addr" = self.remote,
                "server-name" = self.server_name,
                "ip-addresses.json" = json(&self.ip_addresses),
                "dns-names.json" = json(&self.dns_names),
                error = self.error,
                "{message}"
            );
        }
    }
}

/// A list for the log.
fn json<T: Serialize>(values: &[T]) -> String {
    serde_json::to_string(values).expect("addresses and texts have a JSON form")
}
