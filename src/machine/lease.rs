//! Leases: grant, revoke, expire, remember what is left.

use super::tally::Step;
use super::{Effects, LeaseChange, Machine, Rejection};
use crate::env::Mistake;
use crate::lease::Lease;
use crate::model::{GrantReply, KeyRange, LeaseCheckpoint, LeaseExpire, LeaseGrant, LeaseId, LeaseRevoke, Reply};
use crate::storage::{LeaseRow, TableWrite};

/// The longest time to live in seconds. Source: etcd, `lease.MaxLeaseTTL`.
const LEASE_TTL_MAX: i64 = 9_000_000_000;

impl Machine {
    pub(super) fn lease_grant(&mut self, grant: &LeaseGrant, effects: &mut Effects) -> Result<Reply, Rejection> {
        let &LeaseGrant { id, ttl } = grant;
        if ttl > LEASE_TTL_MAX {
            return Err(Rejection::LeaseTtlTooLarge);
        }
        // No lease has the id that says "no lease"; a proposer never asks for it.
        let granted_at = self.applied().index;
        if id.is_none() || !self.lessor.grant(id, Lease { ttl, remaining: 0, granted_at }) {
            return Err(Rejection::LeaseExists);
        }
        effects.writes.push(TableWrite::Lease(LeaseRow { id, ttl, remaining: 0, granted_at }));
        effects.leases.push(LeaseChange::Granted { id, ttl });
        Ok(Reply::LeaseGrant(GrantReply { revision: self.kv.revision(), id, ttl }))
    }

    pub(super) fn lease_revoke(&mut self, revoke: &LeaseRevoke, effects: &mut Effects) -> Result<Reply, Rejection> {
        if !self.end_lease(revoke.id, effects) {
            return Err(Rejection::LeaseNotFound);
        }
        Ok(Reply::LeaseRevoke { revision: self.kv.revision() })
    }

    /// Ends what the leader of this term saw expire, each lease as one change. Nothing, if another leader wrote the
    /// entry: it counts anew.
    pub(super) fn lease_expire(&mut self, expire: &LeaseExpire, effects: &mut Effects) -> Reply {
        if expire.term == self.applied().term || Mistake::OldLeaderExpires.is_made() {
            for &id in &expire.ids {
                // Revoked meanwhile, perhaps, or granted anew.
                if self.was_there(id, expire.as_of) {
                    self.end_lease(id, effects);
                }
            }
        }
        Reply::Done { revision: self.kv.revision() }
    }

    /// Stores what the leader of this term says is left. Nothing, if another leader wrote the entry: it counts anew.
    pub(super) fn lease_checkpoint(&mut self, checkpoint: &LeaseCheckpoint, effects: &mut Effects) -> Reply {
        if checkpoint.term == self.applied().term {
            for &(id, remaining) in &checkpoint.remaining {
                // Ended meanwhile, perhaps, or granted anew.
                if !self.was_there(id, checkpoint.as_of) {
                    continue;
                }
                let Some(Lease { ttl, granted_at, .. }) = self.lessor.set_remaining(id, remaining) else { continue };
                effects.writes.push(TableWrite::Lease(LeaseRow { id, ttl, remaining, granted_at }));
            }
        }
        Reply::Done { revision: self.kv.revision() }
    }

    /// Whether there is a lease that a leader could see when it had applied `as_of`; zero is any time.
    fn was_there(&self, id: LeaseId, as_of: u64) -> bool {
        self.lessor.get(id).is_some_and(|lease| as_of == 0 || lease.granted_at <= as_of)
    }

    /// Ends a lease and deletes its keys, in order and in one revision; `false` if there is no such lease.
    fn end_lease(&mut self, id: LeaseId, effects: &mut Effects) -> bool {
        let Some(keys) = self.lessor.end(id) else { return false };
        let (mut write, mut step) = (self.kv.begin(), Step::default());
        for key in keys {
            step.deletes += 1;
            write.delete_range(&KeyRange::single(key));
        }
        effects.tally.add(step);
        write.finish(&mut effects.events, &mut effects.writes);
        effects.writes.push(TableWrite::RemoveLease { id });
        effects.leases.push(LeaseChange::Ended { id });
        true
    }
}
