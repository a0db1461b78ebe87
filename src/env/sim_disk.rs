//! A disk in memory that can lose what was not synced.
//!
//! It keeps two states of everything: what a program sees, and what is durable. Writes change the first; a sync of a file
//! brings its contents over, a sync of a folder the names in it. A test arms the disk to crash at the n-th sync of a
//! [`SyncSite`]: that sync and everything after it fails. [`SimDisk::crash_image`] then gives a new disk with what would
//! have survived, one of several ways: writes that were not synced may reach a real disk or not, each by itself and a
//! sector at a time.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::disk::{Disk, File, SyncSite, plain};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// What survives of writes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// None of them.
    Nothing,
    /// All of them.
    Everything,
    /// Some sectors of some, in any order.
    Subset,
    /// All but the last, which is cut in the middle.
    Torn,
}

/// The disk; clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: Vec<Contents>,
    /// Path to file, as a program sees it and as it is durable.
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    dirs: Vec<PathBuf>,
    syncs: BTreeMap<SyncSite, u64>,
    crash_at: Option<(SyncSite, u64)>,
    is_crashed: bool,
    /// Bytes by which files may still get longer; `None` is no bound.
    free: Option<usize>,
}

#[derive(Debug, Default)]
struct Contents {
    live: Vec<u8>,
    /// Bytes that it has space for, if that is more than it is long.
    allocated: usize,
    durable: Vec<u8>,
    /// Since the last sync, in order.
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Length(usize),
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Write { offset, data } => {
                let end = offset + data.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*offset..end].copy_from_slice(data);
            }
            Change::Length(len) => to.resize(*len, 0),
        }
    }

    /// The sectors of a write, each as a write of its own.
    fn sectors(&self) -> Vec<Change> {
        let Change::Write { offset, data } = self else { return vec![self.clone()] };
        let mut sectors = Vec::new();
        let mut at = 0;
        while at < data.len() {
            let len = (SECTOR_BYTES - (offset + at) % SECTOR_BYTES).min(data.len() - at);
            sectors.push(Change::Write { offset: offset + at, data: data[at..at + len].to_vec() });
            at += len;
        }
        sectors
    }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// Arms the disk to crash at the `nth` sync of `site` from now on, first is 1: that sync fails and so does everything
    /// after it.
    pub fn crash_at(&self, site: SyncSite, nth: u64) {
        let mut state = self.0.lock();
        let before = state.syncs.get(&site).copied().unwrap_or(0);
        state.crash_at = Some((site, before + nth));
    }

    /// Takes back what [`SimDisk::crash_at`] armed, if it has not come yet.
    pub fn disarm(&self) {
        self.0.lock().crash_at = None;
    }

    /// Crashes the disk: from now on everything fails.
    pub fn crash_now(&self) {
        self.0.lock().is_crashed = true;
    }

    /// Whether the crash has come.
    #[must_use]
    pub fn is_crashed(&self) -> bool {
        self.0.lock().is_crashed
    }

    /// Lets what would make a file longer fail for want of space, or no longer. Writes within a file have their space, and
    /// files that are removed give theirs back.
    pub fn set_full(&self, is_full: bool) {
        self.0.lock().free = is_full.then_some(0);
    }

    /// Leaves so many bytes by which files can get longer.
    pub fn set_free(&self, bytes: usize) {
        self.0.lock().free = Some(bytes);
    }

    /// How often each site has synced.
    #[must_use]
    pub fn sync_counts(&self) -> BTreeMap<SyncSite, u64> {
        self.0.lock().syncs.clone()
    }

    /// A new disk with what survives if the power goes now.
    #[must_use]
    pub fn crash_image(&self, image: Image, seed: u64) -> SimDisk {
        let state = self.0.lock();
        let mut random = StdRng::seed_from_u64(seed);
        let mut names = match image {
            Image::Nothing => state.durable_names.clone(),
            Image::Everything | Image::Torn => state.names.clone(),
            Image::Subset => mix_names(&state, &mut random),
        };
        // Files without a name are gone.
        let mut files = Vec::new();
        for file in names.values_mut() {
            files.push(survive(&state.files[*file], image, &mut random));
            *file = files.len() - 1;
        }
        let survived =
            State { files, durable_names: names.clone(), names, dirs: state.dirs.clone(), ..State::default() };
        SimDisk(Arc::new(Mutex::new(survived)))
    }
}

fn survive(file: &Contents, image: Image, random: &mut StdRng) -> Contents {
    let mut bytes = file.durable.clone();
    match image {
        Image::Nothing => {}
        Image::Everything => bytes.clone_from(&file.live),
        Image::Subset => {
            for sector in file.unsynced.iter().flat_map(Change::sectors) {
                if random.random_bool(0.5) {
                    sector.apply(&mut bytes);
                }
            }
        }
        Image::Torn => {
            let (last, earlier) = match file.unsynced.split_last() {
                Some((last, earlier)) => (last.sectors(), earlier),
                None => (Vec::new(), &[][..]),
            };
            for change in earlier {
                change.apply(&mut bytes);
            }
            let keep = if last.is_empty() { 0 } else { random.random_range(0..last.len()) };
            for sector in &last[..keep] {
                sector.apply(&mut bytes);
            }
        }
    }
    Contents { durable: bytes.clone(), live: bytes, ..Contents::default() }
}

