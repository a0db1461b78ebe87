//! Assembly: from a [`Config`] to a member that serves, and back in order.
//!
//! ```text
//! bind sockets ─ lock the data folder ─ whose is it? ─ node ─ peers ─ ready ─ clients ... stop ─ lead ─ clients ─ node ─ peers
//!                                        └ new: bootstrap
//! ```
//!
//! Sockets are bound first, so that two servers with the same flags do not both open the folder. Clients that come early
//! wait in the system's queue instead of being refused. Other members are refused until it is known whose the folder is:
//! founders that start together ask each other, and would all wait for an answer otherwise. The lines that are logged on
//! the way are etcd's: launchers wait for them.
//!
//! A program that runs a server inside itself comes the same way, with an [`Embedding`].

mod bootstrap;
mod data_dir;
mod discovery;
mod embedding;
mod inquiry;
mod listen;
mod log_dir;
mod look_up;
mod memory;
mod notify;
mod peers;
mod places;
mod preflight;
mod tls;
mod tokens;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::bootstrap::Beginning;
pub use self::bootstrap::{BootstrapError, founding};
pub use self::data_dir::{DataDirError, LOCK_FILE, MEMBER_DIR, trace_of_etcd};
pub use self::discovery::DiscoveryError;
use self::embedding::Data;
pub use self::embedding::{Embedding, Ready};
use self::listen::{Ports, Socket, Speaks};
pub use self::log_dir::LogDirError;
use self::peers::Peers;
use self::tls::ClientTls;
pub use self::tokens::TokensError;
use crate::api::http::{Access, Profiling};
use crate::api::{self, ETCD_VERSION, Front, KeepaliveOptions, Limits, SlowRequests, Traffic};
use crate::config::{ClusterState, Config, Url};
use crate::env::{SystemClock, SystemRandom, go_duration};
use crate::metrics::Metrics;
use crate::model::Retention;
use crate::net::{Security, Tls, TlsError};
use crate::node::{
    AuthOptions, CorruptionChecks, Founding, InitialCheckError, MemoryBudget, Node, NodeError, NodeOptions, StartError,
};
use crate::telemetry::json;

/// Between two attempts to make this member known to a cluster that has no leader yet.
const PUBLISH_PAUSE: Duration = Duration::from_millis(100);
/// How often a member that waits for a leader says so.
const PUBLISH_REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// How long calls of clients may take once the server stops. With a leader they take a moment, and without one they need not
/// be waited for. Source: tests of etcd's users expect the end within 1.5 s.
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// How long clients may take to hear that their calls are refused after that.
const LAST_WORDS_TIME: Duration = Duration::from_millis(200);
/// Connections at a time of those who read metrics where there is nothing else.
const METRICS_PLACES: usize = 256;
/// What the reason says for which a node of a removed member stops.
const REMOVED: &str = "permanently removed from the cluster";

/// Why a server did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system has no threads or no signals for the process.
    #[error("cannot start the runtime: {0}")]
    Runtime(#[source] io::Error),
    /// A socket cannot be bound.
    #[error("listen {network} {address}: bind: {source}; {advice}")]
    Listen {
        /// `tcp` or `unix`.
        network: &'static str,
        /// As given.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A file that TLS needs is missing, or is no such file.
    #[error("cannot speak TLS with {whose}: {source}; look at {flags}")]
    Tls {
        /// With whom it was to be spoken.
        whose: &'static str,
        /// The flags that name the file.
        flags: String,
        /// What is wrong with it.
        #[source]
        source: TlsError,
    },
    /// A certificate that nobody would accept.
    #[error(
        "{flag} {}: the certificate has ended: it was valid until {since}; put a new one in its place, or correct the \
         machine's clock",
        path.display()
    )]
    CertificateEnded {
        /// Which flag names it.
        flag: &'static str,
        /// Its file.
        path: PathBuf,
        /// When.
        since: String,
    },
    /// There would be no file descriptor for a client. The words are etcd's.
    #[error(
        "file descriptor limit of etcd process is too low; please set higher: it is {limit}, and {recommended} are for the \
         member itself (ulimit -n, LimitNOFILE=)"
    )]
    FewFiles {
        /// What the process may have.
        limit: u64,
        /// What it has to have more than.
        recommended: u64,
    },
    /// A key that signs tokens is missing, or cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// A new member can neither found a cluster nor join one.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// What is in the data folder cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The member holds something else than others.
    #[error("{0}; remove it from the cluster, empty its data folder and add it as a new member")]
    InitialCheck(#[from] InitialCheckError),
    /// The member cannot make itself known.
    #[error("failed to publish this member: {0}")]
    Publish(NodeError),
    /// The member stopped by itself.
    #[error("the member stopped: {0}")]
    Failed(Arc<str>),
    /// The cluster has removed this member, for ever.
    #[error("the member has been permanently removed from the cluster")]
    Removed,
}

