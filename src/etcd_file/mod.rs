//! etcd's snapshot: the file that its tools save, look at and restore.
//!
//! ```text
//! bbolt database, a multiple of 512 bytes    SHA-256 of it, 32 bytes
//!
//! bucket     key                             value
//! key        a change (`RecordKey`)          the pair; of a deletion the key alone
//! lease      id, 8 bytes, big-endian         id, time to live, what is left of it
//! meta       names                           how far compaction is; version; where in the log it was
//! members, members_removed, cluster          who belonged to it: a restore makes these anew
//! alarm      `AlarmMember`                   nothing
//! auth, authUsers, authRoles                 whether everybody has to say who they are; who there is; who may do what (`auth`)
//! ```
//!
//! [`Contents`] with the records makes such a file, in two passes over the same rows, so that it can be a stream. A
//! [`SnapshotFile`] is one that was opened and checked, ours or that of an etcd 3.5 to 3.7; it gives [`Status`], and rows for
//! the tables of a new data folder.
//!
//! Source: etcd, `server/storage/schema`, `etcdutl/snapshot`.

mod auth;
mod contents;
mod digest;
mod error;
mod rows;
mod snapshot_file;
mod status;

#[cfg(test)]
mod tests;

pub use self::contents::{Contents, Records};
pub use self::digest::{DIGEST_BYTES, Digest, Summing};
pub use self::error::{Error, RowDamage};
pub use self::rows::Revisions;
pub use self::snapshot_file::{DigestCheck, SnapshotFile};
pub use self::status::Status;

/// The buckets, in order of their names.
mod bucket {
    pub(super) const ALARM: &str = "alarm";
    pub(super) const AUTH: &str = "auth";
    pub(super) const AUTH_ROLES: &str = "authRoles";
    pub(super) const AUTH_USERS: &str = "authUsers";
    pub(super) const CLUSTER: &str = "cluster";
    pub(super) const KEY: &str = "key";
    pub(super) const LEASE: &str = "lease";
    pub(super) const MEMBERS: &str = "members";
    pub(super) const MEMBERS_REMOVED: &str = "members_removed";
    pub(super) const META: &str = "meta";
}

/// The rows of bucket `meta`.
mod meta_key {
    pub(super) const CONF_STATE: &str = "confState";
    pub(super) const CONSISTENT_INDEX: &str = "consistent_index";
    pub(super) const FINISHED_COMPACTION: &str = "finishedCompactRev";
    pub(super) const SCHEDULED_COMPACTION: &str = "scheduledCompactRev";
    pub(super) const STORAGE_VERSION: &str = "storageVersion";
    pub(super) const TERM: &str = "term";
}
