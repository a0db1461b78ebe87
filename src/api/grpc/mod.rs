//! etcd's gRPC services.
//!
//! One file a service, and beside them what they share: `decode` checks requests and makes them our values, `encode`
//! makes messages of replies, `status` is the one table from errors to codes and texts, `guard` is what every call has
//! to pass first, `access` what each asks of its caller, `routes` leads from the path of a call to its service. `hot` runs the calls that most requests are,
//! without a task for each. Locks and elections are the same queue of contenders, `contend`.

pub(crate) mod access;
#[doc(hidden)]
pub mod any_bytes;
mod auth;
mod cluster;
mod contend;
mod decode;
mod election;
mod encode;
pub(crate) mod guard;
mod health;
pub(crate) mod hot;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod message_limit;
pub(crate) mod meter;
pub(crate) mod parts;
mod peer_urls;
mod range_stream;
pub(crate) mod request_log;
mod routes;
mod snapshot;
pub(crate) mod status;
#[cfg(test)]
pub(crate) mod testing;
mod txn_overlap;
mod watch;

use super::Limits;
use crate::node::Node;

pub(crate) use self::routes::{Services, routes};

/// What stands before a message: whether it is compressed, and its length as a big-endian `u32`.
pub(crate) const PREFIX_BYTES: usize = 5;
/// The largest message that is sent, in bytes; as etcd's, for what protobuf and its libraries can hold.
const SENT_MESSAGE_BYTES_MAX: usize = i32::MAX as usize;

/// What every service stands on; cheap to clone.
#[derive(Debug, Clone)]
pub struct Api {
    /// The door to the store.
    pub(crate) node: Node,
    /// What clients may ask for at most.
    pub(crate) limits: Limits,
}
