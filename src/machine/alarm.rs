//! Alarms: what is raised, and what is refused while it is.
//!
//! | command | NOSPACE | CORRUPT |
//! | --- | --- | --- |
//! | put, txn that may put, lease grant | refused | refused |
//! | delete, other txn, compaction, lease revoke, expiry | carried out | refused |
//! | txn of ranges alone | carried out | carried out |
//! | alarms, members, users and roles | carried out | carried out |
//!
//! The alarm of any member counts for the whole cluster. Source: etcd API reference, `AlarmRequest`; server/etcdserver/apply
//! of etcd 3.7.

use super::{Effects, Machine, Rejection};
use crate::model::{Alarm, AlarmChange, AlarmKind, Command, Reply, Txn, TxnOp};
use crate::storage::TableWrite;

impl Machine {
    /// The alarms that are raised, by member.
    pub fn alarms(&self) -> impl Iterator<Item = Alarm> {
        self.alarms.iter().flat_map(|(&member, raised)| raised.iter().map(move |kind| Alarm { member, kind }))
    }

    /// Whether any member has raised an alarm of this kind.
    #[must_use]
    pub fn has_alarm(&self, kind: AlarmKind) -> bool {
        // None at all, nearly always.
        self.alarms.values().any(|raised| raised.has(kind))
    }

    pub(super) fn alarm(&mut self, change: AlarmChange, effects: &mut Effects) -> Reply {
        let (Alarm { member, kind }, raised) = match change {
            AlarmChange::Raise(alarm) => (alarm, true),
            AlarmChange::Lower(alarm) => (alarm, false),
        };
        let alarms = self.alarms.entry(member).or_default();
        let has_changed = alarms.set(kind, raised);
        let now = *alarms;
        if now.is_empty() {
            self.alarms.remove(&member);
        }
        if has_changed {
            effects.writes.push(TableWrite::Alarms { member, raised: now });
        }
        // Raising what is raised answers it again; lowering what is not finds nothing.
        let alarm = (raised || has_changed).then_some(Alarm { member, kind });
        Reply::Alarm { revision: self.kv.revision(), alarm }
    }

    /// Refuses a command for an alarm.
    pub(super) fn check_alarms(&self, command: &Command) -> Result<(), Rejection> {
        if self.alarms.is_empty() {
            return Ok(());
        }
        let changes_data = match command {
            // Members answer it without the log, whatever alarm there is; so it is no different in the log.
            Command::Txn(txn) => !is_read_only(txn),
            Command::Put(_)
            | Command::DeleteRange(_)
            | Command::Compact(_)
            | Command::LeaseGrant(_)
            | Command::LeaseRevoke(_)
            | Command::LeaseExpire(_) => true,
            Command::LeaseCheckpoint(_)
            | Command::Alarm(_)
            | Command::Downgrade(_)
            | Command::Auth(_)
            | Command::Authenticate(_)
            | Command::MemberSet(_)
            | Command::MembersFound(_)
            | Command::MemberAdd(_)
            | Command::MemberRemove(_)
            | Command::MemberUpdate(_)
            | Command::MemberPromote(_)
            | Command::MembersReduce(_)
            | Command::MemberAttributes(_) => false,
        };
        if changes_data && self.has_alarm(AlarmKind::Corrupt) {
            return Err(Rejection::Corrupt);
        }
        if may_grow(command) && self.has_alarm(AlarmKind::NoSpace) {
            return Err(Rejection::NoSpace);
        }
        Ok(())
    }
}

/// Whether a command may make the data larger: a txn if there is a put on either of its branches.
fn may_grow(command: &Command) -> bool {
    match command {
        Command::Put(_) | Command::LeaseGrant(_) => true,
        Command::Txn(txn) => may_put(txn),
        _ => false,
    }
}

/// Whether there are only ranges in it, on both branches; not even a txn of ranges within it. Source: etcd, `IsTxnReadonly`.
fn is_read_only(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| matches!(op, TxnOp::Range(_)))
}

fn may_put(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        TxnOp::Put(_) => true,
        TxnOp::Txn(txn) => may_put(txn),
        TxnOp::Range(_) | TxnOp::DeleteRange(_) => false,
    })
}
