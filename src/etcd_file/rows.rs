//! From the rows of a snapshot to those of our tables.

use super::bucket;
use super::contents::SmallRows;
use super::error::{Error, RowDamage};
use super::snapshot_file::SnapshotFile;
use crate::bolt::Rows;
use crate::model::{LeaseId, Record, RecordKey, Revision, SubRevision};
use crate::proto::StoredLease;
use crate::storage::LeaseRow;

/// `auth`: whether anybody has to say who he is.
const AUTH_ENABLED: &[u8] = b"authEnabled";

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
        let Some(mut rows) = self.find(bucket::LEASE)? else { return Ok(Vec::new()) };
        let mut leases = Vec::new();
        while let Some((key, value)) = rows.next()? {
            let damaged = |why| Error::Row { bucket: bucket::LEASE, row: key.escape_ascii().to_string(), why };
            let id = key.try_into().map_err(|_| damaged(RowDamage::Key))?;
            let stored = StoredLease::from_bytes(value).ok_or_else(|| damaged(RowDamage::Value))?;
            let StoredLease { id: told, ttl, remaining } = stored;
            if told != i64::from_be_bytes(id) || told == 0 || ttl <= 0 {
                return Err(damaged(RowDamage::Value));
            }
            leases.push(LeaseRow { id: LeaseId(told), ttl, remaining: remaining.max(0), granted_at: 0 });
        }
        Ok(leases)
    }

    /// Alarms, users and roles.
    ///
    /// # Errors
    /// Why a row cannot be read.
    pub fn small_rows(&self) -> Result<SmallRows, Error> {
        let all = |name| {
            let (mut all, rows) = (Vec::new(), self.find(name)?);
            if let Some(mut rows) = rows {
                while let Some((key, value)) = rows.next()? {
                    all.push((key.to_vec(), value.to_vec()));
                }
            }
            Ok::<_, Error>(all)
        };
        Ok(SmallRows {
            alarms: all(bucket::ALARM)?,
            auth: all(bucket::AUTH)?,
            roles: all(bucket::AUTH_ROLES)?,
            users: all(bucket::AUTH_USERS)?,
        })
    }

    fn find_rows(&self, name: &'static str) -> Result<Rows<'_>, Error> {
        Ok(self.find(name)?.ok_or(crate::bolt::Error::NoBucket { name })?)
    }
}

impl SmallRows {
    /// Whether somebody has to say who he is.
    #[must_use]
    pub fn is_auth_enabled(&self) -> bool {
        self.auth.iter().any(|(key, value)| key == AUTH_ENABLED && value.as_slice() == [1])
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
