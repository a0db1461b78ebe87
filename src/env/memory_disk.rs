//! A disk that is memory: for a member whose data may go with its process.
//!
//! It keeps each file once and nothing of the past, so it takes what its files have; a file that was removed goes with
//! the last handle on it. Syncing does nothing. To see what a crash would leave there is [`super::SimDisk`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::disk::{Disk, File, SyncSite, plain};

/// The disk; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Names>>);

#[derive(Debug, Default)]
struct Names {
    files: BTreeMap<PathBuf, MemoryFile>,
    /// Without the root, which is always there.
    dirs: BTreeSet<PathBuf>,
}

/// The bytes of a file; clones share them.
#[derive(Clone, Default)]
struct MemoryFile(Arc<RwLock<Vec<u8>>>);

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// Whether anything else has it.
    #[cfg(test)]
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Names {
    fn file(&self, path: &Path) -> io::Result<MemoryFile> {
        self.files.get(&plain(path)).cloned().ok_or_else(not_found)
    }

    fn check_dir(&self, dir: &Path) -> io::Result<()> {
        if dir == Path::new("") || self.dirs.contains(dir) { Ok(()) } else { Err(not_found()) }
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(self.0.lock().file(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let (mut names, path) = (self.0.lock(), plain(path));
        names.check_dir(path.parent().unwrap_or(Path::new("")))?;
        if names.files.contains_key(&path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = MemoryFile::default();
        names.files.insert(path, file.clone());
        Ok(Box::new(file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let (names, dir) = (self.0.lock(), plain(dir));
        names.check_dir(&dir)?;
        let here = names.files.keys().filter(|path| path.parent() == Some(&dir));
        Ok(here.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let dir = plain(dir);
        let parts = dir.ancestors().filter(|part| *part != Path::new(""));
        self.0.lock().dirs.extend(parts.map(Path::to_path_buf));
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let (names, path) = (self.0.lock(), plain(path));
        Ok(names.files.contains_key(&path) || names.check_dir(&path).is_ok())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.0.lock();
        let file = names.files.remove(&plain(from)).ok_or_else(not_found)?;
        names.files.insert(plain(to), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.lock().files.remove(&plain(path)).map(drop).ok_or_else(not_found)
    }

    fn sync_dir(&self, _dir: &Path, _site: SyncSite) -> io::Result<()> {
        Ok(())
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.read().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = position(len)?;
        let mut bytes = self.0.write();
        let is_cut = len < bytes.len();
        bytes.resize(len, 0);
        if is_cut {
            bytes.shrink_to_fit();
        }
        Ok(())
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = position(offset)?;
        let bytes = self.0.read();
        let found = start.checked_add(out.len()).and_then(|end| bytes.get(start..end));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = position(offset)?;
        let end = start.checked_add(data.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut bytes = self.0.write();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(data);
        Ok(())
    }

    fn sync_data(&self, _site: SyncSite) -> io::Result<()> {
        Ok(())
    }
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl std::fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryFile").field("len", &self.0.read().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(disk: &MemoryDisk, path: &str) -> Vec<u8> {
        let file = disk.open(Path::new(path)).unwrap();
        let mut out = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(0, &mut out).unwrap();
        out
    }

    #[test]
    fn files_are_made_written_cut_renamed_and_removed() {
        let disk = MemoryDisk::new();
        let kind = |error: io::Error| error.kind();
        assert_eq!(disk.create(Path::new("d/f")).map(drop).map_err(kind), Err(io::ErrorKind::NotFound));
        disk.create_dir_all(Path::new("./d/e")).unwrap();
        let file = disk.create(Path::new("d/f")).unwrap();
        assert_eq!(disk.create(Path::new("./d/f")).map(drop).map_err(kind), Err(io::ErrorKind::AlreadyExists));
        file.write_all_at(2, b"ab").unwrap();
        assert_eq!(read(&disk, "d/f"), b"\0\0ab");
        file.set_len(3).unwrap();
        assert_eq!(file.read_exact_at(0, &mut [0; 4]).map_err(kind), Err(io::ErrorKind::UnexpectedEof));
        assert!(disk.exists(Path::new("d/e")).unwrap() && disk.exists(Path::new("d/f")).unwrap());

        disk.create(Path::new("d/g")).unwrap().write_all_at(0, b"g").unwrap();
        assert_eq!(disk.list(Path::new("d")).unwrap(), ["f", "g"]);
        disk.rename(Path::new("d/g"), Path::new("d/f")).unwrap();
        assert_eq!((disk.list(Path::new("d")).unwrap(), read(&disk, "d/f")), (vec!["f".to_owned()], b"g".to_vec()));
        assert_eq!(file.len().unwrap(), 3, "whoever has the replaced file open still has it");
        disk.remove(Path::new("d/f")).unwrap();
        assert_eq!(disk.remove(Path::new("d/f")).map_err(kind), Err(io::ErrorKind::NotFound));
        assert!(disk.list(Path::new("x")).is_err());
    }

    #[test]
    fn a_removed_file_goes_with_its_last_handle() {
        let disk = MemoryDisk::new();
        drop(disk.create(Path::new("f")).unwrap());
        let MemoryFile(bytes) = disk.0.lock().file(Path::new("f")).unwrap();
        disk.remove(Path::new("f")).unwrap();
        assert_eq!(Arc::strong_count(&bytes), 1);
    }
}
