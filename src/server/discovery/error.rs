//! Why members did not find each other by registering.

use crate::client;
use crate::net::{AddressError, TlsError};

/// Why a member is in no cluster. The texts are etcd's, as far as they are not about files and connections.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A certificate is of no use without its key.
    #[error("KeyFile and CertFile must both be present[key: {key}, cert: {cert}]")]
    HalfKeyPair {
        /// As given; may be empty.
        key: String,
        /// As given; may be empty.
        cert: String,
    },
    /// A file of TLS cannot be used.
    #[error("{0}; look at --discovery-cert, --discovery-key and --discovery-cacert")]
    Tls(#[from] TlsError),
    /// Nobody could connect there.
    #[error(transparent)]
    Endpoint(#[from] AddressError),
    /// It cannot be proved who asks.
    #[error(transparent)]
    Login(client::Error),
    /// Nobody has said how many found the cluster.
    #[error("discovery: size key not found; say how many members found the cluster: etcdctl put {key} 3")]
    NoSize {
        /// Where it must stand.
        key: String,
    },
    /// It is not clear how many found the cluster.
    #[error("discovery: size key is bad; it is a number, such as 3: etcdctl put {key} 3")]
    BadSize {
        /// Where it stands.
        key: String,
    },
    /// Others have.
    #[error("discovery: cluster is full")]
    Full,
    /// Somebody has registered at a place that is none.
    #[error("discovery: invalid peer URL")]
    BadUrl {
        /// All that have registered.
        cluster: String,
    },
    /// The service never answered.
    #[error("discovery: too many retries")]
    TooManyRetries,
}
