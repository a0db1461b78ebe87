//! The state machine: what each committed command does.
//!
//! [`Machine`] holds the replicated state, and [`Machine::apply`] is the only thing that changes it. What a command does
//! depends on the state and on the command alone, so every member that applies the same log has the same state. Apply
//! touches memory only; what must happen outside comes back as [`Effects`].
//!
//! Two kinds of refusal are two types. A [`Rejection`] is part of the result: the same on every member, answered to the
//! client, and it changes nothing. A [`Fault`] is this member's own: it must stop.
//!
//! One file per family of commands: `kv`, `txn` (with `compare`), `compact`, `lease`, `alarm`, `auth`,
//! `members`, `downgrade`.

mod alarm;
mod auth;
mod compact;
mod compare;
mod downgrade;
mod effects;
mod error;
mod kv;
mod lease;
mod marks;
mod members;
mod shared;
mod still;
mod tally;
mod txn;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

pub use self::auth::AuthEffect;
pub use self::effects::{Effects, LeaseChange, MemberChange, VersionChange};
pub use self::error::{Fault, Rejection};
use self::marks::Marks;
pub use self::shared::Shared;
pub use self::still::Still;
pub use self::tally::Tally;
pub use self::txn::read_txn;
use crate::lease::{Lease, Lessor};
use crate::model::{
    Alarms, Caller, ChainMark, ClusterVersion, Command, LeaseId, LogId, Member, MemberId, Record, Reply, SubRevision,
};
use crate::mvcc::Store;
use crate::storage::{self, LeaseRow, Meta, Storage, TableWrite};

/// The replicated state and the rules that change it.
#[derive(Debug, Default)]
pub struct Machine {
    /// The key space.
    pub kv: Store,
    /// The leases and their keys.
    pub lessor: Lessor,
    /// The members of the cluster.
    pub members: BTreeMap<MemberId, Member>,
    /// Ids that were removed for ever.
    removed: BTreeSet<MemberId>,
    /// What is raised, by member; never none of it.
    alarms: BTreeMap<MemberId, Alarms>,
    /// Where a downgrade goes that is under way.
    downgrade: Option<ClusterVersion>,
    /// Who may do what.
    pub auth: crate::auth::Store,
    auth_numbers: auth::Numbers,
    applied: LogId,
    chain: u64,
    /// What the chain was at earlier entries.
    marks: Marks,
}

/// What became of a command.
pub type Applied = Result<Result<Reply, Rejection>, Fault>;

impl Machine {
    /// The state before any command.
    #[must_use]
    pub fn new() -> Machine {
        Machine::default()
    }

    /// Rebuilds the state from a checkpoint, with at most about `values_max` bytes of newest pairs in memory.
    ///
    /// # Errors
    /// If the checkpoint is damaged or cannot be read.
    pub fn load(storage: &Storage, values_max: usize) -> Result<Machine, storage::Error> {
        Machine::build(storage, |meta, each_leased| Store::load(storage, meta, values_max, each_leased))
    }

    /// The state of a checkpoint whose records, all of them, are in memory already.
    ///
    /// # Errors
    /// If the rest of it is damaged or cannot be read.
    pub fn of_records(
        storage: &Storage,
        records: Vec<(SubRevision, Record)>,
        values_max: usize,
    ) -> Result<Machine, storage::Error> {
        storage.count(&records);
        Machine::build(storage, |meta, each_leased| Ok(Store::of_records(records, meta, values_max, each_leased)))
    }

    fn build(
        storage: &Storage,
        store: impl FnOnce(&storage::Meta, &mut dyn FnMut(&[u8], LeaseId)) -> Result<Store, storage::Error>,
    ) -> Result<Machine, storage::Error> {
        let meta = storage.meta()?;
        let small = storage.small_tables()?;
        let mut lessor = Lessor::default();
        for LeaseRow { id, ttl, remaining, granted_at } in small.leases {
            lessor.grant(id, Lease { ttl, remaining, granted_at });
        }
        let kv = store(&meta, &mut |key, lease| lessor.attach(lease, key))?;
        let members = small.members.into_iter().map(|member| (member.id, member)).collect();
        let removed = small.removed.into_iter().collect();
        let alarms = small.alarms.into_iter().collect();
        let downgrade = small.downgrade;
        let (auth, auth_numbers) = Machine::load_auth(small.auth);
        let (Meta { applied, chain, .. }, marks) = (meta, Marks::default());
        Ok(Machine { kv, lessor, members, removed, alarms, downgrade, auth, auth_numbers, applied, chain, marks })
    }

    /// The last applied entry.
    #[must_use]
    pub fn applied(&self) -> LogId {
        self.applied
    }

    /// A digest of everything that the applied commands did, in their order: equal on all members that have applied the
    /// same log as far as this one. Physical compaction is not in it.
    #[must_use]
    pub fn chain(&self) -> u64 {
        self.chain
    }

    /// What the chain is, and what it was at earlier entries: newest first, a few dozen at most, none before any entry.
    /// Every member has its marks at the same entries, but for the first, which is where it is now.
    #[must_use]
    pub fn marks(&self) -> Vec<ChainMark> {
        let present = ChainMark { index: self.applied.index, chain: self.chain };
        std::iter::once(present).filter(|mark| mark.index > 0).chain(self.marks.newest_first()).collect()
    }

