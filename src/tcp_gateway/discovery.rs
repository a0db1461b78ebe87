//! Members that DNS names, and which of them are used.
//!
//! ```text
//! _etcd-client-ssl._tcp.example.com   SRV   priority weight 2379 m1.example.com        members that clients reach by https
//! _etcd-client._tcp.example.com       SRV   priority weight 2379 m2.example.com        by http
//! ```
//!
//! Whoever can answer for DNS could name any program as a member. So those with http are left out, and those that cannot be
//! reached; with authorities from a file also those whose certificate is of somebody else, or not for the domain.
//!
//! Source: etcd, `server/etcdmain/util.go` and `client/pkg/transport/tls.go`.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Error;
use crate::dns::{self, Names, Target};
use crate::net::{Socket, Tls};
use crate::telemetry::json;

/// The service of members that are reached by https, and by http.
const SERVICES: [(&str, &str); 2] = [("https", "etcd-client-ssl"), ("http", "etcd-client")];
/// How long one of them may take to be looked at. Source: etcd, `discoverEndpoints`.
const LOOK_TIME_MAX: Duration = Duration::from_secs(5);

/// What flags say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Discovery {
    pub(super) domain: String,
    /// Put behind the names of services.
    pub(super) service_name: String,
    /// All are used.
    pub(super) is_insecure: bool,
    /// Who signs the certificates of members; they are not looked at if absent.
    pub(super) trusted_ca_file: Option<PathBuf>,
}

/// A member that DNS names.
#[derive(Debug)]
struct Candidate {
    target: Target,
    url: String,
    is_secure: bool,
}

impl Discovery {
    /// The members that are used; none if none of those that are named can be.
    ///
    /// # Errors
    /// If DNS names nobody, or the file of authorities is no such file.
    pub(super) async fn targets(&self, names: &impl Names) -> Result<Vec<Target>, Error> {
        let candidates = self.candidates(names).await?;
        let named = urls(&candidates);
        tracing::info!("srv-server" = self.domain, "endpoints.json" = named, "discovered cluster from SRV");
        if self.is_insecure {
            return Ok(candidates.into_iter().map(|candidate| candidate.target).collect());
        }
        tracing::info!("srv-server" = self.domain, "endpoints.json" = named, "validating discovered SRV endpoints");
        let tls = self.trusted_ca_file.clone().map(|path| Tls::without_certificate(Some(path))).transpose()?;
        let (used, causes) = self.validated(candidates, names, tls.as_ref()).await;
        let good = urls(&used);
        if causes.is_empty() {
            tracing::info!(
                "srv-server" = self.domain,
                "endpoints.json" = good,
                "using validated discovered SRV endpoints"
            );
        } else {
            tracing::warn!(
                "srv-server" = self.domain,
                "endpoints.json" = good,
                error = causes.join(","),
                "failed to validate discovered endpoints"
            );
        }
        Ok(used.into_iter().map(|candidate| candidate.target).collect())
    }

    /// All that DNS names; at least one.
    async fn candidates(&self, names: &impl Names) -> Result<Vec<Candidate>, Error> {
        let (mut candidates, mut causes) = (Vec::new(), Vec::new());
        for (scheme, plain_service) in SERVICES {
            let service = dns::service(plain_service, &self.service_name);
            match names.services(&format!("_{service}._tcp.{}", self.domain)).await {
                Ok(targets) => candidates.extend(targets.into_iter().map(|target| Candidate {
                    url: format!("{scheme}://{target}"),
                    is_secure: scheme == "https",
                    target,
                })),
                Err(cause) => causes.push(cause),
            }
        }
        if candidates.is_empty() { Err(Error::NobodyNamed { causes }) } else { Ok(candidates) }
    }

    /// Those that may be used, in their order, and why others may not. All are looked at at the same time.
    async fn validated(
        &self,
        candidates: Vec<Candidate>,
        names: &impl Names,
        tls: Option<&Tls>,
    ) -> (Vec<Candidate>, Vec<String>) {
        let domain = self.domain.trim_end_matches('.');
        // How many there can be is bounded by the length of a message of DNS.
        let looks = join_all(candidates.iter().map(|candidate| candidate.look(names, tls, domain))).await;
        let (mut used, mut causes) = (Vec::new(), Vec::new());
        for (candidate, look) in candidates.into_iter().zip(looks) {
            match look {
                Ok(()) => used.push(candidate),
                Err(cause) => causes.push(cause),
            }
        }
        (used, causes)
    }
}

