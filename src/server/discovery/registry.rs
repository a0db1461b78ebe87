//! Who founds the cluster, by who registers in a service: an etcd or a Lodemark that runs already. etcd calls it v3 discovery.
//!
//! ```text
//! read: is it full? ── register ── read: am I in it? ── watch until all are there ── the list
//!   └─ again after 2, 4 ... 256 seconds, while the service does not answer
//! ```
//!
//! A member that starts again before the others came has registered already, and waits on. Nothing is ever removed: a token
//! is for one cluster.
//!
//! Source: etcd, `server/etcdserver/api/v3discovery/discovery.go`.

use std::time::Duration;

use tokio::time::sleep;

use super::error::RegistryError;
use super::registrations::{Keys, Registrations, size};
use super::service::client_of;
use crate::client::Client;
use crate::config::{DiscoveryService, InitialCluster};
use crate::env::go_duration;
use crate::model::{KeyRange, MemberId};
use crate::proto::WatchResponse;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::etcdserverpb::{
    PutRequest, PutResponse, RangeRequest, RangeResponse, WatchCreateRequest, WatchRequest,
};

const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
/// From this one on retries wait equally long: 2 to the power of it, in seconds. Source: etcd, `maxExponentialRetries`.
const LONGEST_RETRY: u32 = 8;
/// Source: etcd, `nRetries`.
const RETRIES_MAX: u32 = u32::MAX;
/// Before a watch that ended is begun again: at first, and after it has ended several times.
const WATCH_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));

/// Registers `own`, which is `name=url,name=url`, as the member with that id; gives the founders as `--initial-cluster` would
/// have them once all are there. Waits for that without a limit.
///
/// # Errors
/// [`RegistryError`].
pub(in crate::server) async fn join(
    service: &DiscoveryService,
    member: MemberId,
    own: &str,
) -> Result<String, RegistryError> {
    let mut registry = Registry::connect(service, member).await?;
    let joined = registry.join(own).await;
    let Registry { token, endpoints, .. } = &registry;
    match &joined {
        Ok(cluster) => tracing::info!(
            "discovery-token" = token,
            "discovery-endpoints" = endpoints,
            cluster,
            "discovery joined cluster successfully"
        ),
        Err(error) => {
            let cluster = if let RegistryError::BadUrl { cluster } = error { cluster } else { "" };
            tracing::error!(
                "discovery-token" = token,
                "discovery-endpoints" = endpoints,
                cluster,
                %error,
                "discovery failed to join cluster"
            );
        }
    }
    joined
}

/// A log line of etcd's: all of them say which service and which cluster.
macro_rules! say {
    ($level:ident, $registry:expr, { $($field:literal = $value:expr),* }, $($text:tt)+) => {
        tracing::$level!(
            "discovery-token" = $registry.token,
            "discovery-endpoints" = $registry.endpoints,
            $($field = $value,)*
            $($text)+
        )
    };
}

/// One cluster in the service, as one of its members sees it.
struct Registry {
    client: Client,
    keys: Keys,
    /// That of this member.
    own_key: String,
    request_timeout: Duration,
    /// How often the service did not answer, since it last did.
    retries: u32,
    /// For the log.
    token: String,
    endpoints: String,
}

/// What was read.
struct Found {
    registrations: Registrations,
    /// How many found the cluster.
    size: usize,
    /// Up to where that is all.
    revision: i64,
}

/// How a watch ended.
enum Watched {
    /// All are there.
    Everybody,
    /// What it was to tell is compacted.
    Compacted,
}

impl Registry {
    async fn connect(service: &DiscoveryService, member: MemberId) -> Result<Registry, RegistryError> {
        let keys = Keys::of(&service.token);
        Ok(Registry {
            client: client_of(service).await?,
            own_key: keys.member(&member.to_string()),
            keys,
            request_timeout: service.request_timeout,
            retries: 0,
            token: service.token.clone(),
            endpoints: service.endpoints.join(","),
        })
    }

    async fn join(&mut self, own: &str) -> Result<String, RegistryError> {
        self.check().await?;
        self.register(own).await?;
        let mut found = self.check().await?;
        while found.registrations.len() < found.size {
            self.wait_for_peers(&mut found).await?;
        }
        let cluster = found.registrations.initial_cluster(found.size);
        match InitialCluster::parse(&cluster) {
            Ok(_) => Ok(cluster),
            Err(_) => Err(RegistryError::BadUrl { cluster }),
        }
    }

    /// Reads who is there, however often that takes.
    async fn check(&mut self) -> Result<Found, RegistryError> {
        loop {
            let read = match self.size().await? {
                Some(size) => self.members().await.map(|(registrations, revision)| (registrations, size, revision)),
                None => None,
            };
            let Some((registrations, size, revision)) = read else {
                self.back_off("cluster status check").await?;
                continue;
            };
            self.retries = 0;
            if registrations.are_full_without(&self.own_key, size) {
                return Err(RegistryError::Full);
            }
            return Ok(Found { registrations, size, revision });
        }
    }

    /// How many found the cluster; `None` if the service does not answer.
    async fn size(&mut self) -> Result<Option<usize>, RegistryError> {
        let key = self.keys.size.clone();
        let request = RangeRequest { key: key.clone().into(), ..RangeRequest::default() };
        match self.client.call::<RangeResponse>(RANGE, &request, self.request_timeout).await {
            Ok(answer) => match answer.kvs.first() {
                Some(pair) => {
                    let value = pair.record().map(|record| record.pair().value).unwrap_or_default();
                    size(value).map(Some).ok_or(RegistryError::BadSize { key })
                }
                None => Err(RegistryError::NoSize { key }),
            },
            Err(error) => {
                say!(warn, self, { "clusterSizeKey" = key, "error" = error.to_string() },
                    "failed to get cluster size from discovery service");
                Ok(None)
            }
        }
    }

