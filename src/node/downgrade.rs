//! Downgrades: what may begin, and what the cluster says of itself meanwhile.
//!
//! Source: etcd, `server/etcdserver/version/manager.go`.

use super::Node;
use super::error::NodeError;
use crate::model::{ClusterVersion, Command};
use crate::raft::Proposal;

impl Node {
    /// The version that the cluster has agreed on.
    #[must_use]
    pub fn cluster_version(&self) -> ClusterVersion {
        self.shared.machine.read().cluster_version()
    }

    /// Whether a downgrade is under way; linearizable.
    ///
    /// # Errors
    /// As every linearizable read.
    pub async fn is_downgrading(&self) -> Result<bool, NodeError> {
        self.barrier.pass().await?;
        Ok(self.shared.machine.read().downgrade().is_some())
    }

    /// Checks whether a downgrade to `target` may begin; gives the version of the cluster.
    ///
    /// # Errors
    /// [`NodeError::BadDowngradeTarget`] if `target` is not the version before that of the cluster;
    /// [`NodeError::Downgrading`] if one is under way; else as every linearizable read.
    pub async fn downgrade_validate(&self, target: ClusterVersion) -> Result<ClusterVersion, NodeError> {
        self.barrier.pass().await?;
        let machine = self.shared.machine.read();
        let present = machine.cluster_version();
        if present.before() != Some(target) {
            return Err(NodeError::BadDowngradeTarget);
        }
        if machine.downgrade().is_some() {
            return Err(NodeError::Downgrading);
        }
        Ok(present)
    }

    /// Begins a downgrade to `target`; gives the version of the cluster before.
    ///
    /// # Errors
    /// As [`Node::downgrade_validate`]; else as [`Node::propose`].
    pub async fn downgrade_enable(&self, target: ClusterVersion) -> Result<ClusterVersion, NodeError> {
        let present = self.downgrade_validate(target).await?;
        self.propose(Proposal::from(&Command::Downgrade(Some(target)))).await?;
        tracing::info!(target = %target, "a downgrade was begun; the data folder stays that of this version");
        Ok(present)
    }

    /// Ends a downgrade.
    ///
    /// # Errors
    /// [`NodeError::NoDowngrade`] if there is none; else as [`Node::propose`].
    pub async fn downgrade_cancel(&self) -> Result<(), NodeError> {
        if !self.is_downgrading().await? {
            return Err(NodeError::NoDowngrade);
        }
        self.propose(Proposal::from(&Command::Downgrade(None))).await?;
        Ok(())
    }
}
