//! How the service is reached in which members register: endpoints, TLS, pings, and who asks.
//!
//! Source: etcd, `client/v3/config.go` and `client.go`.

use std::time::Duration;

use super::error::RegistryError;
use crate::client::{Client, Endpoint, Keepalive, Login, Options, TlsWish};
use crate::config::DiscoveryService;
use crate::net::{CertificateFiles, Tls, TlsOptions};

/// Where the operator sets no limit. Source: grpc-go, `minConnectTimeout` and `defaultClientKeepaliveTimeout`.
const LIMIT_UNSAID: Duration = Duration::from_secs(20);
/// Servers take it amiss if they are pinged more often. Source: grpc-go, `internal.KeepaliveMinPingTime`.
const PING_TIME_MIN: Duration = Duration::from_secs(10);

/// A client of the service, that has proved who it is if it can. Reads files.
///
/// # Errors
/// [`RegistryError::HalfKeyPair`], [`RegistryError::Tls`], [`RegistryError::Endpoint`]; [`RegistryError::Login`], also if
/// nobody is there to prove it to.
pub(super) async fn client_of(service: &DiscoveryService) -> Result<Client, RegistryError> {
    let parsed = service.endpoints.iter().map(|endpoint| Endpoint::parse(endpoint.trim()));
    let endpoints: Vec<Endpoint> = parsed.collect::<Result<_, _>>()?;
    let keepalive = (!service.keepalive_time.is_zero()).then(|| Keepalive {
        time: service.keepalive_time.max(PING_TIME_MIN),
        timeout: or_unsaid(service.keepalive_timeout),
    });
    let dial_timeout = or_unsaid(service.dial_timeout);
    let tls = tls(service, endpoints[0].wish)?;
    // Answers have a deadline, and a watch says nothing until somebody comes.
    let options = Options { dial_timeout, keepalive, tls, silence_max: None };
    let (name, password) = (service.user.clone(), service.password.reveal().to_owned());
    let login = (!name.is_empty() && !password.is_empty()).then_some(Login { name, password });
    let mut client = Client::new(endpoints, options, login);
    client.log_in(dial_timeout).await.map_err(RegistryError::Login)?;
    Ok(client)
}

fn or_unsaid(limit: Duration) -> Duration {
    if limit.is_zero() { LIMIT_UNSAID } else { limit }
}

/// How TLS is spoken with the service, if it is; the first endpoint decides for all. Source: etcd, `newTLSConfig` and
/// `credentialsForEndpoint`.
fn tls(service: &DiscoveryService, first: TlsWish) -> Result<Option<Tls>, RegistryError> {
    let certificate = match (&service.cert, &service.key) {
        (Some(cert), Some(key)) => Some(CertificateFiles { cert: cert.clone(), key: key.clone() }),
        (None, None) => None,
        (cert, key) => {
            let [cert, key] = [cert, key].map(|path| path.as_ref().map(|path| path.display().to_string()));
            return Err(RegistryError::HalfKeyPair { key: key.unwrap_or_default(), cert: cert.unwrap_or_default() });
        }
    };
    let is_said = certificate.is_some()
        || service.cacert.is_some()
        || !service.insecure_transport
        || service.insecure_skip_tls_verify;
    if first == TlsWish::Never || first == TlsWish::Either && !is_said {
        return Ok(None);
    }
    let trusted_ca_file = service.cacert.clone();
    Ok(Some(match certificate {
        certificate if service.insecure_skip_tls_verify => {
            Tls::dangerously_without_verification(certificate, trusted_ca_file)?
        }
        None => Tls::without_certificate(trusted_ca_file)?,
        certificate => Tls::new(TlsOptions { certificate, trusted_ca_file, ..TlsOptions::default() })?,
    }))
}