    /// Makes this member one that did something else.
    #[cfg(test)]
    pub(crate) fn falsify(&mut self) {
        self.chain ^= 1;
    }

    /// A hash of everything but the key space.
    fn hash_beside_kv(&self) -> u32 {
        let leases = self.lessor.iter().map(|(id, Lease { ttl, remaining, granted_at })| {
            TableWrite::Lease(LeaseRow { id, ttl, remaining, granted_at })
        });
        let members = self.members.values().cloned().map(TableWrite::Member);
        let removed = self.removed.iter().copied().map(TableWrite::Removed);
        let alarms = self.alarms.iter().map(|(&member, &raised)| TableWrite::Alarms { member, raised });
        let auth = self.auth_rows().map(|(row, content)| TableWrite::Auth { row, content: Some(content) });
        let downgrade = self.downgrade.map(|target| TableWrite::Downgrade(Some(target)));
        leases
            .chain(members)
            .chain(removed)
            .chain(alarms)
            .chain(auth)
            .chain(downgrade)
            .fold(0, |hash, row| effects::digest(hash, &row))
    }

    /// What a checkpoint of the present state says of itself.
    #[must_use]
    pub fn meta(&self, membership: Bytes) -> storage::Meta {
        storage::Meta {
            applied: self.applied,
            membership,
            revision: self.kv.revision(),
            compacted: self.kv.compacted(),
            chain: self.chain,
        }
    }

    /// Begins a log entry; entries without commands do nothing else.
    ///
    /// # Errors
    /// [`Fault::Gap`] if the entry does not follow the last one. The first of all may be at any index.
    pub fn begin_entry(&mut self, at: LogId) -> Result<(), Fault> {
        let follows = self.applied == LogId::default() || at.index == self.applied.index + 1;
        if !follows || at.term < self.applied.term {
            return Err(Fault::Gap { at, applied: self.applied });
        }
        // Whole by now: the last of its commands was applied.
        self.marks.pass(self.applied.index, self.chain);
        self.applied = at;
        Ok(())
    }

    /// Applies one command of the entry begun last as [`Machine::apply_by`] does, for nobody: a command that is not a client's.
    ///
    /// # Errors
    /// As there.
    pub fn apply(&mut self, command: &Command, storage: &Storage, effects: &mut Effects) -> Applied {
        self.apply_by(None, command, storage, effects)
    }

    /// Applies one command of the entry begun last, for `caller`, and adds what it leaves to do to `effects`. `storage` is
    /// asked for values that memory does not have, if the answer or the outcome needs them.
    ///
    /// # Errors
    /// [`Fault`]: the member must stop. The inner error is a rejection, and then nothing was changed.
    pub fn apply_by(
        &mut self,
        caller: Option<&Caller>,
        command: &Command,
        storage: &Storage,
        effects: &mut Effects,
    ) -> Applied {
        let mark = effects.mark();
        if let Err(rejection) = self.check_alarms(command).and_then(|()| self.check_caller(caller, command)) {
            return Ok(Err(rejection));
        }
        let result = match command {
            Command::Put(put) => self.put(put, storage, effects),
            Command::DeleteRange(delete) => self.delete_range(delete, storage, effects),
            Command::Txn(txn) => self.txn(txn, storage, effects),
            Command::Compact(compact) => Ok(self.compact(compact, effects)),
            Command::LeaseGrant(grant) => Ok(self.lease_grant(grant, effects)),
            Command::LeaseRevoke(revoke) => Ok(self.lease_revoke(revoke, effects)),
            Command::LeaseExpire(expire) => Ok(Ok(self.lease_expire(expire, effects))),
            Command::LeaseCheckpoint(checkpoint) => Ok(Ok(self.lease_checkpoint(checkpoint, effects))),
            Command::Auth(change) => Ok(self.change_auth(change, effects)),
            Command::Authenticate(given) => Ok(self.authenticate(given, effects)),
            &Command::Alarm(change) => Ok(Ok(self.alarm(change, effects))),
            &Command::Downgrade(target) => Ok(Ok(self.set_downgrade(target, effects))),
            Command::MemberSet(member) => Ok(Ok(self.member_set(member, effects))),
            Command::MembersFound(members) => Ok(Ok(self.members_found(members, effects))),
            Command::MemberAdd(add) => Ok(self.member_add(add, effects)),
            Command::MemberRemove(id) => Ok(self.member_remove(*id, effects)),
            Command::MemberUpdate(update) => Ok(self.member_update(update, effects)),
            Command::MemberPromote(id) => Ok(self.member_promote(*id, effects)),
            Command::MembersReduce(id) => Ok(Ok(self.members_reduce(*id, effects))),
            Command::MemberAttributes(attributes) => Ok(self.member_attributes(attributes, effects)),
        };
        self.chain = effects.chain(self.chain, self.kv.revision(), mark);
        result
    }

    /// Refuses what the caller may not do.
    fn check_caller(&self, caller: Option<&Caller>, command: &Command) -> Result<(), Rejection> {
        self.auth.check(caller, command, |lease| self.lessor.keys(lease)).map_err(Rejection::Auth)
    }
}
