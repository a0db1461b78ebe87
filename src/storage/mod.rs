//! The checkpoint: the replicated state as of one log entry, in one redb file.
//!
//! The write-ahead log is the truth; this file only saves replaying it from the beginning. The state lives in memory,
//! and what changes in it gathers as [`TableWrite`]s. Now and then they are written here by one [`Storage::commit`],
//! together with the [`Meta`] that says which log entry they lead up to:
//!
//! ```text
//! log       |--- purged ---|------ replayed at start ------|
//! entries   1 ............ D-k ....... D .................. newest
//!                                      ^ meta.applied: the tables hold exactly the effects of 1..=D
//! ```
//!
//! A commit is one durable transaction, all or nothing, so tables and meta never disagree. The invariant that recovery
//! rests on is `purged <= snapshot <= D <= synced`; the callers keep it: they commit only what the log has synced, and
//! purge only what a commit holds.
//!
//! # Damage is never served
//!
//! redb checks no page when it reads, so what we keep in it checks itself:
//!
//! - opening verifies redb's own checksum of every page, once;
//! - every value begins with a CRC32C over key and payload, checked whenever it is read;
//! - every table has a [`TableSum`], an additive hash that each commit keeps up to date, checked when the table is
//!   loaded. It finds entries that are lost or came back, which checksums of entries cannot;
//! - every call of redb goes through one boundary that turns a panic into [`Error::Corrupt`].
//!
//! # Snapshots
//!
//! [`Storage::freeze`] pins one commit; [`Frozen::export`] writes it as a stream of our own format, which does not
//! depend on redb. An [`Arrival`] reads and checks it as it comes, and an [`Import`] builds a new file of the batches
//! that it gives. The bytes of files and streams are described in `docs/storage-format.md`.
//!
//! # Space
//!
//! What is removed leaves pages behind that redb uses again; redb does not make the file smaller. A [`Rewrite`] copies what
//! is there into a new one, beside commits and reads, and puts it in its place. When that is worth it is told by
//! [`Storage::disk_bytes`] and [`Storage::needed_bytes`]. A [`Reserve`] keeps space for a disk that is full.
//!
//! No other folder knows redb.

#[doc(hidden)]
pub mod any_bytes;
mod arrival;
mod backend;
mod checkpoint;
mod codec;
mod error;
mod hash;
mod import;
mod meta;
mod pace;
mod read;
mod reserve;
mod retired;
mod rewrite;
mod room;
mod snapshot;
mod tables;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use arrival::{Arrival, Batch};
pub use checkpoint::Storage;
pub use error::{Damage, Error, StreamDamage};
pub use hash::TableSum;
pub use import::{Import, Imported};
pub use read::Collect;
pub use reserve::Reserve;
pub use rewrite::{Haste, Rewrite, SwapError};
pub use room::entry_bytes;
pub use snapshot::Frozen;
pub use tables::Table;

use bytes::Bytes;

use crate::model::{
    Alarms, ClusterId, ClusterVersion, LeaseId, LogId, Member, MemberId, Record, Revision, Role, SubRevision, User,
};

/// The newest format of files and streams that this version reads and writes. First is 1; each is written in the lowest
/// that can say what it holds.
pub const FORMAT: u32 = 3;

/// What a checkpoint says of itself; written in the same transaction as the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The last applied entry.
    pub applied: LogId,
    /// The Raft membership as of it, in the raft folder's own encoding; empty if there was none.
    pub membership: Bytes,
    /// The store's revision.
    pub revision: Revision,
    /// The logical compaction.
    pub compacted: Revision,
    /// Chain hash over the effects of apply.
    pub chain: u64,
}

impl Default for Meta {
    /// The state before any entry was applied.
    fn default() -> Meta {
        Meta {
            applied: LogId::default(),
            membership: Bytes::new(),
            revision: Revision::FRESH,
            compacted: Revision::NEVER_COMPACTED,
            chain: 0,
        }
    }
}

