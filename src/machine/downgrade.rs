//! A downgrade that an operator has begun: what the cluster says of itself meanwhile.
//!
//! It is bookkeeping. Members answer as ever; only the version that the cluster has agreed on is that of the downgrade, so that
//! who rolls a cluster back with etcd's tools finds what they look for. What may begin is checked before (`node`), as in
//! etcd: there is one version that it can go back to, so that two who begin at once want the same.

use super::{Effects, Machine, VersionChange};
use crate::model::{CLUSTER_VERSION, ClusterVersion, Reply};
use crate::storage::TableWrite;

impl Machine {
    /// The version that a downgrade goes to; `None` if there is none.
    #[must_use]
    pub fn downgrade(&self) -> Option<ClusterVersion> {
        self.downgrade
    }

    /// The version that the cluster has agreed on.
    #[must_use]
    pub fn cluster_version(&self) -> ClusterVersion {
        self.downgrade.unwrap_or(CLUSTER_VERSION)
    }

    pub(super) fn set_downgrade(&mut self, target: Option<ClusterVersion>, effects: &mut Effects) -> Reply {
        if self.downgrade != target {
            let from = Some(self.cluster_version());
            self.downgrade = target;
            effects.version = Some(VersionChange { from, to: self.cluster_version() });
            effects.writes.push(TableWrite::Downgrade(target));
        }
        Reply::Done { revision: self.kv.revision() }
    }
}
