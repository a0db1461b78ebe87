//! The quota: how large the data may become, and what happens when it is.
//!
//! A write that this member has no room for is refused before it is proposed, and an alarm is raised in its name, which
//! stops such writes on all members until somebody lowers it. Members have quotas of their own: one that finds itself
//! beyond its quota by what others took raises the alarm as well.
//!
//! Source: etcd, `server/storage/quota.go`.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Node;
use super::error::NodeError;
use super::proposer::Proposer;
use crate::env::size;
use crate::machine::Shared;
use crate::model::{Alarm, AlarmChange, AlarmKind, Command, MemberId, Reply};
use crate::raft::{Checkpoints, Proposal};

/// What a member without a setting of its own has, in bytes. Source: etcd, `DefaultQuotaBytes`.
pub(super) const QUOTA_BYTES_DEFAULT: u64 = 2 * 1024 * 1024 * 1024;

/// From here on etcd warns. Source: etcd, `MaxQuotaBytes`.
const QUOTA_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// What etcd calls the place where it is looked at.
const QUOTA_NAME: &str = "v3-applier";

/// How large the data may become on this member.
#[derive(Debug)]
pub(super) struct Quota {
    /// `None` is any size.
    limit: Option<Limit>,
    /// What is beyond it was applied.
    exceeded: Notify,
}

#[derive(Debug)]
struct Limit {
    bytes: u64,
    /// The alarm that is raised.
    alarm: Alarm,
    /// Of all who find that there is no room one raises it, and the others wait.
    turn: tokio::sync::Mutex<()>,
    shared: Arc<Shared>,
    checkpoints: Arc<Checkpoints>,
}

impl Quota {
    pub(super) fn new(
        member: MemberId,
        bytes: Option<u64>,
        (shared, checkpoints): (Arc<Shared>, Arc<Checkpoints>),
    ) -> Arc<Quota> {
        tell(bytes);
        let alarm = Alarm { member, kind: AlarmKind::NoSpace };
        let limit = bytes.map(|bytes| Limit { bytes, alarm, turn: tokio::sync::Mutex::default(), shared, checkpoints });
        Arc::new(Quota { limit, exceeded: Notify::new() })
    }

    #[cfg(test)]
    pub(super) fn unlimited() -> Quota {
        Quota { limit: None, exceeded: Notify::new() }
    }

    /// In bytes; `None` is any size.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.limit.as_ref().map(|limit| limit.bytes)
    }

    /// Whether there is room for so many bytes more.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.limit.as_ref().is_none_or(|limit| limit.has_room(bytes))
    }

    /// Whether there is room for what was proposed. What costs nothing always has.
    pub(super) fn admits(&self, proposal: &Proposal) -> bool {
        // Its real cost is known only when it is read, which is worth it only when there is little room.
        self.has_room(proposal.cost_max()) || {
            let cost = proposal.cost();
            cost == 0 || self.has_room(cost)
        }
    }

    /// A run was applied: tells the task if that was too much. Called for each of them.
    pub(super) fn look(&self) {
        if !self.has_room(0) {
            self.exceeded.notify_one();
        }
    }

    /// Raises the alarm, and waits until it is; whether it could be proposed or not, there is no room.
    pub(super) async fn raise(&self, proposer: &Proposer) {
        let Some(limit) = &self.limit else { return };
        let _turn = limit.turn.lock().await;
        if limit.is_alarm_raised() {
            return;
        }
        tracing::warn!(
            "quota-size-bytes" = limit.bytes,
            "size-bytes" = limit.checkpoints.occupancy().size(),
            error = "the data is as large as --quota-backend-bytes allows; writes are refused",
            "message exceeded backend quota; raising alarm"
        );
        let command = Command::Alarm(AlarmChange::Raise(limit.alarm));
        if let Err(error) = proposer.propose(Proposal::from(&command)).await {
            tracing::warn!(%error, "the alarm could not be raised");
        }
    }

    /// Raises the alarm whenever what was applied is too much, until `stop`.
    pub(super) async fn run(self: Arc<Self>, proposer: Proposer, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                self.exceeded.notified().await;
                self.raise(&proposer).await;
            }
        })
        .await;
    }
}

