//! What a program that runs a server inside itself decides beside the flags, and what it hears back.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::data_dir::{DataDir, DataDirError};
use super::log_dir::LogDir;
use crate::config::{Config, Url};
use crate::env::{Clock, Disk, MemoryDisk, RealDisk};
use crate::node::{Identity, LogPlace, Node};

/// Size of one segment of the log: small enough to be made in no time, large enough to be made ahead.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// The same in memory, where nothing is gained by a larger one.
const SEGMENT_BYTES_IN_MEMORY: u64 = 1024 * 1024;

/// What a program that runs a server inside itself decides beside the flags. By default nothing.
#[derive(Debug, Default)]
pub struct Embedding {
    /// Where the data is kept instead of in the data folder.
    pub memory: Option<MemoryDisk>,
    /// The clock that leases run by instead of the system's.
    pub lease_clock: Option<Arc<dyn Clock>>,
    /// Tell clients to go where they are awaited, with the ports that the system chose, whatever the flags say.
    pub advertises_listeners: bool,
    /// Hears that the member serves, if it comes to that.
    pub ready_tx: Option<oneshot::Sender<Ready>>,
}

/// A member that serves.
#[derive(Debug)]
pub struct Ready {
    /// Its door.
    pub node: Node,
    /// Where clients are served, with the ports that the system chose.
    pub client_urls: Vec<Url>,
}

/// What a member keeps its data on.
pub(super) enum Data {
    /// The data folder, and that of the log if it has one of its own; both locked.
    Folder {
        folder: DataDir,
        log: Option<LogDir>,
        /// Nothing is synced there.
        is_unsafe: bool,
    },
    /// Memory instead.
    Memory(MemoryDisk),
}

impl Data {
    /// Opens the data folder, unless `memory` stands for it.
    pub(super) fn open(config: &Config, memory: Option<MemoryDisk>) -> Result<Data, DataDirError> {
        match memory {
            Some(memory) => Ok(Data::Memory(memory)),
            None => {
                let folder = DataDir::open(&config.data_dir)?;
                let log = match &config.wal_dir {
                    Some(path) => Some(LogDir::open(path, folder.member())?),
                    None => LogDir::check_none(folder.member()).map(|()| None)?,
                };
                Ok(Data::Folder { folder, log, is_unsafe: config.unsafe_no_fsync })
            }
        }
    }

    /// Notes whose the folders are, where they have to know.
    pub(super) fn claim(&self, identity: Identity) -> Result<(), DataDirError> {
        match self {
            Data::Folder { folder, log: Some(log), .. } => Ok(log.claim(identity, folder.member())?),
            Data::Folder { log: None, .. } | Data::Memory(_) => Ok(()),
        }
    }

    /// Where the log is, if not with the rest.
    pub(super) fn log_place(&self) -> Option<LogPlace> {
        match self {
            Data::Folder { log: Some(log), is_unsafe, .. } => {
                Some(LogPlace { disk: real_disk(log.path(), *is_unsafe), lock: log.lock() })
            }
            Data::Folder { log: None, .. } | Data::Memory(_) => None,
        }
    }

    pub(super) fn is_memory(&self) -> bool {
        matches!(self, Data::Memory(_))
    }

    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        match self {
            Data::Folder { folder, is_unsafe, .. } => real_disk(folder.member(), *is_unsafe),
            Data::Memory(memory) => Arc::new(memory.clone()),
        }
    }

    /// The folder of log and checkpoint, if there is one.
    pub(super) fn member_dir(&self) -> Option<&Path> {
        match self {
            Data::Folder { folder, .. } => Some(folder.member()),
            Data::Memory(_) => None,
        }
    }

    /// What keeps others from the folder.
    pub(super) fn lock(&self) -> Option<Arc<File>> {
        match self {
            Data::Folder { folder, .. } => Some(folder.lock()),
            Data::Memory(_) => None,
        }
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        match self {
            Data::Folder { .. } => SEGMENT_BYTES,
            Data::Memory(_) => SEGMENT_BYTES_IN_MEMORY,
        }
    }
}

/// A folder of the file system; if `is_unsafe`, nothing is synced there.
fn real_disk(folder: &Path, is_unsafe: bool) -> Arc<dyn Disk> {
    Arc::new(if is_unsafe { RealDisk::without_syncs(folder) } else { RealDisk::new(folder) })
}
