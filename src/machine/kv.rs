//! Put and delete.

use super::{Effects, Machine, Rejection};
use crate::lease::Lessor;
use crate::model::{DeleteRange, DeleteReply, LeaseId, Put, PutReply, Reply};
use crate::mvcc::{Store, Write};

impl Machine {
    pub(super) fn put(&mut self, put: &Put, effects: &mut Effects) -> Result<Reply, Rejection> {
        check_put(put, &self.kv, &self.lessor)?;
        let mut write = self.kv.begin();
        let reply = run_put(put, &mut write, &mut self.lessor);
        write.finish(&mut effects.events, &mut effects.writes);
        Ok(Reply::Put(reply))
    }

    pub(super) fn delete_range(&mut self, delete: &DeleteRange, effects: &mut Effects) -> Reply {
        let mut write = self.kv.begin();
        let reply = run_delete(delete, &mut write, &mut self.lessor);
        write.finish(&mut effects.events, &mut effects.writes);
        Reply::DeleteRange(reply)
    }
}

/// Refuses a put that cannot be carried out: first for its lease, then for the key it wants to keep.
pub(super) fn check_put(put: &Put, kv: &Store, lessor: &Lessor) -> Result<(), Rejection> {
    if !put.lease.is_none() && lessor.get(put.lease).is_none() {
        return Err(Rejection::LeaseNotFound);
    }
    if (put.ignore_value || put.ignore_lease) && kv.latest(&put.key).is_none() {
        return Err(Rejection::KeyNotFound);
    }
    Ok(())
}

/// Carries out a put that was checked. Within a txn an earlier operation may have deleted the key that this one wants to
/// keep: then it is written with an empty value and no lease.
pub(super) fn run_put(put: &Put, write: &mut Write<'_>, lessor: &mut Lessor) -> PutReply {
    let before = if put.ignore_value || put.ignore_lease { write.latest(&put.key).cloned() } else { None };
    let value = match &before {
        Some(before) if put.ignore_value => before.value(),
        _ => &put.value,
    };
    let lease = match &before {
        Some(before) if put.ignore_lease => before.lease(),
        _ => put.lease,
    };
    let prev = write.put(&put.key, value, lease);

    let lease_before = prev.as_ref().map_or(LeaseId::NONE, |prev| prev.lease());
    if lease_before != lease {
        if !lease_before.is_none() {
            lessor.detach(lease_before, &put.key);
        }
        if !lease.is_none() {
            lessor.attach(lease, &put.key);
        }
    }
    PutReply { revision: write.revision(), prev: prev.filter(|_| put.prev_kv) }
}

pub(super) fn run_delete(delete: &DeleteRange, write: &mut Write<'_>, lessor: &mut Lessor) -> DeleteReply {
    let gone = write.delete_range(&delete.keys);
    for record in &gone {
        let pair = record.pair();
        if !pair.lease.is_none() {
            lessor.detach(pair.lease, pair.key);
        }
    }
    let deleted = i64::try_from(gone.len()).unwrap_or(i64::MAX);
    let prev = if delete.prev_kv { gone } else { Vec::new() };
    DeleteReply { revision: write.revision(), deleted, prev }
}
