//! Assembly: from a [`Config`] to a member that serves, and back in order.
//!
//! ```text
//! bind sockets ─ lock the data folder ─ whose is it? ─ node ─ peers ─ ready ─ clients ... stop ─ clients ─ node ─ peers
//! ```
//!
//! Sockets are bound first, so that clients which come early wait in the system's queue instead of being refused, and
//! two servers with the same flags do not both open the folder. The lines that are logged on the way are etcd's:
//! launchers wait for them.

mod data_dir;
mod listen;

use std::io;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::data_dir::DataDir;
pub use self::data_dir::DataDirError;
use self::listen::Socket;
use crate::api::{self, ETCD_VERSION, Limits};
use crate::config::{Config, FoundingError, Url};
use crate::env::{RealDisk, SystemClock, SystemRandom};
use crate::node::{Identity, Node, NodeError, NodeOptions, StartError};
use crate::telemetry::json;

/// Size of one segment of the log: small enough to be made in no time, large enough to be made ahead.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// Why a server did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
    /// A new member cannot found its cluster.
    #[error(transparent)]
    Founding(#[from] FoundingError),
    /// What is in the data folder cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The member cannot make itself known.
    #[error("failed to publish this member: {0}")]
    Publish(NodeError),
    /// The member stopped by itself.
    #[error("the member stopped: {0}")]
    Failed(Arc<str>),
}

/// Runs a member until `stop`, or until it cannot go on.
///
/// # Errors
/// What kept it from starting, or ended it. Everything is closed in order then, too.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Error> {
    tracing::info!(
        "listen-peer-urls.json" = url_list(&config.listen_peer_urls),
        "listen-client-urls.json" = url_list(&config.listen_client_urls),
        "configuring listeners"
    );
    let peers = listen::bind_all(&config.listen_peer_urls)?;
    let clients = listen::bind_all(&config.listen_client_urls)?;
    // Its lock is held until the end.
    let data_dir = DataDir::open(&config.data_dir)?;
    let (node, options) = start_node(&config, &data_dir).await?;

    let serving = Serving { node: &node, config: &config, peers_stop: CancellationToken::new() };
    let outcome = serving.run(&options, peers, clients, stop).await;
    listen::unlink_all(&config.listen_peer_urls);
    listen::unlink_all(&config.listen_client_urls);
    tracing::info!(
        name = config.name,
        "data-dir" = %config.data_dir.display(),
        "advertise-client-urls.json" = url_list(&config.advertise_client_urls),
        "closed etcd server"
    );
    outcome
}

/// Opens the data folder: as whom it says, or as the founder of a cluster if it is new.
async fn start_node(config: &Config, data_dir: &DataDir) -> Result<(Node, NodeOptions), Error> {
    let disk = Arc::new(RealDisk::new(data_dir.member()));
    let stored = Node::identity(disk.clone()).await?;
    log_start(config, data_dir.member(), stored.is_some());
    let identity = match stored {
        Some(identity) => identity,
        None => {
            let founding = config.founding()?;
            Identity { cluster: founding.cluster, member: founding.member }
        }
    };
    tracing::info!(
        "local-member-id" = %identity.member,
        "cluster-id" = %identity.cluster,
        "starting local member"
    );
    let texts = |urls: &[Url]| urls.iter().map(Url::to_string).collect();
    let options = NodeOptions {
        disk,
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        cluster: identity.cluster,
        member: identity.member,
        name: config.name.clone(),
        peer_urls: texts(&config.advertise_peer_urls),
        client_urls: texts(&config.advertise_client_urls),
        heartbeat: config.heartbeat,
        election_timeout: config.election_timeout,
        snapshot_entries: config.snapshot_entries,
        catchup_entries: config.catchup_entries,
        request_bytes_max: config.request_bytes_max,
        watch_progress_interval: config.watch_progress_interval,
        segment_bytes: SEGMENT_BYTES,
    };
    Ok((Node::start(options.clone()).await?, options))
}

