//! Members that find each other without a list: by what DNS says of their domain, or by registering in a service.
//!
//! Source: etcd, `server/embed/config.go`, `client/v3/config.go`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::error::Error;
use super::flags::{self, Settings};
use super::initial_cluster::InitialCluster;
use super::validate::DEFAULT_CLUSTER;
use super::value::SignedDuration;

/// What stands before a password in `--discovery-user`, as etcd's help has it.
pub(super) const BEFORE_PASSWORD: char = ':';

/// What DNS is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvDiscovery {
    /// The domain of the cluster.
    pub domain: String,
    /// What tells this cluster from others of the domain; may be empty.
    pub service_name: String,
}

/// The service in which founding members register and find each other: an etcd, or a Lodemark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiscoveryService {
    /// What tells this cluster from others that are founded there. Empty together with `endpoints`.
    pub token: String,
    /// Where the service is; empty if there is none.
    pub endpoints: Vec<String>,
    /// How long it may take to connect, and to prove who this is; zero is no limit of the operator's.
    pub dial_timeout: Duration,
    /// How long an answer may take.
    pub request_timeout: Duration,
    /// Between two pings; zero is never.
    pub keepalive_time: Duration,
    /// How long each may stay without an answer; zero is no limit of the operator's.
    pub keepalive_timeout: Duration,
    /// Speak TLS only where something else asks for it: the scheme of the endpoint, or one of the files below.
    pub insecure_transport: bool,
    /// Believe whoever answers.
    pub insecure_skip_tls_verify: bool,
    /// What this member shows there. Without its key it is an error.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// The authorities that the service's certificate is checked against; `None` means those of the system.
    pub cacert: Option<PathBuf>,
    /// Who asks; empty if nobody in particular.
    pub user: String,
    /// What proves it. Without it nothing is proved.
    pub password: Password,
}

impl DiscoveryService {
    /// Tells whether there is one.
    #[must_use]
    pub fn is_set(&self) -> bool {
        !self.endpoints.is_empty()
    }
}

/// A password, which stays out of logs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Password {
        Password(text.to_owned())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DiscoverySettings {
    pub(super) srv: String,
    pub(super) srv_name: String,
    pub(super) fallback: Fallback,
    pub(super) token: String,
    pub(super) endpoints: Vec<String>,
    pub(super) dial_timeout: SignedDuration,
    pub(super) request_timeout: SignedDuration,
    pub(super) keepalive_time: SignedDuration,
    pub(super) keepalive_timeout: SignedDuration,
    pub(super) insecure_transport: bool,
    pub(super) insecure_skip_tls_verify: bool,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) cacert: Option<PathBuf>,
    pub(super) user: String,
    pub(super) password: Password,
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

/// Checks what was said, and takes back the default list of members if there is another way to find them.
///
/// # Errors
/// [`Error::TwoWaysToFound`]; [`Error::HalfDiscovery`]; [`Error::EmptyEndpoint`]; [`Error::ProxyFallback`].
pub(super) fn validate(settings: &mut Settings) -> Result<(Option<SrvDiscovery>, DiscoveryService), Error> {
    if settings.discovery.fallback == Fallback::Proxy {
        return Err(Error::ProxyFallback);
    }
    let has_endpoints = settings.given.contains(flags::DISCOVERY_ENDPOINTS);
    let has_srv = !settings.discovery.srv.is_empty();
    if has_srv || has_endpoints {
        // In a file the default may as well stand where nothing was said.
        let is_default = settings.is_of_file && settings.initial_cluster == DEFAULT_CLUSTER;
        let has_list = settings.given.contains(flags::INITIAL_CLUSTER) && !settings.initial_cluster.is_empty();
        if has_srv && has_endpoints || has_list && !is_default {
            return Err(Error::TwoWaysToFound);
        }
        settings.initial_cluster.clear();
    }
    let said = settings.discovery.clone();
    if has_endpoints == said.token.is_empty() {
        return Err(Error::HalfDiscovery);
    }
    if has_endpoints && said.endpoints.iter().any(|endpoint| endpoint.trim().is_empty()) {
        return Err(Error::EmptyEndpoint);
    }
    let srv = has_srv.then_some(SrvDiscovery { domain: said.srv, service_name: said.srv_name });
    let (user, password) = match said.user.split_once(BEFORE_PASSWORD) {
        Some((user, password)) if said.password == Password::default() => (user.to_owned(), password.into()),
        _ => (said.user, said.password),
    };
    let service = DiscoveryService {
        token: said.token,
        endpoints: if has_endpoints { said.endpoints } else { Vec::new() },
        dial_timeout: said.dial_timeout.positive().unwrap_or_default(),
        request_timeout: said.request_timeout.positive().unwrap_or_default(),
        keepalive_time: said.keepalive_time.positive().unwrap_or_default(),
        keepalive_timeout: said.keepalive_timeout.positive().unwrap_or_default(),
        insecure_transport: said.insecure_transport,
        insecure_skip_tls_verify: said.insecure_skip_tls_verify,
        cert: said.cert,
        key: said.key,
        cacert: said.cacert,
        user,
        password,
    };
    Ok((srv, service))
}

