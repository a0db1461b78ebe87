//! The data folder: made, recognised and locked before anything in it is opened.
//!
//! ```text
//! <data-dir>/member/lock        held by the process that runs
//! <data-dir>/member/wal/        the log
//! <data-dir>/member/state.redb  the checkpoint
//! <data-dir>/fixtures/peer/     the certificate that the member made, if it was to
//! ```
//!
//! The log may be in a folder of its own: see [`super::log_dir`].

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::log_dir::LogDirError;

/// Only the owner may look into the folder: values may be secrets.
const DIR_MODE: u32 = 0o700;
pub(super) const FILE_MODE: u32 = 0o600;
/// Marks the folder of a member, for etcd's operators too.
pub const MEMBER_DIR: &str = "member";
/// Held by the process that runs.
pub const LOCK_FILE: &str = "lock";
/// What a proxy of etcd 2 kept its members in.
const PROXY_DIR: &str = "proxy";
/// What there may be in the data folder.
const OWN_NAMES: [&str; 2] = [MEMBER_DIR, "fixtures"];

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It is something else.
    #[error("--data-dir {} is not a folder; choose another, or remove the file", path.display())]
    NotAFolder {
        /// What should be a folder.
        path: PathBuf,
    },
    /// etcd was here.
    #[error(
        "--data-dir {} holds a member of etcd ({}), whose files Lodemark does not read; nothing in it was changed. To start \
         empty, choose another --data-dir. To keep the data, save it with \"etcdctl snapshot save\" while etcd runs and make \
         another --data-dir of that with \"lodemark snapshot restore\"",
        path.display(), found.display()
    )]
    OfEtcd {
        /// The data folder.
        path: PathBuf,
        /// What tells.
        found: PathBuf,
    },
    /// Another process runs on it.
    #[error(
        "--data-dir {} is in use by another process; stop that one, or give this member a --data-dir of its own",
        path.display()
    )]
    InUse {
        /// The data folder.
        path: PathBuf,
    },
    /// A proxy of an old etcd was here.
    #[error("{}", proxy(*beside_member))]
    OfProxy {
        /// There is a member as well.
        beside_member: bool,
    },
    /// The log's folder is another one.
    #[error(transparent)]
    Log(#[from] LogDirError),
    /// The system refused.
    #[error("cannot use --data-dir {}: {source}; {}", path.display(), advice(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A data folder that this process alone uses.
#[derive(Debug)]
pub(super) struct DataDir {
    member: PathBuf,
    /// The lock goes when the file is closed by all who hold it: also when the process is killed.
    lock: Arc<File>,
}

impl DataDir {
    /// Opens the folder at `path`, or makes it, durably.
    ///
    /// # Errors
    /// [`DataDirError`]; a folder that is not ours has not been touched.
    pub(super) fn open(path: &Path) -> Result<DataDir, DataDirError> {
        let at = |path: &Path| {
            let path = path.to_path_buf();
            move |source| DataDirError::Io { path, source }
        };
        if let Some(found) = trace_of_etcd(path).map_err(at(path))? {
            return Err(DataDirError::OfEtcd { path: path.to_path_buf(), found });
        }
        let member = path.join(MEMBER_DIR);
        if path.join(PROXY_DIR).is_dir() {
            return Err(DataDirError::OfProxy { beside_member: member.is_dir() });
        }
        for folder in [path, &member] {
            if fs::metadata(folder).is_ok_and(|meta| !meta.is_dir()) {
                return Err(DataDirError::NotAFolder { path: folder.to_path_buf() });
            }
        }
        make_durably(&member).map_err(at(&member))?;
        warn_of_open_doors(path);
        warn_of_strangers(path);
        match lock(&member) {
            Ok(Some(lock)) => Ok(DataDir { member, lock }),
            Ok(None) => Err(DataDirError::InUse { path: path.to_path_buf() }),
            Err(error) => Err(at(&member.join(LOCK_FILE))(error)),
        }
    }

    /// The folder that log and checkpoint are in.
    pub(super) fn member(&self) -> &Path {
        &self.member
    }

    /// For those who must not be met by whoever opens the folder next.
    pub(super) fn lock(&self) -> Arc<File> {
        self.lock.clone()
    }
}

/// Locks a folder until the file is closed by all who hold it; `None` if another process has it.
pub(super) fn lock(folder: &Path) -> io::Result<Option<Arc<File>>> {
    let path = folder.join(LOCK_FILE);
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Arc::new(lock))),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Finds a file that only etcd makes: its database, or a segment of its log, whose name has two numbers.
///
/// # Errors
/// Whatever the system says.
pub fn trace_of_etcd(path: &Path) -> io::Result<Option<PathBuf>> {
    let member = path.join(MEMBER_DIR);
    let database = member.join("snap/db");
    if exists(&database)? {
        return Ok(Some(database));
    }
    segment_of_etcd(&member.join("wal"))
}

