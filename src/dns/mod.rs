//! Service records of DNS: the hosts and ports of a service, as those of whom the system asks know them.
//!
//! ```text
//! _etcd-server-ssl._tcp.example.com   SRV   priority weight 2380 m1.example.com      members, for members
//! _etcd-client-ssl._tcp.example.com   SRV   priority weight 2379 m1.example.com      members, for clients
//! ```
//!
//! Several clusters of one domain put a name of their own behind that of the service.
//!
//! Source: RFC 2782; etcd, `client/pkg/srv/srv.go`.

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::net::IpAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::RData;

#[cfg(test)]
pub(crate) use self::testing::{NameServer, Record, Zone};

/// The system does not say whom to ask.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the settings of the resolver: {0}")]
pub struct NoResolver(String);

/// Where a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// With a dot at its end if it is from DNS.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The lowest comes first; the others are for when it cannot be reached.
    pub(crate) priority: u16,
    /// Its share among those of its priority.
    pub(crate) weight: u16,
}

impl Target {
    /// One as good as any other.
    pub(crate) fn new(host: impl Into<String>, port: u16) -> Target {
        Target { host: host.into(), port, priority: 0, weight: 0 }
    }
}

/// As `host:port`.
impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { host, port, .. } = self;
        if host.contains(':') { write!(out, "[{host}]:{port}") } else { write!(out, "{host}:{port}") }
    }
}

/// What there is to know from DNS.
pub(crate) trait Names {
    /// The hosts and ports of a service, in the order of their priority; at least one.
    fn services(&self, name: &str) -> impl Future<Output = Result<Vec<Target>, String>>;

    /// The address of a host.
    fn address(&self, host: &str) -> impl Future<Output = Result<IpAddr, String>>;
}

/// Asks those that the system asks.
pub(crate) struct Dns(TokioResolver);

impl Dns {
    pub(crate) fn of_system() -> Result<Dns, NoResolver> {
        let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
        resolver.map(Dns).map_err(|error| NoResolver(error.to_string()))
    }
}

impl Names for Dns {
    async fn services(&self, name: &str) -> Result<Vec<Target>, String> {
        // From the root: the domain is whole as it was given.
        let absolute = format!("{}.", name.trim_end_matches('.'));
        let found = self.0.srv_lookup(absolute).await.map_err(|error| failed(name, &error))?;
        let targets = found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(Target {
                host: srv.target.to_string(),
                port: srv.port,
                priority: srv.priority,
                weight: srv.weight,
            }),
            _ => None,
        });
        // The root as a host says that there is no such service.
        let mut targets: Vec<_> = targets.filter(|target| target.host != ".").collect();
        targets.sort_by(|a, b| (a.priority, &a.host, a.port).cmp(&(b.priority, &b.host, b.port)));
        if targets.is_empty() { Err(missing(name)) } else { Ok(targets) }
    }

    async fn address(&self, host: &str) -> Result<IpAddr, String> {
        let found = self.0.lookup_ip(host).await.map_err(|error| failed(host, &error))?;
        found.iter().min().ok_or_else(|| missing(host))
    }
}

/// The name under which DNS has a service, of which `suffix` tells one cluster from another; empty if there is one.
pub(crate) fn service(plain: &str, suffix: &str) -> String {
    if suffix.is_empty() { plain.to_owned() } else { format!("{plain}-{suffix}") }
}

/// In Go's words, where it has any.
fn failed(name: &str, error: &NetError) -> String {
    if error.is_no_records_found() { missing(name) } else { format!("lookup {name}: {error}") }
}

fn missing(name: &str) -> String {
    format!("lookup {name}: no such host")
}
