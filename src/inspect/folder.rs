//! The folder of a member that does not run.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::error::Error;
use crate::env::{Disk, Overlay, RealDisk};
use crate::node::{LOG_DIR, STATE_FILE};
use crate::server::{LOCK_FILE, MEMBER_DIR, trace_of_etcd};

/// Beside the checkpoint: where the log is, if `--wal-dir` puts it elsewhere.
const LOG_NOTE: &str = "wal-dir";
/// As the member makes it.
const LOCK_MODE: u32 = 0o600;

/// A stopped member's files, which are only looked at.
#[derive(Debug)]
pub struct StoppedFolder {
    pub(super) disk: Overlay,
    /// Where the log is, which may be another disk.
    pub(super) log_disk: Overlay,
    /// The folder of segments on it.
    pub(super) log_dir: PathBuf,
    /// The folder that holds log and checkpoint, as people name it.
    pub(super) root: PathBuf,
    pub(super) log_root: PathBuf,
    /// Keep the member from starting meanwhile.
    _locks: Vec<File>,
}

impl StoppedFolder {
    /// Opens a folder, and takes its lock if there is one: where there is none, no member was ever started.
    ///
    /// # Errors
    /// That a member runs on it, or that it holds none.
    pub fn open(data_dir: &Path, wal_dir: Option<&Path>) -> Result<StoppedFolder, Error> {
        let at = |source| Error::Io { path: data_dir.to_path_buf(), source };
        refuse_etcd(data_dir)?;
        let root = data_dir.join(MEMBER_DIR);
        let noted = wal_dir.is_none().then(|| noted_log(&root)).transpose()?.flatten();
        let wal_dir = wal_dir.or(noted.as_deref());
        let log_root = wal_dir.map_or_else(|| root.join(LOG_DIR), Path::to_path_buf);
        let is_there = |path: &Path| path.try_exists().map_err(at);
        if !is_there(&root.join(STATE_FILE))? && !is_there(&log_root)? {
            return Err(Error::NoMember { path: data_dir.to_path_buf() });
        }
        let mut locks = Vec::new();
        for folder in [Some(root.as_path()), wal_dir].into_iter().flatten() {
            locks.extend(lock(&folder.join(LOCK_FILE), data_dir)?);
        }
        let disk = Overlay::over(Arc::new(RealDisk::read_only(&root)));
        let (log_disk, log_dir) = match wal_dir {
            None => (disk.clone(), PathBuf::from(LOG_DIR)),
            Some(wal_dir) => (Overlay::over(Arc::new(RealDisk::read_only(wal_dir))), PathBuf::from(".")),
        };
        Ok(StoppedFolder { disk, log_disk, log_dir, root, log_root, _locks: locks })
    }

    /// Looks at a disk that holds a member's files, and that nobody changes meanwhile.
    #[must_use]
    pub fn on(disk: Arc<dyn Disk>) -> StoppedFolder {
        let disk = Overlay::over(disk);
        StoppedFolder {
            log_disk: disk.clone(),
            disk,
            log_dir: PathBuf::from(LOG_DIR),
            root: PathBuf::new(),
            log_root: PathBuf::from(LOG_DIR),
            _locks: Vec::new(),
        }
    }

    /// A file as people name it; messages know it by its place on the disk.
    pub(super) fn name_of(&self, file: &Path) -> PathBuf {
        match file.strip_prefix(&self.log_dir) {
            Ok(segment) if !segment.as_os_str().is_empty() => self.log_root.join(segment),
            _ => self.root.join(file),
        }
    }
}

/// Where a member says that it has its log, if that is not beside its checkpoint.
fn noted_log(member: &Path) -> Result<Option<PathBuf>, Error> {
    let note = member.join(LOG_NOTE);
    match std::fs::read_to_string(&note) {
        Ok(text) if !member.join(LOG_DIR).exists() => Ok(Some(PathBuf::from(text.trim_end()))),
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(Error::Io { path: note, source }),
    }
}

/// The folder that a member's checkpoint is in, locked as the member locks it, to change something there.
///
/// # Errors
/// That a member runs on it, or that it holds none.
pub(super) fn lock_to_write(data_dir: &Path) -> Result<(PathBuf, File), Error> {
    refuse_etcd(data_dir)?;
    let member = data_dir.join(MEMBER_DIR);
    let at = |source| Error::Io { path: member.clone(), source };
    if !member.join(STATE_FILE).try_exists().map_err(at)? {
        return Err(Error::NoMember { path: data_dir.to_path_buf() });
    }
    let path = member.join(LOCK_FILE);
    OpenOptions::new().write(true).create(true).truncate(false).mode(LOCK_MODE).open(&path).map_err(at)?;
    let lock = lock(&path, data_dir)?.ok_or_else(|| at(io::ErrorKind::NotFound.into()))?;
    Ok((member, lock))
}

fn refuse_etcd(data_dir: &Path) -> Result<(), Error> {
    let found = trace_of_etcd(data_dir).map_err(|source| Error::Io { path: data_dir.to_path_buf(), source })?;
    found.map_or(Ok(()), |found| Err(Error::OfEtcd { path: data_dir.to_path_buf(), found }))
}

/// Takes a lock without a trace: the file is not made if it is not there.
fn lock(path: &Path, data_dir: &Path) -> Result<Option<File>, Error> {
    let at = |source| Error::Io { path: path.to_path_buf(), source };
    let file = match OpenOptions::new().read(true).open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(at(error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Running { path: data_dir.to_path_buf() }),
        Err(error) => Err(at(error.into())),
    }
}