    /// Who has registered, and at which revision that is so; `None` if the service does not answer.
    async fn members(&mut self) -> Option<(Registrations, i64)> {
        let prefix = KeyRange::prefix(self.keys.members.clone().into());
        let range_end = prefix.range_end();
        let request = RangeRequest { key: prefix.start, range_end, ..RangeRequest::default() };
        let answer = self.client.call::<RangeResponse>(RANGE, &request, self.request_timeout).await;
        let answer = answer.inspect_err(|error| {
            say!(warn, self, { "membersKeyPrefix" = self.keys.members, "error" = error.to_string() },
                "failed to get cluster members from discovery service");
        });
        let answer = answer.ok()?;
        let mut registrations = Registrations::default();
        for record in answer.kvs.iter().filter_map(|pair| pair.record()) {
            let pair = record.pair();
            self.enter(&mut registrations, pair.key, pair.value, pair.create_revision.0);
        }
        Some((registrations, answer.header.map(|header| header.revision).unwrap_or_default()))
    }

    /// Enters a registration, and says so, whichever way it goes.
    fn enter(&self, registrations: &mut Registrations, key: &[u8], value: &[u8], created: i64) {
        let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
        let (key, value) = (key.trim(), value.trim());
        match registrations.enter(&self.keys, key, value, created) {
            Ok(()) => say!(info, self, { "memberKey" = key, "memberInfo" = value },
                "found peer from discovery service"),
            Err(oddity) => say!(warn, self, { "memberKey" = key, "memberInfo" = value }, "{oddity}"),
        }
    }

    /// Writes this member's key, however often that takes.
    async fn register(&mut self, own: &str) -> Result<(), RegistryError> {
        let (key, value) = (self.own_key.clone().into(), own.to_owned().into());
        let request = PutRequest { key, value, ..PutRequest::default() };
        while let Err(error) = self.client.call::<PutResponse>(PUT, &request, self.request_timeout).await {
            say!(warn, self, { "memberKey" = self.own_key, "error" = error.to_string() },
                "failed to register members itself to the discovery service");
            self.back_off("register member itself").await?;
        }
        self.retries = 0;
        say!(info, self, { "memberKey" = self.own_key, "memberInfo" = own }, "register member itself successfully");
        Ok(())
    }

    /// Waits until all are there, or until it has to be read anew who is.
    async fn wait_for_peers(&mut self, found: &mut Found) -> Result<(), RegistryError> {
        let count = |found: &Found| (found.size, found.registrations.len());
        let (size, peers) = count(found);
        say!(info, self, { "clusterSize" = size, "found-peers" = peers }, "waiting for peers from discovery service");
        let (mut pause, pause_max) = WATCH_PAUSE;
        loop {
            match self.watch(found).await {
                Ok(Watched::Everybody) => break,
                Ok(Watched::Compacted) => {
                    *found = self.check().await?;
                    return Ok(());
                }
                Err(error) => {
                    say!(
                        warn,
                        self,
                        { "error" = error },
                        "failed to watch for peers of discovery service; watching again"
                    );
                    self.client.turn_to_the_next();
                    sleep(pause).await;
                    pause = (pause * 2).min(pause_max);
                }
            }
        }
        let (size, peers) = count(found);
        say!(info, self, { "clusterSize" = size, "found-peers" = peers },
            "found all needed peers from discovery service");
        Ok(())
    }

    /// Enters who registers from now on, until all are there.
    ///
    /// # Errors
    /// Why the watch ended; what it has told is entered.
    async fn watch(&mut self, found: &mut Found) -> Result<Watched, String> {
        let prefix = KeyRange::prefix(self.keys.members.clone().into());
        let create = WatchCreateRequest {
            range_end: prefix.range_end(),
            key: prefix.start,
            start_revision: found.revision.saturating_add(1),
            ..WatchCreateRequest::default()
        };
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let begun = self.client.stream(WATCH, &request, self.request_timeout).await;
        let mut answers = begun.map_err(|error| error.to_string())?;
        while found.registrations.len() < found.size {
            let answer = answers.next::<WatchResponse>().await.map_err(|error| error.to_string())?;
            let answer = answer.ok_or("the service has ended it")?;
            if answer.compact_revision > 0 {
                return Ok(Watched::Compacted);
            }
            if answer.canceled {
                return Err(format!("the service has ended it: {}", answer.cancel_reason));
            }
            for event in answer.events.iter() {
                let pair = event.record.pair();
                self.enter(&mut found.registrations, pair.key, pair.value, pair.create_revision.0);
                found.revision = found.revision.max(pair.mod_revision.0);
            }
        }
        Ok(Watched::Everybody)
    }

    async fn back_off(&mut self, reason: &str) -> Result<(), RegistryError> {
        if self.retries == RETRIES_MAX {
            return Err(RegistryError::TooManyRetries);
        }
        self.retries += 1;
        let pause = Duration::from_secs(1 << self.retries.min(LONGEST_RETRY));
        say!(warn, self, { "reason" = reason, "backoff" = go_duration(pause) }, "retry connecting to discovery service");
        sleep(pause).await;
        Ok(())
    }
}
