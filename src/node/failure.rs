//! Why a node cannot go on.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// What a member that was removed says; operators and tools look for it.
pub const REMOVED: &str = "the member has been permanently removed from the cluster";

/// The first thing that went wrong; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure {
    reason: Arc<Mutex<Option<Arc<str>>>>,
    happened: CancellationToken,
}

impl Failure {
    /// Says what went wrong; only the first counts.
    pub(super) fn set(&self, why: Arc<str>) {
        self.reason.lock().get_or_insert(why);
        self.happened.cancel();
    }

    pub(super) fn reason(&self) -> Option<Arc<str>> {
        self.reason.lock().clone()
    }

    /// Waits until something goes wrong.
    pub(super) async fn happens(&self) -> Arc<str> {
        self.happened.cancelled().await;
        self.reason().unwrap_or_default()
    }
}