/// Each name as it was or as it is. A rename is one step on a real file system, so both of its names go together, and a name
/// that it gives to another file is always there.
fn mix_names(state: &State, random: &mut StdRng) -> BTreeMap<PathBuf, usize> {
    let mut files: Vec<usize> = state.names.values().chain(state.durable_names.values()).copied().collect();
    files.sort_unstable();
    files.dedup();
    let mut names = BTreeMap::new();
    for file in files {
        let from = if random.random_bool(0.5) { &state.names } else { &state.durable_names };
        for (path, _) in from.iter().filter(|(_, named)| **named == file) {
            // The name of a file that another one replaced belongs to the newer one, if both survive.
            names.entry(path.clone()).and_modify(|named: &mut usize| *named = (*named).max(file)).or_insert(file);
        }
    }
    for (path, file) in state.durable_names.iter().filter(|(path, _)| state.names.contains_key(*path)) {
        names.entry(path.clone()).or_insert(*file);
    }
    names
}

impl State {
    fn check(&self) -> io::Result<()> {
        if self.is_crashed { Err(io::Error::other("the simulated disk has crashed")) } else { Ok(()) }
    }

    fn sync(&mut self, site: SyncSite) -> io::Result<()> {
        self.check()?;
        let count = self.syncs.entry(site).or_default();
        *count += 1;
        if self.crash_at == Some((site, *count)) {
            self.is_crashed = true;
        }
        self.check()
    }

