//! What is known anyway, and told when somebody asks for metrics.

use std::sync::Arc;

use super::Node;
use super::status::Status;
use super::watch::Census;
use crate::metrics::{Gauge, Metrics};

impl Node {
    /// What this member counts and measures.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Sets the gauges of what is known anyway. Call it between [`Metrics::ask`] and the text.
    pub fn tell_figures(&self) {
        // Whoever asks just after a leader has come finds it counted.
        self.overdue.look();
        let status = self.status();
        self.tell_cluster(&status);
        self.tell_keys();
        self.tell_watchers();
        let (checkpoint, own) = (&self.metrics.checkpoint, &self.metrics.own);
        let checkpoints = &self.defragmenter.checkpoints;
        set(&checkpoint.pending_bytes, checkpoints.pending_bytes());
        set(&checkpoint.lag_entries, status.applied_index.saturating_sub(checkpoints.applied()));
        set(&own.lacks_disk_space, u64::from(self.consensus.space().is_short()));
        set(&own.value_bytes_max, if self.values_max == usize::MAX { 0 } else { self.values_max });
    }

    fn tell_cluster(&self, status: &Status) {
        let (server, own) = (&self.metrics.server, self.member.to_string());
        set(&server.has_leader, u64::from(status.leader.is_some()));
        set(&server.is_leader, u64::from(status.leader == Some(self.member)));
        set(&server.is_learner, u64::from(status.is_learner));
        set(&server.committed, status.raft_index);
        set(&server.applied, status.applied_index);
        set(&server.proposals_pending, self.proposer.pending());
        set(&server.quota_bytes, status.quota_bytes.unwrap_or(0));
        server.set_cluster_version(&status.cluster_version.major_minor().to_string());
        server.set_alarms(status.alarms.iter().map(|alarm| (alarm.member.to_string(), alarm.kind.to_string())));
        set(&self.metrics.mvcc.bytes, status.db_bytes);
        set(&self.metrics.mvcc.bytes_in_use, status.db_bytes_in_use);
        let machine = self.shared.machine.read();
        set(&server.auth_revision, machine.auth.revision());
        self.metrics.network.set_known(&own, machine.members.keys().map(ToString::to_string));
    }

    fn tell_keys(&self) {
        let (mvcc, own) = (&self.metrics.mvcc, &self.metrics.own);
        let machine = self.shared.machine.read();
        let kv = &machine.kv;
        set(&mvcc.keys, kv.live_keys());
        mvcc.revision.set(kv.revision().0);
        mvcc.compacted.set(kv.compacted().0);
        set(&mvcc.open_reads, kv.pins());
        set(&own.value_bytes, kv.values_in_memory());
        set(&own.tail_bytes, kv.tail_bytes());
    }

    fn tell_watchers(&self) {
        let (watch, Census { streams, watchers, behind, pending_events }) = (&self.metrics.watch, self.hub.census());
        set(&watch.streams, streams);
        set(&watch.watchers, watchers);
        set(&watch.behind, behind);
        set(&watch.pending_events, pending_events);
    }
}

/// A figure that is larger than a gauge can be stands at its end.
fn set<T: TryInto<i64>>(gauge: &Gauge, figure: T) {
    gauge.set(figure.try_into().unwrap_or(i64::MAX));
}