/// The same in a folder that is to hold a log.
pub(super) fn segment_of_etcd(log: &Path) -> io::Result<Option<PathBuf>> {
    if !log.is_dir() {
        return Ok(None);
    }
    for entry in fs::read_dir(log)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_segment_of_etcd) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// Tells whether something is there; below a file there is nothing.
fn exists(path: &Path) -> io::Result<bool> {
    match path.try_exists() {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        result => result,
    }
}

fn is_segment_of_etcd(name: &str) -> bool {
    let is_number = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let numbers = name.strip_suffix(".wal").and_then(|stem| stem.split_once('-'));
    numbers.is_some_and(|(sequence, index)| is_number(sequence) && is_number(index))
}

/// Makes a folder and those above it that are not there; each name is synced into the folder above it.
pub(super) fn make_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    make_durably(above)?;
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(io::ErrorKind::NotADirectory.into()),
        made => made?,
    }
    File::open(above)?.sync_all()
}

/// A folder that was made by somebody else keeps its mode, but others on the machine can read it. Source: etcd,
/// `fileutil.CheckDirPermission`.
pub(super) fn warn_of_open_doors(path: &Path) {
    let Ok(meta) = fs::metadata(path) else { return };
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let error = format!(
            "directory {:?} exist, but the permission is \"d{}\". The recommended permission is \"-{}\" to prevent possible \
             unprivileged access to the data",
            path.display().to_string(),
            letters(mode),
            letters(DIR_MODE)
        );
        tracing::warn!(error, "check file permission");
    }
}

/// A mode as `ls` shows it.
fn letters(mode: u32) -> String {
    (0..9).map(|bit| if mode & (0o400 >> bit) != 0 { ['r', 'w', 'x'][bit % 3] } else { '-' }).collect()
}

/// Tells of what is in the folder and nobody put there. Source: etcd, `identifyDataDirOrDie`.
fn warn_of_strangers(path: &Path) {
    let names = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut strangers: Vec<_> = names.filter(|name| !OWN_NAMES.iter().any(|own| name == own)).collect();
    strangers.sort_unstable();
    for name in strangers {
        let (filename, data_dir) = (name.display(), path.display());
        tracing::warn!(%filename, "data-dir" = %data_dir, "found invalid file under data directory");
    }
}

fn proxy(beside_member: bool) -> &'static str {
    if beside_member {
        "invalid datadir; both member and proxy directories exist"
    } else {
        "v2 http proxy has already been deprecated in 3.6; choose another --data-dir, or remove its folder \"proxy\""
    }
}

pub(super) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "give the user that runs Lodemark the right to write there, or choose another"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on its disk, then start again",
        io::ErrorKind::ReadOnlyFilesystem => "its file system is read-only: mount it to write, or choose another",
        io::ErrorKind::NotADirectory => "a part of the path is a file: choose another",
        _ => "choose another, or check its disk",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_is_made_for_the_owner_alone_and_locked() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/b");
        let open = DataDir::open(&path).unwrap();
        for folder in [&path, open.member()] {
            assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, DIR_MODE);
        }
        assert!(matches!(DataDir::open(&path), Err(DataDirError::InUse { .. })));
        drop(open);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_folder_of_a_proxy_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join(PROXY_DIR)).unwrap();
        assert!(matches!(DataDir::open(temp.path()), Err(DataDirError::OfProxy { beside_member: false })));
        fs::create_dir(temp.path().join(MEMBER_DIR)).unwrap();
        let error = DataDir::open(temp.path()).unwrap_err();
        assert_eq!(error.to_string(), "invalid datadir; both member and proxy directories exist");
    }

    #[test]
    fn modes_are_shown_in_letters() {
        for (mode, text) in [(0o755, "rwxr-xr-x"), (0o700, "rwx------"), (0o642, "rw-r---w-")] {
            assert_eq!(letters(mode), text);
        }
    }

    #[test]
    fn folders_of_etcd_are_refused_and_left_alone() {
        for file in ["member/snap/db", "member/wal/0000000000000000-0000000000000000.wal"] {
            let temp = tempfile::tempdir().unwrap();
            let found = temp.path().join(file);
            fs::create_dir_all(found.parent().unwrap()).unwrap();
            fs::write(&found, "x").unwrap();
            let error = DataDir::open(temp.path()).unwrap_err();
            assert!(matches!(&error, DataDirError::OfEtcd { found: told, .. } if *told == found), "{error}");
            assert!(!temp.path().join("member/lock").exists());
        }
        assert!(!is_segment_of_etcd("0000000000000001.wal"));
        assert!(!is_segment_of_etcd("0.tmp"));
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_refused_with_what_to_do() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        fs::write(&file, "x").unwrap();
        let error = DataDir::open(&file).unwrap_err();
        assert!(matches!(error, DataDirError::NotAFolder { .. }), "{error}");
        let error = DataDir::open(&file.join("below")).unwrap_err();
        assert!(error.to_string().contains("a part of the path is a file"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), b"x");
    }
}
