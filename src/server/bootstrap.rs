//! The beginning of a new data folder: which cluster it belongs to, who is in it, and which of them this member is.
//!
//! A founder works it all out from its flags. A member that joins asks those that are there. Both ask others first, so
//! that nobody begins anew who was a member already: one that has lost its data has also forgotten whom it voted for, and
//! could vote a second time.
//!
//! Source: etcd, `server/etcdserver/bootstrap.go` and `cluster_util.go`.

use std::time::Duration;

use tokio::task::JoinSet;

use super::discovery::{self, DnsError, RegistryError};
use super::inquiry::{self, Connector};
use super::look_up::look_up;
use crate::api::http::MemberList;
use crate::config::{
    self, Addresses, ClusterState, Config, DiscoveryService, FoundingError, InitialCluster, JoiningError, Url,
};
use crate::dns::Dns;
use crate::model::{CLUSTER_VERSION, ClusterVersion, Member, MemberId};
use crate::node::{Founding, Identity};

/// How long a founder waits for the answer of another: most likely nobody is there yet. Source: etcd,
/// `BootstrapTimeoutEffective`.
const FOUNDER_WAIT: Duration = Duration::from_secs(1);
/// How long a member that joins waits for each answer. Source: etcd, `GetClusterFromRemotePeers`.
const JOINER_WAIT: Duration = Duration::from_secs(10);
/// The lowest version of a cluster that can be joined. Source: etcd, `version.MinClusterVersion`.
const CLUSTER_VERSION_MIN: ClusterVersion = ClusterVersion { major: 3, minor: 0 };

/// Why a new data folder cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The flags do not fit together.
    #[error(transparent)]
    Founding(#[from] FoundingError),
    /// DNS does not say who they are.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The members of the cluster did not find each other in the service.
    #[error("failed to join discovery cluster ({source})")]
    Registry {
        /// Which cluster.
        token: String,
        /// Where the service is.
        endpoints: Vec<String>,
        /// Why not.
        #[source]
        source: RegistryError,
    },
    /// Those that did are two at one place.
    #[error("discovery cluster {cluster} has duplicate url")]
    DuplicateUrl {
        /// All of them.
        cluster: String,
    },
    /// Those that did are two of one name.
    #[error(
        "discovery cluster has another member {name:?}, with {urls}; give each member a name of its own, and a new token"
    )]
    DuplicateName {
        /// The name.
        name: String,
        /// Where the other one is, with its name.
        urls: String,
    },
    /// Whoever is there has founded the cluster.
    #[error("discovery URL should not be set when joining existing initial cluster")]
    DiscoveryOfExisting,
    /// A founder that has been one before.
    #[error(
        "member {member} has already been bootstrapped: start it with the data folder that it had. If that is lost, remove \
         it with \"etcdctl member remove {member}\", add it with \"etcdctl member add\", and start it with \
         --initial-cluster-state=existing"
    )]
    AlreadyBootstrapped {
        /// This member.
        member: MemberId,
    },
    /// There is nobody to join.
    #[error(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs; \
         --initial-cluster names no other member, and --initial-cluster-state=existing joins a cluster that is there"
    )]
    NobodyToAsk,
    /// Nobody of the cluster answers.
    #[error("cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs")]
    NoAnswer,
    /// Whoever answers has no cluster yet.
    #[error("cannot fetch cluster info from peer urls: failed to get raft cluster member(s) from the given URLs")]
    NoCluster,
    /// The running cluster is one of etcd.
    #[error(
        "the members at {url} run etcd: Lodemark cannot be a member of their cluster; remove this member from it again \
         with \"etcdctl member remove\", and found a cluster of Lodemark"
    )]
    OfEtcd {
        /// Who answered.
        url: String,
    },
    /// The running cluster is not the one that the flags describe.
    #[error(transparent)]
    Joining(#[from] JoiningError),
    /// The flags describe the running cluster, but this member is not the one that is new in it.
    #[error("couldn't find local name {name:?} among the members of the running cluster")]
    Unknown {
        /// This member.
        name: String,
    },
    /// A member that has been started before.
    #[error(
        "member {member} of the running cluster has the name {name:?}, so it was started before, but --data-dir is empty: \
         start it with the data folder that it had. If that is lost, remove it with \"etcdctl member remove {member}\" and \
         add it with \"etcdctl member add\" before it is started: without its data it could vote twice"
    )]
    StartedBefore {
        /// This member.
        member: MemberId,
        /// What it was called then.
        name: String,
    },
    /// The running cluster is of another version.
    #[error("incompatible with current running cluster")]
    Incompatible,
    /// The running cluster has more members without a vote than this member allows.
    #[error("membership: too many learner members in cluster")]
    TooManyLearners,
}

