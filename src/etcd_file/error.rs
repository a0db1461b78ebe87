//! Why a snapshot is refused.

use super::digest::Digest;
use crate::bolt;
use crate::model::{RecordError, Revision, SubRevision};

/// Why a snapshot is refused. Nothing was touched then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database in it cannot be read.
    #[error("the snapshot {0}")]
    Bolt(#[from] bolt::Error),
    /// The file cannot be read.
    #[error("the snapshot cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// It may be cut short, or be no snapshot but a copy of a database.
    #[error(
        "snapshot missing hash but --skip-hash-check=false: the file is cut short, or it is a copy of a database, which only \
         --skip-hash-check restores"
    )]
    NoDigest,
    /// It was changed or cut short.
    #[error("expected sha256 {expected}, got {found}: the file is damaged")]
    Digest {
        /// What stands at its end.
        expected: Digest,
        /// What its bytes give.
        found: Digest,
    },
    /// A newer version of etcd or of Lodemark made it.
    #[error("the snapshot is of storage version {found}; this version of Lodemark reads up to {max}")]
    Newer {
        /// Its version.
        found: String,
        /// The newest that is read.
        max: &'static str,
    },
    /// A row cannot be read.
    #[error("the snapshot is damaged: bucket {bucket}, row {row}: {why}")]
    Row {
        /// Where it is.
        bucket: &'static str,
        /// Its key, as a person would write it.
        row: String,
        /// What is wrong.
        why: RowDamage,
    },
    /// The history has a hole.
    #[error(
        "the snapshot is damaged: its history should go on with {expected} behind the compacted revision {compacted}, and \
         has {found}; to restore it all the same give up its history with --bump-revision and --mark-compacted"
    )]
    Gap {
        /// The change that should come.
        expected: SubRevision,
        /// The change that comes.
        found: SubRevision,
        /// Below it anything may be missing.
        compacted: Revision,
    },
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowDamage {
    /// The key has no meaning in this bucket.
    #[error("its key is none")]
    Key,
    /// The pair cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Key and pair tell different revisions.
    #[error("the pair is of revision {0}")]
    OtherRevision(Revision),
    /// The numbers of the pair do not fit together.
    #[error("the pair has version {version} and was created at {created}")]
    Pair {
        /// How often it was written.
        version: i64,
        /// When it was created.
        created: Revision,
    },
    /// A user or a role has a name that no client can say.
    #[error("the name is not UTF-8 text")]
    Name,
    /// The value cannot be read.
    #[error("its value has no meaning")]
    Value,
    /// A revision that the store cannot go on from.
    #[error("there is no room for revisions above it")]
    LastRevision,
}
