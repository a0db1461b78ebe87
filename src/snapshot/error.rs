//! Why a command was not carried out.

use std::io;
use std::path::PathBuf;

use crate::client;
use crate::command::UsageError;
use crate::config::{self, FoundingError};
use crate::etcd_file;
use crate::storage;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments are wrong.
    #[error("{0}")]
    Usage(String),
    /// A file or folder cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A snapshot is refused.
    #[error("{}: {source}", path.display())]
    Snapshot {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: etcd_file::Error,
    },
    /// Something is there already.
    #[error("{flag} {path:?} not empty or could not be read")]
    NotEmpty {
        /// The flag that names it, without dashes.
        flag: &'static str,
        /// The folder.
        path: PathBuf,
    },
    /// The flags that describe the new cluster are wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// They do not fit together.
    #[error(transparent)]
    Founding(#[from] FoundingError),
    /// The revision cannot be raised by so much.
    #[error("--bump-revision {bump} is too large: the revision is {revision} already")]
    Bump {
        /// As given.
        bump: u64,
        /// That of the snapshot.
        revision: i64,
    },
    /// The new folder cannot be written.
    #[error("cannot write the data folder: {0}")]
    Storage(#[from] storage::Error),
    /// There is no runtime.
    #[error("cannot start the runtime: {0}")]
    Runtime(#[source] io::Error),
    /// A member cannot be reached, or does not answer.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// What came is no snapshot.
    #[error("{endpoint} does not send a snapshot: {why}")]
    Stream {
        /// As given.
        endpoint: String,
        /// What happened.
        why: String,
    },
    /// What came is not what was sent.
    #[error("the snapshot was damaged on its way: expected sha256 {expected}, got {found}")]
    Digest {
        /// What the member said.
        expected: String,
        /// What the bytes give.
        found: String,
    },
}

impl From<UsageError> for Error {
    fn from(UsageError(why): UsageError) -> Error {
        Error::Usage(why)
    }
}
