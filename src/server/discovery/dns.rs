//! Who founds the cluster, by what DNS says: service records of the domain name hosts and ports of members, and the one that
//! is where this member wants to be found is this member.
//!
//! ```text
//! _etcd-server-ssl._tcp.example.com   SRV   0 0 2380 m1.example.com        members that are reached by https
//! _etcd-server._tcp.example.com       SRV   0 0 2380 m2.example.com        by http
//! ```
//!
//! The records become a list as `--initial-cluster` has it; others than this member are called `0`, `1` and so on, for names
//! of members are not in DNS. From there on it goes as with a list.
//!
//! Source: etcd, `client/pkg/srv/srv.go` and `server/embed/config.go`, `GetDNSClusterNames`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::config::{Config, SrvDiscovery, Url};
use crate::dns::{self, Names, NoResolver, Target};
use crate::telemetry::json;

/// The service of members that are reached by https, and by http.
const SERVICES: [(&str, &str); 2] = [("https", "etcd-server-ssl"), ("http", "etcd-server")];

/// Why nobody was found. The texts are etcd's, as far as they are not those of its resolver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The system does not say whom to ask.
    #[error("error setting up initial cluster: {0}")]
    NoResolver(#[from] NoResolver),
    /// There are no records, or none that can be used.
    #[error("error setting up initial cluster: {}", causes.join("\n"))]
    NothingFound {
        /// One for each service.
        causes: Vec<String>,
    },
    /// There are, and none of them is this member.
    #[error("error setting up initial cluster: cannot find local etcd member {name:?} in SRV records")]
    NotListed {
        /// This member.
        name: String,
    },
}

/// The list of founding members, as `--initial-cluster` would have it.
///
/// # Errors
/// [`DnsError`].
pub(in crate::server) async fn initial_cluster(
    config: &Config,
    srv: &SrvDiscovery,
    names: &impl Names,
) -> Result<String, DnsError> {
    let (mut members, mut causes) = (Vec::new(), Vec::new());
    let advertised: Vec<&str> = config.advertise_peer_urls.iter().map(Url::as_str).collect();
    for (scheme, plain_service) in SERVICES {
        let service = dns::service(plain_service, &srv.service_name);
        let found = of_service(config, (scheme, &service), &srv.domain, names).await;
        tracing::info!(
            "service-scheme" = scheme,
            "service-name" = service,
            "server-name" = config.name,
            "discovery-srv" = srv.domain,
            "advertise-peer-urls.json" = json(&advertised),
            "found-cluster.json" = json(found.as_deref().unwrap_or_default()),
            error = found.as_ref().err(),
            "get cluster for {plain_service} SRV"
        );
        match found {
            Ok(found) => members.extend(found),
            Err(cause) => causes.push(format!("error querying DNS SRV records for _{service} {cause}")),
        }
    }
    if !causes.is_empty() {
        tracing::warn!(error = causes.join("\n"), "failed to resolve during SRV discovery");
    }
    if members.is_empty() {
        return Err(DnsError::NothingFound { causes });
    }
    for member in &members {
        tracing::info!(node = member, "got bootstrap from DNS for etcd-server");
    }
    let own = format!("{}=", config.name);
    if !members.iter().any(|member| member.starts_with(&own)) {
        return Err(DnsError::NotListed { name: config.name.clone() });
    }
    Ok(members.join(","))
}

/// What certificates of members that are found so have to be valid for, if that is not their host: the domain, unless flags
/// name who signs them.
pub(in crate::server) fn name_of_certificates<'srv>(
    config: &Config,
    srv: &'srv SrvDiscovery,
    initial_cluster: &str,
) -> Option<&'srv str> {
    let is_secure = initial_cluster.contains("https://");
    (is_secure && config.peer_tls.trusted_ca_file.is_none()).then_some(srv.domain.as_str())
}

/// The members of one service, as `name=url`; at least one.
async fn of_service(
    config: &Config,
    (scheme, service): (&str, &str),
    domain: &str,
    names: &impl Names,
) -> Result<Vec<String>, String> {
    let mut own: BTreeMap<SocketAddr, &Url> = BTreeMap::new();
    for url in config.advertise_peer_urls.iter().filter(|url| url.is_tcp()) {
        own.insert(SocketAddr::new(names.address(url.host()).await?, url.port()), url);
    }
    let (mut members, mut last_error, mut nameless) = (Vec::new(), String::new(), 0);
    for Target { host, port, .. } in names.services(&format!("_{service}._tcp.{domain}")).await? {
        let host = host.trim_end_matches('.');
        let address = match names.address(host).await {
            Ok(address) => SocketAddr::new(address, port),
            Err(error) => {
                last_error = error;
                continue;
            }
        };
        let shown = Target::new(host, port);
        match own.get(&address) {
            Some(url) if url.is_secure() != (scheme == "https") => {
                last_error = format!(
                    "bootstrap at {scheme}://{shown} from DNS for {service} has scheme mismatch with expected peer {url}"
                );
            }
            Some(_) => members.push(format!("{}={scheme}://{shown}", config.name)),
            None => {
                members.push(format!("{nameless}={scheme}://{shown}"));
                nameless += 1;
            }
        }
    }
    if members.is_empty() { Err(last_error) } else { Ok(members) }
}

#[cfg(test)]
mod tests;
