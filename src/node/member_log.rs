//! What is logged of the table of members, and of the version that the cluster has agreed on, in etcd's words.
//!
//! Source: etcd, `server/etcdserver/api/membership/cluster.go` and `server/etcdserver/api/capability.go`.

use crate::machine::{Machine, MemberChange, VersionChange};
use crate::model::{ClusterId, ClusterVersion, MemberId};

/// Logs what becomes of members.
#[derive(Debug)]
pub(super) struct MemberLog {
    pub(super) cluster: ClusterId,
    pub(super) member: MemberId,
}

impl MemberLog {
    /// What a member finds when it starts, or receives from another: nothing if it is new.
    pub(super) fn recovered(&self, machine: &Machine) {
        let MemberLog { cluster, member: own } = self;
        for member in machine.members.values() {
            tracing::info!(
                "cluster-id" = %cluster,
                "local-member-id" = %own,
                "recovered-remote-peer-id" = %member.id,
                "recovered-remote-peer-urls.json" = urls(&member.peer_urls),
                "recovered-remote-peer-is-learner" = member.is_learner,
                "recovered/added member from store"
            );
        }
        if !machine.members.is_empty() {
            let version = machine.cluster_version();
            tracing::info!("cluster-version" = short(version), "set cluster version from store");
            tell_capabilities(version);
        }
    }

    /// The cluster has agreed on a version: that of the program when it begins, another one by a downgrade.
    pub(super) fn agreed(&self, VersionChange { from, to }: VersionChange) {
        let MemberLog { cluster, member: own } = self;
        match from {
            None => tracing::info!(
                "cluster-id" = %cluster,
                "local-member-id" = %own,
                "cluster-version" = short(to),
                "set initial cluster version"
            ),
            Some(from) => tracing::info!(
                "cluster-id" = %cluster,
                "local-member-id" = %own,
                from = short(from),
                to = short(to),
                "updated cluster version"
            ),
        }
        tell_capabilities(to);
        tracing::info!("cluster-version" = short(to), "cluster version is updated");
        if from.is_some_and(|from| to < from) {
            tracing::info!("cluster-version" = short(to), "The server is ready to downgrade");
        }
    }

    pub(super) fn changed(&self, changes: &[MemberChange]) {
        let MemberLog { cluster, member: own } = self;
        for change in changes {
            match change {
                MemberChange::Added(member) => tracing::info!(
                    "cluster-id" = %cluster,
                    "local-member-id" = %own,
                    "added-peer-id" = %member.id,
                    "added-peer-peer-urls.json" = urls(&member.peer_urls),
                    "added-peer-is-learner" = member.is_learner,
                    "added member"
                ),
                MemberChange::Removed(member) => tracing::info!(
                    "cluster-id" = %cluster,
                    "local-member-id" = %own,
                    "removed-remote-peer-id" = %member.id,
                    "removed-remote-peer-urls.json" = urls(&member.peer_urls),
                    "removed-remote-peer-is-learner" = member.is_learner,
                    "removed member"
                ),
                MemberChange::Promoted(member) => tracing::info!(
                    "cluster-id" = %cluster,
                    "local-member-id" = %own,
                    "promoted-member-id" = %member.id,
                    "promote member"
                ),
                MemberChange::Moved(member) => tracing::info!(
                    "cluster-id" = %cluster,
                    "local-member-id" = %own,
                    "updated-remote-peer-id" = %member.id,
                    "updated-remote-peer-urls.json" = urls(&member.peer_urls),
                    "updated-remote-peer-is-learner" = member.is_learner,
                    "updated member"
                ),
                // etcd says nothing of it.
                MemberChange::Named => {}
            }
        }
    }
}

fn tell_capabilities(version: ClusterVersion) {
    tracing::info!("cluster-version" = short(version), "enabled capabilities for version");
}

/// Without the patch.
fn short(ClusterVersion { major, minor }: ClusterVersion) -> String {
    format!("{major}.{minor}")
}

fn urls(urls: &[String]) -> String {
    serde_json::to_string(urls).expect("a list of texts has a JSON form")
}
