//! Fronts: everything that speaks a protocol of its own to clients.
//!
//! A front decodes and checks a request once, calls [`crate::node::Node`], and encodes the answer. It has its own table
//! from the node's errors to what its clients see.

mod connection;
pub mod grpc;
pub mod http;
mod traffic;
mod version;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::traffic::Traffic;
pub use self::version::{ETCD_VERSION, STORAGE_VERSION};
use crate::net::{Listener, Lobby, Security};
use crate::node::Node;

/// What clients may ask for at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest command in bytes, as etcd counts it; a message may have [`MESSAGE_BYTES_SPARE`] more.
    pub request_bytes_max: usize,
    /// Operations on one level of a txn.
    pub txn_ops_max: usize,
    /// Streams of one connection at a time.
    pub streams_max: u32,
    /// Pings in both directions.
    pub keepalive: KeepaliveOptions,
    /// From when on requests are logged.
    pub slow: SlowRequests,
}

/// How long requests may take before they are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowRequests {
    /// Any unary request, as its client sees it.
    pub unary: Duration,
    /// One that only reads.
    pub read: Duration,
}

impl SlowRequests {
    /// etcd's.
    pub const DEFAULT: SlowRequests =
        SlowRequests { unary: Duration::from_millis(300), read: Duration::from_millis(100) };
}

/// Pings on connections of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepaliveOptions {
    /// What must lie between two pings of a client while a call is open.
    pub ping_gap_min: Duration,
    /// How long nothing must come from a client before it is pinged.
    pub ping_after: Duration,
    /// How long nothing may come after that until the connection is let go of.
    pub pong_timeout: Duration,
}

impl KeepaliveOptions {
    /// etcd's.
    pub const DEFAULT: KeepaliveOptions = KeepaliveOptions {
        ping_gap_min: Duration::from_secs(5),
        ping_after: Duration::from_secs(2 * 60 * 60),
        pong_timeout: Duration::from_secs(20),
    };
}

/// What a message may be larger than the largest command. Source: etcd, `grpcOverheadBytes`.
pub const MESSAGE_BYTES_SPARE: usize = 512 * 1024;

/// Connections at a time that have not shown yet what they speak.
const LOBBY_PLACES_MAX: usize = 1024;

/// What the listeners for clients have in common. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Front {
    access: Arc<http::Access>,
    /// One for each connection at a time; whoever finds none waits in the system's queue.
    places: Arc<Semaphore>,
    /// A part of them, so that those who say nothing do not take all.
    lobby: Lobby,
}

impl Front {
    /// `access` is what plain HTTP is like there, `connections_max` how many may be connected at a time.
    #[must_use]
    pub fn new(access: http::Access, connections_max: usize) -> Front {
        Front {
            access: Arc::new(access),
            places: Arc::new(Semaphore::new(connections_max)),
            lobby: Lobby::new(LOBBY_PLACES_MAX.min(connections_max / 2)),
        }
    }
}

/// Serves clients of `listener` until `stop`, and then until their calls have ended. Dropping the future cuts them off.
///
/// Each request that comes over TLS has a [`crate::net::SecurePeer`] among its extensions.
pub async fn serve(
    (listener, security, traffic): (Listener, Security, Traffic),
    (node, limits): (Node, Limits),
    front: Front,
    stop: CancellationToken,
) {
    connection::serve((listener, security, traffic), grpc::Api { node, limits }, front, stop).await;
}
