//! Put and delete.

use super::error::Fault;
use super::tally::Step;
use super::{Applied, Effects, Machine, Rejection};
use crate::lease::Lessor;
use crate::model::{DeleteRange, DeleteReply, LeaseId, Put, PutReply, Reply};
use crate::mvcc::{Newest, Store, Write};
use crate::storage::{self, Storage};

impl Machine {
    pub(super) fn put(&mut self, put: &Put, storage: &Storage, effects: &mut Effects) -> Applied {
        let mut step = Step::default();
        if let Err(rejection) = check_put(put, &self.kv, &self.lessor) {
            step.ranges += u64::from(rejection == Rejection::KeyNotFound);
            effects.tally.add(step);
            return Ok(Err(rejection));
        }
        let mut write = self.kv.begin();
        let reply = run_put(put, &mut write, &mut self.lessor, (storage, &mut step));
        effects.tally.add(step);
        // Finished in any case: what a fault leaves behind is dropped with the member.
        write.finish(&mut effects.events, &mut effects.writes);
        Ok(Ok(Reply::Put(reply?)))
    }

    pub(super) fn delete_range(&mut self, delete: &DeleteRange, storage: &Storage, effects: &mut Effects) -> Applied {
        let (mut write, mut step) = (self.kv.begin(), Step::default());
        let reply = run_delete(delete, &mut write, &mut self.lessor, (storage, &mut step));
        effects.tally.add(step);
        write.finish(&mut effects.events, &mut effects.writes);
        Ok(Ok(Reply::DeleteRange(reply?)))
    }
}

/// Refuses a put that cannot be carried out: first for its lease, then for the key it wants to keep.
pub(super) fn check_put(put: &Put, kv: &Store, lessor: &Lessor) -> Result<(), Rejection> {
    if !put.lease.is_none() && lessor.get(put.lease).is_none() {
        return Err(Rejection::LeaseNotFound);
    }
    if (put.ignore_value || put.ignore_lease) && kv.newest(&put.key).is_none() {
        return Err(Rejection::KeyNotFound);
    }
    Ok(())
}

/// Carries out a put that was checked. Within a txn an earlier operation may have deleted the key that this one wants to
/// keep: then it is written with an empty value and no lease.
pub(super) fn run_put(
    put: &Put,
    write: &mut Write<'_>,
    lessor: &mut Lessor,
    (storage, step): (&Storage, &mut Step),
) -> Result<PutReply, Fault> {
    step.puts += 1;
    step.ranges += u64::from(put.ignore_value || put.ignore_lease || put.prev_kv);
    let before = if put.ignore_value || put.ignore_lease { write.newest(&put.key) } else { None };
    let kept = match &before {
        Some(before) if put.ignore_value => Some(before.read(storage)?),
        _ => None,
    };
    let value = kept.as_ref().map_or(put.value.as_ref(), |kept| kept.value());
    let lease = match &before {
        Some(before) if put.ignore_lease => before.head().lease,
        _ => put.lease,
    };
    step.put_bytes += (put.key.len() + value.len()) as u64;
    let prev = write.put(&put.key, value, lease);

    let lease_before = prev.as_ref().map_or(LeaseId::NONE, |prev| prev.head().lease);
    if lease_before != lease {
        if !lease_before.is_none() {
            lessor.detach(lease_before, &put.key);
        }
        if !lease.is_none() {
            lessor.attach(lease, &put.key);
        }
    }
    let shown = prev.filter(|_| put.prev_kv).map(|prev| prev.read(storage)).transpose()?;
    Ok(PutReply { revision: write.revision(), prev: shown })
}

pub(super) fn run_delete(
    delete: &DeleteRange,
    write: &mut Write<'_>,
    lessor: &mut Lessor,
    (storage, step): (&Storage, &mut Step),
) -> Result<DeleteReply, Fault> {
    step.deletes += 1;
    step.ranges += u64::from(delete.prev_kv);
    let gone = write.delete_range(&delete.keys);
    for pair in &gone {
        let head = pair.head();
        if !head.lease.is_none() {
            lessor.detach(head.lease, head.key);
        }
    }
    let deleted = i64::try_from(gone.len()).unwrap_or(i64::MAX);
    let shown: &[Newest] = if delete.prev_kv { &gone } else { &[] };
    let prev = shown.iter().map(|pair| pair.read(storage)).collect::<Result<_, storage::Error>>()?;
    Ok(DeleteReply { revision: write.revision(), deleted, prev })
}