/// Makes this member the only one of its list, and the service's token the cluster's, until the service has told the others:
/// ids come of both. Source: etcd, `PeerURLsMapAndToken`.
pub(super) fn list_alone(service: &DiscoveryService, settings: &mut Settings) {
    if service.is_set() {
        settings.initial_cluster = InitialCluster::of_one(&settings.name, &settings.advertise_peer_urls).to_string();
        settings.initial_cluster_token.clone_from(&service.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Invocation};

    const ENDPOINTS: &str = "--discovery-endpoints=b:1,a:1,b:1";
    const TOKEN: &str = "--discovery-token=t";

    fn config(arguments: &[&str]) -> Result<Config, Error> {
        match Invocation::from_args(arguments.iter().map(std::ffi::OsString::from))? {
            Invocation::Serve(config) => Ok(*config),
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn a_member_with_a_service_is_alone_in_its_list() {
        let config = config(&["--name=a", ENDPOINTS, TOKEN, "--initial-advertise-peer-urls=http://h:2,http://h:1"]);
        let config = config.unwrap();
        assert_eq!(config.discovery_service.endpoints, ["a:1", "b:1"]);
        assert_eq!((config.initial_cluster_token.as_str(), config.discovery_srv), ("t", None));
        let mut listed: Vec<&str> = config.initial_cluster.split(',').collect();
        listed.sort_unstable();
        assert_eq!(listed, ["a=http://h:1", "a=http://h:2"]);
    }

    #[test]
    fn ways_to_found_a_cluster_exclude_each_other() {
        let list = "--initial-cluster=default=http://localhost:2380";
        for (arguments, error) in [
            (&[ENDPOINTS, TOKEN, list][..], Error::TwoWaysToFound),
            (&[ENDPOINTS, list], Error::TwoWaysToFound),
            (&[ENDPOINTS, TOKEN, "--discovery-srv=d"], Error::TwoWaysToFound),
            (&[ENDPOINTS], Error::HalfDiscovery),
            (&["--discovery-endpoints="], Error::HalfDiscovery),
            (&[TOKEN], Error::HalfDiscovery),
            (&[TOKEN, "--discovery-endpoints="], Error::EmptyEndpoint),
            (&[TOKEN, "--discovery-endpoints=a:1, "], Error::EmptyEndpoint),
        ] {
            assert_eq!(config(arguments).unwrap_err(), error, "{arguments:?}");
        }
        assert!(config(&[ENDPOINTS, TOKEN, "--initial-cluster="]).is_ok());
    }

    #[test]
    fn a_password_may_stand_behind_the_user_and_is_shown_to_nobody() {
        for (arguments, user, password) in [
            (&["--discovery-user=u:a:b"][..], "u", "a:b"),
            (&["--discovery-user=u:a", "--discovery-password=b"], "u:a", "b"),
            (&["--discovery-user=u"], "u", ""),
        ] {
            let config = config(arguments).unwrap();
            let service = &config.discovery_service;
            assert_eq!((service.user.as_str(), service.password.reveal()), (user, password), "{arguments:?}");
            assert!(!format!("{service:?}").contains("a:b"), "{service:?}");
        }
    }
}
