//! From the rows of a snapshot to those of our tables.

use std::collections::BTreeMap;

use serde_json::Value;

use super::bucket;
use super::contents::DOWNGRADE;
use super::error::{Error, RowDamage};
use super::snapshot_file::SnapshotFile;
use crate::bolt::Rows;
use crate::model::{
    Alarms, CLUSTER_VERSION, ClusterVersion, LeaseId, MemberId, Record, RecordKey, Revision, SubRevision,
};
use crate::proto::etcdserverpb::{AlarmMember, AlarmType};
use crate::proto::{StoredLease, from_row};
use crate::storage::LeaseRow;

/// The revisions of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revisions {
    /// The newest.
    pub newest: Revision,
    /// The lowest that can be read.
    pub compacted: Revision,
}

impl SnapshotFile {
    /// Reads all records once, checking each; gives the revisions of the store. `is_history_kept` if watchers may ask for the
    /// changes behind the compacted revision: then none may be missing.
    ///
    /// # Errors
    /// Why they cannot be used.
    pub fn revisions(&self, is_history_kept: bool) -> Result<Revisions, Error> {
        let compacted = self.meta()?.compacted;
        let (mut newest, mut last) = (Revision::FRESH.max(compacted), None);
        self.each_record::<Error>(&mut |at, _| {
            if is_history_kept && at.main > compacted {
                check_follows(last, at, compacted)?;
            }
            newest = newest.max(at.main);
            last = Some(at);
            Ok(())
        })?;
        Ok(Revisions { newest, compacted })
    }

    /// Gives every change in order, as a record of ours; `None` is a revision without one, as etcd's own restore leaves it
    /// when it raises the revision.
    ///
    /// # Errors
    /// What `each` says; why a row cannot be read.
    pub fn each_record<E: From<Error>>(
        &self,
        each: &mut dyn FnMut(SubRevision, Option<Record>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rows = self.find_rows(bucket::KEY)?;
        while let Some((key, value)) = rows.next().map_err(Error::from)? {
            let damaged = |why| Error::Row { bucket: bucket::KEY, row: key.escape_ascii().to_string(), why };
            let change = RecordKey::from_bytes(key).ok_or_else(|| damaged(RowDamage::Key))?;
            let record = match value {
                [] => None,
                value => Some(record_of(change, value).map_err(damaged)?),
            };
            each(change.at(), record)?;
        }
        Ok(())
    }

    /// The leases.
    ///
    /// # Errors
    /// Why a row cannot be read.
    pub fn leases(&self) -> Result<Vec<LeaseRow>, Error> {
        let mut leases = Vec::new();
        self.each_row(bucket::LEASE, |key, value| {
            let id = key.try_into().map_err(|_| RowDamage::Key)?;
            let StoredLease { id: told, ttl, remaining } = StoredLease::from_bytes(value).ok_or(RowDamage::Value)?;
            if told != i64::from_be_bytes(id) || told == 0 || ttl <= 0 {
                return Err(RowDamage::Value);
            }
            leases.push(LeaseRow { id: LeaseId(told), ttl, remaining: remaining.max(0), granted_at: 0 });
            Ok(())
        })?;
        Ok(leases)
    }

    /// The alarms, by member. One of a kind that is not known stops nothing, and is left out.
    ///
    /// # Errors
    /// Why a row cannot be read.
    pub fn alarms(&self) -> Result<BTreeMap<MemberId, Alarms>, Error> {
        let mut alarms = BTreeMap::<MemberId, Alarms>::new();
        self.each_row(bucket::ALARM, |key, _| {
            let alarm: AlarmMember = from_row(key).ok_or(RowDamage::Key)?;
            if let Some(kind) = AlarmType::try_from(alarm.alarm).ok().and_then(AlarmType::kind) {
                alarms.entry(MemberId(alarm.member_id)).or_default().set(kind, true);
            }
            Ok(())
        })?;
        Ok(alarms)
    }

    /// Where a downgrade goes that was under way. A cluster of this version has one way to go; another is none of it.
    ///
    /// # Errors
    /// Why its row cannot be read.
    pub fn downgrade(&self) -> Result<Option<ClusterVersion>, Error> {
        let mut target = None;
        self.each_row(bucket::CLUSTER, |key, value| {
            if key == DOWNGRADE.as_bytes() {
                let told: Value = serde_json::from_slice(value).map_err(|_| RowDamage::Value)?;
                let is_enabled = told["enabled"].as_bool().unwrap_or(false);
                let version = told["target-version"].as_str().and_then(ClusterVersion::parse);
                target = version.filter(|_| is_enabled);
            }
            Ok(())
        })?;
        Ok(target.filter(|&target| CLUSTER_VERSION.before() == Some(target)))
    }

    /// Gives each row of a small bucket; one that is not there is empty.
    pub(super) fn each_row(
        &self,
        bucket: &'static str,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), RowDamage>,
    ) -> Result<(), Error> {
        let Some(mut rows) = self.find(bucket)? else { return Ok(()) };
        while let Some((key, value)) = rows.next()? {
            each(key, value).map_err(|why| Error::Row { bucket, row: key.escape_ascii().to_string(), why })?;
        }
        Ok(())
    }

    fn find_rows(&self, name: &'static str) -> Result<Rows<'_>, Error> {
        Ok(self.find(name)?.ok_or(crate::bolt::Error::NoBucket { name })?)
    }
}

fn record_of(change: RecordKey, value: &[u8]) -> Result<Record, RowDamage> {
    let (record, main) = (Record::from_bytes(value)?, change.at().main);
    if main == Revision(i64::MAX) {
        return Err(RowDamage::LastRevision);
    }
    if change.is_tombstone() {
        return Ok(Record::tombstone(record.key(), main));
    }
    let pair = record.pair();
    if pair.mod_revision != main {
        return Err(RowDamage::OtherRevision(pair.mod_revision));
    }
    if pair.version < 1 || pair.create_revision.0 < 1 || pair.create_revision > main {
        return Err(RowDamage::Pair { version: pair.version, created: pair.create_revision });
    }
    // Anew, so that equal pairs have equal bytes whoever wrote them.
    Ok(Record::new(&pair))
}

/// Behind the compacted revision each revision has its changes, numbered from 0, and none is missing.
fn check_follows(last: Option<SubRevision>, found: SubRevision, compacted: Revision) -> Result<(), Error> {
    let first = SubRevision::first(compacted.max(Revision::FRESH).next());
    let next = match last {
        Some(last) if last.main > compacted => {
            let next = SubRevision { sub: last.sub.saturating_add(1), ..last };
            if found.main == last.main { next } else { SubRevision::first(last.main.next()) }
        }
        _ => first,
    };
    if found == next { Ok(()) } else { Err(Error::Gap { expected: next, found, compacted }) }
}
