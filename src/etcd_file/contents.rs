//! What a snapshot of ours holds: every bucket, row by row.

use serde_json::json;

use super::auth::AuthBuckets;
use super::{bucket, meta_key};
use crate::bolt::{WriteError, Writer};
use crate::model::{
    Alarm, CLUSTER_VERSION, ClusterVersion, LogId, Member, MemberId, Record, RecordKey, Revision, STORAGE_VERSION,
    SubRevision,
};
use crate::proto::etcdserverpb::AlarmMember;
use crate::proto::{StoredLease, to_row};
use crate::storage::{AuthRow, LeaseRow};

/// Bucket `cluster`: where a downgrade goes.
pub(super) const DOWNGRADE: &str = "downgrade";

/// Everything but the records: small enough to be in memory, all of one moment.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// The last log entry that was applied.
    pub applied: LogId,
    /// The store's compacted revision.
    pub compacted: Revision,
    /// The leases.
    pub leases: Vec<LeaseRow>,
    /// The members.
    pub members: Vec<Member>,
    /// The ids that were removed for ever.
    pub removed: Vec<MemberId>,
    /// The alarms that are raised.
    pub alarms: Vec<Alarm>,
    /// Where a downgrade goes that is under way.
    pub downgrade: Option<ClusterVersion>,
    /// Users, roles, and what holds for all of them.
    pub auth: Vec<AuthRow>,
}

/// A row of a small bucket, in etcd's own bytes.
pub(super) type SmallRow = (Vec<u8>, Vec<u8>);

/// Gives every record in order, the same each time.
pub type Records<'a, E> = &'a dyn Fn(&mut dyn FnMut(SubRevision, &Record) -> Result<(), E>) -> Result<(), E>;

impl Contents {
    /// Gives all buckets and rows to `writer`.
    ///
    /// # Errors
    /// What `records` says, or [`WriteError`].
    pub fn fill<E: From<WriteError>>(&self, records: Records<'_, E>, writer: &mut Writer<'_>) -> Result<(), E> {
        let auth = AuthBuckets::of(&self.auth);
        let alarm = |&alarm: &Alarm| (to_row(&AlarmMember::from(alarm)), Vec::new());
        fill_bucket(writer, bucket::ALARM, self.alarms.iter().map(alarm).collect())?;
        fill_bucket(writer, bucket::AUTH, auth.state)?;
        fill_bucket(writer, bucket::AUTH_ROLES, auth.roles)?;
        fill_bucket(writer, bucket::AUTH_USERS, auth.users)?;
        fill_bucket(writer, bucket::CLUSTER, cluster_rows(self.downgrade))?;
        writer.bucket(bucket::KEY)?;
        records(&mut |at, record| Ok(put_record(writer, at, record)?))?;
        fill_bucket(writer, bucket::LEASE, self.leases.iter().map(lease_row).collect())?;
        fill_bucket(writer, bucket::MEMBERS, self.members.iter().map(member_row).collect())?;
        let removed = self.removed.iter().map(|id| row(&id.to_string(), b"removed"));
        fill_bucket(writer, bucket::MEMBERS_REMOVED, removed.collect())?;
        fill_bucket(writer, bucket::META, self.meta_rows())?;
        Ok(())
    }

    fn meta_rows(&self) -> Vec<SmallRow> {
        let ids = |is_learner: bool| -> Vec<u64> {
            self.members.iter().filter(|member| member.is_learner == is_learner).map(|member| member.id.0).collect()
        };
        let mut conf_state = json!({ "voters": ids(false), "auto_leave": false });
        let learners = ids(true);
        if !learners.is_empty() {
            conf_state["learners"] = json!(learners);
        }
        let mut rows = vec![
            row(meta_key::CONF_STATE, conf_state.to_string().as_bytes()),
            row(meta_key::CONSISTENT_INDEX, &self.applied.index.to_be_bytes()),
            row(meta_key::STORAGE_VERSION, STORAGE_VERSION.as_bytes()),
            row(meta_key::TERM, &self.applied.term.to_be_bytes()),
        ];
        if self.compacted > Revision(0) {
            let compacted = RecordKey::of_revision(self.compacted);
            rows.push(row(meta_key::FINISHED_COMPACTION, compacted.as_bytes()));
            rows.push(row(meta_key::SCHEDULED_COMPACTION, compacted.as_bytes()));
        }
        rows
    }
}

fn put_record(writer: &mut Writer<'_>, at: SubRevision, record: &Record) -> Result<(), WriteError> {
    let is_tombstone = record.is_tombstone();
    let key = RecordKey::new(at, is_tombstone);
    match is_tombstone {
        true => writer.row(key.as_bytes(), record.bare().as_bytes()),
        false => writer.row(key.as_bytes(), record.as_bytes()),
    }
}

fn cluster_rows(downgrade: Option<ClusterVersion>) -> Vec<SmallRow> {
    let version = downgrade.unwrap_or(CLUSTER_VERSION).to_string();
    let (enabled, target) = (downgrade.is_some(), downgrade.map(|target| target.to_string()).unwrap_or_default());
    // In etcd's order.
    let downgrade = format!(r#"{{"target-version":"{target}","enabled":{enabled}}}"#);
    vec![row("clusterVersion", version.as_bytes()), row(DOWNGRADE, downgrade.as_bytes())]
}

fn lease_row(lease: &LeaseRow) -> SmallRow {
    let stored = StoredLease { id: lease.id.0, ttl: lease.ttl, remaining: lease.remaining };
    (lease.id.0.to_be_bytes().to_vec(), stored.to_bytes())
}

fn member_row(member: &Member) -> SmallRow {
    let mut told = json!({ "id": member.id.0, "peerURLs": member.peer_urls, "name": member.name });
    if member.is_learner {
        told["isLearner"] = json!(true);
    }
    if !member.client_urls.is_empty() {
        told["clientURLs"] = json!(member.client_urls);
    }
    row(&member.id.to_string(), told.to_string().as_bytes())
}

fn row(key: &str, value: &[u8]) -> SmallRow {
    (key.as_bytes().to_vec(), value.to_vec())
}

fn fill_bucket(writer: &mut Writer<'_>, name: &str, mut rows: Vec<SmallRow>) -> Result<(), WriteError> {
    writer.bucket(name)?;
    rows.sort_unstable();
    rows.iter().try_for_each(|(key, value)| writer.row(key, value))
}
