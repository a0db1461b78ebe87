//! Why a folder is not read.

use std::io;
use std::path::PathBuf;

use crate::command::UsageError;
use crate::etcd_file;
use crate::storage;
use crate::wal;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments are wrong.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// A member has the folder.
    #[error("a member runs on {}: stop it first, for what changes while it is read cannot be checked", path.display())]
    Running {
        /// The folder.
        path: PathBuf,
    },
    /// No member was ever started there.
    #[error("{} holds no member: there is neither a log nor a checkpoint in its folder \"member\"", path.display())]
    NoMember {
        /// The folder.
        path: PathBuf,
    },
    /// etcd was here.
    #[error(
        "{} holds a member of etcd ({}), whose files Lodemark does not read; use etcd's own tools, or save a snapshot of \
         it and check that",
        path.display(), found.display()
    )]
    OfEtcd {
        /// The folder.
        path: PathBuf,
        /// What tells.
        found: PathBuf,
    },
    /// The system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// The log cannot be opened.
    #[error(transparent)]
    Wal(#[from] wal::OpenError),
    /// An entry of the log, or what Raft keeps beside them, cannot be read.
    #[error("the log in {} cannot be read: {source}", path.display())]
    Log {
        /// The folder of the log.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// A snapshot cannot be read.
    #[error("{}: {source}", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: etcd_file::Error,
    },
}

impl Error {
    /// Whether the files are wrong, as opposed to what was asked for, or that they cannot be reached.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Error::Usage(_) | Error::Running { .. } | Error::NoMember { .. } | Error::OfEtcd { .. } => false,
            Error::Io { .. } => false,
            Error::Log { source, .. } => !is_out_of_reach(source),
            Error::Storage(storage::Error::Newer { .. }) | Error::Wal(wal::OpenError::Newer { .. }) => false,
            Error::Storage(storage::Error::Io { source, .. }) | Error::Wal(wal::OpenError::Io { source, .. }) => {
                !is_out_of_reach(source)
            }
            Error::Storage(storage::Error::Full { .. }) => false,
            Error::Storage(_) | Error::Wal(_) => true,
            Error::Snapshot { source, .. } => match source {
                etcd_file::Error::Newer { .. } => false,
                etcd_file::Error::Io(source) => !is_out_of_reach(source),
                _ => true,
            },
        }
    }
}

/// Nothing was read, so nothing is known of it. A disk that fails to read what it has is damage.
fn is_out_of_reach(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound)
}