impl Error {
    /// Why a node stopped by itself.
    fn of_stopped(why: Option<Arc<str>>) -> Error {
        match why {
            Some(why) if why.contains(REMOVED) => Error::Removed,
            why => Error::Failed(why.unwrap_or_else(|| "without a reason".into())),
        }
    }

    /// Why a node did not start.
    fn of_start(error: StartError) -> Error {
        if error.to_string().contains(REMOVED) { Error::Removed } else { Error::Start(error) }
    }
}

/// Runs a member until `stop`, or until it cannot go on.
///
/// # Errors
/// What kept it from starting, or ended it. Everything is closed in order then, too.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Error> {
    let (ready_tx, ready_rx) = oneshot::channel();
    let embedding = Embedding { ready_tx: Some(ready_tx), ..Embedding::default() };
    let mut running = std::pin::pin!(run_embedded(config, embedding, stop.clone()));
    // A server that ends before that has nothing to tell.
    let is_ready = async { ready_rx.await.is_ok() };
    tokio::select! {
        biased;
        true = is_ready => notify::ready(),
        ended = &mut running => return ended,
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => notify::stopping(),
        ended = &mut running => return ended,
    }
    running.await
}

/// As [`run`], inside a program that decides more than flags say. Dropping the future ends the member without order.
///
/// # Errors
/// As [`run`].
pub async fn run_embedded(mut config: Config, embedding: Embedding, stop: CancellationToken) -> Result<(), Error> {
    let Embedding { memory, lease_clock, advertises_listeners, ready_tx } = embedding;
    tracing::info!(
        "listen-peer-urls.json" = url_list(&config.listen_peer_urls),
        "listen-client-urls.json" = url_list(&config.listen_client_urls),
        "configuring listeners"
    );
    preflight::check(&config)?;
    if let Some(host) = config.detected_host {
        tracing::info!(%host, "detected default host for advertise");
    }
    let ports = Ports::of(&config);
    let peer_sockets = listen::bind_all(&config.listen_peer_urls, ports)?;
    let listen_at = |urls: &[Url]| listen::listen_all(listen::bind_shared(urls, ports)?);
    let clients = listen_at(&config.listen_client_urls)?;
    let client_urls: Vec<Url> = clients.iter().map(Socket::url).collect();
    let clients = Listening {
        clients,
        http: listen_at(&config.listen_client_http_urls)?,
        metrics: listen_at(&config.listen_metrics_urls)?,
        connections_max: places::connections_max()?,
    };
    if advertises_listeners {
        config.advertise_client_urls.clone_from(&client_urls);
    }
    let data = Data::open(&config, memory)?;
    let client_tls = tls::for_clients(&config)?;
    let peers = Peers::new(&config)?;
    let options = tokio::select! {
        options = node_options(&config, &data, &peers) => options?,
        // Others are asked, which takes time. Nothing has begun that would have to be ended.
        () = stop.cancelled() => return Ok(()),
    };
    let options = NodeOptions { lease_clock: lease_clock.unwrap_or_else(|| options.clock.clone()), ..options };
    let peer_sockets = listen::listen_all(peer_sockets)?;
    let node = Node::start(options.clone()).await.map_err(Error::of_start).inspect_err(tell_of_removal)?;
    if let Some(free_bytes_min) = config.bootstrap_defrag_bytes {
        tokio::select! {
            () = node.defragment_if_free(free_bytes_min) => {}
            // A copy that is under way is given up when the node ends.
            () = stop.cancelled() => {}
        }
    }

    let announce = |node: &Node| {
        if let Some(ready_tx) = ready_tx {
            // Whoever waited for it may have given up.
            let _ = ready_tx.send(Ready { node: node.clone(), client_urls });
        }
    };
    let serving =
        Serving { node: &node, config: &config, client_tls, peers: &peers, peers_stop: CancellationToken::new() };
    let outcome = serving.run(&options, (peer_sockets, clients), announce, stop).await;
    listen::unlink_all(&config.listen_peer_urls);
    for urls in [&config.listen_client_urls, &config.listen_client_http_urls, &config.listen_metrics_urls] {
        listen::unlink_all(urls);
    }
    tracing::info!(
        name = config.name,
        "data-dir" = %config.data_dir.display(),
        "advertise-peer-urls.json" = url_list(&config.advertise_peer_urls),
        "advertise-client-urls.json" = url_list(&config.advertise_client_urls),
        "closed etcd server"
    );
    outcome
}

