//! A disk that is looked at as if it could be written: what is written stays in memory, and goes with it.
//!
//! Whoever opens a log or a checkpoint puts it in order first: a torn end is cut off, a database that was not closed is
//! repaired, leftovers are removed. A tool that only looks must do the same to see what a member would see, and must leave
//! no trace of it. So it works on this:
//!
//! ```text
//! read  ── was this page written? ── yes ──> memory
//!                                └── no ───> the disk below, which is never written
//! ```
//!
//! What is written is bounded: the order that opening makes takes little, and more than that is a mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use super::disk::{Disk, File, SyncSite, plain};

const PAGE_BYTES: usize = 4096;
/// What may be written in all: many times what opening ever writes.
const WRITTEN_BYTES_MAX: usize = 1 << 30;

/// The disk; clones share it.
#[derive(Debug, Clone)]
pub struct Overlay(Arc<Layers>);

#[derive(Debug)]
struct Layers {
    below: Arc<dyn Disk>,
    names: Mutex<Names>,
    /// Of all files, also of those that are gone.
    written_bytes: Arc<AtomicUsize>,
}

/// What is not as it is below.
#[derive(Debug, Default)]
struct Names {
    files: BTreeMap<PathBuf, OverlayFile>,
    removed: BTreeSet<PathBuf>,
    dirs: BTreeSet<PathBuf>,
}

impl Overlay {
    /// Looks at `below`.
    #[must_use]
    pub fn over(below: Arc<dyn Disk>) -> Overlay {
        let layers = Layers { below, names: Mutex::default(), written_bytes: Arc::default() };
        Overlay(Arc::new(layers))
    }

    /// The file of that name, which is opened below when it is first asked for.
    fn find(&self, names: &mut Names, path: &Path) -> io::Result<OverlayFile> {
        if let Some(file) = names.files.get(path) {
            return Ok(file.clone());
        }
        if names.removed.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let below = self.0.below.open(path)?;
        let len = below.len()?;
        let contents = Contents { len, below_len: len, pages: BTreeMap::new() };
        let file = self.file(Some(Arc::from(below)), contents);
        names.files.insert(path.to_path_buf(), file.clone());
        Ok(file)
    }

    fn file(&self, below: Option<Arc<dyn File>>, contents: Contents) -> OverlayFile {
        let written_bytes = self.0.written_bytes.clone();
        OverlayFile { below, contents: Arc::new(RwLock::new(contents)), written_bytes }
    }
}

impl Disk for Overlay {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(self.find(&mut self.0.names.lock(), &plain(path))?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        if self.exists(path)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (mut names, path) = (self.0.names.lock(), plain(path));
        let file = self.file(None, Contents::default());
        names.removed.remove(&path);
        names.files.insert(path, file.clone());
        Ok(Box::new(file))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let (names, dir) = (self.0.names.lock(), plain(dir));
        let below = match self.0.below.list(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && names.dirs.contains(&dir) => Vec::new(),
            listed => listed?,
        };
        let mut found: BTreeSet<String> =
            below.into_iter().filter(|name| !names.removed.contains(&dir.join(name))).collect();
        let here = names.files.keys().filter(|path| path.parent() == Some(&dir));
        found.extend(here.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)));
        Ok(found.into_iter().collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.names.lock().dirs.extend(plain(dir).ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let (names, path) = (self.0.names.lock(), plain(path));
        if names.files.contains_key(&path) || names.dirs.contains(&path) {
            return Ok(true);
        }
        Ok(!names.removed.contains(&path) && self.0.below.exists(&path)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut names, from, to) = (self.0.names.lock(), plain(from), plain(to));
        let file = self.find(&mut names, &from)?;
        names.files.remove(&from);
        names.removed.insert(from);
        names.removed.remove(&to);
        names.files.insert(to, file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut names, path) = (self.0.names.lock(), plain(path));
        self.find(&mut names, &path)?;
        names.files.remove(&path);
        names.removed.insert(path);
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path, _site: SyncSite) -> io::Result<()> {
        Ok(())
    }
}

/// A file; clones share what was written to it.
#[derive(Clone)]
struct OverlayFile {
    /// `None` for a file that was made here.
    below: Option<Arc<dyn File>>,
    contents: Arc<RwLock<Contents>>,
    written_bytes: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Contents {
    len: u64,
    /// So much of the file below still shows, where nothing was written; zeros behind it.
    below_len: u64,
    /// What was written, a page at a time.
    pages: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
}

impl OverlayFile {
    /// The part of a page that is asked for, from the file below.
    fn read_below(&self, below_len: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = below_len.saturating_sub(offset).min(out.len() as u64);
        let (there, beyond) = out.split_at_mut(usize::try_from(there).map_err(io::Error::other)?);
        beyond.fill(0);
        match &self.below {
            Some(below) if !there.is_empty() => below.read_exact_at(offset, there),
            _ => Ok(()),
        }
    }

    fn new_page(&self, below_len: u64, number: u64) -> io::Result<Box<[u8; PAGE_BYTES]>> {
        if self.written_bytes.fetch_add(PAGE_BYTES, Ordering::Relaxed) >= WRITTEN_BYTES_MAX {
            return Err(io::Error::other("more would have to be written than a tool that only looks keeps in memory"));
        }
        let mut page = Box::new([0; PAGE_BYTES]);
        self.read_below(below_len, number * PAGE_BYTES as u64, &mut page[..])?;
        Ok(page)
    }
}

/// The pages that `len` bytes from `offset` are in: number, where in the page, where in the bytes, how many.
fn pages(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = usize::try_from(at % PAGE_BYTES as u64).expect("it is below the size of a page");
        let piece = (PAGE_BYTES - within).min(len - done);
        let found = (at / PAGE_BYTES as u64, within, done, piece);
        done += piece;
        (piece > 0).then_some(found)
    })
}