/// What a new data folder begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) identity: Identity,
    pub(super) founding: Founding,
    /// What certificates of other members have to be valid for, if that is not their host.
    pub(super) name_of_certificates: Option<String>,
}

/// Finds out what a new data folder begins with. Changes nothing anywhere.
pub(super) async fn begin(config: &Config, connector: &Connector) -> Result<Beginning, BootstrapError> {
    if let Some(srv) = &config.discovery_srv {
        let dns = Dns::of_system().map_err(DnsError::from)?;
        let initial_cluster = discovery::initial_cluster(config, srv, &dns).await?;
        let name_of_certificates = discovery::name_of_certificates(config, srv, &initial_cluster).map(str::to_owned);
        let expecting = name_of_certificates.as_deref().map(|name| connector.expecting(name));
        let connector = expecting.as_ref().unwrap_or(connector);
        let listed = Config { initial_cluster, discovery_srv: None, ..config.clone() };
        let beginning = Box::pin(begin(&listed, connector)).await?;
        return Ok(Beginning { name_of_certificates, ..beginning });
    }
    match (config.initial_cluster_state, config.discovery_service.is_set()) {
        (ClusterState::New, false) => found(config, connector).await,
        (ClusterState::New, true) => register_and_found(config, connector).await,
        (ClusterState::Existing, false) => join(config, connector).await,
        (ClusterState::Existing, true) => {
            config.joining()?;
            Err(BootstrapError::DiscoveryOfExisting)
        }
    }
}

/// Registers in the service, and founds the cluster with those who have: from there on it goes as with a list.
async fn register_and_found(config: &Config, connector: &Connector) -> Result<Beginning, BootstrapError> {
    let alone = founding(config).await?;
    let own = alone.members.iter().flat_map(|member| member.peer_urls.iter().map(|url| (&member.name, url)));
    let own: Vec<String> = own.map(|(name, url)| format!("{name}={url}")).collect();
    tracing::info!("Bootstrapping cluster using v3 discovery.");
    let service = &config.discovery_service;
    let joined = discovery::join(service, alone.member, &own.join(",")).await;
    let initial_cluster = joined.map_err(|source| BootstrapError::Registry {
        token: service.token.clone(),
        endpoints: service.endpoints.clone(),
        source,
    })?;
    let listed = Config { initial_cluster, discovery_service: DiscoveryService::default(), ..config.clone() };
    found(&listed, connector).await.map_err(|error| match error {
        BootstrapError::Founding(FoundingError::DuplicateUrl { cluster }) => BootstrapError::DuplicateUrl { cluster },
        BootstrapError::Founding(FoundingError::Disagreement { missing, .. }) => {
            BootstrapError::DuplicateName { name: config.name.clone(), urls: missing }
        }
        error => error,
    })
}

/// The cluster that the flags found, and its ids; looks names up if they matter.
///
/// # Errors
/// As [`Config::founding`].
pub async fn founding(config: &Config) -> Result<config::Founding, FoundingError> {
    match config.founding(&Addresses::new()) {
        Err(FoundingError::Disagreement { .. }) => {
            config.founding(&look_up(config::host_names(&config.compared_urls())).await)
        }
        founding => founding,
    }
}

async fn found(config: &Config, connector: &Connector) -> Result<Beginning, BootstrapError> {
    let founding = founding(config).await?;
    let others = founding.members.iter().filter(|member| member.id != founding.member);
    let urls = others.filter_map(|member| config::urls_of(member).ok()).flatten().collect();
    if is_bootstrapped(founding.member, urls, connector).await {
        return Err(BootstrapError::AlreadyBootstrapped { member: founding.member });
    }
    Ok(Beginning {
        identity: Identity { cluster: founding.cluster, member: founding.member },
        founding: Founding::New(founding.members),
        name_of_certificates: None,
    })
}