/// Finds out whose the data folder is: whose it says, or whose it becomes if it is new.
async fn node_options(config: &Config, data: &Data, peers: &Peers) -> Result<NodeOptions, Error> {
    let disk = data.disk();
    let stored = Node::identity(disk.clone()).await?;
    let is_initialized = stored.is_some();
    log_start(config, data.member_dir().unwrap_or(&config.data_dir), is_initialized);
    let Beginning { identity, founding } = match stored {
        // The folder knows how it began.
        Some(identity) => Beginning { identity, founding: Founding::New(Vec::new()) },
        None => bootstrap::begin(config, &peers.connector()).await?,
    };
    data.claim(identity)?;
    tracing::info!(
        "local-member-id" = %identity.member,
        "cluster-id" = %identity.cluster,
        "starting local member"
    );
    let texts = |urls: &[Url]| urls.iter().map(Url::to_string).collect();
    let auth = AuthOptions { tokens: Arc::new(tokens::open(&config.auth.token)?), cost: config.auth.bcrypt_cost };
    let metrics = Metrics::new(config.metrics);
    metrics.server.set_features(&config.features);
    Ok(NodeOptions {
        auth,
        metrics: Arc::new(metrics),
        name: config.name.clone(),
        peer_urls: texts(&config.advertise_peer_urls),
        client_urls: texts(&config.advertise_client_urls),
        founding,
        force_new_cluster: config.force_new_cluster,
        transport: peers.transport(),
        threading: peers.threading(),
        heartbeat: config.heartbeat,
        election_timeout: config.election_timeout,
        pre_vote: config.pre_vote,
        snapshot_entries: config.snapshot_entries,
        catchup_entries: config.catchup_entries,
        strict_reconfig: config.strict_reconfig,
        learners_max: config.learners_max,
        agreement_check: config.agreement_check,
        corruption_checks: CorruptionChecks {
            // A new member has nothing to compare.
            initial: config.initial_corrupt_check && is_initialized,
            periodic: config.corrupt_check_interval,
            compactions: config.compact_hash_check_interval,
        },
        memory: memory_budget(config, data),
        slow_apply: config.slow_apply,
        retention: config.compaction.retention,
        compaction_step_keys: config.compaction.step_keys,
        compaction_rest: config.compaction.rest,
        reclaim_bytes_min: config.reclaim_bytes_min,
        quota_bytes: config.quota_bytes,
        request_bytes_max: config.request_bytes_max,
        watch_progress_interval: config.watch_progress_interval,
        segment_bytes: data.segment_bytes(),
        folder_lock: data.lock(),
        log_place: data.log_place(),
        ..NodeOptions::new(disk, Arc::new(SystemClock::new()), Arc::new(SystemRandom), identity)
    })
}

/// How the data may use memory. In memory nothing is gained by letting values go: they are on the disk that is memory too.
fn memory_budget(config: &Config, data: &Data) -> MemoryBudget {
    if data.is_memory() {
        return MemoryBudget::unbounded();
    }
    let total = config.memory_budget_bytes.unwrap_or_else(|| memory::available() / 2);
    tracing::info!("memory-budget-bytes" = total, "memory for values, caches and what waits for the disk");
    MemoryBudget::of(total)
}