fn log_start(config: &Config, member_dir: &std::path::Path, is_initialized: bool) {
    tracing::info!(
        "etcd-version" = ETCD_VERSION,
        version = env!("CARGO_PKG_VERSION"),
        "member-initialized" = is_initialized,
        name = config.name,
        "data-dir" = %config.data_dir.display(),
        "member-dir" = %member_dir.display(),
        "heartbeat-interval" = ?config.heartbeat,
        "election-timeout" = ?config.election_timeout,
        "snapshot-count" = config.snapshot_entries,
        "snapshot-catchup-entries" = config.catchup_entries,
        "initial-advertise-peer-urls.json" = url_list(&config.advertise_peer_urls),
        "listen-peer-urls.json" = url_list(&config.listen_peer_urls),
        "advertise-client-urls.json" = url_list(&config.advertise_client_urls),
        "listen-client-urls.json" = url_list(&config.listen_client_urls),
        "initial-cluster" = config.initial_cluster,
        "initial-cluster-token" = config.initial_cluster_token,
        "max-request-bytes" = config.request_bytes_max,
        "max-concurrent-streams" = config.streams_max,
        "starting an etcd server"
    );
}

/// A member whose data folder is open.
struct Serving<'a> {
    node: &'a Node,
    config: &'a Config,
    peers_stop: CancellationToken,
}

impl Serving<'_> {
    /// Serves peers, waits until the member is ready, serves clients; then ends all of it in order.
    async fn run(
        &self,
        options: &NodeOptions,
        peers: Vec<Socket>,
        clients: Vec<Socket>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let mut peer_tasks = JoinSet::new();
        for socket in peers {
            tracing::info!(address = socket.address, "serving peer traffic");
            peer_tasks.spawn(api::http::serve_peers(socket.listener, self.node.clone(), self.peers_stop.clone()));
        }
        let (clients_stop, mut client_tasks) = (CancellationToken::new(), JoinSet::new());

        let outcome = tokio::select! {
            () = stop.cancelled() => Ok(()),
            why = self.node.stopped() => Err(Error::Failed(why.unwrap_or_else(|| "without a reason".into()))),
            ready = self.ready(options) => match ready {
                Ok(()) => {
                    self.serve_clients(clients, &clients_stop, &mut client_tasks);
                    self.until_end(&stop).await
                }
                Err(error) => Err(error),
            },
        };

        tracing::info!(name = self.config.name, "data-dir" = %self.config.data_dir.display(), "closing etcd server");
        clients_stop.cancel();
        join(client_tasks).await;
        self.node.stop().await;
        self.peers_stop.cancel();
        join(peer_tasks).await;
        outcome
    }

    async fn until_end(&self, stop: &CancellationToken) -> Result<(), Error> {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            why = self.node.stopped() => Err(Error::Failed(why.unwrap_or_else(|| "without a reason".into()))),
        }
    }

    /// Waits until this member has a leader and is known to its cluster, for as long as that takes.
    async fn ready(&self, options: &NodeOptions) -> Result<(), Error> {
        loop {
            match self.node.ready(options).await {
                Ok(()) => break,
                Err(error @ (NodeError::NoLeader | NodeError::LeaderChanged | NodeError::Timeout)) => {
                    tracing::warn!(%error, "failed to publish local member to cluster through raft; trying again");
                    tokio::time::sleep(self.config.heartbeat).await;
                }
                Err(error) => return Err(Error::Publish(error)),
            }
        }
        tracing::info!(
            "local-member-id" = %options.member,
            "cluster-id" = %options.cluster,
            "published local member to cluster through raft"
        );
        Ok(())
    }

    fn serve_clients(&self, clients: Vec<Socket>, stop: &CancellationToken, tasks: &mut JoinSet<()>) {
        let limits = Limits {
            request_bytes_max: self.config.request_bytes_max,
            txn_ops_max: self.config.txn_ops_max,
            streams_max: self.config.streams_max,
        };
        for socket in clients {
            let drain = self.config.request_timeout();
            tasks.spawn(api::serve(socket.listener, self.node.clone(), limits, stop.clone(), drain));
            tracing::info!("ready to serve client requests");
            tracing::info!(
                traffic = "grpc+http",
                address = socket.address,
                "serving client traffic insecurely; this is strongly discouraged!"
            );
        }
    }
}

async fn join(mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a listener's task panicked");
        }
    }
}

fn url_list(urls: &[Url]) -> String {
    json(&urls.iter().map(Url::as_str).collect::<Vec<_>>())
}
