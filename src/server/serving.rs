//! A member at work: its peers and clients are served until it ends, and then all of it in order.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::{Error, tell_of_removal};
use super::listen::{Socket, Speaks};
use super::peers::Peers;
use super::tls::ClientTls;
use super::url_list;
use crate::api::http::{Access, Profiling};
use crate::api::{self, Front, KeepaliveOptions, Limits, SlowRequests, Traffic};
use crate::config::Config;
use crate::net::{Security, Tls};
use crate::node::{Node, NodeError, NodeOptions};

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

/// Where clients wait, and may connect.
pub(super) struct Listening {
    pub(super) clients: Vec<Socket>,
    /// Those that speak plain HTTP, if they are not to come to the same places.
    pub(super) http: Vec<Socket>,
    pub(super) metrics: Vec<Socket>,
    /// Of all clients together.
    pub(super) connections_max: usize,
}

/// A member whose data folder is open.
pub(super) struct Serving<'a> {
    pub(super) node: &'a Node,
    pub(super) config: &'a Config,
    /// `None` if no client may speak it.
    pub(super) client_tls: Option<ClientTls>,
    pub(super) peers: &'a Peers,
    pub(super) peers_stop: CancellationToken,
}

impl Serving<'_> {
    /// Serves peers, waits until the member is ready, serves clients and says so; then ends all of it in order.
    pub(super) async fn run(
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

async fn join(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a listener's task panicked");
        }
    }
}
