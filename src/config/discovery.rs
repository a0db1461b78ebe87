//! Members that find each other by what DNS says of their domain, instead of a list.
//!
//! Source: etcd, `server/embed/config.go`.

use super::error::Error;
use super::flags::{self, Settings};

/// What DNS is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvDiscovery {
    /// The domain of the cluster.
    pub domain: String,
    /// What tells this cluster from others of the domain; may be empty.
    pub service_name: String,
}

/// What was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DiscoverySettings {
    pub(super) srv: String,
    pub(super) srv_name: String,
    pub(super) fallback: Fallback,
}

/// What to do when nobody is found; etcd has one way left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Fallback {
    /// End.
    #[default]
    Exit,
    /// Be a proxy, as etcd 2 could.
    Proxy,
}

/// Checks what was said, and takes back the default list of members if DNS has another.
///
/// # Errors
/// [`Error::TwoWaysToFound`]; [`Error::ProxyFallback`].
pub(super) fn validate(settings: &mut Settings) -> Result<Option<SrvDiscovery>, Error> {
    if settings.discovery.fallback == Fallback::Proxy {
        return Err(Error::ProxyFallback);
    }
    if settings.discovery.srv.is_empty() {
        return Ok(None);
    }
    if settings.given.contains(flags::INITIAL_CLUSTER) && !settings.initial_cluster.is_empty() {
        return Err(Error::TwoWaysToFound);
    }
    settings.initial_cluster.clear();
    let DiscoverySettings { srv, srv_name, .. } = settings.discovery.clone();
    Ok(Some(SrvDiscovery { domain: srv, service_name: srv_name }))
}