/// Who this data folder belongs to; written once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The member of it.
    pub member: MemberId,
}

/// The cluster that a new data folder begins with.
///
/// The members table is replicated, so it is empty until this member has heard from a leader, after a restart too. Until
/// then the members are reached where this says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Founding {
    /// A new cluster of these voters, this member among them; each of them is started with the same list. Empty: this
    /// member alone.
    New(Vec<Member>),
    /// A cluster that is there and has these members, this one, which was added to it, among them.
    Join(Vec<Member>),
}

/// One change of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableWrite {
    /// Adds a record.
    Record {
        /// Its revision, never negative.
        at: SubRevision,
        /// The pair.
        record: Record,
    },
    /// Removes a record: physical compaction.
    RemoveRecord {
        /// Its revision.
        at: SubRevision,
    },
    /// Adds or replaces a lease.
    Lease(LeaseRow),
    /// Removes a lease.
    RemoveLease {
        /// The lease.
        id: LeaseId,
    },
    /// Adds or replaces a member.
    Member(Member),
    /// Removes a member.
    RemoveMember(MemberId),
    /// Remembers that the id was a member's and can never be again.
    Removed(MemberId),
    /// Replaces the alarms that a member has raised; none removes them.
    Alarms {
        /// Which member, or zero.
        member: MemberId,
        /// All that it has raised.
        raised: Alarms,
    },
    /// Replaces where a downgrade goes that is under way; `None` removes it.
    Downgrade(Option<ClusterVersion>),
    /// Adds, replaces or removes a user or a role, or replaces what holds for all of them.
    Auth {
        /// Its number.
        row: u64,
        /// What it becomes; `None` removes it.
        content: Option<AuthRow>,
    },
}

/// A row of what is stored of users and roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthRow {
    /// What holds for all of them. Row [`AuthRow::STATE`].
    State {
        /// Whether auth is enabled.
        enabled: bool,
        /// Counts the changes.
        revision: u64,
    },
    /// A user.
    User(User),
    /// A role.
    Role(Role),
}

impl AuthRow {
    /// The number of [`AuthRow::State`].
    pub const STATE: u64 = 0;

    /// The row as it is stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode_auth(self)
    }
}

/// A lease as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRow {
    /// The lease.
    pub id: LeaseId,
    /// Its granted time to live, in seconds.
    pub ttl: i64,
    /// What was left of it when that was last stored, in seconds; zero if never.
    pub remaining: i64,
    /// The log entry that granted it; zero if that is not known.
    pub granted_at: u64,
}

/// What is read of one row of a small table.
#[derive(Debug)]
enum Row {
    Lease(LeaseRow),
    Member(Member),
    Removed(MemberId),
    Alarms(MemberId, Alarms),
    Auth(u64, AuthRow),
    Downgrade(ClusterVersion),
}

/// The tables that are small enough to be read at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SmallTables {
    /// The leases, by id.
    pub leases: Vec<LeaseRow>,
    /// The members, by id.
    pub members: Vec<Member>,
    /// The ids that were removed for ever, in order.
    pub removed: Vec<MemberId>,
    /// The alarms, by the member that has raised them.
    pub alarms: Vec<(MemberId, Alarms)>,
    /// What is stored of users and roles, by number.
    pub auth: Vec<(u64, AuthRow)>,
    /// Where a downgrade goes that is under way.
    pub downgrade: Option<ClusterVersion>,
}

impl SmallTables {
    fn add(&mut self, row: Row) {
        match row {
            Row::Lease(lease) => self.leases.push(lease),
            Row::Member(member) => self.members.push(member),
            Row::Removed(member) => self.removed.push(member),
            Row::Alarms(member, raised) => self.alarms.push((member, raised)),
            Row::Auth(row, content) => self.auth.push((row, content)),
            Row::Downgrade(target) => self.downgrade = Some(target),
        }
    }
}
