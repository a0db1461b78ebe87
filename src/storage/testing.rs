//! What the tests of this folder share: a disk in memory that fails when told, and some states.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::env::{Disk, File, SyncSite};
use crate::model::KeyValue;

pub(super) const CACHE_BYTES: usize = 1 << 20;
pub(super) const PATH: &str = "checkpoint";

/// When writes and syncs fail.
#[derive(Debug, Default)]
struct Plan {
    /// Counts writes, changes of length and syncs.
    changes: u64,
    /// The numbers of those that fail, and how.
    fails: Option<(std::ops::Range<u64>, io::ErrorKind)>,
    /// The length that a file may have.
    len_max: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct MemoryDisk {
    files: Mutex<BTreeMap<PathBuf, MemoryFile>>,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Clone)]
pub(super) struct MemoryFile {
    /// What is there, and what would be there after a crash.
    bytes: Arc<Mutex<(Vec<u8>, Vec<u8>)>>,
    plan: Arc<Mutex<Plan>>,
}

impl MemoryDisk {
    pub(super) fn new() -> Arc<MemoryDisk> {
        Arc::default()
    }

    /// A disk with one file, `bytes`.
    pub(super) fn with_file(bytes: Vec<u8>) -> Arc<MemoryDisk> {
        let disk = MemoryDisk::new();
        let file = MemoryFile { bytes: Arc::new(Mutex::new((bytes.clone(), bytes))), plan: Arc::clone(&disk.plan) };
        disk.files.lock().insert(PathBuf::from(PATH), file);
        disk
    }

    pub(super) fn live(&self, path: &str) -> Vec<u8> {
        self.files.lock()[Path::new(path)].bytes.lock().0.clone()
    }

    pub(super) fn durable(&self, path: &str) -> Vec<u8> {
        self.files.lock()[Path::new(path)].bytes.lock().1.clone()
    }

    /// Changes bits of the file.
    pub(super) fn damage(&self, offset: usize, bits: u8) {
        self.files.lock()[Path::new(PATH)].bytes.lock().0[offset] ^= bits;
    }

    /// How many writes, changes of length and syncs there were.
    pub(super) fn changes(&self) -> u64 {
        self.plan.lock().changes
    }

    /// Makes `count` of them fail, after `after` more that succeed.
    pub(super) fn fail(&self, after: u64, count: u64, kind: io::ErrorKind) {
        let mut plan = self.plan.lock();
        let first = plan.changes + after;
        plan.fails = Some((first..first.saturating_add(count), kind));
    }

    /// Lets no file become longer than `len_max`.
    pub(super) fn limit(&self, len_max: usize) {
        self.plan.lock().len_max = Some(len_max as u64);
    }

    pub(super) fn heal(&self) {
        let mut plan = self.plan.lock();
        plan.fails = None;
        plan.len_max = None;
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let files = self.files.lock();
        Ok(Box::new(files.get(path).ok_or(io::ErrorKind::NotFound)?.clone()))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut files = self.files.lock();
        if files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = MemoryFile { bytes: Arc::default(), plan: Arc::clone(&self.plan) };
        files.insert(path.to_path_buf(), file.clone());
        Ok(Box::new(file))
    }

    fn list(&self, _dir: &Path) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().map(|path| path.display().to_string()).collect())
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.files.lock().contains_key(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_path_buf(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.lock().remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _dir: &Path, _site: SyncSite) -> io::Result<()> {
        Ok(())
    }
}

