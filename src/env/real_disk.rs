//! The operating system's file system.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::clock::{Clock, SystemClock};
use super::disk::{Disk, File, SyncSite};
use super::wording::go_duration;

/// Files and folders are the owner's alone.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;
/// What the system counts the blocks of a file in, whatever their size is.
const BLOCK_BYTES: u64 = 512;
/// A sync of the log that takes longer is told: nothing is acknowledged meanwhile. Source: etcd, `server/storage/wal`.
const SLOW_SYNC: Duration = Duration::from_secs(1);

/// A folder of the operating system's file system.
#[derive(Debug, Clone)]
pub struct RealDisk {
    root: PathBuf,
    access: Access,
    durability: Durability,
}

/// What the system is asked for when a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Write,
    Read,
}

/// Whether the disk is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// What was synced is there after a loss of power.
    Synced,
    /// Nothing is ever synced: what is there after a loss of power is anybody's guess.
    None,
}

impl RealDisk {
    /// Uses `root`, which must exist.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> RealDisk {
        RealDisk { root: root.into(), access: Access::Write, durability: Durability::Synced }
    }

    /// The same for whoever only looks: files are opened to read, and to write to one is an error.
    #[must_use]
    pub fn read_only(root: impl Into<PathBuf>) -> RealDisk {
        RealDisk { access: Access::Read, ..RealDisk::new(root) }
    }

    /// The same, but never waits for the disk: for tests that may lose everything.
    #[must_use]
    pub fn without_syncs(root: impl Into<PathBuf>) -> RealDisk {
        RealDisk { durability: Durability::None, ..RealDisk::new(root) }
    }

    /// The folder that all paths are relative to.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let writes = self.access == Access::Write;
        let file = OpenOptions::new().read(true).write(writes).open(self.at(path))?;
        Ok(Box::new(RealFile { file, durability: self.durability }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(FILE_MODE).open(self.at(path))?;
        Ok(Box::new(RealFile { file, durability: self.durability }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.at(dir))? {
            let entry = entry?;
            // A name that is not text is none of ours.
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let path = self.at(dir);
        fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(&path)?;
        // Each new name is in the folder above it, up to the root, which was there. Synced even if the folder was there
        // too: whoever made it may have been killed before it could.
        let mut above = path.as_path();
        while let Some(parent) = above.parent().filter(|_| above != self.root) {
            self.durability.sync_folder(parent)?;
            above = parent;
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.at(path).try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.at(path))
    }

    fn sync_dir(&self, dir: &Path, _site: SyncSite) -> io::Result<()> {
        self.durability.sync_folder(&self.at(dir))
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        let found = rustix::fs::statvfs(&self.root)?;
        Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
    }
}

impl Durability {
    fn sync_folder(self, path: &Path) -> io::Result<()> {
        match self {
            Durability::Synced => fs::File::open(path)?.sync_all(),
            Durability::None => Ok(()),
        }
    }
}

/// A file of the operating system's file system.
#[derive(Debug)]
pub struct RealFile {
    file: fs::File,
    durability: Durability,
}

impl From<fs::File> for RealFile {
    /// Uses a file that was opened, be it only to read.
    fn from(file: fs::File) -> RealFile {
        RealFile { file, durability: Durability::Synced }
    }
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn disk_bytes(&self) -> io::Result<u64> {
        let found = self.file.metadata()?;
        // Blocks may go beyond the end.
        Ok(found.len().min(found.blocks().saturating_mul(BLOCK_BYTES)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, len: u64) -> io::Result<()> {
        fallocate(&self.file, rustix::fs::FallocateFlags::empty(), 0, len)
    }

    #[cfg(target_os = "linux")]
    fn give_back(&self, offset: u64, len: u64) -> io::Result<()> {
        use rustix::fs::FallocateFlags;
        fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn write_all_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn sync_data(&self, site: SyncSite) -> io::Result<()> {
        if self.durability == Durability::None {
            return Ok(());
        }
        let clock = SystemClock::new();
        self.file.sync_data()?;
        let took = clock.now().0;
        if site == SyncSite::WalBatch && took > SLOW_SYNC {
            tracing::warn!(took = go_duration(took), "expected-duration" = go_duration(SLOW_SYNC), "slow fdatasync");
        }
        Ok(())
    }

    fn forget_cached(&self) {
        // A hint: if the system does not take it, nothing is lost.
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// Takes or gives back space; does nothing on a file system that cannot.
#[cfg(target_os = "linux")]
fn fallocate(file: &fs::File, how: rustix::fs::FallocateFlags, offset: u64, len: u64) -> io::Result<()> {
    use rustix::io::Errno;
    loop {
        match rustix::fs::fallocate(file, how, offset, len) {
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_written_listed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        use_all(&RealDisk::new(dir.path()));
        let dir = tempfile::tempdir().unwrap();
        use_all(&RealDisk::without_syncs(dir.path()));
    }

    fn use_all(disk: &RealDisk) {
        disk.create_dir_all(Path::new("a/b")).unwrap();
        let file = disk.create(Path::new("a/b/f")).unwrap();
        assert_eq!(disk.create(Path::new("a/b/f")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        file.write_all_at(3, b"xyz").unwrap();
        file.allocate(6).unwrap();
        file.sync_data(SyncSite::WalBatch).unwrap();
        file.give_back(6, 100).unwrap();
        file.forget_cached();
        let mut out = [9; 6];
        file.read_exact_at(0, &mut out).unwrap();
        assert_eq!(&out, b"\0\0\0xyz");
        assert_eq!(file.read_exact_at(4, &mut out).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        file.set_len(100 << 20).unwrap();
        assert!(file.disk_bytes().unwrap() < 1 << 20, "most of it was never written");
        assert!(disk.free_bytes().unwrap().is_some());
        disk.rename(Path::new("a/b/f"), Path::new("a/b/g")).unwrap();
        disk.sync_dir(Path::new("a/b"), SyncSite::WalFolder).unwrap();
        assert_eq!(disk.list(Path::new("a/b")).unwrap(), ["g"]);
        disk.remove(Path::new("a/b/g")).unwrap();
        assert!(!disk.exists(Path::new("a/b/g")).unwrap());
        assert_eq!(disk.open(Path::new("a/b/g")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