/// Tells whether anybody at `urls` knows that `member` has been started. Silence tells nothing.
async fn is_bootstrapped(member: MemberId, urls: Vec<Url>, connector: &Connector) -> bool {
    let mut answers = JoinSet::new();
    for url in urls {
        let connector = connector.clone();
        answers.spawn(async move { inquiry::members(&connector, &url, FOUNDER_WAIT).await });
    }
    while let Some(answer) = answers.join_next().await {
        let Ok(Ok(list)) = answer else { continue };
        if list.members.iter().any(|known| known.id == member && !known.client_urls.is_empty()) {
            return true;
        }
    }
    false
}

async fn join(config: &Config, connector: &Connector) -> Result<Beginning, BootstrapError> {
    let listed = config.joining()?;
    let list = running_cluster(&listed.urls_without(&config.name), connector).await?;
    let own = find_own(config, &listed, &list.members).await?;
    // A founder has its name from the first. It may have voted before it told anybody its client URLs.
    if !own.name.is_empty() || !own.client_urls.is_empty() {
        return Err(BootstrapError::StartedBefore { member: own.id, name: own.name.clone() });
    }
    if !is_compatible(&list.members, own.id, connector).await {
        return Err(BootstrapError::Incompatible);
    }
    if list.members.iter().filter(|member| member.is_learner).count() > config.learners_max {
        return Err(BootstrapError::TooManyLearners);
    }
    Ok(Beginning {
        identity: Identity { cluster: list.cluster, member: own.id },
        founding: Founding::Join(list.members),
        name_of_certificates: None,
    })
}

/// What the first of `urls` that answers says of its cluster.
async fn running_cluster(urls: &[&Url], connector: &Connector) -> Result<MemberList, BootstrapError> {
    for url in urls {
        match inquiry::members(connector, url, JOINER_WAIT).await {
            Ok(list) if list.members.is_empty() => return Err(BootstrapError::NoCluster),
            Ok(list) if list.lodemark_version.is_none() => return Err(BootstrapError::OfEtcd { url: url.to_string() }),
            Ok(list) => return Ok(list),
            Err(error) => tracing::warn!(address = format!("{url}/members"), %error, "failed to get cluster response"),
        }
    }
    Err(if urls.is_empty() { BootstrapError::NobodyToAsk } else { BootstrapError::NoAnswer })
}

/// This member among those of the running cluster.
async fn find_own(config: &Config, listed: &InitialCluster, running: &[Member]) -> Result<Member, BootstrapError> {
    let own = match config::find_own(listed, &config.name, running, &Addresses::new()) {
        Err(JoiningError::NoMatch { .. }) => {
            let running_urls = running.iter().filter_map(|member| config::urls_of(member).ok()).flatten();
            let urls: Vec<Url> = listed.members().flat_map(|(_, urls)| urls).cloned().chain(running_urls).collect();
            config::find_own(listed, &config.name, running, &look_up(config::host_names(&urls)).await)
        }
        own => own,
    }?;
    own.cloned().ok_or_else(|| BootstrapError::Unknown { name: config.name.clone() })
}

/// Tells whether this version can be a member: somebody else says that the cluster's version is one that it knows, and
/// nobody says otherwise. Source: etcd, `isCompatibleWithCluster`.
async fn is_compatible(members: &[Member], own: MemberId, connector: &Connector) -> bool {
    let mut is_known = false;
    for member in members.iter().filter(|member| member.id != own) {
        let Some(version) = cluster_version(member, connector).await else { continue };
        let Some(found) = ClusterVersion::parse(&version) else {
            tracing::warn!(
                "remote-member-id" = %member.id,
                "remote-member-cluster-version" = version,
                "failed to parse cluster version of remote member"
            );
            continue;
        };
        if found < CLUSTER_VERSION_MIN || found > CLUSTER_VERSION {
            tracing::warn!(
                "remote-member-id" = %member.id,
                "remote-member-cluster-version" = version,
                "maximum-cluster-version-supported" = %CLUSTER_VERSION,
                "cluster version of remote member is not compatible"
            );
            return false;
        }
        is_known = true;
    }
    is_known
}

/// What a member says at the first of its URLs that answers.
async fn cluster_version(member: &Member, connector: &Connector) -> Option<String> {
    for url in config::urls_of(member).unwrap_or_default() {
        match inquiry::cluster_version(connector, &url, JOINER_WAIT).await {
            Ok(version) => return Some(version),
            Err(error) => tracing::warn!(
                address = format!("{url}/version"),
                "remote-member-id" = %member.id,
                %error,
                "failed to reach the peer URL"
            ),
        }
    }
    None
}

#[cfg(test)]
mod tests;
