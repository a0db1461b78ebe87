//! The log in a folder of its own (`--wal-dir`), best on a disk of its own.
//!
//! Log and checkpoint are halves of one member, so each names the other: a start that would take a log for empty that is
//! elsewhere, or that of somebody else for its own, is refused before anything is written.
//!
//! ```text
//! <wal-dir>/lock                held by the process that runs
//! <wal-dir>/owner               cluster and member, as text
//! <wal-dir>/<number>.wal        the log
//! <data-dir>/member/wal-dir     where the log was last, as text
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::data_dir::{FILE_MODE, advice, lock, make_durably, segment_of_etcd, warn_of_open_doors};
use crate::node::Identity;

/// Where the log is if it has no folder of its own, below the member's.
const LOG_DIR: &str = "wal";
const SEGMENT_SUFFIX: &str = ".wal";
const OWNER_FILE: &str = "owner";
const NOTE_FILE: &str = "wal-dir";

/// Why the log's folder cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum LogDirError {
    /// It is something else.
    #[error("--wal-dir {} is not a folder; choose another, or remove the file", path.display())]
    NotAFolder {
        /// What should be a folder.
        path: PathBuf,
    },
    /// etcd has its log there.
    #[error("--wal-dir {} holds the log of a member of etcd ({}); choose another", path.display(), found.display())]
    OfEtcd {
        /// The folder.
        path: PathBuf,
        /// What tells.
        found: PathBuf,
    },
    /// Another process runs on it.
    #[error("--wal-dir {} is in use by another process; give this member a --wal-dir of its own", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Another member has its log there.
    #[error(
        "--wal-dir {} holds the log of another member ({owner}), not of member {own}: start with the --data-dir that goes with \
         it, or choose another --wal-dir",
        path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who starts.
        own: String,
    },
    /// It should be moved first.
    #[error(
        "the log of this member is in {}; to keep it in --wal-dir {}, move the files that end in .wal there, or start \
         without that flag",
        found.display(), path.display()
    )]
    InDataDir {
        /// The folder that was asked for.
        path: PathBuf,
        /// Where the log is.
        found: PathBuf,
    },
    /// It is elsewhere.
    #[error(
        "the log of this member is not in {}: it was last in {last}. Start with --wal-dir={last}; if its files were moved, \
         say where; if they are lost, remove the member from its cluster and add it anew",
        path.display()
    )]
    Elsewhere {
        /// Where it would be.
        path: PathBuf,
        /// Where it was.
        last: String,
    },
    /// The system refused.
    #[error("cannot use --wal-dir {}: {source}; {}", path.display(), advice(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A folder for the log that this process alone uses.
#[derive(Debug)]
pub(super) struct LogDir {
    path: PathBuf,
    lock: Arc<File>,
}

impl LogDir {
    /// Opens the folder at `path`, or makes it; the rest of the member is in `member`.
    ///
    /// # Errors
    /// [`LogDirError`].
    pub(super) fn open(path: &Path, member: &Path) -> Result<LogDir, LogDirError> {
        if fs::metadata(path).is_ok_and(|meta| !meta.is_dir()) {
            return Err(LogDirError::NotAFolder { path: path.to_path_buf() });
        }
        if let Some(found) = segment_of_etcd(path).map_err(at(path))? {
            return Err(LogDirError::OfEtcd { path: path.to_path_buf(), found });
        }
        let inner = member.join(LOG_DIR);
        if !is_same(&inner, path) && has_segments(&inner)? {
            return Err(LogDirError::InDataDir { path: path.to_path_buf(), found: inner });
        }
        if let Some(last) = read(&member.join(NOTE_FILE))?
            && !has_segments(path)?
            && !path.join(OWNER_FILE).exists()
        {
            return Err(LogDirError::Elsewhere { path: path.to_path_buf(), last });
        }
        make_durably(path).map_err(at(path))?;
        warn_of_open_doors(path);
        match lock(path).map_err(at(path))? {
            Some(lock) => Ok(LogDir { path: path.to_path_buf(), lock }),
            None => Err(LogDirError::InUse { path: path.to_path_buf() }),
        }
    }

    /// Checks that a member without such a folder has none, or has it no more.
    ///
    /// # Errors
    /// [`LogDirError::Elsewhere`]; [`LogDirError::Io`].
    pub(super) fn check_none(member: &Path) -> Result<(), LogDirError> {
        let (note, inner) = (member.join(NOTE_FILE), member.join(LOG_DIR));
        match read(&note)? {
            Some(_) if has_segments(&inner)? => fs::remove_file(&note).map_err(at(&note)),
            Some(last) => Err(LogDirError::Elsewhere { path: inner, last }),
            None => Ok(()),
        }
    }