impl File for OverlayFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.contents.read().len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut contents = self.contents.write();
        contents.below_len = contents.below_len.min(len);
        if len < contents.len {
            let (last, rest) = (len / PAGE_BYTES as u64, len % PAGE_BYTES as u64);
            contents.pages.retain(|number, _| *number <= last);
            if let Some(page) = contents.pages.get_mut(&last) {
                page[usize::try_from(rest).expect("it is below the size of a page")..].fill(0);
            }
        }
        contents.len = len;
        Ok(())
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let contents = self.contents.read();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > contents.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if contents.pages.is_empty() {
            return self.read_below(contents.below_len, offset, out);
        }
        for (number, within, at, len) in pages(offset, out.len()) {
            let piece = &mut out[at..at + len];
            match contents.pages.get(&number) {
                Some(page) => piece.copy_from_slice(&page[within..within + len]),
                None => self.read_below(contents.below_len, offset + at as u64, piece)?,
            }
        }
        Ok(())
    }

    fn write_all_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut contents = self.contents.write();
        let end = offset.checked_add(data.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        let below_len = contents.below_len;
        for (number, within, at, len) in pages(offset, data.len()) {
            let page = match contents.pages.entry(number) {
                std::collections::btree_map::Entry::Occupied(page) => page.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => place.insert(self.new_page(below_len, number)?),
            };
            page[within..within + len].copy_from_slice(&data[at..at + len]);
        }
        contents.len = contents.len.max(end);
        Ok(())
    }

    fn sync_data(&self, _site: SyncSite) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for OverlayFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contents = self.contents.read();
        f.debug_struct("OverlayFile").field("len", &contents.len).field("pages", &contents.pages.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{MemoryDisk, Random, SeededRandom};

    fn read(disk: &dyn Disk, path: &str) -> Vec<u8> {
        let file = disk.open(Path::new(path)).unwrap();
        let mut out = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(0, &mut out).unwrap();
        out
    }

    /// Below it everything stays as it was; on it everything is as it would be without it.
    #[test]
    fn what_is_written_is_seen_here_and_not_below() {
        let (below, plain) = (MemoryDisk::new(), MemoryDisk::new());
        let original: Vec<u8> = (0..20_000_u32).map(|n| n as u8 | 1).collect();
        for disk in [&below, &plain] {
            disk.create(Path::new("f")).unwrap().write_all_at(0, &original).unwrap();
        }
        let overlay = Overlay::over(Arc::new(below.clone()));
        let random = SeededRandom::new(7);
        let below_max = |max: u64| random.next_u64() % max;
        for _ in 0..500 {
            let (offset, len) = (below_max(30_000), below_max(9000) as usize);
            let data = vec![random.next_u64() as u8; len];
            let cut = (below_max(8) == 0).then(|| below_max(30_000));
            for disk in [&overlay as &dyn Disk, &plain] {
                let file = disk.open(Path::new("f")).unwrap();
                match cut {
                    Some(cut) => file.set_len(cut).unwrap(),
                    None => file.write_all_at(offset, &data).unwrap(),
                }
            }
            assert!(read(&overlay, "f") == read(&plain, "f"));
        }
        assert!(read(&below, "f") == original);
        let file = overlay.open(Path::new("f")).unwrap();
        let end = file.len().unwrap();
        assert_eq!(file.read_exact_at(end, &mut [0]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn names_are_given_and_taken_here_and_not_below() {
        let below = MemoryDisk::new();
        below.create_dir_all(Path::new("d")).unwrap();
        below.create(Path::new("d/old")).unwrap().write_all_at(0, b"old").unwrap();
        let overlay = Overlay::over(Arc::new(below.clone()));
        let kind = |error: io::Error| error.kind();
        assert_eq!(overlay.create(Path::new("d/old")).map(drop).map_err(kind), Err(io::ErrorKind::AlreadyExists));
        overlay.create(Path::new("d/new")).unwrap().write_all_at(0, b"new").unwrap();
        assert_eq!(overlay.list(Path::new("d")).unwrap(), ["new", "old"]);
        overlay.rename(Path::new("d/old"), Path::new("d/moved")).unwrap();
        assert_eq!((read(&overlay, "d/moved"), overlay.exists(Path::new("d/old")).unwrap()), (b"old".to_vec(), false));
        overlay.remove(Path::new("d/new")).unwrap();
        assert_eq!(overlay.open(Path::new("d/old")).map(drop).map_err(kind), Err(io::ErrorKind::NotFound));
        assert_eq!(overlay.list(Path::new("d")).unwrap(), ["moved"]);
        overlay.create_dir_all(Path::new("x/y")).unwrap();
        assert!(overlay.exists(Path::new("x")).unwrap() && overlay.list(Path::new("x/y")).unwrap().is_empty());
        assert_eq!(below.list(Path::new("d")).unwrap(), ["old"]);
        assert!(!below.exists(Path::new("x")).unwrap());
    }
}