fn log_start(config: &Config, member_dir: &std::path::Path, is_initialized: bool) {
    tracing::info!(
        "etcd-version" = ETCD_VERSION,
        version = env!("CARGO_PKG_VERSION"),
        "member-initialized" = is_initialized,
        name = config.name,
        "data-dir" = %config.data_dir.display(),
        "wal-dir" = %config.wal_dir.as_deref().unwrap_or(std::path::Path::new("")).display(),
        "wal-dir-dedicated" = %config.wal_dir.as_deref().unwrap_or(std::path::Path::new("")).display(),
        "member-dir" = %member_dir.display(),
        "force-new-cluster" = config.force_new_cluster,
        "heartbeat-interval" = go_duration(config.heartbeat),
        "election-timeout" = go_duration(config.election_timeout),
        "snapshot-count" = config.snapshot_entries,
        "snapshot-catchup-entries" = config.catchup_entries,
        "initial-advertise-peer-urls.json" = url_list(&config.advertise_peer_urls),
        "listen-peer-urls.json" = url_list(&config.listen_peer_urls),
        "advertise-client-urls.json" = url_list(&config.advertise_client_urls),
        "listen-client-urls.json" = url_list(&config.listen_client_urls),
        "listen-client-http-urls.json" = url_list(&config.listen_client_http_urls),
        "listen-metrics-urls.json" = url_list(&config.listen_metrics_urls),
        "initial-cluster" = config.initial_cluster,
        "initial-cluster-state" = match config.initial_cluster_state {
            ClusterState::New => "new",
            ClusterState::Existing => "existing",
        },
        "initial-cluster-token" = config.initial_cluster_token,
        "pre-vote" = config.pre_vote,
        "v2-deprecation" = "write-only",
        "strict-reconfig-check" = config.strict_reconfig,
        "max-learners" = config.learners_max,
        "agreement-check" = config.agreement_check,
        "feature-gates" = config.feature_gates,
        "initial-corrupt-check" = config.initial_corrupt_check,
        "corrupt-check-time-interval" = go_duration(config.corrupt_check_interval.unwrap_or_default()),
        "compact-check-time-interval" = go_duration(config.compact_hash_check_interval.unwrap_or_default()),
        "auto-defrag-threshold-megabytes" = config.reclaim_bytes_min.unwrap_or(0) >> 20,
        "quota-backend-bytes" = config.quota_bytes,
        "auto-compaction-mode" = match config.compaction.retention {
            Some(Retention::Revisions(_)) => "revision",
            Some(Retention::Time(_)) | None => "periodic",
        },
        "auto-compaction-retention" = config.compaction.retention.map(|kept| kept.to_string()),
        "cors.json" = json(&config.cors),
        "host-whitelist.json" = json(&config.host_whitelist),
        "max-request-bytes" = config.request_bytes_max,
        "max-concurrent-streams" = config.streams_max,
        // Taken as it is whatever is said.
        "downgrade-check-interval" = "5s",
        "v2-deprecation" = "write-only",
        "starting an etcd server"
    );
}

/// Where clients wait, and may connect.
struct Listening {
    clients: Vec<Socket>,
    /// Those that speak plain HTTP, if they are not to come to the same places.
    http: Vec<Socket>,
    metrics: Vec<Socket>,
    /// Of all clients together.
    connections_max: usize,
}

/// A member whose data folder is open.
struct Serving<'a> {
    node: &'a Node,
    config: &'a Config,
    /// `None` if no client may speak it.
    client_tls: Option<ClientTls>,
    peers: &'a Peers,
    peers_stop: CancellationToken,
}

