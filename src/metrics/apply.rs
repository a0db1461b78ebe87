//! How long commands take to be applied.
//!
//! Apply is one thread and does little else, so it counts by itself and tells once a run.

use std::time::Duration;

use prometheus::HistogramVec;
use prometheus::local::LocalHistogram;

use super::families::{Counter, Doubling, Families};

/// What a command is called in `etcd_server_apply_duration_seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "these are the names")]
pub enum Op {
    Put,
    DeleteRange,
    Txn,
    Compaction,
    LeaseGrant,
    LeaseRevoke,
    LeaseCheckpoint,
    Alarm,
    Authenticate,
    AuthEnable,
    AuthDisable,
    AuthUserAdd,
    AuthUserDelete,
    AuthUserChangePassword,
    AuthUserGrantRole,
    AuthUserRevokeRole,
    AuthRoleAdd,
    AuthRoleDelete,
    AuthRoleGrantPermission,
    AuthRoleRevokePermission,
    DowngradeInfoSet,
    ClusterMemberAttrSet,
    /// All changes of members: in etcd they are no commands.
    Membership,
}

impl Op {
    const COUNT: usize = Op::Membership as usize + 1;
}

/// What has gathered in a run.
#[derive(Debug)]
pub struct ApplyTimes {
    family: HistogramVec,
    slow: Counter,
    /// What takes longer counts as slow.
    slow_from: Duration,
    /// By command, those that failed first; made when there is one.
    times: [[Option<LocalHistogram>; 2]; Op::COUNT],
}

impl ApplyTimes {
    pub(super) fn family(families: &Families) -> HistogramVec {
        families.histograms(
            "etcd_server_apply_duration_seconds",
            "Time to apply a command.",
            &["version", "op", "success"],
            Doubling::from(0.0001, 20),
        )
    }

    pub(super) fn new(family: HistogramVec, (slow, slow_from): (Counter, Duration)) -> ApplyTimes {
        ApplyTimes { family, slow, slow_from, times: [const { [const { None }; 2] }; Op::COUNT] }
    }

    /// A command was applied.
    pub fn add(&mut self, op: Op, succeeded: bool, took: Duration) {
        let family = &self.family;
        let make = || {
            let success = if succeeded { "true" } else { "false" };
            family.with_label_values(&["v3", &format!("{op:?}"), success]).local()
        };
        self.times[op as usize][usize::from(succeeded)].get_or_insert_with(make).observe(took.as_secs_f64());
        if took > self.slow_from {
            self.slow.inc();
        }
    }

    /// Tells what has gathered.
    pub fn flush(&self) {
        for times in self.times.iter().flatten().flatten() {
            times.flush();
        }
    }
}
