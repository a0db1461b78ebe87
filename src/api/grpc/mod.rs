//! etcd's gRPC services.
//!
//! One file a service, and beside them what they share: `decode` checks requests and makes them our values, `encode`
//! makes messages of replies, `status` is the one table from errors to codes and texts.

mod cluster;
mod decode;
mod election;
mod encode;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod status;
mod unavailable;
mod watch;

use super::Limits;
use crate::node::Node;

/// What every service stands on; cheap to clone.
#[derive(Debug, Clone)]
pub struct Api {
    /// The door to the store.
    pub(crate) node: Node,
    /// What clients may ask for at most.
    pub(crate) limits: Limits,
}
