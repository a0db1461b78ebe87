//! Where other members meet this one: how it reaches them, and what answers on its sockets for them.
//!
//! All of it runs on Raft's own runtime, so that heartbeats are not late when clients storm. TLS is spoken at the URLs
//! that ask for it, and only there; a certificate that the member makes for itself stands below the data folder.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::inquiry::Connector;
use super::listen::Socket;
use super::tls;
use crate::api;
use crate::config::Config;
use crate::net::Tls;
use crate::node::{Node, StartError, Threading, raft_runtime};
use crate::peer::Transport;
use crate::peer::http2::{self, Http2Options, Http2Transport};

/// What members speak to each other with.
pub(super) struct Peers {
    /// `None` once it was shut down.
    runtime: Option<Runtime>,
    /// With those who connect; `None` if there is no certificate.
    tls: Option<Tls>,
    /// With those who are connected to. Without a certificate none is shown.
    outgoing: Tls,
}

impl Peers {
    /// Makes the runtime, and the certificate if the member is to make one.
    ///
    /// # Errors
    /// If a file of TLS is missing or is no such file, or if the system has no thread left.
    pub(super) fn new(config: &Config) -> Result<Peers, Error> {
        let tls = tls::for_peers(config)?;
        let outgoing = tls.clone().map_or_else(|| tls::to_peers_without_certificate(config), Ok)?;
        Ok(Peers { runtime: Some(raft_runtime().map_err(StartError::Io)?), tls, outgoing })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is shut down only when dropped")
    }

    /// What the node's threads and Raft run on.
    pub(super) fn threading(&self) -> Threading {
        Threading::ThreadsAnd(self.runtime().handle().clone())
    }

    /// How other members are asked before this one has a data folder.
    pub(super) fn connector(&self) -> Connector {
        Connector { tls: self.outgoing.clone() }
    }

    /// How other members are spoken to, whose certificates may be for one name instead of their hosts.
    pub(super) fn transport(&self, name_of_certificates: Option<&str>) -> Arc<dyn Transport> {
        let tls = name_of_certificates.map_or_else(|| self.outgoing.clone(), |name| self.outgoing.expecting(name));
        Http2Transport::new(Http2Options { runtime: self.runtime().handle().clone(), tls })
    }

    /// Serves other members, from before the node has a leader, until `stop`.
    pub(super) fn serve(&self, sockets: Vec<Socket>, node: &Node, stop: &CancellationToken) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for socket in sockets {
            tracing::info!(address = socket.address, "serving peer traffic");
            let (handler, plain) = (Arc::new(node.clone()), api::http::peer_router(node.clone()));
            // The flags were checked: where TLS is asked for there is a certificate.
            let tls = self.tls.clone().filter(|_| socket.speaks.is_secure());
            let serve = http2::serve(socket.listener, handler, plain, tls, stop.clone());
            tasks.spawn_on(serve, self.runtime().handle());
        }
        tasks
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waited for: whoever drops this may be a task.
            runtime.shutdown_background();
        }
    }
}