impl Candidate {
    /// Whether it may be used. `tls` looks at certificates.
    async fn look(&self, names: &impl Names, tls: Option<&Tls>, domain: &str) -> Result<(), String> {
        if !self.is_secure {
            return Err(format!("{:?} is insecure", self.url));
        }
        let look = async {
            let address = names.address(&self.target.host).await?;
            let connect = TcpStream::connect((address, self.target.port)).await;
            let socket = Socket::tcp(connect.map_err(|error| error.to_string())?);
            match tls {
                Some(tls) => tls.verify(socket, domain).await.map_err(|error| error.to_string()),
                None => Ok(()),
            }
        };
        let look = timeout(LOOK_TIME_MAX, look).await;
        let look = look.unwrap_or_else(|_| Err(format!("no answer within {LOOK_TIME_MAX:?}")));
        look.map_err(|why| format!("{:?} failed to dial ({why})", self.url))
    }
}

/// For the log.
fn urls(candidates: &[Candidate]) -> String {
    json(&candidates.iter().map(|candidate| candidate.url.as_str()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;
    use crate::dns::{Dns, Record, Zone};
    use crate::net::TlsOptions;
    use crate::net::testing::Authority;

    /// A member whose certificate `authority` has signed for `host`; it demands one of whoever connects.
    async fn member(authority: &Authority, dir: &std::path::Path, host: &str) -> u16 {
        let tls = Tls::new(TlsOptions {
            certificate: Some(authority.issue(dir, host, host, 1, &[host])),
            trusted_ca_file: Some(authority.write(dir)),
            client_cert_auth: true,
            ..TlsOptions::default()
        });
        let (tls, listener) = (tls.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let _ = tls.accept(Socket::tcp(socket)).await;
            }
        });
        port
    }

    fn discovery(trusted_ca_file: Option<PathBuf>) -> Discovery {
        Discovery { domain: "example.com".to_owned(), trusted_ca_file, ..Discovery::default() }
    }

    fn zone(ports: &[u16]) -> Zone {
        let add =
            |zone: Zone, &port| zone.service("_etcd-client-ssl._tcp.example.com.", Record::of("m.example.com.", port));
        let plain = Record { priority: 3, weight: 4, ..Record::of("m.example.com.", 7) };
        let zone = ports.iter().fold(Zone::default(), add).service("_etcd-client._tcp.example.com.", plain);
        zone.host("m.example.com.", Ipv4Addr::LOCALHOST)
    }

    fn ports(targets: &[Target]) -> Vec<u16> {
        let mut ports: Vec<u16> = targets.iter().map(|target| target.port).collect();
        ports.sort_unstable();
        ports
    }

    #[tokio::test]
    async fn whoever_has_http_or_cannot_be_reached_is_not_used() {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ca"));
        let up = member(&authority, dir.path(), "elsewhere.invalid").await;
        let down = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let (dns, _server) = Dns::knowing(zone(&[up, down]));
        // Nobody looks at certificates.
        assert_eq!(ports(&discovery(None).targets(&dns).await.unwrap()), [up]);
        let all = Discovery { is_insecure: true, ..discovery(None) }.targets(&dns).await.unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(all[2], Target { host: "m.example.com.".to_owned(), port: 7, priority: 3, weight: 4 });
        let blue = Discovery { service_name: "blue".to_owned(), ..discovery(None) };
        assert_eq!(
            blue.targets(&dns).await.unwrap_err().to_string(),
            "dns lookup errors: lookup _etcd-client-ssl-blue._tcp.example.com: no such host and lookup \
             _etcd-client-blue._tcp.example.com: no such host"
        );
    }

    #[tokio::test]
    async fn certificates_are_of_the_authority_and_for_the_domain() {
        let (dir, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (authority, other) = (Authority::new("ca"), Authority::new("other"));
        let good = member(&authority, dir.path(), "example.com").await;
        let of_host = member(&authority, dir.path(), "127.0.0.1").await;
        let strange = member(&other, others.path(), "example.com").await;
        let (dns, _server) = Dns::knowing(zone(&[good, of_host, strange]));
        let trusted = |path: PathBuf| discovery(Some(path));
        assert_eq!(ports(&trusted(dir.path().join("ca.pem")).targets(&dns).await.unwrap()), [good]);
        assert_eq!(ports(&trusted(others.path().join("ca.pem")).targets(&dns).await.unwrap()), [strange]);
        let missing = trusted("/nowhere.pem".into()).targets(&dns).await.unwrap_err().to_string();
        assert!(missing.contains("/nowhere.pem") && missing.contains("--trusted-ca-file"), "{missing}");
    }
}