    /// Notes whose log is here, and in `member` where it is; both durably.
    ///
    /// # Errors
    /// [`LogDirError::Foreign`]; [`LogDirError::Io`].
    pub(super) fn claim(&self, identity: Identity, member: &Path) -> Result<(), LogDirError> {
        let Identity { cluster, member: id } = identity;
        let own = format!("{id} of cluster {cluster}");
        let owner_path = self.path.join(OWNER_FILE);
        match read(&owner_path)? {
            Some(owner) if owner != own => Err(LogDirError::Foreign { path: self.path.clone(), owner, own }),
            Some(_) => write(member, NOTE_FILE, &self.path.to_string_lossy()),
            None => {
                write(&self.path, OWNER_FILE, &own)?;
                write(member, NOTE_FILE, &self.path.to_string_lossy())
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// For those who must not be met by whoever opens the folder next.
    pub(super) fn lock(&self) -> Arc<File> {
        self.lock.clone()
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> LogDirError {
    let path = path.to_path_buf();
    move |source| LogDirError::Io { path, source }
}

fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn has_segments(log: &Path) -> Result<bool, LogDirError> {
    let entries = match fs::read_dir(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries.map_err(at(log))?,
    };
    for entry in entries {
        if entry.map_err(at(log))?.file_name().to_string_lossy().ends_with(SEGMENT_SUFFIX) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The text of a file, if it is there.
fn read(path: &Path) -> Result<Option<String>, LogDirError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// Replaces a file whole.
fn write(folder: &Path, name: &str, text: &str) -> Result<(), LogDirError> {
    let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
    let replace = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&new)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(folder)?.sync_all()
    };
    if read(&path)?.is_some_and(|present| present == text) { Ok(()) } else { replace().map_err(at(&path)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClusterId, MemberId};

    const OWN: Identity = Identity { cluster: ClusterId(1), member: MemberId(2) };

    /// A data folder's member folder, and a place for a log.
    fn folders() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let member = temp.path().join("data/member");
        fs::create_dir_all(&member).unwrap();
        let log = temp.path().join("log");
        (temp, member, log)
    }

    fn segment(folder: &Path) -> PathBuf {
        folder.join("0000000000000001.wal")
    }

    #[test]
    fn a_log_belongs_to_one_member_and_one_process() {
        let (_temp, member, path) = folders();
        let log = LogDir::open(&path, &member).unwrap();
        assert!(matches!(LogDir::open(&path, &member), Err(LogDirError::InUse { .. })));
        log.claim(OWN, &member).unwrap();
        log.claim(OWN, &member).unwrap();
        let error = log.claim(Identity { member: MemberId(3), ..OWN }, &member).unwrap_err();
        assert!(matches!(&error, LogDirError::Foreign { owner, .. } if owner == "2 of cluster 1"), "{error}");
        drop(log);
        LogDir::open(&path, &member).unwrap();
    }

    #[test]
    fn a_log_that_is_elsewhere_is_not_taken_for_empty() {
        let (temp, member, path) = folders();
        LogDir::open(&path, &member).unwrap().claim(OWN, &member).unwrap();
        fs::write(segment(&path), "log").unwrap();
        let missing = LogDir::check_none(&member).unwrap_err().to_string();
        assert!(missing.contains(&format!("it was last in {}", path.display())), "{missing}");
        let other = temp.path().join("other");
        assert!(matches!(LogDir::open(&other, &member), Err(LogDirError::Elsewhere { .. })));
        assert!(!other.exists());

        // Moved to another folder, and then into the data folder.
        fs::create_dir(&other).unwrap();
        fs::rename(segment(&path), segment(&other)).unwrap();
        LogDir::open(&other, &member).unwrap().claim(OWN, &member).unwrap();
        let inner = member.join(LOG_DIR);
        fs::create_dir(&inner).unwrap();
        fs::rename(segment(&other), segment(&inner)).unwrap();
        assert!(matches!(LogDir::open(&other, &member), Err(LogDirError::InDataDir { .. })));
        LogDir::check_none(&member).unwrap();
        LogDir::check_none(&member).unwrap();
        assert!(!member.join(NOTE_FILE).exists());
    }

    #[test]
    fn what_is_no_folder_for_a_log_is_refused_and_left_alone() {
        let (_temp, member, path) = folders();
        fs::write(&path, "x").unwrap();
        assert!(matches!(LogDir::open(&path, &member), Err(LogDirError::NotAFolder { .. })));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("0000000000000000-0000000000000000.wal"), "x").unwrap();
        assert!(matches!(LogDir::open(&path, &member), Err(LogDirError::OfEtcd { .. })));
        assert!(!path.join("lock").exists());
    }
}