/// Logs how large the data may become.
fn tell(bytes: Option<u64>) {
    let Some(bytes) = bytes else {
        return tracing::info!("quota-name" = QUOTA_NAME, "quota-size-bytes" = -1, "disabled backend quota");
    };
    let quota = size(bytes);
    if bytes > QUOTA_BYTES_MAX {
        tracing::warn!(
            "quota-name" = QUOTA_NAME,
            "quota-size-bytes" = bytes,
            "quota-size" = quota,
            "quota-maximum-size-bytes" = QUOTA_BYTES_MAX,
            "quota-maximum-size" = size(QUOTA_BYTES_MAX),
            "quota exceeds the maximum value"
        );
    }
    let with = if bytes == QUOTA_BYTES_DEFAULT { " with default value" } else { "" };
    tracing::info!(
        "quota-name" = QUOTA_NAME,
        "quota-size-bytes" = bytes,
        "quota-size" = quota,
        "enabled backend quota{with}"
    );
}

impl Limit {
    fn has_room(&self, bytes: u64) -> bool {
        self.checkpoints.occupancy().size().saturating_add(bytes) < self.bytes
    }

    fn is_alarm_raised(&self) -> bool {
        self.shared.machine.read().alarms().any(|alarm| alarm == self.alarm)
    }
}

impl Node {
    /// The alarms that are raised, of one kind or of all; linearizable.
    ///
    /// # Errors
    /// As every linearizable read.
    pub async fn alarms(&self, kind: Option<AlarmKind>) -> Result<Vec<Alarm>, NodeError> {
        self.barrier.pass_in_order().await?;
        Ok(self.alarms_now().into_iter().filter(|alarm| kind.is_none_or(|kind| alarm.kind == kind)).collect())
    }

    /// The alarms that this member knows to be raised.
    #[must_use]
    pub fn alarms_now(&self) -> Vec<Alarm> {
        self.shared.machine.read().alarms().collect()
    }

    /// Raises or lowers an alarm; gives it if it is raised now, or was until now.
    ///
    /// # Errors
    /// As [`Node::propose`].
    pub async fn change_alarm(&self, change: AlarmChange) -> Result<Option<Alarm>, NodeError> {
        match self.propose(Proposal::from(&Command::Alarm(change))).await? {
            Reply::Alarm { alarm, .. } => Ok(alarm),
            _ => Err(NodeError::Fault("a change of an alarm was answered with something else".into())),
        }
    }

    /// Whether the quota of this member has no room for a request that costs so many bytes. See [`Proposal::cost`].
    #[must_use]
    pub fn is_over_quota(&self, cost: u64) -> bool {
        cost > 0 && !self.quota.has_room(cost)
    }

