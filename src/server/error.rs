//! Why a server did not start, or ended by itself.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{BootstrapError, DataDirError, TokensError};
use crate::net::TlsError;
use crate::node::{InitialCheckError, NodeError, StartError};

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
    pub(super) fn of_stopped(why: Option<Arc<str>>) -> Error {
        match why {
            Some(why) if why.contains(REMOVED) => Error::Removed,
            why => Error::Failed(why.unwrap_or_else(|| "without a reason".into())),
        }
    }

    /// Why a node did not start.
    pub(super) fn of_start(error: StartError) -> Error {
        if error.to_string().contains(REMOVED) { Error::Removed } else { Error::Start(error) }
    }
}

/// Says what is to be done about the data of a member that the cluster has removed. Source: etcd, `EtcdServer.run`.
pub(super) fn tell_of_removal(error: &Error) {
    if let Error::Removed = error {
        tracing::error!(%error, "server error");
        tracing::warn!("data-dir used by this member must be removed");
    }
}
