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
mod error;
mod inquiry;
mod listen;
mod log_dir;
mod look_up;
mod memory;
mod peers;
mod places;
mod preflight;
mod serving;
mod start_line;
mod tls;
mod tokens;

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::bootstrap::Beginning;
pub use self::bootstrap::{BootstrapError, founding};
pub use self::data_dir::{DataDirError, LOCK_FILE, MEMBER_DIR, trace_of_etcd};
pub use self::discovery::{DnsError, RegistryError};
use self::embedding::Data;
pub use self::embedding::{Embedding, Ready};
pub use self::error::Error;
use self::error::tell_of_removal;
use self::listen::{Ports, Socket};
pub use self::log_dir::LogDirError;
use self::peers::Peers;
use self::serving::{Listening, Serving};
pub use self::tokens::TokensError;
use crate::config::{Config, Url};
use crate::env::{SystemClock, SystemRandom};
use crate::metrics::Metrics;
use crate::node::{AuthOptions, CorruptionChecks, Founding, MemoryBudget, Node, NodeOptions};
use crate::telemetry::{json, notify};

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
    start_line::log_start(config, data.member_dir().unwrap_or(&config.data_dir), is_initialized);
    if is_initialized && config.discovery_service.is_set() {
        let wal_dir = config.wal_dir.clone().or_else(|| Some(data.member_dir()?.join("wal"))).unwrap_or_default();
        tracing::warn!(
            "wal-dir" = %wal_dir.display(),
            "discovery token is ignored since cluster already initialized; valid logs are found"
        );
    }
    let Beginning { identity, founding, name_of_certificates } = match stored {
        // The folder knows how it began.
        Some(identity) => Beginning { identity, founding: Founding::New(Vec::new()), name_of_certificates: None },
        None => bootstrap::begin(config, &peers.connector()).await?,
    };
    data.claim(identity)?;
    if !is_initialized {
        tracing::info!(
            "local-member-id" = %identity.member,
            "cluster-id" = %identity.cluster,
            "starting local member"
        );
    }
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
        transport: peers.transport(name_of_certificates.as_deref()),
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

fn url_list(urls: &[Url]) -> String {
    json(&urls.iter().map(Url::as_str).collect::<Vec<_>>())
}
