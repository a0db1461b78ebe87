//! A member in memory to try services against.

use std::sync::Arc;
use std::time::Duration;

use super::Api;
use crate::api::{KeepaliveOptions, Limits, SlowRequests};
use crate::env::{Clock, ManualClock, SeededRandom, SimDisk, SystemClock};
use crate::model::{ClusterId, MemberId};
use crate::node::{Identity, Node, NodeOptions};

/// Longer than anything in a test takes that does not hang.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What the member answers for.
pub(super) const CLUSTER: ClusterId = ClusterId(7);
pub(super) const MEMBER: MemberId = MemberId(8);

pub(super) const LIMITS: Limits = Limits {
    request_bytes_max: 1_572_864,
    txn_ops_max: 128,
    streams_max: 100,
    keepalive: KeepaliveOptions::DEFAULT,
    slow: SlowRequests::DEFAULT,
};

/// Starts a member of a fresh cluster that serves already.
pub(super) async fn api() -> Api {
    start(Arc::new(SystemClock::new()), CLUSTER, MEMBER).await
}

/// The same with a clock that stands still: member 2 of cluster 1.
pub(crate) async fn started() -> Api {
    start(Arc::new(ManualClock::default()), ClusterId(1), MemberId(2)).await
}

async fn start(clock: Arc<dyn Clock>, cluster: ClusterId, member: MemberId) -> Api {
    let identity = Identity { cluster, member };
    let (disk, random) = (Arc::new(SimDisk::new()), Arc::new(SeededRandom::new(1)));
    let options = NodeOptions {
        name: "test".into(),
        request_bytes_max: LIMITS.request_bytes_max,
        segment_bytes: 1024 * 1024,
        ..NodeOptions::new(disk, clock, random, identity)
    };
    let node = Node::start(options.clone()).await.expect("the node starts");
    node.ready(&options).await.expect("the node leads");
    Api { node, limits: LIMITS }
}

/// Waits for something that must come.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it comes within the patience of a test")
}