    /// Raises the alarm of a member that is over its quota, and says so.
    pub async fn refuse_for_quota(&self) -> NodeError {
        self.quota.raise(&self.proposer).await;
        NodeError::NoSpace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{ManualClock, SeededRandom, SimDisk};
    use crate::machine::Rejection;
    use crate::model::{ClusterId, Compact, DeleteRange, KeyRange, LeaseGrant, LeaseId, Put, RangeEnd, Txn, TxnOp};
    use crate::node::NodeOptions;
    use crate::storage::Identity;

    const MEMBER: MemberId = MemberId(2);
    /// 13 pages: etcd's own tests have a quota like that.
    const QUOTA_BYTES: u64 = 13 * 4096;

    async fn start(disk: &SimDisk, quota_bytes: Option<u64>) -> Node {
        let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(1)));
        let identity = Identity { cluster: ClusterId(1), member: MEMBER };
        let options = NodeOptions { quota_bytes, ..NodeOptions::new(Arc::new(disk.clone()), clock, random, identity) };
        let node = Node::start(options.clone()).await.unwrap();
        node.ready(&options).await.unwrap();
        node
    }

    fn put(bytes: usize) -> Put {
        Put { key: "k".into(), value: vec![b'v'; bytes].into(), ..Put::default() }
    }

    async fn propose(node: &Node, command: Command) -> Result<(), NodeError> {
        node.propose(Proposal::from(&command)).await.map(drop)
    }

    #[tokio::test]
    async fn data_grows_to_the_quota_and_again_once_it_was_compacted_defragmented_and_disarmed() {
        let disk = SimDisk::new();
        let node = start(&disk, Some(QUOTA_BYTES)).await;
        propose(&node, Command::Put(put(64))).await.unwrap();
        let mut puts = 0;
        while let Ok(()) = propose(&node, Command::Put(put(4096))).await {
            puts += 1;
            assert!(puts < 20, "there is no end");
        }
        assert!(puts > 2, "{puts}");
        let raised = Alarm { member: MEMBER, kind: AlarmKind::NoSpace };
        assert_eq!(node.alarms(None).await.unwrap(), [raised], "whoever was refused finds the alarm");
        // What may add to the data is refused, by the quota or by the alarm; nothing else is.
        let txn = |op| Txn { success: vec![], failure: vec![op], ..Txn::default() };
        let all = || DeleteRange { keys: KeyRange { start: "a".into(), end: RangeEnd::Unbounded }, prev_kv: false };
        let grant = LeaseGrant { id: LeaseId(1), ttl: 9 };
        for command in [Command::Put(put(0)), Command::Txn(txn(TxnOp::Put(put(9999)))), Command::LeaseGrant(grant)] {
            let refused = propose(&node, command).await.unwrap_err();
            assert!(matches!(refused, NodeError::NoSpace | NodeError::Rejected(Rejection::NoSpace)), "{refused:?}");
        }
        propose(&node, Command::Txn(txn(TxnOp::DeleteRange(all())))).await.unwrap();
        propose(&node, Command::DeleteRange(all())).await.unwrap();

        let full = node.status();
        node.compact(Compact { revision: node.revision(), physical: true }).await.unwrap();
        let compacted = node.status();
        assert!(
            compacted.db_bytes_in_use < full.db_bytes_in_use && compacted.db_bytes == full.db_bytes,
            "{compacted:?}"
        );
        node.defragment().await.unwrap();
        let written_anew = node.status();
        assert_eq!((written_anew.db_bytes, written_anew.alarms), (written_anew.db_bytes_in_use, vec![raised]));
        // It outlasts what it was raised for, and a restart.
        node.stop().await;
        let node = start(&disk, Some(QUOTA_BYTES)).await;
        assert_eq!(propose(&node, Command::Put(put(64))).await, Err(NodeError::Rejected(Rejection::NoSpace)));
        assert_eq!(node.change_alarm(AlarmChange::Lower(raised)).await.unwrap(), Some(raised));
        propose(&node, Command::Put(put(64))).await.unwrap();
        node.stop().await;
        let node = start(&disk, Some(QUOTA_BYTES)).await;
        assert_eq!(node.alarms_now(), []);
        node.stop().await;
    }

    #[tokio::test]
    async fn a_member_that_is_beyond_its_quota_by_what_others_took_raises_the_alarm() {
        let disk = SimDisk::new();
        let node = start(&disk, None).await;
        propose(&node, Command::Put(put(100_000))).await.unwrap();
        node.stop().await;
        let node = start(&disk, Some(QUOTA_BYTES)).await;
        // Costs nothing, so nobody asks the quota before it is applied.
        propose(&node, Command::DeleteRange(DeleteRange { keys: KeyRange::single("none".into()), prev_kv: false }))
            .await
            .unwrap();
        while node.alarms_now().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        node.stop().await;
    }

    #[tokio::test]
    async fn corruption_stops_every_change_of_data() {
        let disk = SimDisk::new();
        let node = start(&disk, None).await;
        let alarm = Alarm { member: MemberId(0), kind: AlarmKind::Corrupt };
        node.change_alarm(AlarmChange::Raise(alarm)).await.unwrap();
        let compact = Compact { revision: node.revision(), physical: false };
        let delete = DeleteRange { keys: KeyRange::single("k".into()), prev_kv: false };
        for command in [Command::Put(put(0)), Command::DeleteRange(delete), Command::Compact(compact)] {
            assert_eq!(propose(&node, command).await, Err(NodeError::Rejected(Rejection::Corrupt)));
        }
        node.change_alarm(AlarmChange::Lower(alarm)).await.unwrap();
        propose(&node, Command::Put(put(0))).await.unwrap();
        node.stop().await;
    }
}