impl MemoryFile {
    fn change(&self, end: u64) -> io::Result<()> {
        let mut plan = self.plan.lock();
        let number = plan.changes;
        plan.changes += 1;
        match &plan.fails {
            Some((fails, kind)) if fails.contains(&number) => Err((*kind).into()),
            _ if plan.len_max.is_some_and(|len_max| end > len_max) => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().0.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(len)?;
        self.bytes.lock().0.resize(usize::try_from(len).expect("it fits"), 0);
        Ok(())
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.lock();
        let from = usize::try_from(offset).ok().and_then(|offset| bytes.0.get(offset..));
        let from = from.and_then(|from| from.get(..out.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(from);
        Ok(())
    }

    fn write_all_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(offset + data.len() as u64)?;
        let mut bytes = self.bytes.lock();
        let offset = usize::try_from(offset).expect("it fits");
        if bytes.0.len() < offset + data.len() {
            bytes.0.resize(offset + data.len(), 0);
        }
        bytes.0[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn sync_data(&self, _site: SyncSite) -> io::Result<()> {
        self.change(0)?;
        let mut bytes = self.bytes.lock();
        bytes.1 = bytes.0.clone();
        Ok(())
    }
}

/// All that a storage holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) meta: Meta,
    pub(super) records: Vec<(SubRevision, Record)>,
    pub(super) small: SmallTables,
}

pub(super) fn open(disk: &Arc<MemoryDisk>) -> Result<Storage, Error> {
    Storage::open(Arc::clone(disk) as Arc<dyn Disk>, Path::new(PATH), CACHE_BYTES)
}

pub(super) fn content(storage: &Storage) -> Result<Content, Error> {
    let mut records = Vec::new();
    for part in storage.load_records(3, Vec::with_capacity)? {
        records.extend(part);
    }
    Ok(Content { meta: storage.meta()?, records, small: storage.small_tables()? })
}

pub(super) fn at(main: i64, sub: u32) -> SubRevision {
    SubRevision { main: Revision(main), sub }
}

pub(super) fn record(main: i64, sub: u32) -> Record {
    let key = format!("key-{sub}");
    // Lengths differ, and some values need pages of their own.
    let value = vec![main as u8; (main as usize * 37) % 1500 + if main % 50 == 7 { 9000 } else { 0 }];
    Record::new(&KeyValue {
        key: key.as_bytes(),
        value: &value,
        create_revision: Revision(2),
        mod_revision: Revision(main),
        version: main,
        lease: LeaseId(i64::from(sub)),
    })
}

/// The records of some revisions, two each.
pub(super) fn records(mains: std::ops::RangeInclusive<i64>) -> Vec<TableWrite> {
    mains.flat_map(|main| (0..2).map(move |sub| put(main, sub))).collect()
}

/// A lease that was granted at the entry of its ttl.
pub(super) fn lease(id: i64, ttl: i64) -> TableWrite {
    TableWrite::Lease(LeaseRow { id: LeaseId(id), ttl, remaining: 1, granted_at: ttl.unsigned_abs() })
}

pub(super) fn put(main: i64, sub: u32) -> TableWrite {
    TableWrite::Record { at: at(main, sub), record: record(main, sub) }
}

pub(super) fn member(id: u64) -> Member {
    Member {
        id: MemberId(id),
        name: format!("member-{id}"),
        peer_urls: vec!["http://one:2380".to_owned(), "http://two:2380".to_owned()],
        client_urls: (0..id % 3).map(|n| format!("http://client-{n}:2379")).collect(),
        is_learner: id.is_multiple_of(2),
    }
}

pub(super) fn meta(revision: i64) -> Meta {
    Meta {
        applied: LogId { term: 3, index: revision.unsigned_abs() },
        membership: Bytes::from_static(b"voters: 1, 2, 3"),
        revision: Revision(revision),
        compacted: Revision(1),
        chain: revision.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15),
    }
}

/// A storage with records of every size, leases and members, written by several commits.
pub(super) fn filled(disk: &Arc<MemoryDisk>) -> Storage {
    let storage = open(disk).unwrap();
    let mut writes = records(2..=80);
    writes.extend((1..=5_i64).map(|id| {
        // Some as earlier versions stored them.
        let granted_at = if id % 2 == 0 { 0 } else { id.unsigned_abs() };
        TableWrite::Lease(LeaseRow { id: LeaseId(id - 3), ttl: 60 + id, remaining: id, granted_at })
    }));
    writes.extend((1..=3).map(|id| TableWrite::Member(member(id))));
    storage.commit(&writes, &meta(80)).unwrap();

    let mut writes = records(81..=120);
    writes.extend((10..30).map(|main| TableWrite::RemoveRecord { at: at(main, 1) }));
    writes.push(TableWrite::RemoveLease { id: LeaseId(2) });
    writes.push(TableWrite::RemoveMember(MemberId(2)));
    writes.push(TableWrite::Removed(MemberId(2)));
    storage.commit(&writes, &meta(120)).unwrap();
    storage
}

/// Builds a file at `path` of a stream that comes in pieces of `piece_bytes`.
pub(super) fn import(disk: Arc<dyn Disk>, path: &Path, stream: &[u8], piece_bytes: usize) -> Result<Imported, Error> {
    Import::of_pieces(disk, path, stream.chunks(piece_bytes))
}

pub(super) fn exported(frozen: &Frozen) -> Vec<u8> {
    let mut stream = Vec::new();
    frozen.export(&mut stream).unwrap();
    stream
}

pub(super) fn imported(stream: &[u8]) -> Result<Content, Error> {
    let disk = MemoryDisk::new();
    let dyn_disk = Arc::clone(&disk) as Arc<dyn Disk>;
    match import(dyn_disk, Path::new(PATH), stream, 100_000) {
        Ok(Imported { meta, records }) => {
            let storage = open(&disk).unwrap();
            assert_eq!(storage.meta().unwrap(), meta);
            assert_eq!(storage.identity().unwrap(), None);
            let content = content(&storage)?;
            assert_eq!(Some(&content.records), records.as_ref());
            Ok(content)
        }
        Err(error) => {
            assert!(!disk.exists(Path::new(PATH)).unwrap());
            Err(error)
        }
    }
}