    fn file(&mut self, path: &Path) -> io::Result<usize> {
        self.check()?;
        self.names.get(&plain(path)).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Takes space for the first `len` bytes of a file.
    fn take_space(&mut self, file: usize, len: usize) -> io::Result<()> {
        let more = len.saturating_sub(self.files[file].space());
        if let Some(free) = &mut self.free {
            *free = free.checked_sub(more).ok_or(io::ErrorKind::StorageFull)?;
        }
        Ok(())
    }

    /// A file has lost its name.
    fn give_back(&mut self, file: usize) {
        let space = self.files[file].space();
        if let Some(free) = &mut self.free {
            *free += space;
        }
    }
}

impl Contents {
    fn space(&self) -> usize {
        self.live.len().max(self.allocated)
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = self.0.lock().file(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut state = self.0.lock();
        state.check()?;
        let path = plain(path);
        if state.names.contains_key(&path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let dir = path.parent().map(Path::to_path_buf).unwrap_or_default();
        if dir != Path::new("") && !state.dirs.contains(&dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.files.push(Contents::default());
        let file = state.files.len() - 1;
        state.names.insert(path, file);
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        state.check()?;
        let dir = plain(dir);
        if dir != Path::new("") && !state.dirs.contains(&dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let here = state.names.keys().filter(|path| path.parent() == Some(&dir));
        Ok(here.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.check()?;
        for part in plain(dir).ancestors().filter(|part| *part != Path::new("")) {
            if !state.dirs.iter().any(|known| known == part) {
                state.dirs.push(part.to_path_buf());
            }
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.0.lock();
        state.check()?;
        let path = plain(path);
        Ok(state.names.contains_key(&path) || state.dirs.contains(&path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        let file = state.file(from)?;
        state.names.remove(&plain(from));
        if let Some(replaced) = state.names.insert(plain(to), file) {
            state.give_back(replaced);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        let file = state.file(path)?;
        state.names.remove(&plain(path));
        state.give_back(file);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path, site: SyncSite) -> io::Result<()> {
        let mut state = self.0.lock();
        state.sync(site)?;
        let dir = plain(dir);
        let is_here = |path: &Path| path.parent() == Some(&dir);
        let State { names, durable_names, .. } = &mut *state;
        durable_names.retain(|path, _| !is_here(path));
        durable_names.extend(names.iter().filter(|(path, _)| is_here(path)).map(|(path, file)| (path.clone(), *file)));
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl SimFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.check()?;
        let end = match &change {
            Change::Write { offset, data } => offset + data.len(),
            Change::Length(len) => *len,
        };
        state.take_space(self.file, end)?;
        let contents = &mut state.files[self.file];
        change.apply(&mut contents.live);
        contents.unsynced.push(change);
        Ok(())
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.0.lock();
        state.check()?;
        Ok(state.files[self.file].live.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(usize::try_from(len).map_err(io::Error::other)?))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.check()?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        state.take_space(self.file, len)?;
        let contents = &mut state.files[self.file];
        contents.allocated = contents.allocated.max(len);
        Ok(())
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.disk.0.lock();
        state.check()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = state.files[self.file].live.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.change(Change::Write { offset, data: data.to_vec() })
    }

    fn sync_data(&self, site: SyncSite) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.sync(site)?;
        let contents = &mut state.files[self.file];
        for change in std::mem::take(&mut contents.unsynced) {
            change.apply(&mut contents.durable);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (SimDisk, Box<dyn File>) {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("d")).unwrap();
        let file = disk.create(Path::new("d/f")).unwrap();
        file.write_all_at(0, &[1; 2000]).unwrap();
        file.sync_data(SyncSite::WalBatch).unwrap();
        disk.sync_dir(Path::new("d"), SyncSite::WalFolder).unwrap();
        (disk, file)
    }

    fn contents(disk: &SimDisk) -> Vec<u8> {
        let file = disk.open(Path::new("d/f")).unwrap();
        let mut out = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(0, &mut out).unwrap();
        out
    }

    #[test]
    fn each_image_keeps_what_it_says() {
        let (disk, file) = disk();
        file.write_all_at(0, &[2; 2000]).unwrap();
        file.write_all_at(2000, &[3; 2000]).unwrap();
        assert_eq!(contents(&disk.crash_image(Image::Nothing, 1)), [1; 2000]);
        assert_eq!(contents(&disk.crash_image(Image::Everything, 1)).len(), 4000);
        let torn = contents(&disk.crash_image(Image::Torn, 1));
        assert!(torn.len() < 4000 && torn[..2000] == [2; 2000]);
        let mixed = (0..20).map(|seed| contents(&disk.crash_image(Image::Subset, seed)));
        assert!(mixed.into_iter().any(|bytes| bytes.contains(&1) && bytes.contains(&2)));
    }

    #[test]
    fn a_name_is_durable_after_a_sync_of_its_folder() {
        let (disk, _) = disk();
        disk.create(Path::new("d/g")).unwrap();
        disk.remove(Path::new("d/f")).unwrap();
        let before = disk.crash_image(Image::Nothing, 1);
        assert_eq!(before.list(Path::new("d")).unwrap(), ["f"]);
        disk.sync_dir(Path::new("d"), SyncSite::WalFolder).unwrap();
        assert_eq!(disk.crash_image(Image::Nothing, 1).list(Path::new("d")).unwrap(), ["g"]);
    }

    #[test]
    fn a_full_disk_takes_no_longer_files() {
        let (disk, file) = disk();
        disk.set_full(true);
        assert_eq!(file.write_all_at(1999, b"xy").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.set_len(2001).unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.write_all_at(1998, b"xy").unwrap();
        disk.set_full(false);
        file.set_len(2001).unwrap();
    }

    #[test]
    fn space_that_a_file_has_taken_is_its_own_until_it_is_removed() {
        let (disk, file) = disk();
        disk.set_free(100);
        let other = disk.create(Path::new("d/g")).unwrap();
        other.allocate(100).unwrap();
        assert_eq!(file.set_len(2001).unwrap_err().kind(), io::ErrorKind::StorageFull);
        other.write_all_at(0, &[1; 100]).unwrap();
        disk.remove(Path::new("d/g")).unwrap();
        file.set_len(2100).unwrap();
        assert_eq!(file.allocate(2101).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn after_the_crash_everything_fails() {
        let (disk, file) = disk();
        disk.crash_at(SyncSite::WalBatch, 2);
        file.sync_data(SyncSite::WalBatch).unwrap();
        assert!(file.sync_data(SyncSite::WalBatch).is_err());
        assert!(disk.is_crashed());
        assert!(file.write_all_at(0, b"x").is_err());
        assert!(disk.open(Path::new("d/f")).is_err());
    }

    /// An image without either made a member start with an empty checkpoint beside its log.
    #[test]
    fn a_name_that_a_rename_gives_to_another_file_is_always_there() {
        let (disk, file) = disk();
        file.write_all_at(0, b"old").unwrap();
        file.sync_data(SyncSite::Checkpoint).unwrap();
        disk.sync_dir(Path::new("d"), SyncSite::DataFolder).unwrap();
        let newer = disk.create(Path::new("d/newer")).unwrap();
        newer.write_all_at(0, b"new").unwrap();
        newer.sync_data(SyncSite::Checkpoint).unwrap();
        disk.rename(Path::new("d/newer"), Path::new("d/f")).unwrap();
        let mut seen = [0; 2];
        for seed in 0..40 {
            let image = disk.crash_image(Image::Subset, seed);
            let file = image.open(Path::new("d/f")).expect("one of the two");
            let mut bytes = [0; 3];
            file.read_exact_at(0, &mut bytes).unwrap();
            seen[usize::from(&bytes == b"new")] += 1;
        }
        assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    }
}