impl Serving<'_> {
    /// Serves peers, waits until the member is ready, serves clients and says so; then ends all of it in order.
    async fn run(
        &self,
        options: &NodeOptions,
        (peer_sockets, clients): (Vec<Socket>, Listening),
        announce: impl FnOnce(&Node),
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let mut peer_tasks = self.peers.serve(peer_sockets, self.node, &self.peers_stop);
        let (clients_stop, mut client_tasks) = (CancellationToken::new(), JoinSet::new());
        // Whoever watches over the member is answered from its first moment to its last.
        let (metrics_stop, mut metrics_tasks) = (CancellationToken::new(), JoinSet::new());
        let Listening { clients, http, metrics, connections_max } = clients;
        self.serve_metrics(metrics, &metrics_stop, &mut metrics_tasks);

        let outcome = tokio::select! {
            () = stop.cancelled() => Ok(()),
            why = self.node.stopped() => Err(Error::of_stopped(why)),
            ready = self.ready(options) => match ready {
                Ok(()) => {
                    self.tell_of_listeners(options);
                    self.serve_clients((clients, http), connections_max, &clients_stop, &mut client_tasks);
                    announce(self.node);
                    self.until_end(&stop).await
                }
                Err(error) => Err(error),
            },
        };

        let outcome = outcome.inspect_err(tell_of_removal);
        tracing::info!(
            name = self.config.name,
            "data-dir" = %self.config.data_dir.display(),
            "advertise-peer-urls.json" = url_list(&self.config.advertise_peer_urls),
            "advertise-client-urls.json" = url_list(&self.config.advertise_client_urls),
            "closing etcd server"
        );
        // The lead first: no client anywhere should wait for what this member still has to end. Then its own clients, whose
        // calls at hand go to the new leader; so the node comes after them. It needs its peers to the end.
        if outcome.is_ok() {
            self.node.hand_over().await;
        }
        clients_stop.cancel();
        if tokio::time::timeout(DRAIN_TIME, join(&mut client_tasks)).await.is_ok() {
            self.node.stop().await;
        } else {
            // The node refuses what still waits; clients should hear of that rather than find their connection gone.
            self.node.stop().await;
            // Who does not take even that is cut off.
            let _ = tokio::time::timeout(LAST_WORDS_TIME, join(&mut client_tasks)).await;
            client_tasks.shutdown().await;
        }
        metrics_stop.cancel();
        let _ = tokio::time::timeout(LAST_WORDS_TIME, join(&mut metrics_tasks)).await;
        metrics_tasks.shutdown().await;
        self.peers_stop.cancel();
        join(&mut peer_tasks).await;
        outcome
    }

    async fn until_end(&self, stop: &CancellationToken) -> Result<(), Error> {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            why = self.node.stopped() => Err(Error::of_stopped(why)),
        }
    }

    /// Waits until this member has a leader and is known to its cluster, for as long as that takes.
    async fn ready(&self, options: &NodeOptions) -> Result<(), Error> {
        if options.corruption_checks.initial {
            let checked = self.node.check_initially().await;
            checked.inspect_err(|error| tracing::error!(%error, "checkInitialHashKV failed"))?;
        }
        let mut told: Option<Instant> = None;
        loop {
            match self.node.ready(options).await {
                Ok(()) => break,
                // The last one: the cluster does not know this member yet. If it never will again, the node stops.
                Err(
                    error @ (NodeError::NoLeader
                    | NodeError::LeaderChanged
                    | NodeError::Timeout
                    | NodeError::TooManyRequests
                    | NodeError::NoSpace
                    | NodeError::Rejected(_)),
                ) => {
                    if told.is_none_or(|told| told.elapsed() >= PUBLISH_REPORT_INTERVAL) {
                        tracing::warn!(
                            %error,
                            "failed to publish local member to cluster through raft; trying again until there is a leader"
                        );
                        told = Some(Instant::now());
                    }
                    tokio::time::sleep(PUBLISH_PAUSE).await;
                }
                Err(error) => return Err(Error::Publish(error)),
            }
        }
        let urls = options.client_urls.join(" ");
        tracing::info!(
            "local-member-id" = %options.member,
            "local-member-attributes" = format!("{{Name:{} ClientURLs:[{urls}]}}", options.name),
            "cluster-id" = %options.cluster,
            "published local member to cluster through raft"
        );
        Ok(())
    }

    fn tell_of_listeners(&self, options: &NodeOptions) {
        let Config {
            listen_peer_urls,
            advertise_peer_urls,
            listen_client_urls,
            advertise_client_urls,
            listen_metrics_urls,
            ..
        } = self.config;
        tracing::info!(
            "local-member-id" = %options.member,
            "initial-advertise-peer-urls.json" = url_list(advertise_peer_urls),
            "listen-peer-urls.json" = url_list(listen_peer_urls),
            "advertise-client-urls.json" = url_list(advertise_client_urls),
            "listen-client-urls.json" = url_list(listen_client_urls),
            "listen-metrics-urls.json" = url_list(listen_metrics_urls),
            "now serving peer/client/metrics"
        );
    }

    fn limits(&self) -> Limits {
        Limits {
            request_bytes_max: self.config.request_bytes_max,
            txn_ops_max: self.config.txn_ops_max,
            streams_max: self.config.streams_max,
            keepalive: KeepaliveOptions {
                ping_gap_min: self.config.keepalive.min_time,
                ping_after: self.config.keepalive.interval,
                pong_timeout: self.config.keepalive.timeout,
            },
            slow: SlowRequests { unary: self.config.slow_unary, read: self.config.slow_apply },
        }
    }

    /// What plain HTTP is like, and how many may come.
    fn front(&self, connections_max: usize) -> Front {
        let access = Access {
            gateway: self.config.grpc_gateway,
            hosts: self.config.host_whitelist.iter().cloned().collect(),
            origins: self.config.cors.iter().cloned().collect(),
            profiling: if self.config.profiling { Profiling::On } else { Profiling::Off },
        };
        Front::new(access, connections_max)
    }

    fn serve_clients(
        &self,
        (clients, http): (Vec<Socket>, Vec<Socket>),
        connections_max: usize,
        stop: &CancellationToken,
        tasks: &mut JoinSet<()>,
    ) {
        let (front, tls) = (self.front(connections_max), self.client_tls.as_ref().map(|tls| &tls.clients));
        let of_calls = if http.is_empty() { Traffic::GrpcAndHttp } else { Traffic::Grpc };
        let calls = clients.into_iter().map(|socket| (socket, of_calls));
        for (Socket { listener, address, speaks }, traffic) in
            calls.chain(http.into_iter().map(|it| (it, Traffic::Http)))
        {
            let served = (listener, security(speaks, tls), traffic);
            tasks.spawn(api::serve(served, (self.node.clone(), self.limits()), front.clone(), stop.clone()));
            tracing::info!("ready to serve client requests");
            if speaks != Speaks::Tls {
                tracing::info!(
                    %traffic,
                    address,
                    "serving client traffic insecurely; this is strongly discouraged!"
                );
            }
            if speaks.is_secure() {
                tracing::info!(%traffic, address, "serving client traffic securely");
            }
        }
    }

    fn serve_metrics(&self, metrics: Vec<Socket>, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
        let (front, tls) = (self.front(METRICS_PLACES), self.client_tls.as_ref().map(|tls| &tls.metrics));
        for socket in metrics {
            tracing::info!(address = %socket.url(), "serving metrics");
            let served = (socket.listener, security(socket.speaks, tls), Traffic::Metrics);
            tasks.spawn(api::serve(served, (self.node.clone(), self.limits()), front.clone(), stop.clone()));
        }
    }
}

/// Whether TLS is spoken at a socket. What speaks it is there if any socket asks for it.
fn security(speaks: Speaks, tls: Option<&Tls>) -> Security {
    match (speaks, tls) {
        (Speaks::Plain, _) | (_, None) => Security::Plain,
        (Speaks::Tls, Some(tls)) => Security::Tls(tls.clone()),
        (Speaks::Either, Some(tls)) => Security::Either(tls.clone()),
    }
}

impl Drop for Serving<'_> {
    /// A node that was not stopped in order, because nobody waits for that any more, leaves no thread behind.
    fn drop(&mut self) {
        self.node.halt();
    }
}

/// Says what is to be done about the data of a member that the cluster has removed. Source: etcd, `EtcdServer.run`.
fn tell_of_removal(error: &Error) {
    if let Error::Removed = error {
        tracing::error!(%error, "server error");
        tracing::warn!("data-dir used by this member must be removed");
    }
}

async fn join(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a listener's task panicked");
        }
    }
}

fn url_list(urls: &[Url]) -> String {
    json(&urls.iter().map(Url::as_str).collect::<Vec<_>>())
}
